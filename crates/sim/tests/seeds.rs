//! Seeded runs of three nodes, short ones; `make sim` runs more and longer.

use sim::{Plan, run};

const SEEDS: u64 = 20;

#[test]
fn seeds_find_nothing() {
    let mut failures = Vec::new();
    let (mut resigned, mut moved) = (0, 0);
    for seed in 1..=SEEDS {
        let outcome = run(&Plan::new(seed, 15));
        println!("{}", outcome.summary(seed));
        resigned += usize::from(outcome.trace.contains("asking the controller for leaders"));
        moved += outcome.trace.matches("deleting a replica").count();
        if outcome.acknowledged < 100 {
            failures.push(format!(
                "seed {seed}: only {} records were acknowledged: the run proves nothing",
                outcome.acknowledged
            ));
        }
        failures.extend(outcome.problems.iter().map(|problem| format!("seed {seed}: {problem}")));
    }
    assert!(
        resigned > 0,
        "no disk stalled under a leader: the faults do not show it"
    );
    assert!(moved > 20, "only {moved} replicas were moved away");
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
