use super::{DiskEvent, SECTOR_BYTES, SimDisk};
use crate::{Disk, File, OpenMode};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

fn new_file(disk: &Arc<dyn Disk>, path: &str) -> Arc<dyn File> {
    disk.open(Path::new(path), OpenMode::CreateNew).expect("created")
}

fn content(disk: &Arc<dyn Disk>, path: &str) -> Option<Vec<u8>> {
    disk.read(Path::new(path)).ok()
}

#[test]
fn synced_bytes_and_names_survive_every_crash() {
    for seed in 0..200 {
        let sim = SimDisk::new();
        let disk = sim.handle();
        let file = new_file(&disk, "/a");
        file.write_all_at(b"synced", 0).expect("write");
        file.sync_data().expect("sync");
        disk.sync_dir(Path::new("/")).expect("sync dir");
        file.write_all_at(b"later", 4096).expect("write");
        sim.crash(seed);
        let found = content(&sim.handle(), "/a").expect("the name was synced");
        assert_eq!(&found[..6], b"synced", "seed {seed}");
    }
}

#[test]
fn unsynced_writes_are_kept_lost_torn_and_reordered() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..300 {
        let sim = SimDisk::new();
        let disk = sim.handle();
        let file = new_file(&disk, "/a");
        disk.sync_dir(Path::new("/")).expect("sync dir");
        file.write_all_at(&[1; SECTOR_BYTES * 2], 0).expect("write");
        file.write_all_at(&[2; SECTOR_BYTES], 2 * SECTOR_BYTES as u64)
            .expect("write");
        sim.crash(seed);
        let found = content(&sim.handle(), "/a").expect("the name was synced");
        let sectors: Vec<u8> = found.chunks(SECTOR_BYTES).map(|sector| sector[0]).collect();
        assert!(
            found
                .chunks(SECTOR_BYTES)
                .all(|sector| sector.iter().all(|byte| *byte == sector[0]))
        );
        outcomes.insert(sectors);
    }
    for expected in [vec![], vec![1, 1], vec![1, 1, 2], vec![0, 0, 2], vec![1, 0]] {
        assert!(outcomes.contains(&expected), "never seen: {expected:?} in {outcomes:?}");
    }
}

#[test]
fn a_cut_that_reached_the_size_is_not_undone() {
    for seed in 0..200 {
        let sim = SimDisk::new();
        let disk = sim.handle();
        let file = new_file(&disk, "/a");
        file.write_all_at(&[7; 4 * SECTOR_BYTES], 0).expect("write");
        file.sync_data().expect("sync");
        disk.sync_dir(Path::new("/")).expect("sync dir");
        file.set_len(SECTOR_BYTES as u64).expect("cut");
        file.sync_data().expect("sync");
        file.set_len(4 * SECTOR_BYTES as u64).expect("extend");
        sim.crash(seed);
        let found = content(&sim.handle(), "/a").expect("there");
        assert!(found[SECTOR_BYTES..].iter().all(|byte| *byte == 0), "seed {seed}");
    }
}

#[test]
fn unsynced_names_may_vanish_and_renames_are_atomic() {
    let (mut kept, mut vanished) = (0, 0);
    for seed in 0..200 {
        let sim = SimDisk::new();
        let disk = sim.handle();
        new_file(&disk, "/old").sync_data().expect("sync");
        disk.sync_dir(Path::new("/")).expect("sync dir");
        disk.rename(Path::new("/old"), Path::new("/new")).expect("rename");
        new_file(&disk, "/other");
        sim.crash(seed);
        let disk = sim.handle();
        assert!(
            disk.exists(Path::new("/old")) != disk.exists(Path::new("/new")),
            "seed {seed}"
        );
        if disk.exists(Path::new("/other")) {
            kept += 1
        } else {
            vanished += 1
        }
    }
    assert!(kept > 20 && vanished > 20, "{kept} {vanished}");
}

