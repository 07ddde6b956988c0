use crate::faults::{LOG_DIRS, RESERVE_BYTES};
use crate::seed::mix;
use crate::sim_host::{Machinery, SimHost};
use host::sim_disk::SimDisk;
use host::{Disk, HostRef, OpenMode};
use ottla::Node;
use ottla::settings::Settings;
use raft::{FramedTransport, SimStore};
use std::cell::{Cell, RefCell};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::Notify;
use types::NodeId;

/// Founders, which vote.
pub const FOUNDERS: usize = 3;
/// The machine of everybody who uses the cluster.
pub const CLIENTS: &str = "clients";
pub const KAFKA_PORT: u16 = 9092;

/// One machine of the simulation: what survives its crashes, and what is done to it.
pub struct Machine {
    pub number: usize,
    seed: u64,
    disk: RefCell<Arc<SimDisk>>,
    store: RefCell<Arc<SimStore>>,
    pub machinery: Arc<Machinery>,
    /// Asks the node to stop in an orderly way.
    pub stop: Notify,
    life: Cell<u64>,
    /// Its last start came to nothing, for want of a disk.
    pub not_started: Cell<bool>,
    ready: Cell<bool>,
    /// Its disk was filled up last while it was off, or recovering.
    filled_while_off: Cell<bool>,
    /// It is switched on for the first time then.
    begins: Duration,
}

/// Files of a log directory as they were.
pub type Copy = Vec<(PathBuf, Vec<u8>)>;

/// What of a machine's disk is gone for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    Everything,
    /// The Raft log, vote and identity.
    Metadata,
    LogDir(usize),
}

#[must_use]
pub fn node_id(node: usize) -> NodeId {
    NodeId(i32::try_from(node).unwrap_or(-1))
}

#[must_use]
pub fn name(node: usize) -> String {
    format!("n{node}")
}

/// Each node's, all on its one disk.
#[must_use]
pub fn log_dirs(node: usize) -> Vec<PathBuf> {
    let path = |directory| PathBuf::from(format!("/{}/data-{directory}", name(node)));
    (0..LOG_DIRS).map(path).collect()
}

fn metadata_dir(node: usize) -> PathBuf {
    PathBuf::from(format!("/{}/raft", name(node)))
}

/// Full after a second or two of records, so that the files of the journal take turns all the time.
const SMALL_JOURNAL_BYTES: u64 = 32 << 10;

fn settings(node: usize) -> Result<Settings, ottla::settings::SettingsError> {
    let join: Vec<String> = (0..FOUNDERS)
        .map(|node| format!("{}:{}", name(node), KAFKA_PORT + 10_000))
        .collect();
    let host = name(node);
    let dirs: Vec<String> = log_dirs(node).iter().map(|path| path.display().to_string()).collect();
    let flags = [
        format!("node.id={node}"),
        format!("listeners=PLAINTEXT://{host}:{KAFKA_PORT}"),
        format!("log.dirs={}", dirs.join(",")),
        format!("log.dir.reserve.bytes={RESERVE_BYTES}"),
        // Both ways to the disk, in every run.
        format!("log.flush.strategy={}", if node == 2 { "plain" } else { "journal" }),
        "log.scrub.interval.ms=4000".to_owned(),
        "log.retention.check.interval.ms=3000".to_owned(),
        format!("metadata.log.dir={}", metadata_dir(node).display()),
        format!("join={}", join.join(",")),
        "num.shards=1".to_owned(),
        "offsets.topic.num.partitions=2".to_owned(),
        "group.min.session.timeout.ms=1000".to_owned(),
        "group.initial.rebalance.delay.ms=300".to_owned(),
        // Leaders go back to where they should be between any two faults.
        "leader.imbalance.check.interval.seconds=3".to_owned(),
    ];
    let mut settings = Settings::read(None, std::iter::empty(), &flags)?;
    if node != 1 {
        settings.journal_size.bytes = SMALL_JOURNAL_BYTES;
        settings.journal_size.bytes_max = 2 * SMALL_JOURNAL_BYTES;
    }
    Ok(settings)
}

impl Machine {
    #[must_use]
    pub fn new(number: usize, seed: u64, begins: Duration) -> Self {
        Self {
            number,
            seed,
            disk: RefCell::new(Arc::new(SimDisk::new())),
            store: RefCell::new(Arc::new(SimStore::new(mix(seed, 50, number as u64)))),
            machinery: Arc::default(),
            stop: Notify::new(),
            life: Cell::new(0),
            not_started: Cell::new(false),
            ready: Cell::new(false),
            filled_while_off: Cell::new(false),
            begins,
        }
    }

    #[must_use]
    pub fn name(&self) -> String {
        name(self.number)
    }

    #[must_use]
    pub fn disk(&self) -> Arc<SimDisk> {
        self.disk.borrow().clone()
    }

    #[must_use]
    pub fn log_dirs(&self) -> Vec<PathBuf> {
        log_dirs(self.number)
    }

