use crate::client::Client;
use crate::faults::{Fault, LOG_DIRS, RESERVE_BYTES, Schedule};
use crate::history::History;
use crate::invariants::{self, Invariants};
use crate::sim_host::SimHost;
use crate::trace::Trace;
use crate::{check, groups, reassign, workload};
use host::sim_disk::{Failing, SimDisk};
use host::{Disk, HostRef, OpenMode};
use ottla::Node;
use ottla::settings::Settings;
use raft::{FramedTransport, SimStore};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use types::{Broken, NodeId};

const NODES: usize = 3;
const KAFKA_PORT: u16 = 9092;
/// The cluster founds and settles before the first fault.
const CALM_BEFORE: Duration = Duration::from_secs(4);
/// After the last fault everything must heal within this.
const CALM_AFTER: Duration = Duration::from_secs(12);
/// Time to read everything back.
const READING: Duration = Duration::from_secs(90);

/// What a node may write to a disk that it knows to be full: checkpoints.
const FULL_BYTES_MAX: u64 = 2 * 1024;

/// What is simulated.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    /// Simulated time under faults and load.
    pub duration: Duration,
    /// Which log lines the trace holds.
    pub filter: String,
    /// A rule that is left out; counts only with the feature `broken`.
    pub broken: Option<Broken>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    pub problems: Vec<String>,
    pub trace: String,
    pub acknowledged: usize,
    pub unknown: u64,
    /// Commits of the group's members that were acknowledged, and times that one had its assignment.
    pub commits: u64,
    pub rebalances: u64,
    pub faults: usize,
    pub simulated: Duration,
    /// Batches that invariants compared with what was committed.
    pub compared: u64,
}

impl Plan {
    #[must_use]
    pub fn new(seed: u64, seconds: u64) -> Self {
        Self {
            seed,
            duration: Duration::from_secs(seconds),
            filter: "info".to_owned(),
            broken: None,
        }
    }
}

impl Outcome {
    /// Of a run that did not come to its end.
    #[must_use]
    pub fn panicked() -> Self {
        Self {
            problems: vec!["the run panicked".to_owned()],
            ..Self::default()
        }
    }

    /// A line for people.
    #[must_use]
    pub fn summary(&self, seed: u64) -> String {
        format!(
            "seed {seed}: {} faults, {} records acknowledged, {} of unknown fate, {} commits, {} assignments, {} batches compared, {} problems, trace {:016x}",
            self.faults,
            self.acknowledged,
            self.unknown,
            self.commits,
            self.rebalances,
            self.compared,
            self.problems.len(),
            fnv(self.trace.as_bytes())
        )
    }
}

/// FNV-1a, to compare traces.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A seed of its own for every part.
fn mix(a: u64, b: u64, c: u64) -> u64 {
    fnv(&[a.to_le_bytes(), b.to_le_bytes(), c.to_le_bytes()].concat())
}

fn node_id(node: usize) -> NodeId {
    NodeId(i32::try_from(node).unwrap_or(-1))
}

fn name(node: usize) -> String {
    format!("n{node}")
}

/// Each node's, all on its one disk.
fn log_dirs(node: usize) -> Vec<PathBuf> {
    let path = |directory| PathBuf::from(format!("/{}/data-{directory}", name(node)));
    (0..LOG_DIRS).map(path).collect()
}

fn settings(node: usize) -> Result<Settings, ottla::settings::SettingsError> {
    let join: Vec<String> = (0..NODES)
        .map(|node| format!("{}:{}", name(node), KAFKA_PORT + 10_000))
        .collect();
    let host = name(node);
    let dirs: Vec<String> = log_dirs(node).iter().map(|path| path.display().to_string()).collect();
    let flags = [
        format!("node.id={node}"),
        format!("listeners=PLAINTEXT://{host}:{KAFKA_PORT}"),
        format!("log.dirs={}", dirs.join(",")),
        format!("log.dir.reserve.bytes={RESERVE_BYTES}"),
        "log.scrub.interval.ms=4000".to_owned(),
        format!("metadata.log.dir=/{host}/raft"),
        format!("join={}", join.join(",")),
        "num.shards=1".to_owned(),
        "offsets.topic.num.partitions=2".to_owned(),
        "group.min.session.timeout.ms=1000".to_owned(),
        "group.initial.rebalance.delay.ms=300".to_owned(),
        // Leaders go back to where they should be between any two faults.
        "leader.imbalance.check.interval.seconds=3".to_owned(),
    ];
    Settings::read(None, std::iter::empty(), &flags)
}

