use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::time::Duration;

/// One thing that goes wrong, and later goes right again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The machine stops: unsynced bytes are lost, kept or torn.
    Crash(Vec<usize>),
    /// The node cannot speak with these others.
    Partition { node: usize, others: Vec<usize> },
    /// The node's data disk answers nothing that blocks: syncs, cold reads, removals.
    Stall(usize),
}

/// When each fault begins and ends, from the seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule(pub Vec<(Duration, Duration, Fault)>);

impl Schedule {
    /// Faults one after the other between `from` and `until`, at least a second apart.
    #[must_use]
    pub fn random(seed: u64, nodes: usize, from: Duration, until: Duration) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut faults = Vec::new();
        let mut at = from;
        loop {
            at += Duration::from_millis(random.random_range(1_000..5_000));
            let node = random.random_range(0..nodes);
            let kind = random.random_range(0..12);
            // Stalls of both kinds: shorter than the limit of a leader's flush, and longer.
            let lasts = if kind >= 10 { 2_000..9_000 } else { 200..6_000 };
            let end = at + Duration::from_millis(random.random_range(lasts));
            if end >= until {
                return Self(faults);
            }
            let fault = match kind {
                0..4 => Fault::Crash(vec![node]),
                4..6 => Fault::Crash((0..nodes).collect()),
                6 => Fault::Crash((0..nodes).filter(|other| *other != node).collect()),
                10.. => Fault::Stall(node),
                _ => {
                    let others: Vec<usize> = (0..nodes).filter(|other| *other != node).collect();
                    let count = random.random_range(1..=others.len());
                    Fault::Partition {
                        node,
                        others: others.into_iter().take(count).collect(),
                    }
                }
            };
            faults.push((at, end, fault));
            at = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_schedule_with_enough_faults() {
        let (from, until) = (Duration::from_secs(5), Duration::from_secs(60));
        for seed in 0..50 {
            let schedule = Schedule::random(seed, 3, from, until);
            assert_eq!(schedule, Schedule::random(seed, 3, from, until));
            assert!(schedule.0.len() >= 5, "seed {seed}: {}", schedule.0.len());
            assert!(schedule.0.windows(2).all(|pair| pair[0].1 < pair[1].0));
        }
    }
}
