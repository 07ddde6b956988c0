//! What a run leaves behind, measured in a process of its own.

use host::{Host, RealHost};
use sim::{Plan, run_many};

/// Of these runs, before the mark and after it. Lives of nodes that were not let go once took 4 to 5 MB each, ten of them and
/// more a run.
const BEFORE: std::ops::Range<u64> = 1..7;
const AFTER: std::ops::Range<u64> = 7..15;
/// What an allocator may keep for itself.
const GROWTH_MAX: u64 = 60 << 20;

fn resident_bytes() -> u64 {
    RealHost::new().process_usage().expect("there is /proc").resident_bytes
}

/// Each node that crashed, its disk and its log, and everything that a run made is gone with it: thousands of seeds run in one
/// process.
#[test]
fn runs_leave_nothing_behind() {
    let run = |seeds| {
        run_many(
            seeds,
            1,
            |seed| Plan::new(seed, 25),
            |seed, outcome, _| {
                assert!(
                    outcome.faults > 0 && outcome.acknowledged > 0,
                    "seed {seed} proves nothing"
                );
                true
            },
        );
    };
    run(BEFORE);
    let before = resident_bytes();
    run(AFTER);
    let grown = resident_bytes().saturating_sub(before);
    println!("{before} bytes, and {grown} more after {} runs", AFTER.count());
    assert!(grown < GROWTH_MAX, "{grown} bytes are left by {} runs", AFTER.count());
}
