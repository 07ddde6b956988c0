use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::time::Duration;

/// Log directories of each node.
pub const LOG_DIRS: usize = 2;
/// What a node keeps free of records in each.
pub const RESERVE_BYTES: u64 = 64 * 1024;

/// One thing that goes wrong, and later goes right again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The machine stops: unsynced bytes are lost, kept or torn.
    Crash(Vec<usize>),
    /// The node cannot speak with these others.
    Partition { node: usize, others: Vec<usize> },
    /// The node's data disk answers nothing that blocks: syncs, cold reads, removals.
    Stall(usize),
    /// Others take all but so many bytes of the node's disk, fewer than its reserve, and give it back.
    Fill { node: usize, free_bytes: u64 },
    /// A log directory of the node can be written to no more: syncs fail, and with `writes` all that would change a file.
    /// It is sound again when the node is started anew.
    Fail {
        node: usize,
        directory: usize,
        writes: bool,
    },
    /// A bit of one of the node's logs turns over, in what was written long ago.
    Rot { node: usize, seed: u64 },
}

/// When each fault begins and ends, from the seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule(pub Vec<(Duration, Duration, Fault)>);

impl Schedule {
    /// Faults one after the other between `from` and `until`, at least a second apart.
    #[must_use]
    pub fn random(seed: u64, nodes: usize, from: Duration, until: Duration) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        // ◆ One node only: more copies than may be lost must not be damaged at the same time.
        let rotting = random.random_range(0..nodes);
        let mut faults = Vec::new();
        let mut at = from;
        loop {
            at += Duration::from_millis(random.random_range(1_000..5_000));
            let node = random.random_range(0..nodes);
            let kind = random.random_range(0..19);
            let lasts = match kind {
                // Stalls of both kinds: shorter than the limit of a leader's flush, and longer.
                10..12 => 2_000..9_000,
                // Room is measured twice a second.
                12..15 => 1_500..6_000,
                // Over at once.
                17.. => 1..2,
                _ => 200..6_000,
            };
            let end = at + Duration::from_millis(random.random_range(lasts));
            if end >= until {
                return Self(faults);
            }
            let fault = match kind {
                0..4 => Fault::Crash(vec![node]),
                4..6 => Fault::Crash((0..nodes).collect()),
                6 => Fault::Crash((0..nodes).filter(|other| *other != node).collect()),
                10..12 => Fault::Stall(node),
                12..15 => Fault::Fill {
                    node,
                    free_bytes: random.random_range(0..RESERVE_BYTES),
                },
                15..17 => Fault::Fail {
                    node,
                    directory: random.random_range(0..LOG_DIRS),
                    writes: random.random(),
                },
                17.. => Fault::Rot {
                    node: rotting,
                    seed: random.random(),
                },
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
            let rotting = schedule.0.iter().filter_map(|(_, _, fault)| match fault {
                Fault::Rot { node, .. } => Some(*node),
                _ => None,
            });
            let rotting: std::collections::BTreeSet<usize> = rotting.collect();
            assert!(rotting.len() <= 1, "seed {seed}: {rotting:?}");
        }
    }
}
