use super::round::{HEADER_LEN, ROUND_ALIGNMENT, RoundBuffer, RoundHeader};
use super::*;
use bytes::Bytes;
use host::sim_disk::{DiskEvent, SimDisk};
use host::{Disk, File, OpenMode};
use std::path::Path;
use std::sync::Arc;
use types::{DirectoryId, LeaderEpoch, Offset, TopicId};
use uuid::Uuid;

const SECRET: u64 = 0x0102_0304_0506_0708;
const SIZE: JournalSize = JournalSize {
    bytes: 8192,
    bytes_max: 32768,
};
const SEGMENT: &str = "/data/segment";

fn id() -> DirectoryId {
    DirectoryId(Uuid::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10))
}

fn key(incarnation: u64) -> LogKey {
    LogKey {
        tp: TopicPartition {
            topic: TopicId(Uuid::from_u128(0x1112_1314_1516_1718_191a_1b1c_1d1e_1f20)),
            partition: 0,
        },
        incarnation: ReplicaIncarnation(incarnation),
    }
}

fn new(sim: &SimDisk) -> MarksJournal {
    sim.handle().create_dir_all(Path::new("/data")).unwrap();
    sim.handle().sync_dir(Path::new("/")).unwrap();
    MarksJournal::create(&sim.handle(), Path::new("/data"), id(), SIZE, SECRET).unwrap()
}

fn reopen(disk: &Arc<dyn Disk>) -> Result<MarksJournal, MarksError> {
    MarksJournal::open(disk, Path::new("/data"), id(), SIZE, 99)
}

fn create(incarnation: u64) -> Entry {
    let name = "orders".to_owned();
    Entry::Create {
        key: key(incarnation),
        name,
    }
}

fn data(journal: &MarksJournal, incarnation: u64, position: usize, bytes: &[u8]) -> Entry {
    let key = key(incarnation);
    Entry::Data {
        key,
        data: Data {
            files: journal.state().logs[&key].files,
            base: Offset(0),
            position: position as u32,
            parts: vec![Bytes::copy_from_slice(bytes)],
        },
    }
}

fn segment(disk: &Arc<dyn Disk>) -> Arc<dyn File> {
    disk.open(Path::new(SEGMENT), OpenMode::Create).unwrap()
}

/// A log with a segment of which the journal alone has `bytes` for certain.
fn append(journal: &mut MarksJournal, file: &Arc<dyn File>, incarnation: u64, position: usize, bytes: &[u8]) {
    file.write_all_at(bytes, position as u64).unwrap();
    let entry = data(journal, incarnation, position, bytes);
    journal
        .append_data(&[entry], vec![(key(incarnation), file.clone())])
        .unwrap();
}

fn replayed(journal: &MarksJournal) -> Vec<u8> {
    let all = journal.to_replay().into_values().flatten();
    all.flat_map(|data| data.parts).flatten().collect()
}

fn golden(text: &str) -> Vec<u8> {
    let mut file = Vec::new();
    for line in text.lines() {
        let round = (0..line.len()).step_by(2);
        file.extend(round.map(|at| u8::from_str_radix(&line[at..at + 2], 16).unwrap()));
        file.resize(file.len().next_multiple_of(ROUND_ALIGNMENT), 0);
    }
    file
}

/// The format of the release: see the drawings of [`super::round::Round`] and [`super::entry::Entry`].
#[test]
fn rounds_have_the_golden_layout() {
    let sim = SimDisk::new();
    let mut journal = new(&sim);
    journal.append(&[create(7)]).unwrap();
    let key = key(7);
    let epoch = Entry::Epoch {
        key,
        epoch: LeaderEpoch(2),
        start: Offset(0),
    };
    let entries = [epoch, data(&journal, 7, 0, b"bytes"), mark(5)];
    journal.append_data(&entries, Vec::new()).unwrap();
    journal.append(&[Entry::Delete { key }]).unwrap();
    let expected = golden(include_str!("golden_v2.hex"));
    let written = sim.handle().read(Path::new("/data/marks-0")).unwrap();
    assert_eq!(written[..expected.len()], expected);
    assert!(written.len() as u64 == SIZE.bytes && written[expected.len()..].iter().all(|byte| *byte == 0));
}

fn mark(offset: i64) -> Entry {
    Entry::Mark {
        key: key(7),
        offset: Offset(offset),
    }
}

