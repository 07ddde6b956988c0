//! Work on logs that waits for the disk: on a pool.

use crate::partition::{Errand, LogWork};
use crate::shard::ShardRef;
use host::PoolExt;
use logstore::{LogError, LogStartMove};

pub(crate) async fn run(shard: ShardRef) {
    loop {
        let errands = shard.links().take_errands();
        if errands.is_empty() {
            shard.links().errand.notified().await;
            continue;
        }
        // Retention moves many logs at once: one round of the journal for all of them.
        let (moves, cuts): (Vec<_>, Vec<_>) = errands
            .into_iter()
            .partition(|errand| matches!(errand.work, LogWork::MoveStart(_)));
        if !moves.is_empty() {
            tokio::task::spawn_local(move_starts(shard.clone(), moves));
        }
        for cut in cuts {
            tokio::task::spawn_local(run_one(shard.clone(), cut));
        }
    }
}

async fn run_one(shard: ShardRef, mut errand: Errand) {
    let tp = errand.tp;
    let done = shard.cold_pool().run(move || {
        let outcome = errand.run();
        (errand, outcome)
    });
    match done.await {
        Ok((errand, outcome)) => finish(&shard, errand, outcome),
        Err(error) => {
            tracing::error!(topic_id = %tp.topic, partition = tp.partition, %error, "a log was lost with its pool")
        }
    }
}

async fn move_starts(shard: ShardRef, errands: Vec<Errand>) {
    let done = shard.cold_pool().run(move || {
        let moves = errands.iter().filter_map(|errand| match &errand.work {
            LogWork::MoveStart(moved) => Some(moved),
            LogWork::Cut { .. } => None,
        });
        let outcomes = LogStartMove::run_all(&moves.collect::<Vec<_>>());
        errands.into_iter().zip(outcomes).collect::<Vec<_>>()
    });
    match done.await {
        Ok(done) => {
            for (errand, outcome) in done {
                finish(&shard, errand, outcome);
            }
        }
        Err(error) => tracing::error!(%error, "log starts were lost with their pool"),
    }
}

fn finish(shard: &ShardRef, errand: Errand, outcome: Result<(), LogError>) {
    let (tp, incarnation) = (errand.tp, errand.incarnation);
    let restate = shard.with(tp, |partition| {
        // A partition is not removed while its log is away; a log that comes to another would be a stranger.
        if partition.incarnation != incarnation {
            return false;
        }
        partition.errand_done(errand, outcome);
        partition.take_restate()
    });
    // The image may have moved on while the log was away.
    shard.look_again();
    match restate {
        Some(true) => shard.state(tp),
        _ => shard.acknowledge(tp),
    }
}
