//! Seeded runs of three nodes, short ones; `make sim` runs more and longer.

use sim::{Plan, run};

const SEEDS: u64 = 20;
/// Some faults are rare in short runs: more seeds are run until each has had its effect.
const SEEDS_MAX: u64 = 200;

/// What the log says when a fault of each kind has had its effect, in some seed at least.
const EFFECTS: [&str; 5] = [
    "asking the controller for leaders",
    "a log directory is full",
    "a log directory has room again",
    "log directories have failed",
    "the damaged replica was copied again",
];

#[test]
fn seeds_find_nothing() {
    let mut failures = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    let (mut moved, mut commits, mut rebalances) = (0, 0, 0);
    for seed in 1..=SEEDS_MAX {
        if seed > SEEDS && seen.len() == EFFECTS.len() {
            break;
        }
        let outcome = run(&Plan::new(seed, 15));
        println!("{}", outcome.summary(seed));
        seen.extend(EFFECTS.into_iter().filter(|effect| outcome.trace.contains(effect)));
        moved += outcome.trace.matches("deleting a replica").count();
        commits += outcome.commits;
        rebalances += outcome.rebalances;
        if outcome.acknowledged < 100 {
            failures.push(format!(
                "seed {seed}: only {} records were acknowledged: the run proves nothing",
                outcome.acknowledged
            ));
        }
        failures.extend(outcome.problems.iter().map(|problem| format!("seed {seed}: {problem}")));
    }
    let missing: Vec<_> = EFFECTS.iter().filter(|effect| !seen.contains(*effect)).collect();
    assert!(missing.is_empty(), "the faults do not show it: {missing:?}");
    assert!(moved > 20, "only {moved} replicas were moved away");
    assert!(
        commits > 100 * SEEDS && rebalances > 5 * SEEDS,
        "only {commits} commits and {rebalances} assignments: that proves nothing of groups"
    );
    assert!(
        failures.is_empty(),
        "replay with `make sim SEED=n`:\n{}",
        failures.join("\n")
    );
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let mut plan = Plan::new(3, 12);
    plan.filter = "debug".to_owned();
    let (first, second) = (run(&plan).trace, run(&plan).trace);
    assert!(first.lines().count() > 100, "the trace is empty");
    for (number, (a, b)) in first.lines().zip(second.lines()).enumerate() {
        assert_eq!(a, b, "line {}", number + 1);
    }
    assert_eq!(first.lines().count(), second.lines().count());
}
