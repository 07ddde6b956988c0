use crate::client::Client;
use crate::faults::{Character, Fault, Schedule};
use crate::history::SharedHistory;
use crate::invariants::{self, Invariants};
use crate::machine::{CLIENTS, FOUNDERS, KAFKA_PORT, Machine, log_dirs, name, node_id};
use crate::seed::{fnv, mix};
use crate::strike::{LATENCY, Striker};
use crate::trace::Trace;
use crate::workload::{BRIEF, RELAXED, SHORT, STRICT, STRICT_PARTITIONS};
use crate::{check, groups, life, reassign, visitor, voters, workload};
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use host::Disk;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use types::{Broken, NodeId};

/// The cluster founds and settles before the first fault.
const CALM_BEFORE: Duration = Duration::from_secs(4);
/// After the last fault everything must heal within this.
const CALM_AFTER: Duration = Duration::from_secs(20);
/// And from when it has until everything is read.
const QUIET: Duration = Duration::from_secs(2);
/// What is logged where a journal goes on in its other file.
const LAP: &str = "the journal goes on in its other file";
/// Time to read everything back.
const READING: Duration = Duration::from_secs(90);
const PRODUCERS: u64 = 3;
const CONSUMERS: u64 = 2;

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
    /// How often a journal went on in its other file.
    pub laps: usize,
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
            "seed {seed}: {} faults, {} records acknowledged, {} of unknown fate, {} commits, {} assignments, {} batches compared, {} laps of journals, {} problems, trace {:016x}",
            self.faults,
            self.acknowledged,
            self.unknown,
            self.commits,
            self.rebalances,
            self.compared,
            self.laps,
            self.problems.len(),
            fnv(self.trace.as_bytes())
        )
    }
}

/// The parts of one run.
struct Run {
    sim: turmoil::Sim<'static>,
    machines: Vec<Rc<Machine>>,
    history: SharedHistory,
    invariants: Invariants,
    striker: Striker,
    fragile: usize,
    /// Topics that may lose what they acknowledged in this run.
    excused: BTreeSet<String>,
    problems: Vec<String>,
    /// Until when there are faults and load.
    until: Duration,
    is_broken: bool,
}

/// Runs one seed.
#[must_use]
pub fn run(plan: &Plan) -> Outcome {
    broker::inspect::forget_all();
    #[cfg(feature = "broken")]
    types::choose(plan.broken);
    let trace = Trace::default();
    let _collecting = trace.collect(&format!("{},logstore::marks=debug", plan.filter));
    let mut run = Run::new(plan);
    run.drive(&trace);
    let outcome = run.judge(&trace);
    broker::inspect::forget_all();
    outcome
}

impl Run {
    fn new(plan: &Plan) -> Self {
        let (seed, until) = (plan.seed, CALM_BEFORE + plan.duration);
        let mut sim = turmoil::Builder::new()
            .rng_seed(seed)
            .epoch(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000))
            .enable_random_order()
            .tcp_capacity(4_096)
            .tick_duration(Duration::from_millis(1))
            .min_message_latency(Duration::from_micros(200))
            .max_message_latency(LATENCY)
            .simulation_duration(until + CALM_AFTER + READING + Duration::from_secs(10))
            .build();
        let character = Character::of(mix(seed, 107, 0));
        tracing::info!(?character, "what kind of run this is");
        let begins = |node| match node {
            0..FOUNDERS => Duration::ZERO,
            _ => CALM_BEFORE + plan.duration / 8,
        };
        let nodes = character.nodes();
        let machines: Vec<Rc<Machine>> = (0..nodes)
            .map(|node| Rc::new(Machine::new(node, seed, begins(node))))
            .collect();
        for machine in &machines {
            let machine = machine.clone();
            sim.host(machine.name(), move || machine.clone().serve());
        }
        let history = SharedHistory::default();
        start_clients(&mut sim, seed, nodes, &history, until, character);
        let schedule = Schedule::random(mix(seed, 103, 0), character, CALM_BEFORE, until);
        let mut invariants = Invariants::default();
        history.borrow_mut().newest = invariants.newest.clone();
        let mut excused = BTreeSet::new();
        if !character.gentle {
            invariants.excuse(RELAXED);
            excused.insert(RELAXED.to_owned());
        }
        let blinks = character.blinks(mix(seed, 111, 0), CALM_BEFORE, until);
        let striker = Striker::new(
            machines.clone(),
            schedule.0,
            blinks,
            character.gentle,
            mix(seed, 104, 0),
        );
        Self {
            sim,
            machines,
            history,
            invariants,
            striker,
            fragile: character.fragile,
            excused,
            problems: Vec::new(),
            until,
            is_broken: plan.broken.is_some(),
        }
    }

    fn drive(&mut self, trace: &Trace) {
        loop {
            let now = self.sim.elapsed();
            trace.stand(now);
            let machines = &self.machines;
            let machine_of = |node: NodeId| {
                let node = usize::try_from(node.0).unwrap_or(0);
                invariants::Disks {
                    disk: machines[node].disk().handle(),
                    log_dirs: log_dirs(node),
                }
            };
            self.invariants.look(now, machine_of);
            if self.is_broken && self.invariants.found_any() {
                // That is what it was run for.
                return;
            }
            let invariants = &self.invariants;
            let struck = self
                .striker
                .act(&mut self.sim, now, self.until, &mut self.problems, || {
                    invariants.all_in_sync()
                });
            if let Some(fault) = struck {
                self.struck(&fault);
            }
            match trace.stepping(|| self.sim.step()) {
                Ok(false) => {}
                Ok(true) => return,
                Err(error) => {
                    self.problems.push(format!("the simulation ended: {error}"));
                    return;
                }
            }
        }
    }

    fn struck(&mut self, fault: &Fault) {
        if let Fault::Rot { node, .. } = fault {
            self.invariants.rots(node_id(*node));
        }
        let told = format!("{fault:?}");
        self.history.borrow_mut().fault(&told);
        // Some seconds before it is needed.
        if matches!(fault, Fault::Clock { .. } | Fault::Partition { .. } | Fault::Stall(_)) {
            self.striker.copy(self.fragile);
        }
    }

    fn judge(mut self, trace: &Trace) -> Outcome {
        let simulated = self.sim.elapsed();
        trace.stand(simulated);
        let history = self.history.borrow();
        let mut problems = std::mem::take(&mut self.problems);
        problems.extend(self.invariants.take_problems());
        problems.extend(history.problems.iter().cloned());
        problems.extend(history.check(&self.excused));
        let founders = &self.machines[..FOUNDERS];
        let disks: Vec<Arc<dyn Disk>> = founders.iter().map(|machine| machine.disk().handle()).collect();
        let log_dirs: Vec<Vec<PathBuf>> = (0..FOUNDERS).map(log_dirs).collect();
        problems.extend(check::replicas(&disks, &log_dirs, STRICT, STRICT_PARTITIONS));
        let text = trace.text();
        // Production code's own assertions.
        if let Some(line) = text
            .lines()
            .find(|line| line.contains("an invariant of this replica broke"))
        {
            problems.push(line.to_owned());
        }
        Outcome {
            problems,
            laps: text.matches(LAP).count(),
            trace: text,
            acknowledged: history.acknowledged,
            unknown: history.unknown,
            commits: history.commits,
            rebalances: history.rebalances,
            faults: self.striker.struck,
            simulated,
            compared: self.invariants.compared,
        }
    }
}