/// A directory of the version before, whose journal has one file yet.
fn with_version_1() -> SimDisk {
    let sim = SimDisk::new();
    let disk = sim.handle();
    disk.create_dir_all(Path::new("/data")).unwrap();
    let file = disk.open(Path::new("/data/marks-1"), OpenMode::Create).unwrap();
    file.write_all_at(&golden(include_str!("golden_v1.hex")), 0).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir(Path::new("/data")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    sim
}

#[test]
fn a_journal_of_version_1_is_read_and_goes_on() {
    let sim = with_version_1();
    for durable in [5, 6, 7] {
        let mut journal = reopen(&sim.reopen()).unwrap();
        let log = &journal.state().logs[&key(7)];
        assert_eq!((log.name.as_str(), log.durable), ("orders", Offset(durable)));
        assert_eq!(log.epochs, [(LeaderEpoch(2), Offset(0))]);
        journal.append(&[mark(durable + 1)]).unwrap();
        sim.crash_losing_everything_unsynced();
    }
}

/// ◆ Fails if the file that is written over next may still be needed, or if replay begins too late or says too little.
#[test]
fn bytes_are_in_the_journal_or_in_their_segment_wherever_it_ends() {
    let mut waited = 0;
    for count in 0..80usize {
        let sim = SimDisk::new();
        let disk = sim.handle();
        let mut journal = new(&sim);
        let file = segment(&disk);
        disk.sync_dir(Path::new("/data")).unwrap();
        journal.append(&[create(7)]).unwrap();
        let mut written = Vec::new();
        for index in 0..count {
            let bytes = vec![index as u8 + 1; 600];
            append(&mut journal, &file, 7, written.len(), &bytes);
            written.extend(bytes);
        }
        waited += journal.fill().waits.get();
        sim.crash_losing_everything_unsynced();
        let journal = reopen(&sim.handle()).unwrap();
        let mut found = sim.handle().read(Path::new(SEGMENT)).unwrap();
        for data in journal.to_replay().into_values().flatten() {
            let end = data.position as usize + data.len();
            found.resize(found.len().max(end), 0);
            found[data.position as usize..end].copy_from_slice(&data.parts[0]);
        }
        assert!(found == written, "{count} rounds");
    }
    assert!(waited > 0, "no lap was full");
}

#[test]
fn what_is_covered_is_not_replayed_and_what_came_since_is() {
    let sim = SimDisk::new();
    let mut journal = new(&sim);
    let file = segment(&sim.handle());
    journal.append(&[create(7)]).unwrap();
    append(&mut journal, &file, 7, 0, b"first ");
    let seen = journal.sequence();
    append(&mut journal, &file, 7, 6, b"second");
    journal.covered(&key(7), seen);
    assert_eq!(journal.fill().uncovered.get(), 1);
    journal.append(&[mark(1)]).unwrap();
    assert_eq!(replayed(&reopen(&sim.reopen()).unwrap()), b"second");
    let mut journal = reopen(&sim.reopen()).unwrap();
    assert!(
        journal.append(&[mark(2)]).is_ok(),
        "what is left to be replayed stays so"
    );
    assert_eq!(replayed(&reopen(&sim.reopen()).unwrap()), b"second");
    let mut journal = reopen(&sim.reopen()).unwrap();
    journal.finish_replay(&[]).unwrap();
    assert_eq!(replayed(&reopen(&sim.reopen()).unwrap()), b"");
}

/// ◆ Fails if old bytes can come back over what the same log, or another replica, has there since; or if a cut can lose what
/// stays below it.
#[test]
fn entries_that_change_files_void_the_bytes_before() {
    let key = key(7);
    let changes: [(&str, Vec<Entry>, bool); 5] = [
        ("truncated", vec![Entry::Truncate { key, offset: Offset(1) }], true),
        (
            "started over",
            vec![Entry::TruncateFully { key, offset: Offset(9) }],
            false,
        ),
        ("replaced", vec![Entry::Files { key, files: 77 }], false),
        ("deleted", vec![Entry::Delete { key }], false),
        (
            "made again",
            vec![Entry::Delete { key }, Entry::Removed { key }, create(8)],
            false,
        ),
    ];
    for (what, entries, synced) in changes {
        let sim = SimDisk::new();
        let mut journal = new(&sim);
        let file = segment(&sim.handle());
        journal.append(&[create(7)]).unwrap();
        append(&mut journal, &file, 7, 0, b"old");
        assert_eq!(replayed(&reopen(&sim.reopen()).unwrap()), b"old");
        let mut journal = reopen(&sim.reopen()).unwrap();
        journal.finish_replay(&[]).unwrap();
        let file = segment(&sim.handle());
        append(&mut journal, &file, 7, 0, b"old");
        sim.record_events();
        journal.append(&entries).unwrap();
        let syncs: Vec<bool> = sim
            .events()
            .iter()
            .filter_map(|event| match event {
                DiskEvent::Sync { path } => Some(path == Path::new(SEGMENT)),
                _ => None,
            })
            .collect();
        assert_eq!(syncs, if synced { vec![true, false] } else { vec![false] }, "{what}");
        let journal = reopen(&sim.reopen()).unwrap();
        assert_eq!(replayed(&journal), b"", "{what}");
    }
}

#[test]
fn damage_to_rounds_that_are_needed_is_found_and_to_others_is_none() {
    let sim = SimDisk::new();
    let mut journal = new(&sim);
    let file = segment(&sim.handle());
    journal.append(&[create(7)]).unwrap();
    // marks-0 is full, marks-1 is current.
    let mut position = 0;
    while position < 6 * 1000 {
        append(&mut journal, &file, 7, position, &[1; 1000]);
        position += 1000;
    }
    assert!(journal.fill().bytes.get() < SIZE.bytes / 2 && journal.fill().waits.get() == 0);
    sim.flip_bit(Path::new("/data/marks-0"), 2000, 1).unwrap();
    let refused = reopen(&sim.reopen()).err();
    assert!(matches!(refused, Some(MarksError::Incomplete { .. })), "{refused:?}");
    sim.flip_bit(Path::new("/data/marks-0"), 2000, 1).unwrap();
    let mut journal = reopen(&sim.reopen()).unwrap();
    journal.finish_replay(&[]).unwrap();
    sim.flip_bit(Path::new("/data/marks-0"), 2000, 1).unwrap();
    assert!(reopen(&sim.reopen()).is_ok());
    // The snapshot of the current file: what is left is an older state.
    sim.flip_bit(Path::new("/data/marks-1"), 70, 1).unwrap();
    let refused = reopen(&sim.reopen()).err();
    assert!(matches!(refused, Some(MarksError::Corrupt { .. })), "{refused:?}");
}

/// ◆ Fails without the secret: whoever knows the directory's id could take it offline.
#[test]
fn what_a_client_sends_is_never_taken_for_a_round() {
    let sim = SimDisk::new();
    let mut journal = new(&sim);
    let file = segment(&sim.handle());
    journal.append(&[create(7)]).unwrap();
    let header = RoundHeader {
        directory: id(),
        secret: SECRET + 1,
        snapshot: false,
        sequence: 1_000,
        previous_crc: 0,
        lap: 1,
        replay_from: 1_000,
    };
    let (forged, _) = RoundBuffer::new().seal(&header);
    // Key and head of the data entry come before.
    let mut bytes = vec![0; ROUND_ALIGNMENT - HEADER_LEN - 29 - 24];
    bytes.extend(&forged);
    append(&mut journal, &file, 7, 0, &bytes);
    let written = sim.handle().read(Path::new("/data/marks-0")).unwrap();
    let at = written
        .windows(forged.len())
        .position(|window| window == forged)
        .unwrap();
    assert_eq!(at % ROUND_ALIGNMENT, 0);
    let journal = reopen(&sim.reopen()).unwrap();
    assert_eq!(replayed(&journal), bytes);
}

#[test]
fn segments_are_synced_from_a_quarter_on_and_rounds_sync_directly_when_it_is_nearly_full() {
    let sim = SimDisk::new();
    let mut journal = new(&sim);
    let file = segment(&sim.handle());
    journal.append(&[create(7)]).unwrap();
    let (mut quarter, mut nearly_full) = (None, None);
    for index in 0..60 {
        let used = journal.fill().bytes.get();
        if journal.must_cover() && quarter.is_none() {
            quarter = Some(used);
        }
        if journal.data_bytes_max().is_none() {
            nearly_full = Some((used, journal.lap()));
            break;
        }
        append(&mut journal, &file, 7, index * 300, &[1; 300]);
    }
    assert_eq!(quarter, Some(SIZE.bytes / 2), "of one file, a quarter of both");
    let (used, lap) = nearly_full.unwrap();
    assert!(lap > 1 && used >= SIZE.bytes / 5 * 4, "{used} bytes in lap {lap}");
    let (seen, files) = journal.to_cover();
    assert_eq!(files.len(), 1);
    files[0].1.sync_data().unwrap();
    journal.covered(&files[0].0, seen);
    assert!(!journal.must_cover() && journal.data_bytes_max().is_some());
}

/// ◆ Fails if a journal that is opened relies on a round that a failed sync has left in memory.
#[test]
fn a_round_that_only_the_page_cache_has_is_written_again() {
    let sim = SimDisk::new();
    let mut journal = new(&sim);
    journal.append(&[create(7)]).unwrap();
    sim.set_faults(|faults| faults.syncs_before_error = Some(0));
    assert!(journal.append(&[mark(5)]).is_err());
    let durable = |journal: &MarksJournal| journal.state().logs[&key(7)].durable;
    assert_eq!(durable(&reopen(&sim.reopen()).unwrap()), Offset(5));
    sim.crash_losing_everything_unsynced();
    assert_eq!(durable(&reopen(&sim.handle()).unwrap()), Offset(5));
}

/// ◆ Fails if a journal that is opened relies on a name that a failed sync, or a process that was killed, has left in memory.
#[test]
fn a_file_whose_name_is_in_memory_only_stays_once_it_was_opened() {
    let sim = with_version_1();
    // Its own names are synced, and the other file is made; that one's are not.
    sim.set_faults(|faults| faults.dir_syncs_before_error = Some(1));
    assert!(reopen(&sim.handle()).is_err());
    assert!(sim.reopen().exists(Path::new("/data/marks-0")));
    reopen(&sim.handle()).unwrap().append(&[mark(8)]).unwrap();
    sim.crash_losing_everything_unsynced();
    assert_eq!(reopen(&sim.handle()).unwrap().state().logs[&key(7)].durable, Offset(8));
}

/// ◆ Fails if the next file needs room of its own: others fill the disk, and the directory goes offline with what is durable.
#[test]
fn going_on_in_the_other_file_needs_no_room() {
    let sim = SimDisk::new();
    let mut journal = new(&sim);
    journal.append(&[create(7)]).unwrap();
    let used = sim.used_bytes();
    sim.set_faults(|faults| faults.capacity_bytes = Some(used));
    for index in 0..100 {
        journal.append(&[mark(index)]).unwrap();
    }
    assert!(journal.lap() > 50);
}

/// ◆ Fails if what was replayed needs room: a lap ended with the life, and the file is full to its last byte.
#[test]
fn what_was_replayed_is_settled_on_a_full_disk_wherever_a_lap_was_cut_short() {
    let mut full = 0;
    for calls in 0..20 {
        let sim = SimDisk::new();
        let mut journal = new(&sim);
        let file = segment(&sim.handle());
        sim.handle().sync_dir(Path::new("/data")).unwrap();
        journal.append(&[create(7), create(8), create(9)]).unwrap();
        append(&mut journal, &file, 7, 0, &[1; 600]);
        // Two laps, of which each file has something; nobody syncs a segment.
        let left = |journal: &MarksJournal| journal.fill().capacity.get() - journal.fill().bytes.get();
        while journal.lap() < 2 || left(&journal) > ROUND_ALIGNMENT as u64 {
            let log = if journal.lap() < 2 { 8 } else { 9 };
            append(&mut journal, &file, log, 0, &[2; 300]);
        }
        sim.set_faults(|faults| faults.calls_before_seal = Some(calls));
        let entry = data(&journal, 8, 0, &[3; 600]);
        let _ = journal.append_data(&[entry], vec![(key(8), file.clone())]);
        drop((journal, file));
        sim.crash_losing_everything_unsynced();
        let used = sim.used_bytes();
        sim.set_faults(|faults| (faults.calls_before_seal, faults.capacity_bytes) = (None, Some(used)));
        let mut journal = reopen(&sim.handle()).unwrap();
        full += usize::from(left(&journal) == 0);
        journal.finish_replay(&[]).unwrap();
    }
    assert!(full > 0, "no life ended with the file full");
}

#[test]
fn it_grows_where_records_go_through_it_and_there_is_room() {
    for (room, expected) in [(1 << 30, SIZE.bytes_max), (200_000, SIZE.bytes)] {
        let sim = SimDisk::new();
        sim.set_faults(|faults| faults.capacity_bytes = Some(room));
        let mut journal = new(&sim);
        let file = segment(&sim.handle());
        journal.append(&[create(7)]).unwrap();
        for index in 0..200 {
            journal.append(&[mark(index)]).unwrap();
        }
        assert_eq!(journal.fill().capacity.get(), SIZE.bytes, "marks alone need no more");
        for index in 0..200 {
            append(&mut journal, &file, 7, index * 100, &[1; 100]);
        }
        assert_eq!(journal.fill().capacity.get(), expected, "{room} bytes of room");
        assert_eq!(reopen(&sim.reopen()).unwrap().fill().capacity.get(), expected);
    }
}