#[test]
fn the_same_seed_gives_the_same_disk() {
    let run = |seed| {
        let sim = SimDisk::new();
        let disk = sim.handle();
        let file = new_file(&disk, "/a");
        disk.sync_dir(Path::new("/")).expect("sync dir");
        for index in 0..40u8 {
            file.write_all_at(&[index; 700], u64::from(index) * 300).expect("write");
        }
        sim.crash(seed);
        content(&sim.handle(), "/a")
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}

#[test]
fn an_old_life_cannot_touch_the_disk() {
    let sim = SimDisk::new();
    let old = sim.handle();
    let file = new_file(&old, "/a");
    let lock = old.lock(Path::new("/.lock")).expect("free");
    assert_eq!(
        old.lock(Path::new("/.lock")).err().map(|error| error.kind()),
        Some(io::ErrorKind::WouldBlock)
    );
    sim.crash(1);
    assert!(file.write_all_at(b"x", 0).is_err());
    assert!(file.sync_data().is_err());
    assert!(old.open(Path::new("/b"), OpenMode::Create).is_err());
    assert!(!old.exists(Path::new("/")));
    let new = sim.handle();
    let held = new.lock(Path::new("/.lock")).expect("the crash freed it");
    drop(lock);
    assert!(
        new.lock(Path::new("/.lock")).is_err(),
        "the old life's lock freed the new one's"
    );
    drop(held);
    assert!(new.lock(Path::new("/.lock")).is_ok());
    sim.seal();
    assert!(new.read_dir(Path::new("/")).is_err());
}

#[test]
fn faults_strike_once_where_they_were_planned() {
    let sim = SimDisk::new();
    let disk = sim.handle();
    let file = new_file(&disk, "/a");
    disk.sync_dir(Path::new("/")).expect("sync dir");
    sim.set_faults(|faults| faults.writes_before_error = Some(1));
    assert!(file.write_all_at(b"1", 0).is_ok());
    assert_eq!(
        file.write_all_at(b"2", 1).err().and_then(|error| error.raw_os_error()),
        Some(5)
    );
    assert!(file.write_all_at(b"2", 1).is_ok());
    sim.set_faults(|faults| faults.syncs_before_error = Some(0));
    assert!(file.sync_data().is_err());
    assert!(file.sync_data().is_ok(), "the kernel reports an error once");
    sim.set_faults(|faults| faults.capacity_bytes = Some(4));
    assert_eq!(
        file.write_all_at(b"55555", 0)
            .err()
            .and_then(|error| error.raw_os_error()),
        Some(28)
    );
    assert_eq!(
        content(&disk, "/a").map(|bytes| bytes.len()),
        Some(4),
        "what fits is written"
    );
    sim.crash_losing_everything_unsynced();
    assert_eq!(
        content(&sim.handle(), "/a"),
        Some(vec![]),
        "a failed sync persisted its pages"
    );
}

/// A full disk gets room by deletions and replacements, as a real one does.
#[test]
fn what_was_removed_or_replaced_takes_room_only_while_it_is_open() {
    let sim = SimDisk::new();
    let disk = sim.handle();
    let kept = new_file(&disk, "/a");
    kept.write_all_at(&[1; 100], 0).expect("write");
    for _ in 0..3 {
        disk.write_durably(Path::new("/b"), &[2; 30]).expect("write");
    }
    assert_eq!(sim.used_bytes(), 130);
    disk.remove_file(Path::new("/a")).expect("remove");
    assert_eq!(sim.used_bytes(), 130, "it is open");
    drop(kept);
    assert_eq!(sim.used_bytes(), 30);
    assert_eq!(sim.used_by_file(), BTreeMap::from([("/b".into(), 30)]));
    sim.set_faults(|faults| faults.capacity_bytes = Some(60));
    disk.write_durably(Path::new("/b"), &[3; 30]).expect("fits");
    disk.write_durably(Path::new("/b"), &[3; 31]).expect_err("does not fit");
}

#[test]
fn a_lying_disk_loses_what_it_said_it_had() {
    let sim = SimDisk::new();
    let disk = sim.handle();
    let file = new_file(&disk, "/a");
    disk.sync_dir(Path::new("/")).expect("sync dir");
    sim.set_faults(|faults| faults.drop_syncs = true);
    file.write_all_at(b"x", 0).expect("write");
    file.sync_data().expect("a lie");
    sim.crash_losing_everything_unsynced();
    assert_eq!(content(&sim.handle(), "/a"), Some(vec![]));
}

#[test]
fn events_and_flipped_bits() {
    let sim = SimDisk::new();
    let disk = sim.handle();
    sim.record_events();
    let file = new_file(&disk, "/a");
    file.write_all_at(&[0], 0).expect("write");
    file.sync_data().expect("sync");
    let path = Path::new("/a").to_owned();
    assert_eq!(
        sim.events(),
        [
            DiskEvent::Create { path: path.clone() },
            DiskEvent::Write {
                path: path.clone(),
                position: 0,
                len: 1
            },
            DiskEvent::Sync { path: path.clone() },
        ]
    );
    sim.flip_bit(&path, 0, 3).expect("there");
    assert_eq!(content(&disk, "/a"), Some(vec![8]));
    assert!(sim.flip_bit(&path, 1, 0).is_err());
}

#[test]
fn a_life_ends_in_the_middle() {
    let sim = SimDisk::new();
    let disk = sim.handle();
    let file = new_file(&disk, "/a");
    sim.set_faults(|faults| faults.calls_before_seal = Some(1));
    assert!(file.write_all_at(b"1", 0).is_ok());
    assert!(file.write_all_at(b"2", 1).is_err());
    assert!(file.sync_data().is_err());
    sim.crash(0);
    assert!(sim.handle().exists(Path::new("/")));
}

#[test]
fn a_directory_made_durably_keeps_its_parents() {
    for seed in 0..20 {
        let world = SimDisk::new();
        let disk = world.handle();
        disk.create_dir_durably(Path::new("/a/b/c")).unwrap();
        disk.write_durably(Path::new("/a/b/c/f"), b"x").unwrap();
        world.crash(seed);
        assert_eq!(content(&world.handle(), "/a/b/c/f"), Some(b"x".to_vec()), "seed {seed}");
    }
}

#[test]
fn a_failed_write_back_is_told_to_whoever_held_the_file_open() {
    for (lose, close, told) in [
        (false, false, true),
        (false, true, true),
        (true, false, true),
        (true, true, false),
    ] {
        let sim = SimDisk::new();
        sim.set_faults(|faults| faults.lose_error_on_close = lose);
        let disk = sim.handle();
        let file = new_file(&disk, "/a");
        disk.sync_dir(Path::new("/")).expect("sync dir");
        file.write_all_at(b"lost", 0).expect("write");
        sim.fail_write_back(Path::new("/a")).expect("there");
        let second = disk.open(Path::new("/a"), OpenMode::Read).expect("open");
        drop(file);
        let second = if close {
            drop(second);
            disk.open(Path::new("/a"), OpenMode::Write).expect("open")
        } else {
            second
        };
        assert_eq!(second.sync_data().is_err(), told, "lose {lose}, close {close}");
        second.sync_data().expect("told once");
        sim.crash_losing_everything_unsynced();
        assert_eq!(content(&sim.handle(), "/a").as_deref(), Some(&b""[..]));
    }
}