/// Everybody who uses the cluster, each a task on one machine: a machine of their own each would cost more simulation than
/// all that they do.
fn start_clients(
    sim: &mut turmoil::Sim<'static>,
    seed: u64,
    nodes: usize,
    history: &SharedHistory,
    until: Duration,
    character: Character,
) {
    let all: Vec<String> = (0..nodes).map(name).collect();
    let client = || Client::new(all.clone(), KAFKA_PORT);
    let mut work: Vec<LocalBoxFuture<'static, ()>> = Vec::new();
    for number in 0..PRODUCERS {
        let seed = mix(seed, 100, number);
        work.push(workload::produce(client(), seed, number, history.clone(), until).boxed_local());
    }
    for number in 0..CONSUMERS {
        let seed = mix(seed, 101, number);
        work.push(workload::consume(client(), seed, number, history.clone(), until).boxed_local());
    }
    for number in groups::members() {
        let seed = mix(seed, 106, number);
        work.push(groups::member(client(), seed, number, history.clone(), until).boxed_local());
    }
    work.push(groups::watch(client(), mix(seed, 112, 0), history.clone(), until).boxed_local());
    work.push(reassign::move_about(client(), mix(seed, 105, 0), until).boxed_local());
    work.push(life::come_and_go(client(), mix(seed, 108, 0), history.clone(), until).boxed_local());
    work.push(visitor::visit(client(), mix(seed, 109, 0), history.clone(), until).boxed_local());
    let operator = voters::change(client(), mix(seed, 110, 0), until);
    work.push(raft::simulated(seed, operator).boxed_local());
    let (reader, history) = (client(), history.clone());
    sim.client(CLIENTS, async move {
        let began = tokio::time::Instant::now();
        let working: Vec<_> = work.into_iter().map(tokio::task::spawn_local).collect();
        for one in working {
            one.await?;
        }
        // Nobody is told anything more.
        let calm_until = began + until + CALM_AFTER;
        read_back(reader, mix(seed, 102, 0), history, calm_until, character).await;
        Ok(())
    });
}

/// Waits until all has healed, then reads everything.
async fn read_back(
    mut client: Client,
    seed: u64,
    history: SharedHistory,
    calm_until: tokio::time::Instant,
    character: Character,
) {
    let tell = |history: &SharedHistory, problem: String| {
        tracing::info!(problem, "reading back");
        history.borrow_mut().problems.push(problem);
    };
    let healed = tokio::time::timeout_at(calm_until, reassign::everywhere(&mut client)).await;
    if healed.is_err() {
        tell(&history, "not every replica is in sync after all has healed".to_owned());
    }
    tokio::time::sleep(QUIET).await;
    if !character.gentle {
        for node in 0..client.nodes() {
            if reassign::elect_who_is_left(&mut client, node).await.is_ok() {
                break;
            }
        }
    }
    for topic in [STRICT, RELAXED, BRIEF, SHORT] {
        if let Err(error) = workload::read_all(&mut client, seed, topic, &history).await {
            // It may be gone just now, for good.
            if topic != BRIEF {
                tell(&history, format!("{error:#}"));
            }
        }
    }
    if let Err(error) = groups::read_back(&mut client, &history).await {
        tell(&history, format!("{error:#}"));
    }
}
