use crate::machine::{FOUNDERS, Loss};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::time::Duration;

/// Log directories of each node.
pub const LOG_DIRS: usize = 2;
/// What a node keeps free of records in each.
pub const RESERVE_BYTES: u64 = 64 * 1024;
/// A wall clock jumps by at most so much, forwards or backwards.
const JUMP_MS: i64 = 3_600_000;

/// One thing that goes wrong, and later goes right again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The machine stops: unsynced bytes are lost, kept or torn.
    Crash(Vec<usize>),
    /// The node cannot speak with these others.
    Partition { node: usize, others: Vec<usize> },
    /// Of what these say to each other only one direction arrives: `outward`, nothing that the node says.
    OneWay {
        node: usize,
        others: Vec<usize>,
        outward: bool,
    },
    /// Every message between the node and the others, clients included, takes up to so long.
    Slow { node: usize, latency: Duration },
    /// What the node and these others say to each other is held back, and arrives in the end.
    Hold { node: usize, others: Vec<usize> },
    /// The node's data disk answers nothing that blocks: syncs, cold reads, removals.
    Stall(usize),
    /// These disks answer nothing for a while, and then the machines lose power, with all that was not synced, and are
    /// started at once.
    Blackout(Vec<usize>),
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
    /// The node is stopped in an orderly way (controlled shutdown) and started again.
    Stop(usize),
    /// Its wall clock is off by so much.
    Clock { node: usize, by_ms: i64 },
    /// The machine stops and comes back without part of its disk.
    Wipe { node: usize, loss: Loss },
    /// The machine stops and comes back with a log directory as it was some time ago.
    OldDisk { node: usize, directory: usize },
}

impl Fault {
    /// Whether the machine that it strikes loses what was not synced, or more.
    #[must_use]
    pub fn loses(&self) -> bool {
        matches!(
            self,
            Self::Crash(_)
                | Self::Blackout(_)
                | Self::Fail { .. }
                | Self::Wipe { .. }
                | Self::OldDisk { .. }
                | Self::Rot { .. }
        )
    }

    /// Whether a member of the metadata group is gone for good, with its log and vote.
    #[must_use]
    pub fn loses_vote(&self) -> bool {
        matches!(self, Self::Wipe { loss, .. } if matches!(loss, Loss::Everything | Loss::Metadata))
    }
}

impl Fault {
    /// Whether the machine is switched off or on by it, or its disk is struck.
    #[must_use]
    pub fn touches(&self, machine: usize) -> bool {
        match self {
            Self::Crash(nodes) | Self::Blackout(nodes) => nodes.contains(&machine),
            Self::Stall(node) | Self::Stop(node) => *node == machine,
            Self::Fill { node, .. }
            | Self::Fail { node, .. }
            | Self::Rot { node, .. }
            | Self::Wipe { node, .. }
            | Self::OldDisk { node, .. } => *node == machine,
            Self::Partition { .. }
            | Self::OneWay { .. }
            | Self::Slow { .. }
            | Self::Hold { .. }
            | Self::Clock { .. } => false,
        }
    }
}

/// One machine after the other loses power for a moment, whatever else goes wrong: when, until when, which.
pub type Blinks = Vec<(Duration, Duration, usize)>;

/// When each fault begins and ends, from the seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule(pub Vec<(Duration, Duration, Fault)>);

/// Which faults a run has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Character {
    /// Never more machines at a time than a relaxed topic stands.
    pub gentle: bool,
    /// A fourth node is there.
    pub grows: bool,
    /// Machines lose power for a moment also while something else is wrong.
    pub restless: bool,
    /// ◆ The only node that loses what it has synced: more copies than may be lost must not be damaged at a time.
    pub fragile: usize,
}

impl Character {
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let gentle = random.random_bool(0.3);
        Self {
            gentle,
            grows: random.random_bool(0.4),
            fragile: random.random_range(0..FOUNDERS),
            restless: !gentle && random.random_bool(0.4),
        }
    }

    /// Machines of the run.
    #[must_use]
    pub fn nodes(self) -> usize {
        FOUNDERS + usize::from(self.grows)
    }

    /// None but in a restless run.
    #[must_use]
    pub fn blinks(self, seed: u64, from: Duration, until: Duration) -> Blinks {
        let mut random = SmallRng::seed_from_u64(seed);
        let (mut blinks, mut at) = (Blinks::new(), from);
        if !self.restless {
            return blinks;
        }
        loop {
            at += Duration::from_millis(random.random_range(20..4_000));
            // Half of them are back before anybody is sure that they were gone.
            let lasts = if random.random() { 30..400 } else { 50..1_500 };
            let end = at + Duration::from_millis(random.random_range(lasts));
            if end >= until {
                return blinks;
            }
            blinks.push((at, end, random.random_range(0..self.nodes())));
            at = end;
        }
    }
}

