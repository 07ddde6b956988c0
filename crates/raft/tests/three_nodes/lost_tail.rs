//! What a leader sent before it was on its own disk, and lost.

use super::*;

/// A leader sends what its own disk does not have yet, the others commit it, and it is back from a loss of power before
/// anybody stands for election. Answers what is wrong then: the metadata after one log index is the same on every node.
async fn lose_the_tail_of_a_leader() -> Result<(), String> {
    let mut machines: Vec<Machine> = (1..=3).map(Machine::simulated).collect();
    let mut nodes = found(&mut machines).await;
    nodes[0].propose(10).await;
    nodes[1].sees(10).await;
    nodes[2].sees(10).await;
    stall(&machines[0], true);
    let base = nodes[0].raft.image().borrow().index;
    {
        let sent = nodes[0].raft.propose(base, vec![Record::NextProducerId { next: 20 }]);
        let committed = async {
            nodes[1].sees(20).await;
            nodes[2].sees(20).await;
        };
        tokio::pin!(committed);
        // Whether the leader itself ever learns of it does not matter.
        tokio::select! {
            () = &mut committed => {}
            _ = sent => committed.await,
        }
    }
    nodes.remove(0).kill(&machines[0]).await;
    stall(&machines[0], false);
    nodes.insert(0, machines[0].start().await);

    let index = within("somebody leads on", propose_anything(&nodes)).await;
    let mut images = Vec::new();
    for node in &nodes {
        let mut image = node.raft.image();
        let there = within("it applies that", image.wait_for(|image| image.index >= index)).await;
        images.push(there.map_err(|_| "a node ended".to_owned())?.to_snapshot());
    }
    match images.iter().all(|image| *image == images[0]) {
        true => Ok(()),
        false => Err(format!(
            "after log index {index} the nodes have other metadata: {images:?}"
        )),
    }
}

/// Whoever leads proposes what its newest metadata allows.
async fn propose_anything(nodes: &[Node]) -> LogIndex {
    loop {
        let leading = &nodes[leader(nodes).await];
        if leading.raft.read_index().await.is_ok() {
            let base = leading.raft.image().borrow().index;
            let next = leading.next_producer_id() + 5;
            if let Ok(index) = leading.raft.propose(base, vec![Record::NextProducerId { next }]).await {
                return index;
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn stall(machine: &Machine, stalled: bool) {
    if let Disk::Sim(store) = &machine.disk {
        store.stall(stalled);
    }
}

/// ◆ `enable_leader_restore`: a leader that is back in its old term would give the log id of what it lost to something else.
#[tokio::test]
async fn what_a_leader_sent_and_lost_stays_committed() {
    lose_the_tail_of_a_leader().await.unwrap();
}

/// The same with a leader that comes back as one.
#[cfg(feature = "broken")]
#[tokio::test]
async fn a_leader_that_is_restored_is_noticed() {
    types::choose([types::Broken::RestoreRaftLeader]);
    // It must be back before anybody stands for election, and a busy machine is slow.
    for _ in 0..5 {
        let outcome = std::panic::AssertUnwindSafe(lose_the_tail_of_a_leader());
        match futures::FutureExt::catch_unwind(outcome).await {
            Ok(Ok(())) => {}
            noticed => {
                println!("{noticed:?}");
                return;
            }
        }
    }
    panic!("nobody notices");
}