/// One machine of the simulation: what survives its crashes.
struct Machine {
    disk: Arc<SimDisk>,
    stalled: Arc<AtomicBool>,
    store: Arc<SimStore>,
}

/// Watches what a full disk is still used for.
struct Reserve {
    disk: Arc<SimDisk>,
    /// By then the node knows that its disk is full.
    known_at: Duration,
    used_bytes: Option<u64>,
}

impl Reserve {
    fn new(disk: Arc<SimDisk>, now: Duration) -> Self {
        Self {
            disk,
            known_at: now + Duration::from_secs(1),
            used_bytes: None,
        }
    }

    fn look(&mut self, now: Duration) {
        if now >= self.known_at {
            self.used_bytes.get_or_insert_with(|| self.disk.used_bytes());
        }
    }

    /// The reserve is not for records.
    fn problem(self) -> Option<String> {
        let taken = self.disk.used_bytes().saturating_sub(self.used_bytes?);
        (taken > FULL_BYTES_MAX).then(|| format!("a full disk was used for {taken} bytes more"))
    }
}

/// Runs one seed.
#[must_use]
pub fn run(plan: &Plan) -> Outcome {
    broker::inspect::forget_all();
    #[cfg(feature = "broken")]
    types::choose(plan.broken);
    let trace = Trace::default();
    let _collecting = trace.collect(&plan.filter);
    let seed = plan.seed;
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .epoch(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000))
        .enable_random_order()
        .tcp_capacity(4_096)
        .tick_duration(Duration::from_millis(1))
        .min_message_latency(Duration::from_micros(200))
        .max_message_latency(Duration::from_millis(5))
        .simulation_duration(CALM_BEFORE + plan.duration + CALM_AFTER + READING + Duration::from_secs(10))
        .build();
    let machines: Vec<Rc<Machine>> = (0..NODES)
        .map(|node| {
            Rc::new(Machine {
                disk: Arc::new(SimDisk::new()),
                stalled: Arc::default(),
                store: Arc::new(SimStore::new(mix(seed, 50, node as u64))),
            })
        })
        .collect();
    for (node, machine) in machines.iter().enumerate() {
        let (machine, life) = (machine.clone(), Cell::new(0u64));
        sim.host(name(node), move || {
            life.set(life.get() + 1);
            serve(node, machine.clone(), mix(seed, node as u64 + 1, life.get()))
        });
    }
    let history = Rc::new(RefCell::new(History::default()));
    let names: Vec<String> = (0..NODES).map(name).collect();
    let until = CALM_BEFORE + plan.duration;
    for number in 0..2u64 {
        let (client, history) = (Client::new(names.clone(), KAFKA_PORT), history.clone());
        sim.client(format!("p{number}"), async move {
            workload::produce(client, mix(seed, 100, number), number + 1, history, until).await;
            Ok(())
        });
    }
    let (client, seen) = (Client::new(names.clone(), KAFKA_PORT), history.clone());
    sim.client("c0", async move {
        workload::consume(client, mix(seed, 101, 0), seen, until).await;
        Ok(())
    });
    for number in groups::members() {
        let (client, history) = (Client::new(names.clone(), KAFKA_PORT), history.clone());
        sim.client(format!("g{number}"), async move {
            groups::member(client, mix(seed, 106, number), number, history, until).await;
            Ok(())
        });
    }
    let client = Client::new(names.clone(), KAFKA_PORT);
    sim.client("m0", async move {
        reassign::move_about(client, mix(seed, 105, 0), until).await;
        Ok(())
    });
    let content = Rc::new(RefCell::new(None));
    let (mut client, seen, found) = (Client::new(names, KAFKA_PORT), history.clone(), content.clone());
    sim.client("r0", async move {
        let began = tokio::time::Instant::now();
        tokio::time::sleep(until).await;
        if tokio::time::timeout(CALM_AFTER, reassign::everywhere(&mut client))
            .await
            .is_err()
        {
            let problem = "not every replica is in sync after all has healed";
            seen.borrow_mut().problems.push(problem.to_owned());
        }
        tokio::time::sleep_until(began + until + CALM_AFTER).await;
        let least = {
            let history = seen.borrow();
            let mut least: BTreeMap<i32, i64> = BTreeMap::new();
            for (partition, offsets) in history.acknowledged.iter().chain(&history.read) {
                let last = offsets.keys().next_back().copied().unwrap_or(-1);
                let entry = least.entry(*partition).or_insert(-1);
                *entry = last.max(*entry);
            }
            least
        };
        *found.borrow_mut() = Some(workload::read_all(&mut client, mix(seed, 102, 0), &least).await);
        if let Err(error) = groups::read_back(&mut client, &seen).await {
            seen.borrow_mut().problems.push(format!("{error:#}"));
        }
        Ok(())
    });

    let schedule = Schedule::random(mix(seed, 103, 0), NODES, CALM_BEFORE, until);
    let mut problems = Vec::new();
    let mut pending: Vec<_> = schedule.0.iter().rev().cloned().collect();
    let mut current: Option<(Duration, Fault)> = None;
    let mut reserve: Option<Reserve> = None;
    let mut invariants = Invariants::default();
    let machine_of = |node: NodeId| {
        let node = usize::try_from(node.0).unwrap_or(0);
        invariants::Machine {
            disk: machines[node].disk.handle(),
            log_dirs: log_dirs(node),
        }
    };
    loop {
        let now = sim.elapsed();
        trace.stand(now);
        invariants.look(now, machine_of);
        if let Some(reserve) = &mut reserve {
            reserve.look(now);
        }
        if let Some((end, fault)) = &current
            && now >= *end
        {
            problems.extend(reserve.take().and_then(|reserve| reserve.problem()));
            heal(&mut sim, &machines, fault, mix(seed, 105, pending.len() as u64));
            current = None;
        }
        if current.is_none()
            && pending.last().is_some_and(|(begin, _, _)| now >= *begin)
            && let Some((_, end, fault)) = pending.pop()
        {
            tracing::info!(?fault, "fault");
            strike(&mut sim, &machines, &fault, mix(seed, 104, pending.len() as u64));
            if let Fault::Fill { node, .. } = fault {
                reserve = Some(Reserve::new(machines[node].disk.clone(), now));
            }
            if let Fault::Rot { node, .. } = fault {
                invariants.rots(node_id(node));
            }
            current = Some((end, fault));
        }
        match trace.stepping(|| sim.step()) {
            Ok(false) => {}
            Ok(true) => break,
            Err(error) => {
                problems.push(format!("the simulation ended: {error}"));
                break;
            }
        }
    }
    let mut history = history.take();
    match content.take() {
        Some(Ok(content)) => {
            history.compare(&content);
            let disks: Vec<Arc<dyn Disk>> = machines.iter().map(|machine| machine.disk.handle()).collect();
            let log_dirs: Vec<Vec<PathBuf>> = (0..NODES).map(log_dirs).collect();
            problems.extend(check::replicas(&disks, &log_dirs));
        }
        Some(Err(error)) => problems.push(format!("{error:#}")),
        None => problems.push("nobody read everything back".to_owned()),
    }
    problems.append(&mut history.problems);
    problems.append(&mut invariants.take_problems());
    let text = trace.text();
    if let Some(line) = text
        .lines()
        .find(|line| line.contains("an invariant of this replica broke"))
    {
        problems.push(line.to_owned());
    }
    trace.stand(sim.elapsed());
    let simulated = sim.elapsed();
    drop(sim);
    broker::inspect::forget_all();
    Outcome {
        problems,
        trace: text,
        acknowledged: history.acknowledged_count(),
        unknown: history.unknown,
        commits: history.groups.commits,
        rebalances: history.groups.rebalances,
        faults: schedule.0.len(),
        simulated,
        compared: invariants.compared,
    }
}

