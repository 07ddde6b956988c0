//! Files as Kafka writes them, byte by byte, with expectations worked out by hand.

use bytes::Bytes;
use host::sim_disk::SimDisk;
use logstore::conformance::{SimMachine, partition};
use logstore::{LogConfig, LogDir, ProducerSnapshotEntry, decode_producer_snapshot, encode_producer_snapshot};
use records::{BatchBuilder, Compression};
use std::path::Path;
use types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, ReplicaIncarnation};

/// 61 bytes of header, and a record of 109: length (2), attributes, timestamp delta, offset delta, no key (1
/// each), value length (2), value (100), no headers (1).
fn batch_of_170_bytes(base: i64, timestamp: i64) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None)
        .base_offset(Offset(base))
        .leader_epoch(LeaderEpoch(3));
    builder.push(timestamp, None, Some(&[7; 100]), &[]);
    let bytes = builder.build();
    assert_eq!(bytes.len(), 170);
    bytes
}

#[test]
fn index_files_metadata_and_checkpoints() {
    let sim = SimDisk::new();
    let disk = sim.handle();
    let host = SimMachine::host(disk.clone(), 1);
    let mut dir = LogDir::open(&host, Path::new("/data")).expect("opens");
    dir.bind("MkU3OEVBNTcwNTJENDM2Qg", types::NodeId(3)).expect("binds");
    let config = LogConfig {
        index_interval_bytes: 200,
        ..LogConfig::default()
    };
    let mut log = dir
        .create_log("orders", partition(4), ReplicaIncarnation(9), config)
        .expect("created");
    // Entries come after more than 200 bytes: for the third and the fifth batch. Timestamps go down in the
    // fourth and fifth, so the second time entry would not ascend and is not made; the last one makes its own.
    for (offset, timestamp) in [(0, 0x10), (1, 0x20), (2, 0x30), (3, 0x08), (4, 0x09), (5, 0x40)] {
        let bytes = batch_of_170_bytes(offset, timestamp);
        log.append(bytes, Offset(offset), Offset(offset + 1), 0)
            .expect("appended");
    }
    log.roll().expect("rolled");
    let read = |name: &str| disk.read(&Path::new("/data").join(name)).expect(name);
    let text = |name: &str| String::from_utf8(read(name)).expect("text");
    // 2·170 = 0x154, 4·170 = 0x2a8.
    assert_eq!(
        read("orders-4/00000000000000000000.index"),
        [0, 0, 0, 2, 0, 0, 0x01, 0x54, /**/ 0, 0, 0, 4, 0, 0, 0x02, 0xa8]
    );
    assert_eq!(
        read("orders-4/00000000000000000000.timeindex"),
        [
            0, 0, 0, 0, 0, 0, 0, 0x30, 0, 0, 0, 2, /**/ 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 5
        ]
    );
    assert!(read("orders-4/00000000000000000006.log").is_empty());
    let flusher = dir.start_flusher(&host, Box::new(logstore::PlainFlush));
    assert!(logstore::conformance::flush(&mut log, &flusher));
    log.checkpoint_high_watermark(Offset(5));
    log.increment_log_start(Offset(2)).expect("moved");
    log.close().expect("closed");
    dir.write_checkpoints().expect("written");
    assert_eq!(text("orders-4/leader-epoch-checkpoint"), "0\n1\n3 2\n");
    assert_eq!(
        text("orders-4/partition.metadata"),
        "version: 0\ntopic_id: Dw4NDAsKSQiHBgUEAwIBAA\n"
    );
    assert_eq!(text("replication-offset-checkpoint"), "0\n1\norders 4 5\n");
    assert_eq!(text("log-start-offset-checkpoint"), "0\n1\norders 4 2\n");
    let meta = text("meta.properties");
    assert!(
        meta.starts_with("version=1\ncluster.id=MkU3OEVBNTcwNTJENDM2Qg\nnode.id=3\ndirectory.id="),
        "{meta}"
    );
    assert!(
        dir.bind("other", types::NodeId(3)).is_err() && dir.bind("MkU3OEVBNTcwNTJENDM2Qg", types::NodeId(4)).is_err()
    );
}

#[test]
fn producer_snapshot() {
    let entry = ProducerSnapshotEntry {
        producer_id: ProducerId(0x0102),
        producer_epoch: ProducerEpoch(3),
        last_sequence: 4,
        last_offset: Offset(5),
        offset_delta: 6,
        timestamp: 7,
        coordinator_epoch: 8,
        current_txn_first_offset: -1,
    };
    let bytes = encode_producer_snapshot(&[entry]);
    assert_eq!(bytes.len(), 2 + 4 + 4 + 46);
    assert_eq!(bytes[..2], [0, 1]);
    #[rustfmt::skip]
    assert_eq!(bytes[6..], [
        0, 0, 0, 1,
        0, 0, 0, 0, 0, 0, 1, 2,   0, 3,   0, 0, 0, 4,   0, 0, 0, 0, 0, 0, 0, 5,   0, 0, 0, 6,
        0, 0, 0, 0, 0, 0, 0, 7,   0, 0, 0, 8,   255, 255, 255, 255, 255, 255, 255, 255,
    ]);
    assert_eq!(decode_producer_snapshot(&bytes), Some(vec![entry]));
    for position in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[position] ^= 1;
        assert_eq!(decode_producer_snapshot(&bad), None, "byte {position}");
        assert_eq!(decode_producer_snapshot(&bytes[..position]), None);
    }
}
