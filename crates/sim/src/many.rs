use crate::{Outcome, Plan, run};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Runs every seed of `seeds` on `jobs` threads and shows what came of each, in no certain order, with the real time that
/// it took. `show` answers whether to go on: seeds that have not begun by then are left out.
pub fn run_many(
    seeds: Range<u64>,
    jobs: usize,
    plan: impl Fn(u64) -> Plan + Sync,
    mut show: impl FnMut(u64, Outcome, Duration) -> bool,
) {
    let next = AtomicU64::new(seeds.start);
    std::thread::scope(|scope| {
        let (done, outcomes) = mpsc::channel();
        for _ in 0..jobs.max(1) {
            let (done, next, plan) = (done.clone(), &next, &plan);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let started = Instant::now();
                    let plan = plan(seed);
                    let outcome = std::panic::catch_unwind(|| run(&plan)).unwrap_or_else(|_| Outcome::panicked());
                    if done.send((seed, outcome, started.elapsed())).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        for (seed, outcome, took) in outcomes {
            if !show(seed, outcome, took) {
                next.store(seeds.end, Ordering::Relaxed);
            }
        }
    });
}
