//! Work on logs that waits for the disk: on a pool, while the partition is without its log.

use crate::partition::Errand;
use crate::shard::ShardRef;
use host::PoolExt;

pub(crate) async fn run(shard: ShardRef) {
    loop {
        let errands = shard.links().take_errands();
        if errands.is_empty() {
            shard.links().errand.notified().await;
            continue;
        }
        for errand in errands {
            tokio::task::spawn_local(run_one(shard.clone(), errand));
        }
    }
}

async fn run_one(shard: ShardRef, mut errand: Errand) {
    let (tp, incarnation) = (errand.tp, errand.incarnation);
    let done = shard.cold_pool().run(move || {
        let outcome = errand.run();
        (errand, outcome)
    });
    match done.await {
        Ok((errand, outcome)) => {
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
        Err(error) => tracing::error!(%tp, %error, "a log was lost with its pool"),
    }
}