    /// One life of the node: it ends with a crash of the simulated host, or in an orderly way.
    ///
    /// # Errors
    /// Whatever keeps the node from running: that ends the simulation.
    pub async fn serve(self: Rc<Self>) -> turmoil::Result {
        let begins = self.begins;
        let late = begins.saturating_sub(turmoil::sim_elapsed().unwrap_or_default());
        tokio::time::sleep(late).await;
        self.life.set(self.life.get() + 1);
        let seed = mix(self.seed, self.number as u64 + 1, self.life.get());
        raft::simulated(seed, async move {
            let disk = self.disk().handle();
            let host: HostRef = Arc::new(SimHost::new(seed, disk, self.machinery.clone()));
            let transport = Arc::new(FramedTransport::new(host.clone()));
            let store = self.store.borrow().reopen();
            let started = async {
                let mut running = Node::start(host, settings(self.number)?, None, store, transport).await?;
                running.ready().await?;
                turmoil::Result::Ok(running)
            };
            let mut running = match started.await {
                Ok(running) => running,
                Err(problem) if self.disk_prevents_a_start() => {
                    tracing::info!(node = self.number, %problem, "not started");
                    self.not_started.set(true);
                    return Ok(());
                }
                Err(problem) => return Err(problem),
            };
            self.ready.set(true);
            tracing::info!(node = self.number, "ready");
            tokio::select! {
                problem = running.failed() => Err(problem.into()),
                () = self.stop.notified() => {
                    tracing::info!(node = self.number, "stopping");
                    running.stop().await;
                    tracing::info!(node = self.number, "stopped");
                    Ok(())
                }
            }
        })
        .await
    }

    /// A node does without a log directory that fails before it starts, or later, and not while it does. One that starts for
    /// the first time needs room for its journals; later it has them. What a power loss took of its files, recovery writes again:
    /// that had room, unless somebody else took it while the machine was off.
    fn disk_prevents_a_start(&self) -> bool {
        let (mut fails, mut full) = (false, false);
        self.disk().set_faults(|faults| {
            fails = faults.failing.is_some();
            full = faults.capacity_bytes.is_some();
        });
        fails || full && (self.life.get() == 1 || self.filled_while_off.get())
    }

    /// Power is lost: what was not synced is gone, kept or torn. The simulated host itself is crashed by the caller, after
    /// this, so that tasks that are dropped write nothing more.
    pub fn lose_power(&self, seed: u64) {
        self.ready.set(false);
        self.disk().crash(mix(seed, 1, self.number as u64));
        self.store.borrow().crash(mix(seed, 2, self.number as u64));
        broker::inspect::forget(node_id(self.number));
    }

    /// Of a machine that is off: part of its disk is empty from now on.
    pub fn lose(&self, loss: Loss) -> io::Result<()> {
        let life = mix(self.seed, 60 + self.life.get(), self.number as u64);
        if loss == Loss::Everything {
            *self.disk.borrow_mut() = Arc::new(SimDisk::new());
        }
        if loss != Loss::LogDir(0) && loss != Loss::LogDir(1) {
            *self.store.borrow_mut() = Arc::new(SimStore::new(life));
        }
        match loss {
            Loss::Everything => Ok(()),
            Loss::Metadata => remove(&*self.disk().handle(), &metadata_dir(self.number)),
            Loss::LogDir(directory) => remove(&*self.disk().handle(), &self.log_dirs()[directory]),
        }
    }

    /// Everything in a log directory, as the kernel has it now.
    pub fn copy(&self, directory: usize) -> Copy {
        let mut copy = Copy::new();
        let disk = self.disk().handle();
        let mut left = vec![self.log_dirs()[directory].clone()];
        while let Some(path) = left.pop() {
            for entry in disk.read_dir(&path).unwrap_or_default() {
                let path = path.join(&entry.name);
                match disk.read(&path) {
                    Ok(bytes) => copy.push((path, bytes)),
                    Err(_) => left.push(path),
                }
            }
        }
        copy
    }

    /// Of a machine that is off: a log directory is again as it was.
    pub fn put_back(&self, directory: usize, copy: &Copy) -> io::Result<()> {
        let disk = self.disk().handle();
        remove(&*disk, &self.log_dirs()[directory])?;
        disk.create_dir_durably(&self.log_dirs()[directory])?;
        for (path, bytes) in copy {
            if let Some(parent) = path.parent() {
                disk.create_dir_durably(parent)?;
            }
            let file = disk.open(path, OpenMode::Create)?;
            file.write_all_at(bytes, 0)?;
            file.sync_data()?;
            if let Some(parent) = path.parent() {
                disk.sync_dir(parent)?;
            }
        }
        Ok(())
    }

    /// Somebody else takes what room its disk has.
    pub fn filled(&self) {
        self.filled_while_off.set(!self.ready.get());
    }

    /// Blocking jobs of this machine wait, or go on.
    pub fn stall(&self, stalled: bool) {
        self.machinery.stalled.store(stalled, Ordering::Relaxed);
    }

    /// The wall clock jumps.
    pub fn set_clock(&self, by_ms: i64) {
        self.machinery.clock_ms.store(by_ms, Ordering::Relaxed);
    }
}

fn remove(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    if disk.exists(path) {
        disk.remove_dir_all(path)?;
    }
    path.parent().map_or(Ok(()), |parent| disk.sync_dir(parent))
}
