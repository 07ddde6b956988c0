use crate::check;
use crate::faults::{Blinks, Fault, LOG_DIRS, RESERVE_BYTES};
use crate::machine::{CLIENTS, Copy, FOUNDERS, Machine, log_dirs, name};
use crate::seed::mix;
use crate::workload::{STRICT, STRICT_PARTITIONS};
use host::OpenMode;
use host::sim_disk::{Failing, SimDisk};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// What a node may write to a disk that it knows to be full: checkpoints, new replicas without records, and how far its
/// journals have come.
const FULL_BYTES_MAX: u64 = 4 * 1024;
/// An orderly stop is over by then, or is not waited for.
const STOPS_WITHIN: Duration = Duration::from_secs(20);
/// A message takes at most so long where nothing is slow.
pub const LATENCY: Duration = Duration::from_millis(5);

/// A node measures its room twice a second.
const KNOWN_WITHIN: Duration = Duration::from_secs(1);

/// Watches what a full disk is still used for.
struct Reserve {
    disk: Arc<SimDisk>,
    capacity_bytes: u64,
    /// By then the node knows that its disk is full.
    known_at: Duration,
    /// By file, since then.
    used: Option<BTreeMap<PathBuf, u64>>,
}

impl Reserve {
    fn new(disk: Arc<SimDisk>, capacity_bytes: u64, now: Duration) -> Self {
        Self {
            disk,
            capacity_bytes,
            known_at: now + KNOWN_WITHIN,
            used: None,
        }
    }

    fn look(&mut self, now: Duration) {
        if self.disk.used_bytes() + RESERVE_BYTES <= self.capacity_bytes {
            // It gave room back, in a recovery or by a deletion, and may use that.
            self.known_at = now + KNOWN_WITHIN;
            self.used = None;
        }
        if now >= self.known_at && self.used.is_none() {
            self.used = Some(self.used());
        }
    }

    /// Without the marks journals: where they found no room at the start, the reserve is theirs
    /// (`docs/adr/0008-disk-full.md`).
    fn used(&self) -> BTreeMap<PathBuf, u64> {
        let mut used = self.disk.used_by_file();
        used.retain(|path, _| {
            path.file_stem()
                .is_none_or(|name| name != "marks-0" && name != "marks-1")
        });
        used
    }

    /// The reserve is not for records.
    fn problem(self) -> Option<String> {
        let before = self.used.as_ref()?;
        let now = self.used();
        let taken = now.values().sum::<u64>().saturating_sub(before.values().sum());
        if taken <= FULL_BYTES_MAX {
            return None;
        }
        let grown = now.iter().filter_map(|(path, used)| {
            let by = used.checked_sub(before.get(path).copied().unwrap_or(0))?;
            (by > 0).then(|| format!("{} {by}", path.display()))
        });
        let grown: Vec<String> = grown.collect();
        Some(format!(
            "a full disk was used for {taken} bytes more: {}",
            grown.join(", ")
        ))
    }
}

/// Strikes with one fault after the other, and heals them.
pub struct Striker {
    machines: Vec<Rc<Machine>>,
    pending: Vec<(Duration, Duration, Fault)>,
    /// Until when it lasts, and how far behind the schedule it began.
    current: Option<(Duration, Fault)>,
    blinks: Blinks,
    /// Which machine is off for a moment, and until when.
    blinking: Option<(Duration, usize)>,
    /// One waits until everything is whole again.
    patient: bool,
    reserve: Option<Reserve>,
    /// Copies of the fragile node's log directories.
    copies: [Copy; LOG_DIRS],
    seed: u64,
    pub struck: usize,
}

impl Striker {
    /// `patient`: what loses data waits until every replica is in sync.
    pub fn new(
        machines: Vec<Rc<Machine>>,
        mut schedule: Vec<(Duration, Duration, Fault)>,
        mut blinks: Blinks,
        patient: bool,
        seed: u64,
    ) -> Self {
        schedule.reverse();
        blinks.reverse();
        Self {
            machines,
            pending: schedule,
            current: None,
            blinks,
            blinking: None,
            patient,
            reserve: None,
            copies: Default::default(),
            seed,
            struck: 0,
        }
    }