impl Schedule {
    /// Faults one after the other between `from` and `until`: most about a second apart or more, some on the heels of the
    /// one before, when what that broke is not whole again.
    #[must_use]
    pub fn random(seed: u64, character: Character, from: Duration, until: Duration) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut faults = Vec::new();
        let mut at = from;
        loop {
            let follows_at_once = !character.gentle && random.random_bool(0.3);
            let pause = if follows_at_once { 1..400 } else { 800..4_000 };
            at += Duration::from_millis(random.random_range(pause));
            let fault = one(&mut random, character);
            let lasts = match fault {
                // Stalls of both kinds: shorter than the limit of a leader's flush, and longer.
                Fault::Stall(_) => 2_000..9_000,
                // Room is measured twice a second.
                Fault::Fill { .. } => 1_500..6_000,
                // Over at once.
                Fault::Rot { .. } => 1..2,
                _ => 200..6_000,
            };
            let end = at + Duration::from_millis(random.random_range(lasts));
            if end >= until {
                return Self(faults);
            }
            faults.push((at, end, fault));
            at = end;
        }
    }
}

fn one(random: &mut SmallRng, character: Character) -> Fault {
    let nodes = character.nodes();
    let node = random.random_range(0..nodes);
    let all = || (0..nodes).collect::<Vec<_>>();
    let fragile = character.fragile;
    let mut others: Vec<usize> = all().into_iter().filter(|other| *other != node).collect();
    let some = random.random_range(1..=others.len());
    match random.random_range(0..100) {
        0..20 => Fault::Crash(vec![node]),
        20..28 if character.gentle => Fault::Crash(vec![node]),
        20..24 => Fault::Crash(all()),
        24..28 => Fault::Blackout(all()),
        28..32 if character.gentle => Fault::Stop(node),
        28..32 => Fault::Crash(others),
        32..42 => {
            others.truncate(some);
            Fault::Partition { node, others }
        }
        42..50 => {
            others.truncate(some);
            let outward = random.random();
            Fault::OneWay { node, others, outward }
        }
        50..53 => Fault::Slow {
            node,
            latency: Duration::from_millis(random.random_range(20..400)),
        },
        53..57 => {
            others.truncate(some);
            Fault::Hold { node, others }
        }
        57..61 => Fault::Stall(node),
        61..63 => Fault::Blackout(vec![node]),
        63..69 => Fault::Fill {
            node,
            free_bytes: random.random_range(0..RESERVE_BYTES),
        },
        69..74 => Fault::Fail {
            node,
            directory: random.random_range(0..LOG_DIRS),
            writes: random.random(),
        },
        74..82 => Fault::Rot {
            node: fragile,
            seed: random.random(),
        },
        82..87 => Fault::Stop(node),
        87..90 => Fault::Clock {
            node,
            by_ms: random.random_range(-JUMP_MS..JUMP_MS),
        },
        90..96 => {
            let loss = match random.random_range(0..4) {
                0 => Loss::Metadata,
                1 => Loss::LogDir(random.random_range(0..LOG_DIRS)),
                _ => Loss::Everything,
            };
            Fault::Wipe { node: fragile, loss }
        }
        _ => Fault::OldDisk {
            node: fragile,
            directory: random.random_range(0..LOG_DIRS),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_schedule_with_enough_faults() {
        let (from, until) = (Duration::from_secs(5), Duration::from_secs(65));
        for seed in 0..200 {
            let character = Character::of(seed);
            let schedule = Schedule::random(seed, character, from, until);
            assert_eq!(schedule, Schedule::random(seed, character, from, until));
            assert!(schedule.0.len() >= 5, "seed {seed}: {}", schedule.0.len());
            assert!(schedule.0.windows(2).all(|pair| pair[0].1 < pair[1].0));
            let blinks = character.blinks(seed, from, until);
            assert_eq!(blinks, character.blinks(seed, from, until));
            assert_eq!(blinks.is_empty(), !character.restless, "seed {seed}");
            assert!(!(character.gentle && character.restless), "seed {seed}");
            assert!(blinks.windows(2).all(|pair| pair[0].1 < pair[1].0));
            assert!(blinks.iter().all(|(begin, end, _)| begin < end && *end < until));
            for (_, _, fault) in &schedule.0 {
                if let Fault::Rot { node, .. } | Fault::Wipe { node, .. } | Fault::OldDisk { node, .. } = fault {
                    assert_eq!(*node, character.fragile, "seed {seed}");
                }
                if let Fault::Crash(nodes) | Fault::Blackout(nodes) = fault {
                    assert!(!character.gentle || nodes.len() == 1, "seed {seed}");
                }
            }
        }
    }
}
