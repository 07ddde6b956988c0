use super::cluster::{create_topic, in_sync};
use super::faults::{Injector, inject};
use super::nodes::Nodes;
use super::recorder::Recorder;
use super::{FaultKind, Verify, group_reader, observer, producer, reader, report, scan};
use crate::client::{Cluster, Consumer, LATEST};
use crate::commands::topic;
use anyhow::Context;
use history::{Body, Header, Verdict};
use host::Host;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Consumers that read alone; the second begins again now and then.
const ALONE: u16 = 2;
/// Seats in the group.
const MEMBERS: u16 = 3;
const PROGRESS: Duration = Duration::from_secs(5);
/// For producers to learn what became of their last batches.
const PRODUCERS_END: Duration = Duration::from_secs(130);
/// For consumers to get to the end.
const CONSUMERS_END: Duration = Duration::from_secs(90);
/// Different errors of clients that are remembered.
const TROUBLES_MAX: usize = 20;

/// What all parts of a run share.
pub struct Load {
    pub bootstrap: String,
    pub topic: String,
    pub group: String,
    pub partitions: i32,
    pub producers: u16,
    pub rate: u32,
    pub seed: u64,
    pub recorder: Recorder,
    phase: RefCell<Phase>,
    troubles: RefCell<BTreeMap<String, u64>>,
    notes: RefCell<Vec<String>>,
    began: Instant,
}

enum Phase {
    Loading,
    /// Nothing new is sent. Once it is known where the partitions end, consumers stop there.
    Draining(Option<BTreeMap<i32, i64>>),
    Over,
}

impl Load {
    pub fn is_loading(&self) -> bool {
        matches!(*self.phase.borrow(), Phase::Loading)
    }

    pub fn is_over(&self) -> bool {
        matches!(*self.phase.borrow(), Phase::Over)
    }

    /// Where consumers stop.
    pub fn ends(&self) -> Option<BTreeMap<i32, i64>> {
        match &*self.phase.borrow() {
            Phase::Draining(ends) => ends.clone(),
            _ => None,
        }
    }

    pub fn partition_name(&self, partition: i32) -> String {
        format!("{}-{partition}", self.topic)
    }

    /// That this worker reads these partitions from now on, as a member of the group where there is a generation.
    pub fn assign(&self, worker: &str, partitions: impl Iterator<Item = i32>, generation: Option<i32>) {
        let body = Body::Assign {
            partitions: partitions
                .map(|partition| self.partition_name(partition).into())
                .collect(),
            group: generation.map(|_| self.group.as_str().into()),
            generation,
        };
        self.recorder.tell(worker, body);
    }

    pub fn tell_group_offset(&self, worker: &str, asked_at: u64, partition: i32, offset: Option<i64>) {
        let body = Body::GroupOffset {
            asked_at,
            group: self.group.as_str().into(),
            partition: self.partition_name(partition).into(),
            offset: offset.unwrap_or(-1),
        };
        self.recorder.tell(worker, body);
    }

    /// Something went wrong that a client is to live with.
    pub fn trouble(&self, error: &impl ToString) {
        let mut troubles = self.troubles.borrow_mut();
        let text = error.to_string();
        if troubles.len() < TROUBLES_MAX || troubles.contains_key(&text) {
            *troubles.entry(text).or_default() += 1;
        }
    }

    pub fn note(&self, text: String) {
        self.notes.borrow_mut().push(text);
    }

    /// A line of progress.
    pub fn say(&self, what: &str) {
        let done = self.recorder.progress();
        let unknown = if done.unknown == 0 {
            String::new()
        } else {
            format!(", {} unknown", done.unknown)
        };
        eprintln!(
            "{:>5} s  {} acknowledged, {} read{unknown}{}{what}",
            self.began.elapsed().as_secs(),
            done.acknowledged,
            done.read,
            if what.is_empty() { "" } else { "; " },
        );
    }
}

/// Where things are kept, and whether they are of use to anybody afterwards.
struct Places {
    reports: PathBuf,
    /// Of the nodes, if they are ours.
    data: PathBuf,
    temporary: Option<PathBuf>,
}

impl Places {
    fn new(verify: &Verify, seed: u64) -> anyhow::Result<Self> {
        let temporary = std::env::temp_dir().join(format!("ottla-verify-{}-{seed:x}", std::process::id()));
        let reports = verify.report.clone().unwrap_or_else(|| temporary.clone());
        for directory in [&temporary, &reports] {
            std::fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
        }
        Ok(Self {
            data: temporary.join("nodes"),
            temporary: Some(temporary),
            reports,
        })
    }

    fn history(&self) -> PathBuf {
        self.reports.join("history.jsonl")
    }