    /// Between two steps: begins and ends what is due. Answers the fault that begins. `all_in_sync` is asked where
    /// that counts.
    pub fn act(
        &mut self,
        sim: &mut turmoil::Sim<'_>,
        now: Duration,
        until: Duration,
        problems: &mut Vec<String>,
        all_in_sync: impl Fn() -> bool,
    ) -> Option<Fault> {
        self.blink(sim, now);
        if let Some(reserve) = &mut self.reserve {
            reserve.look(now);
        }
        if let Some((end, fault)) = &self.current
            && now >= *end
        {
            let fault = fault.clone();
            if matches!(fault, Fault::Stop(node) if sim.is_host_running(name(node)) && now < *end + STOPS_WITHIN) {
                return None;
            }
            problems.extend(self.reserve.take().and_then(Reserve::problem));
            self.heal(sim, &fault);
            self.current = None;
        }
        let (begin, end, fault) = self.pending.last()?;
        if self.current.is_some() || self.blinking.is_some() || now < *begin {
            return None;
        }
        let lasts = *end - *begin;
        if now + lasts >= until {
            self.pending.clear();
            return None;
        }
        if self.patient && fault.loses() && !all_in_sync() {
            return None;
        }
        // ◆ The operator takes votes, and two voters stand the loss of none.
        if fault.loses_vote() && broker::inspect::voters().is_none_or(|voters| voters < FOUNDERS) {
            return None;
        }
        let (_, _, fault) = self.pending.pop()?;
        tracing::info!(?fault, "fault");
        self.struck += 1;
        self.strike(sim, &fault, now, problems);
        self.current = Some((now + lasts, fault.clone()));
        Some(fault)
    }

    /// A machine goes off or on for a moment, unless what is wrong just now has to do with it.
    fn blink(&mut self, sim: &mut turmoil::Sim<'_>, now: Duration) {
        if let Some((_, machine)) = self.blinking.take_if(|(end, _)| now >= *end) {
            sim.bounce(name(machine));
        }
        let Some((_, end, machine)) = self.blinks.pop_if(|(begin, ..)| now >= *begin) else {
            return;
        };
        let is_struck = self.current.as_ref().is_some_and(|(_, fault)| fault.touches(machine));
        if is_struck || now >= end {
            return;
        }
        tracing::info!(machine, "off for a moment");
        self.crash(sim, machine, 7 + self.blinks.len() as u64);
        self.blinking = Some((end, machine));
    }

    fn seed(&self, what: u64) -> u64 {
        mix(self.seed, what, self.pending.len() as u64)
    }

    fn crash(&self, sim: &mut turmoil::Sim<'_>, node: usize, what: u64) {
        self.machines[node].lose_power(self.seed(what));
        sim.crash(name(node));
    }

    fn everybody_but(&self, node: usize) -> Vec<String> {
        let others = (0..self.machines.len()).filter(|other| *other != node).map(name);
        others.chain([CLIENTS.to_owned()]).collect()
    }

    fn strike(&mut self, sim: &mut turmoil::Sim<'_>, fault: &Fault, now: Duration, problems: &mut Vec<String>) {
        match fault {
            Fault::Crash(nodes) => {
                for node in nodes {
                    self.crash(sim, *node, 1);
                }
            }
            Fault::Partition { node, others } => {
                for other in others {
                    sim.partition(name(*node), name(*other));
                }
            }
            Fault::OneWay { node, others, outward } => {
                for other in others {
                    let (from, to) = if *outward { (node, other) } else { (other, node) };
                    sim.partition_oneway(name(*from), name(*to));
                }
            }
            Fault::Slow { node, latency } => {
                for other in self.everybody_but(*node) {
                    sim.set_link_max_message_latency(name(*node), other, *latency);
                }
            }
            Fault::Hold { node, others } => {
                for other in others {
                    sim.hold(name(*node), name(*other));
                }
            }
            Fault::Stall(node) => self.machines[*node].stall(true),
            Fault::Blackout(nodes) => nodes.iter().for_each(|node| self.machines[*node].stall(true)),
            Fault::Fill { node, free_bytes } => {
                let disk = self.machines[*node].disk();
                self.machines[*node].filled();
                let capacity = disk.used_bytes() + free_bytes;
                disk.set_faults(|faults| faults.capacity_bytes = Some(capacity));
                self.reserve = Some(Reserve::new(disk, capacity, now));
            }
            Fault::Fail {
                node,
                directory,
                writes,
            } => {
                let failing = Failing {
                    below: log_dirs(*node)[*directory].clone(),
                    writes: *writes,
                };
                self.machines[*node]
                    .disk()
                    .set_faults(|faults| faults.failing = Some(failing));
            }
            Fault::Rot { node, seed } => self.rot(*node, *seed),
            Fault::Stop(node) => self.machines[*node].stop.notify_waiters(),
            Fault::Clock { node, by_ms } => self.machines[*node].set_clock(*by_ms),
            Fault::Wipe { node, loss } => {
                self.crash(sim, *node, 2);
                if let Err(error) = self.machines[*node].lose(*loss) {
                    problems.push(format!("node {node} cannot be wiped: {error}"));
                }
            }
            Fault::OldDisk { node, directory } => {
                let copy = std::mem::take(&mut self.copies[*directory]);
                self.crash(sim, *node, 3);
                // Nothing was copied yet: a crash like any other.
                if !copy.is_empty()
                    && let Err(error) = self.machines[*node].put_back(*directory, &copy)
                {
                    problems.push(format!("node {node} cannot be given an old disk: {error}"));
                }
            }
        }
    }

