//! Small files, and what a person writes.

use crate::bounded::bounded;
use crate::checksums::seal_snapshot;
use crate::{Kind, Target};
use host::OpenMode;
use host::sim_disk::SimDisk;
use logstore::conformance::SimMachine;
use logstore::{
    ProducerSnapshotEntry, decode_producer_snapshot, encode_producer_snapshot, parse_epoch_checkpoint,
    parse_offset_checkpoint,
};
use ottla::settings::Settings;
use std::path::Path;
use types::{Offset, ProducerEpoch, ProducerId};

/// Memory that a file may take while it is read: a base, and so much for each of its bytes.
const BYTES_BASE: usize = 1 << 20;
const BYTES_PER_BYTE: usize = 64;

pub(crate) fn all() -> Vec<Target> {
    vec![
        Target::new("producer-snapshot", Kind::Disk, producer_snapshot, producer_snapshots),
        Target::new("checkpoints", Kind::Disk, checkpoints, || {
            texts(&["0\n2\norders 0 4711\norders 1 99\n", "0\n2\n3 815\n5 900\n", "0\n0\n"])
        }),
        Target::new("identity", Kind::Disk, identity, || {
            let identity = "version=1\nnode.id=1\ndirectory.id=00000000-0000-0000-0000-000000000001\nlineage=7\nboots=3\nstamped=2\n";
            let member = "cluster.id=abc\nraft.id=1\nfounder=true\ninitialized=false\n";
            let member = format!("\x00{identity}{member}");
            texts(&[
                &format!("\x00{identity}"),
                &member,
                "\x01version=1\nlineage=7\nboots=3\n",
            ])
        }),
        Target::new("server-properties", Kind::Disk, server_properties, || {
            texts(&[
                "node.id=1\nlog.dirs=/d,/e\nlisteners=PLAINTEXT://127.0.0.1:9092\njoin=a:1,[::1]:2\n",
                "node.id=2\nlog.dirs=/d\nadvertised.listeners=PLAINTEXT://kafka-1:9092\nnum.partitions=7\nbroker.rack=r\n",
                "# text\n! more\nnode.id = 1\nlog.dir=/d\nretention.ms=1\nnum.shards=4\ntimings.profile=wan\n",
                "node.id=1\nlog.dirs=/d\nlog.segment.bytes=1048576\nmax.connections.per.ip=2\nprocess.roles=broker\n",
            ])
        }),
    ]
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn limit(input: &[u8]) -> usize {
    BYTES_BASE + BYTES_PER_BYTE * input.len()
}

fn producer_snapshots() -> Vec<Vec<u8>> {
    let entry = |id| ProducerSnapshotEntry {
        producer_id: ProducerId(id),
        producer_epoch: ProducerEpoch(3),
        last_sequence: i32::MAX,
        last_offset: Offset(100),
        offset_delta: 4,
        timestamp: 1_000,
        coordinator_epoch: -1,
        current_txn_first_offset: 90,
    };
    let snapshot = |count| encode_producer_snapshot(&(0..count).map(entry).collect::<Vec<_>>());
    let sealed = |count| [vec![1], snapshot(count)].concat();
    vec![sealed(0), sealed(1), sealed(5), [vec![0], snapshot(2)].concat()]
}

/// A byte that says whether the CRC is made right, then the file.
fn producer_snapshot(input: &[u8]) {
    let Some((seal, content)) = input.split_first() else {
        return;
    };
    let mut content = content.to_vec();
    if seal & 1 != 0 {
        seal_snapshot(&mut content);
    }
    if let Some(entries) = bounded(limit(input), || decode_producer_snapshot(&content)) {
        assert_eq!(encode_producer_snapshot(&entries), content);
    }
}

fn checkpoints(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    bounded(limit(input), || {
        let _ = (parse_offset_checkpoint(&text), parse_epoch_checkpoint(&text));
    });
}

/// A byte for the file, `identity.properties` or the boot stamp, then its content.
fn identity(input: &[u8]) {
    let Some((which, content)) = input.split_first() else {
        return;
    };
    let name = if which & 1 == 0 {
        "identity.properties"
    } else {
        ".ottla_boot"
    };
    let sim = SimDisk::new();
    let host = SimMachine::host(sim.handle(), 1);
    let directory = Path::new("/meta");
    host.disk().create_dir_all(directory).expect("created");
    let file = host
        .disk()
        .open(&directory.join(name), OpenMode::Create)
        .expect("created");
    file.write_all_at(content, 0).expect("written");
    bounded(limit(input), || controller::fuzzing::open_identity(&host, directory));
}

/// The lines of `server.properties`; what follows a byte 1 stands in the environment, what follows a 2 is a flag.
fn server_properties(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (mut file, mut environment, mut flags) = (String::new(), Vec::new(), Vec::new());
    for line in text.lines() {
        match (line.strip_prefix('\x01'), line.strip_prefix('\x02')) {
            (Some(variable), _) => environment.extend(variable.split_once('=')),
            (_, Some(flag)) => flags.push(flag.to_owned()),
            _ => file += &format!("{line}\n"),
        }
    }
    let environment = environment
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    bounded(limit(input), || {
        if let Ok(settings) = Settings::read(Some(("server.properties", &file)), environment, &flags) {
            let _ = (settings.found_alone(), settings.inter_node_on_loopback());
            let _ = api::ApiSettings::from_properties(&settings.properties);
        }
    });
}
