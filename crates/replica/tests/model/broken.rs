//! Rules of the cores that are left out: the model's own checks notice.

use crate::run_one;
use replica::Durability;
use std::panic::catch_unwind;
use types::Broken;

const STEPS: usize = 500;
const SEEDS: u64 = 4_000;

/// What is lost with these rules left out: a member of the ISR that lacks what it must have, or has what it must not. Whether
/// all heals is not asked.
fn problem(rules: &[Broken], durability: Durability, seed: u64) -> Option<String> {
    types::choose(rules.iter().copied());
    let outcome = catch_unwind(|| run_one(durability, seed, STEPS));
    types::choose(None);
    let text = outcome.err()?.downcast::<String>().ok()?;
    text.contains("is in the ISR with").then_some(*text)
}

/// The first seed from `from` on with which it is noticed that `rule` is left out, where the same run without `rule` finds nothing.
/// `beside` it other rules are left out, behind which it is the second line.
fn noticed(rule: Broken, beside: &[Broken], from: u64) -> Option<(u64, String)> {
    let all: Vec<Broken> = beside.iter().copied().chain([rule]).collect();
    (from..from + SEEDS).find_map(|seed| {
        let durability = [Durability::Strict, Durability::Relaxed][usize::from(!seed.is_multiple_of(2))];
        let found = problem(&all, durability, seed)?;
        problem(beside, durability, seed).is_none().then_some((seed, found))
    })
}

#[test]
fn a_rule_that_is_left_out_is_noticed() {
    use Broken::*;
    // Of the last two the generation of the stream notices first what they would: an entry or an acknowledgement of another
    // leader epoch, or one that does not continue the log, is one of an older stream.
    let rules: [(Broken, &[Broken], u64); 13] = [
        (AckBeforeReplication, &[], 0),
        (AckBeforeFlush, &[], 0),
        (TruncateToHighWatermark, &[], 0),
        (IgnoreLeaderEpochs, &[], 0),
        (IgnorePendingIsr, &[], 0),
        (JoinBehind, &[], 0),
        (KeepEmptyEpochs, &[], 0),
        (JoinUndeleted, &[], 10_000),
        (JoinInAnEarlierLife, &[], 0),
        (IgnoreGenerations, &[], 2_000),
        (KeepAcksOverHello, &[], 46_000),
        (AcceptOldEpochs, &[IgnoreGenerations], 0),
        (IgnoreContinuity, &[IgnoreGenerations], 0),
    ];
    std::panic::set_hook(Box::new(|_| {}));
    let found = rules.map(|(rule, beside, from)| (rule, noticed(rule, beside, from)));
    let _ = std::panic::take_hook();
    for (rule, noticed) in &found {
        println!("{rule:?}: {noticed:?}");
    }
    assert!(
        found.iter().all(|(_, noticed)| noticed.is_some()),
        "nobody notices: {found:?}"
    );
}
