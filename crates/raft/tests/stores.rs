//! What both stores promise, and what a crash may take.

use raft::{Change, RaftStore, RocksStore, SimStore, Slot};
use std::sync::Arc;

fn append(from: u64, count: u64) -> Change {
    Change {
        entries: (from..from + count)
            .map(|index| (index, vec![index as u8; 100]))
            .collect(),
        ..Change::default()
    }
}

async fn conforms(store: Arc<dyn RaftStore>) {
    assert_eq!(store.last_entry().unwrap(), None);
    assert_eq!(store.read(Slot::Vote).unwrap(), None);
    store
        .write(Change {
            puts: vec![(Slot::Vote, vec![1])],
            ..Change::default()
        })
        .await
        .unwrap();
    store.write(append(0, 10)).await.unwrap();
    assert_eq!(store.read(Slot::Vote).unwrap(), Some(vec![1]));
    assert_eq!(store.last_entry().unwrap(), Some(vec![9; 100]));
    assert_eq!(
        store.entries(3..6, usize::MAX).unwrap(),
        vec![vec![3; 100], vec![4; 100], vec![5; 100]]
    );
    assert_eq!(store.entries(3..6, 250).unwrap().len(), 2);
    assert_eq!(store.entries(3..6, 0).unwrap().len(), 1, "at least one");
    assert!(store.entries(6..6, usize::MAX).unwrap().is_empty());
    // A new leader's entries replace the tail in one change.
    store
        .write(Change {
            remove: Some(7..u64::MAX),
            entries: vec![(7, vec![70])],
            ..Change::default()
        })
        .await
        .unwrap();
    assert_eq!(store.last_entry().unwrap(), Some(vec![70]));
    store
        .write(Change {
            remove: Some(0..5),
            puts: vec![(Slot::Purged, vec![4])],
            ..Change::default()
        })
        .await
        .unwrap();
    assert_eq!(
        store.entries(0..100, usize::MAX).unwrap(),
        vec![vec![5; 100], vec![6; 100], vec![70]]
    );
}

#[tokio::test]
async fn rocks_conforms_and_reopens() {
    let dir = tempfile::tempdir().unwrap();
    let store = RocksStore::open(dir.path()).unwrap();
    conforms(store.clone()).await;
    drop(store);
    // The flush thread holds the database until it has seen the end of its queue.
    let store = loop {
        match RocksStore::open(dir.path()) {
            Ok(store) => break store,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    assert_eq!(store.read(Slot::Vote).unwrap(), Some(vec![1]));
    assert_eq!(store.last_entry().unwrap(), Some(vec![70]));
}

#[tokio::test]
async fn sim_conforms() {
    conforms(SimStore::new(1).reopen()).await;
}

#[tokio::test]
async fn a_crash_keeps_what_was_synced_and_a_prefix_of_the_rest() {
    let mut lengths = std::collections::BTreeSet::new();
    for seed in 0..64 {
        let disk = SimStore::new(seed);
        let old = disk.reopen();
        old.write(append(0, 3)).await.unwrap();
        for index in 3..6 {
            old.submit(append(index, 1), Box::new(|_| panic!("told durable after the crash")))
                .unwrap();
        }
        disk.crash(seed);
        assert!(
            old.last_entry().is_err() && old.write(append(9, 1)).await.is_err(),
            "the old life is sealed"
        );
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        let left = disk.reopen().entries(0..100, usize::MAX).unwrap();
        let expected: Vec<_> = (0..left.len()).map(|index| vec![index as u8; 100]).collect();
        assert_eq!(left, expected);
        lengths.insert(left.len());
    }
    assert_eq!(lengths, [3, 4, 5, 6].into());
}

#[tokio::test]
async fn one_seed_one_randomness() {
    async fn draw(seed: u64) -> Vec<u64> {
        use openraft_rt::AsyncRuntime;
        use rand::Rng;
        raft::simulated(seed, async {
            let mut all = Vec::new();
            for _ in 0..4 {
                all.push(raft::SwitchRuntime::thread_rng().next_u64());
                tokio::task::yield_now().await;
            }
            all.extend(
                raft::SwitchRuntime::spawn(async { vec![raft::SwitchRuntime::thread_rng().next_u64()] })
                    .await
                    .unwrap(),
            );
            all
        })
        .await
    }
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            assert_eq!(draw(7).await, draw(7).await);
            assert_ne!(draw(7).await, draw(8).await);
        })
        .await;
}

/// Runs in a process of its own, which may not make files as large as its log becomes. Prints what was reported durable.
#[tokio::test]
#[ignore = "a part of the next"]
async fn writes_until_the_disk_refuses() {
    let store = RocksStore::open(std::path::Path::new(&std::env::var("STORE").unwrap())).unwrap();
    let vote = |number: u8| Change {
        puts: vec![(Slot::Vote, vec![number])],
        ..Change::default()
    };
    store.write(vote(1)).await.unwrap();
    let entry = |index| Change {
        entries: vec![(index, vec![index as u8; 10_000])],
        ..Change::default()
    };
    let mut durable = 0;
    while durable < 1_000 && store.write(entry(durable)).await.is_ok() {
        durable += 1;
    }
    assert!(durable < 1_000, "it never refused");
    // ◆ It neither votes nor acknowledges any more, however small.
    assert!(store.write(vote(2)).await.is_err());
    assert!(store.write(append(durable, 1)).await.is_err());
    assert!(store.hint(Slot::Committed, vec![1]).is_err());
    println!("durable={durable}");
}

/// ◆ A store whose disk is full takes no vote and no entry from then on, and all that it reported durable is there when
/// there is room again. A limit of the process stands in for the disk: the error is another number on the same way.
#[tokio::test]
async fn a_full_disk_ends_the_life_of_the_store_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    // Blocks of 512 bytes; without the trap the signal would end the process.
    let limited = std::process::Command::new("sh")
        .args([
            "-c",
            "trap '' XFSZ; ulimit -f 1000; exec \"$0\" --ignored --exact writes_until_the_disk_refuses --nocapture",
        ])
        .arg(std::env::current_exe().unwrap())
        .env("STORE", dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&limited.stdout);
    assert!(
        limited.status.success(),
        "{said} {}",
        String::from_utf8_lossy(&limited.stderr)
    );
    let durable: u64 = said
        .lines()
        .find_map(|line| line.split_once("durable=")?.1.parse().ok())
        .unwrap();
    let store = RocksStore::open(dir.path()).unwrap();
    assert_eq!(
        store.read(Slot::Vote).unwrap(),
        Some(vec![1]),
        "the vote that was refused was not given"
    );
    let left = store.entries(0..u64::MAX, usize::MAX).unwrap();
    assert!(
        durable > 10 && left.len() as u64 >= durable,
        "{durable} of {}",
        left.len()
    );
    assert!(
        left.iter()
            .enumerate()
            .all(|(index, entry)| *entry == vec![index as u8; 10_000])
    );
}