    fn heal(&mut self, sim: &mut turmoil::Sim<'_>, fault: &Fault) {
        match fault {
            Fault::Crash(nodes) => {
                for node in nodes {
                    sim.bounce(name(*node));
                }
            }
            Fault::Partition { node, others } => {
                for other in others {
                    sim.repair(name(*node), name(*other));
                }
            }
            Fault::OneWay { node, others, outward } => {
                for other in others {
                    let (from, to) = if *outward { (node, other) } else { (other, node) };
                    sim.repair_oneway(name(*from), name(*to));
                }
            }
            Fault::Slow { node, .. } => {
                for other in self.everybody_but(*node) {
                    sim.set_link_max_message_latency(name(*node), other, LATENCY);
                }
            }
            Fault::Hold { node, others } => {
                for other in others {
                    sim.release(name(*node), name(*other));
                }
            }
            Fault::Stall(node) => self.machines[*node].stall(false),
            Fault::Blackout(nodes) => {
                for node in nodes {
                    self.crash(sim, *node, 6);
                    self.machines[*node].stall(false);
                }
                for node in nodes {
                    sim.bounce(name(*node));
                }
            }
            Fault::Fill { node, .. } => {
                let machine = &self.machines[*node];
                machine.disk().set_faults(|faults| faults.capacity_bytes = None);
                if machine.not_started.take() {
                    sim.bounce(name(*node));
                }
            }
            Fault::Fail { node, .. } => {
                self.machines[*node].disk().set_faults(|faults| faults.failing = None);
                self.crash(sim, *node, 4);
                sim.bounce(name(*node));
            }
            Fault::Rot { .. } => {}
            Fault::Stop(node) => {
                // Whatever the stop has left undone.
                self.crash(sim, *node, 5);
                sim.bounce(name(*node));
            }
            Fault::Clock { node, .. } => self.machines[*node].set_clock(0),
            Fault::Wipe { node, .. } | Fault::OldDisk { node, .. } => sim.bounce(name(*node)),
        }
    }

    /// Copies the log directories of the fragile node, for [`Fault::OldDisk`].
    pub fn copy(&mut self, node: usize) {
        for directory in 0..LOG_DIRS {
            self.copies[directory] = self.machines[node].copy(directory);
        }
    }

    /// A partition's log on a machine's disk, and its length.
    fn log_of(&self, node: usize, partition: i32) -> Option<(PathBuf, u64)> {
        let disk = self.machines[node].disk().handle();
        log_dirs(node).iter().find_map(|log_dir| {
            let directory = check::replica_path(log_dir, STRICT, partition);
            let names = disk.read_dir(&directory).ok()?.into_iter().map(|entry| entry.name);
            let first = names.filter(|name| name.ends_with(".log")).min()?;
            let path = directory.join(first);
            let len = disk.open(&path, OpenMode::Read).and_then(|file| file.len()).ok()?;
            Some((path, len))
        })
    }

    /// Turns a bit over in the first three quarters of a log, whichever has that much, and of which there is another copy.
    fn rot(&self, node: usize, seed: u64) {
        let is_copied = |partition: i32, len: u64| {
            let others = (0..self.machines.len()).filter(|other| *other != node);
            let mut copies = others.filter_map(|other| self.log_of(other, partition));
            copies.any(|(_, copied)| copied >= len)
        };
        let logs: Vec<(PathBuf, u64)> = (0..STRICT_PARTITIONS)
            .filter_map(|partition| {
                let (path, len) = self.log_of(node, partition)?;
                (len >= 400 && is_copied(partition, len)).then_some((path, len))
            })
            .collect();
        let Some((path, len)) = logs.get((seed % logs.len().max(1) as u64) as usize) else {
            return;
        };
        let (position, bit) = ((seed >> 8) % (len * 3 / 4), (seed >> 3) as u8 % 8);
        match self.machines[node].disk().flip_bit(path, position, bit) {
            Ok(()) => tracing::info!(path = %path.display(), position, bit, "a bit turned over"),
            Err(error) => tracing::info!(path = %path.display(), %error, "nothing turned over"),
        }
    }
}