    fn keep(&mut self) {
        if let Some(directory) = self.temporary.take() {
            // Fails where something is in it. Where nothing is, the report is elsewhere and there were no nodes.
            let _ = std::fs::remove_dir(directory);
        }
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        if let Some(directory) = &self.temporary {
            // What is left is a directory for temporary files in its place.
            let _ = std::fs::remove_dir_all(directory);
        }
    }
}

/// The whole run: a cluster, load, faults, scan, check, report.
///
/// # Errors
/// It cannot be made.
pub async fn run(verify: &Verify) -> anyhow::Result<Verdict> {
    let kinds = verify.faults()?;
    // Numbers that any program reads from JSON.
    let seed = verify.seed.unwrap_or_else(|| host::RealHost::new().random_u64() >> 12);
    let mut places = Places::new(verify, seed)?;
    let (bootstrap, mut injector) = match (&verify.bootstrap, &verify.hook) {
        (None, None) => {
            eprintln!("starting a cluster of 3 nodes in {}", places.data.display());
            let nodes = Nodes::start(places.data.clone()).await.inspect_err(|_| places.keep())?;
            (nodes.bootstrap(), Injector::Nodes(nodes))
        }
        (None, Some(_)) => anyhow::bail!("--hook wants --bootstrap: nodes of its own it harms without help"),
        (Some(bootstrap), None) => (bootstrap.clone(), Injector::Nobody),
        (Some(bootstrap), Some(command)) => {
            let (command, bootstrap) = (command.clone(), bootstrap.clone());
            (bootstrap.clone(), Injector::Hook { command, bootstrap })
        }
    };
    let outcome = run_on(verify, &kinds, seed, bootstrap, &mut injector, &places).await;
    if let Injector::Nodes(nodes) = &mut injector {
        nodes.stop().await;
    }
    if !matches!(outcome, Ok(Verdict::Clean)) {
        places.keep();
        eprintln!("kept: {}", places.reports.display());
        if matches!(injector, Injector::Nodes(_)) {
            eprintln!("kept: {}, with the logs and data of the nodes", places.data.display());
        }
    }
    outcome
}

async fn run_on(
    verify: &Verify,
    kinds: &[FaultKind],
    seed: u64,
    bootstrap: String,
    injector: &mut Injector,
    places: &Places,
) -> anyhow::Result<Verdict> {
    let topic = format!("ottla-verify-{seed:013x}");
    let mut cluster = Cluster::new(&bootstrap);
    create_topic(&mut cluster, &topic, verify.partitions).await?;
    let load = Rc::new(Load {
        group: topic.clone(),
        partitions: verify.partitions,
        producers: verify.producers,
        rate: verify.rate,
        seed,
        recorder: Recorder::new(&places.history(), &header(verify, kinds, seed, &bootstrap, &topic))?,
        phase: RefCell::new(Phase::Loading),
        troubles: RefCell::default(),
        notes: RefCell::default(),
        began: Instant::now(),
        topic,
        bootstrap,
    });
    eprintln!(
        "seed {seed}, topic {}, history in {}",
        load.topic,
        places.history().display()
    );
    let progress = tokio::task::spawn_local(tell_progress(load.clone()));
    let clients = Clients::start(&load);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let injected = tokio::select! {
        injected = inject(&load, injector, kinds, verify.fault_every, verify.duration) => injected,
        _ = interrupt.recv() => {
            load.note("interrupted: the load ended early".to_owned());
            undo(injector).await
        }
    };
    clients.end(&load, &mut cluster).await;
    let scanned = scan::scan(&load).await;
    progress.abort();
    load.recorder.flush();
    load.recorder.check()?;
    injected?;
    if let Err(error) = scanned {
        load.note(format!("not every partition could be read to its end: {error:#}"));
    }
    finish(verify, &load, &mut cluster, places).await
}

/// After an interruption in the middle of a fault.
async fn undo(injector: &mut Injector) -> anyhow::Result<()> {
    if let Injector::Nodes(nodes) = injector {
        nodes.restore().await?;
    }
    Ok(())
}

/// Checks what was written, and tells.
async fn finish(verify: &Verify, load: &Load, cluster: &mut Cluster, places: &Places) -> anyhow::Result<Verdict> {
    load.say("checking");
    let mut report = report::check(&places.history())?;
    report.notes.append(&mut load.notes.borrow_mut());
    let told = load
        .troubles
        .borrow()
        .iter()
        .map(|(text, count)| format!("clients met {count} x: {text}"))
        .collect::<Vec<_>>();
    report.notes.extend(told);
    report::keep(&report, &places.reports)?;
    report::print(&report, verify.format)?;
    if verify.bootstrap.is_some() && report.verdict == Verdict::Clean {
        // Where it stays nothing is wrong but a topic too many.
        if let Err(error) = topic::ask_to_delete(cluster, &load.topic).await {
            eprintln!("topic {} could not be deleted: {error}", load.topic);
        }
    }
    Ok(report.verdict)
}