async fn serve(node: usize, machine: Rc<Machine>, seed: u64) -> turmoil::Result {
    raft::simulated(seed, async move {
        let disk = machine.disk.handle();
        let host: HostRef = Arc::new(SimHost::new(seed, disk, machine.stalled.clone()));
        let transport = Arc::new(FramedTransport::new(host.clone()));
        let store = machine.store.reopen();
        let mut running = Node::start(host, settings(node)?, None, store, transport).await?;
        running.ready().await?;
        tracing::info!(node, "ready");
        let problem = running.failed().await;
        Err(problem.into())
    })
    .await
}

fn crash(sim: &mut turmoil::Sim<'_>, machine: &Machine, node: usize, seed: u64) {
    // The disk is sealed first: tasks that are dropped now must not write any more.
    machine.disk.crash(mix(seed, 1, node as u64));
    machine.store.crash(mix(seed, 2, node as u64));
    broker::inspect::forget(node_id(node));
    sim.crash(name(node));
}

fn strike(sim: &mut turmoil::Sim<'_>, machines: &[Rc<Machine>], fault: &Fault, seed: u64) {
    match fault {
        Fault::Crash(nodes) => {
            for node in nodes {
                crash(sim, &machines[*node], *node, seed);
            }
        }
        Fault::Partition { node, others } => {
            for other in others {
                sim.partition(name(*node), name(*other));
            }
        }
        Fault::Stall(node) => machines[*node].stalled.store(true, Ordering::Relaxed),
        Fault::Fill { node, free_bytes } => {
            let disk = &machines[*node].disk;
            let capacity = disk.used_bytes() + free_bytes;
            disk.set_faults(|faults| faults.capacity_bytes = Some(capacity));
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
            machines[*node].disk.set_faults(|faults| faults.failing = Some(failing));
        }
        Fault::Rot { node, seed } => rot(machines, *node, *seed),
    }
}