fn header(verify: &Verify, kinds: &[FaultKind], seed: u64, bootstrap: &str, topic: &str) -> Header {
    let kinds: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    let own = if verify.bootstrap.is_some() {
        "no"
    } else {
        "yes, 3 nodes"
    };
    let about: [(&str, serde_json::Value); 14] = [
        ("program", concat!("ottla ", env!("CARGO_PKG_VERSION")).into()),
        ("seed", seed.into()),
        ("bootstrap", bootstrap.into()),
        ("own cluster", own.into()),
        ("topic", topic.into()),
        ("partitions", verify.partitions.into()),
        ("replication.factor", 3.into()),
        ("min.insync.replicas", 2.into()),
        ("flush.messages", 1.into()),
        ("producers", verify.producers.into()),
        ("rate", verify.rate.into()),
        (
            "duration",
            humantime::format_duration(verify.duration).to_string().into(),
        ),
        ("faults", kinds.join(",").into()),
        ("hook", verify.hook.clone().unwrap_or_default().into()),
    ];
    Header {
        keeps: true,
        ordered: true,
        about: about.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        ..Header::default()
    }
}

async fn tell_progress(load: Rc<Load>) {
    loop {
        tokio::time::sleep(PROGRESS).await;
        load.say("");
    }
}

/// Everybody who speaks to the cluster during the load.
struct Clients {
    producers: Vec<JoinHandle<()>>,
    readers: Vec<JoinHandle<()>>,
    observer: JoinHandle<()>,
}

impl Clients {
    fn start(load: &Rc<Load>) -> Self {
        let spawn = |number| tokio::task::spawn_local(producer::produce(load.clone(), number));
        let producers = (0..load.producers).map(spawn).collect();
        let alone = |number| tokio::task::spawn_local(reader::read(load.clone(), number, number > 0));
        let in_group = |number| tokio::task::spawn_local(group_reader::read(load.clone(), number));
        Self {
            producers,
            readers: (0..ALONE).map(alone).chain((0..MEMBERS).map(in_group)).collect(),
            observer: tokio::task::spawn_local(observer::observe(load.clone())),
        }
    }

    /// Producers first; then consumers read to the end.
    async fn end(self, load: &Load, cluster: &mut Cluster) {
        load.say("the load ends");
        *load.phase.borrow_mut() = Phase::Draining(None);
        if !ended(self.producers, PRODUCERS_END).await {
            load.note(format!(
                "a producer was not told within {PRODUCERS_END:?} what became of its last batch"
            ));
        }
        if !in_sync(cluster, &load.topic).await {
            load.note("a minute after the load not everything was in sync".to_owned());
        }
        match ends(load, cluster).await {
            Ok(ends) => *load.phase.borrow_mut() = Phase::Draining(Some(ends)),
            Err(error) => load.note(format!("the ends of the partitions are not known: {error}")),
        }
        load.say("consumers read to the end");
        if !ended(self.readers, CONSUMERS_END).await {
            load.note(format!("a consumer had not read to the end after {CONSUMERS_END:?}"));
        }
        *load.phase.borrow_mut() = Phase::Over;
        ended(vec![self.observer], CONSUMERS_END).await;
        load.say("final scan");
    }
}

/// Waits for tasks; those that take too long are given up.
async fn ended(tasks: Vec<JoinHandle<()>>, patience: Duration) -> bool {
    let until = Instant::now() + patience;
    let mut all = true;
    for mut task in tasks {
        // A task that panicked has told why.
        if tokio::time::timeout_at(until, &mut task).await.is_err() {
            task.abort();
            all = false;
        }
    }
    all
}

async fn ends(load: &Load, cluster: &mut Cluster) -> anyhow::Result<BTreeMap<i32, i64>> {
    let consumer = Consumer::new(cluster, &load.topic, None, LATEST).await?;
    Ok(consumer.positions().clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a run that is kept leaves behind is what somebody may want to look at.
    #[test]
    fn no_empty_directory_is_kept() {
        let root = tempfile::tempdir().unwrap();
        for nodes in [false, true] {
            let temporary = root.path().join(format!("{nodes}"));
            let mut places = Places {
                reports: root.path().to_owned(),
                data: temporary.join("nodes"),
                temporary: Some(temporary.clone()),
            };
            std::fs::create_dir_all(if nodes { &places.data } else { &temporary }).unwrap();
            places.keep();
            drop(places);
            assert_eq!(temporary.exists(), nodes);
        }
    }
}