/// A partition's log on a machine's disk, and its length.
fn log_of(machines: &[Rc<Machine>], node: usize, partition: i32) -> Option<(PathBuf, u64)> {
    let disk = machines[node].disk.handle();
    log_dirs(node).iter().find_map(|log_dir| {
        let path = check::replica_path(log_dir, partition).join("00000000000000000000.log");
        let len = disk.open(&path, OpenMode::Read).and_then(|file| file.len()).ok()?;
        Some((path, len))
    })
}

/// Turns a bit over in the first three quarters of a log, whichever has that much, and of which there is another copy.
fn rot(machines: &[Rc<Machine>], node: usize, seed: u64) {
    let disk = &machines[node].disk;
    let is_copied = |partition: i32, len: u64| {
        let others = (0..machines.len()).filter(|other| *other != node);
        let mut copies = others.filter_map(|other| log_of(machines, other, partition));
        copies.any(|(_, copied)| copied >= len)
    };
    let logs: Vec<(PathBuf, u64)> = (0..workload::PARTITIONS)
        .filter_map(|partition| {
            let (path, len) = log_of(machines, node, partition)?;
            (len >= 400 && is_copied(partition, len)).then_some((path, len))
        })
        .collect();
    let Some((path, len)) = logs.get((seed % logs.len().max(1) as u64) as usize) else {
        return;
    };
    let (position, bit) = ((seed >> 8) % (len * 3 / 4), (seed >> 3) as u8 % 8);
    match disk.flip_bit(path, position, bit) {
        Ok(()) => tracing::info!(path = %path.display(), position, bit, "a bit turned over"),
        Err(error) => tracing::info!(path = %path.display(), %error, "nothing turned over"),
    }
}

fn heal(sim: &mut turmoil::Sim<'_>, machines: &[Rc<Machine>], fault: &Fault, seed: u64) {
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
        Fault::Stall(node) => machines[*node].stalled.store(false, Ordering::Relaxed),
        Fault::Fill { node, .. } => machines[*node].disk.set_faults(|faults| faults.capacity_bytes = None),
        Fault::Fail { node, .. } => {
            machines[*node].disk.set_faults(|faults| faults.failing = None);
            crash(sim, &machines[*node], *node, seed);
            sim.bounce(name(*node));
        }
        Fault::Rot { .. } => {}
    }
}
