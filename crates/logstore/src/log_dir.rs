use crate::checkpoint::{EPOCHS, epoch_checkpoint, export, offset_checkpoint, parse_offset_checkpoint};
use crate::directory::{Directory, lock};
use crate::flush::FlushStrategy;
use crate::flusher::Flusher;
use crate::log::{Log, deleted_path};
use crate::marks::{Entry, LogKey, MarksError, MarksJournal};
use crate::recovery::{Recovered, Recovery};
use crate::removal::is_deleted_directory;
use crate::room::default_reserve;
use crate::{DirectoryStats, JournalSize, LogConfig, LogDirError, LogError, MetaProperties};
use host::{Disk, DiskSpace, File, HostRef};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use types::{DirectoryId, NodeId, ReplicaIncarnation, TopicPartition, limits};
use uuid::Uuid;

const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";
const LOG_STARTS: &str = "log-start-offset-checkpoint";
const SCRUB: &str = "scrub-checkpoint";

/// One log directory: identity, lock, marks journal, and the logs in it.
pub struct LogDir {
    dir: Arc<Directory>,
    meta: MetaProperties,
    new: bool,
    found_sequence: u64,
    _lock: Arc<dyn File>,
}

impl LogDir {
    /// Looks at a directory as [`LogDir::open`] would, without locking it and without writing a byte: its identity, `None`
    /// if it is missing or empty. Blocking.
    ///
    /// # Errors
    /// Those of [`LogDir::open`] but [`LogDirError::Locked`].
    pub fn inspect(disk: &dyn Disk, path: &Path) -> Result<Option<MetaProperties>, LogDirError> {
        if !disk.exists(path) {
            return Ok(None);
        }
        let Some(meta) = MetaProperties::read(disk, path)? else {
            check_empty(disk, path)?;
            return Ok(None);
        };
        MarksJournal::check(disk, path, meta.directory_id).map_err(|error| LogDirError::Marks {
            path: path.to_owned(),
            error,
        })?;
        Ok(Some(meta))
    }

    /// Opens or creates the directory and takes its lock. Blocking. Call [`LogDir::recover`] before anything
    /// else, and [`LogDir::bind`] once the cluster is known.
    ///
    /// # Errors
    /// [`LogDirError::Locked`] while another process has it; [`LogDirError::Marks`] if acknowledged marks are
    /// damaged; [`LogDirError::MetaProperties`] if it holds partitions but no identity.
    pub fn open(host: &HostRef, path: &Path) -> Result<Self, LogDirError> {
        Self::open_sized(host, path, JournalSize::default())
    }

    /// [`LogDir::open`] with a journal of another size.
    ///
    /// # Errors
    /// Its.
    pub fn open_sized(host: &HostRef, path: &Path, size: JournalSize) -> Result<Self, LogDirError> {
        let disk = host.disk();
        let failed = |error| LogDirError::Io {
            path: path.to_owned(),
            error,
        };
        disk.create_dir_durably(path).map_err(failed)?;
        let lock = disk.lock(&path.join(".lock")).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => LogDirError::Locked(path.to_owned()),
            _ => failed(error),
        })?;
        let marks_failed = |error: MarksError| LogDirError::Marks {
            path: path.to_owned(),
            error,
        };
        let known = MetaProperties::read(&*disk, path)?;
        let new = known.is_none();
        let (meta, marks) = match known {
            Some(meta) => {
                let secret = host.random_u64();
                let marks = MarksJournal::open(&disk, path, meta.directory_id, size, secret).map_err(marks_failed)?;
                (meta, marks)
            }
            None => Self::found(host, &disk, path, size)?,
        };
        let high_watermarks = read_checkpoint(&*disk, &path.join(HIGH_WATERMARKS));
        let found_sequence = marks.found_sequence();
        let dir = Directory::new(host.clone(), path.to_owned(), meta.directory_id, marks, high_watermarks);
        if let Ok(bytes) = dir.disk.read(&path.join(SCRUB)) {
            *crate::directory::lock(&dir.scrub_marks) = crate::scrub::parse(&String::from_utf8_lossy(&bytes));
        }
        Ok(Self {
            dir: Arc::new(dir),
            meta,
            new,
            found_sequence,
            _lock: lock,
        })
    }

    /// A new directory. `meta.properties` comes last: without it there is nothing, with it there is a journal.
    fn found(
        host: &HostRef,
        disk: &Arc<dyn Disk>,
        path: &Path,
        size: JournalSize,
    ) -> Result<(MetaProperties, MarksJournal), LogDirError> {
        let failed = |error| LogDirError::Io {
            path: path.to_owned(),
            error,
        };
        check_empty(&**disk, path)?;
        // The directory's own name, as far up as it may be new.
        for ancestor in path
            .ancestors()
            .skip(1)
            .filter(|ancestor| !ancestor.as_os_str().is_empty())
        {
            match disk.sync_dir(ancestor) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                other => other.map_err(failed)?,
            }
        }
        let directory_id = DirectoryId(Uuid::from_u128(host.random_uuid()));
        let secret = host.random_u64();
        let marks =
            MarksJournal::create(disk, path, directory_id, size, secret).map_err(|error| LogDirError::Marks {
                path: path.to_owned(),
                error,
            })?;
        let meta = MetaProperties {
            cluster_id: None,
            node_id: None,
            directory_id,
        };
        meta.write(&**disk, path)?;
        Ok((meta, marks))
    }

    /// The id of the directory at `path`, as far as it can be read, although the directory cannot be opened.
    #[must_use]
    pub fn id_at(host: &HostRef, path: &Path) -> Option<DirectoryId> {
        let meta = MetaProperties::read(&*host.disk(), path).ok()??;
        Some(meta.directory_id)
    }

    #[must_use]
    pub fn id(&self) -> DirectoryId {
        self.dir.id
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.dir.path
    }

    #[must_use]
    pub fn meta(&self) -> &MetaProperties {
        &self.meta
    }

    /// Whether this very opening made the directory: it never held anything.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.new
    }

    /// How many rounds of its journal the directory held when it was opened. One that held more once is not what this node
    /// last wrote to: every flush is a round.
    #[must_use]
    pub fn found_sequence(&self) -> u64 {
        self.found_sequence
    }

    /// Rounds of its journal that are durable by now. Does not block.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.dir.journal_fill.sequence.get()
    }

    /// Whether a write or sync has failed; it stays so until a restart.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.dir.is_offline()
    }

    /// Whether records are refused for want of room; see [`LogDir::measure_room`].
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.dir.room.is_full()
    }

    /// What is counted of the directory. Does not block, also while its disk hangs.
    #[must_use]
    pub fn stats(&self) -> DirectoryStats {
        DirectoryStats::of(&self.dir)
    }

    /// Room on the file system as [`LogDir::measure_room`] found it last.
    #[must_use]
    pub fn space(&self) -> Option<DiskSpace> {
        self.dir.room.space()
    }

    /// Looks how much is free on the file system. With less than `reserve_bytes` (by default 256 MiB or a hundredth,
    /// whichever is more) the directory is full until a quarter more is free. Blocking; to be called every second or so.
    pub fn measure_room(&self, reserve_bytes: Option<u64>) {
        if self.is_offline() {
            return;
        }
        match self.dir.disk.space(&self.dir.path) {
            Ok(space) => {
                let reserve_bytes = reserve_bytes.unwrap_or_else(|| default_reserve(space.total_bytes));
                self.dir.room.measured(space, reserve_bytes, &self.dir.path);
            }
            // What was left last counts on; a disk that fails says so at the next write.
            Err(error) => tracing::debug!(directory = %self.dir.path.display(), %error, "free space is not known"),
        }
    }

    /// Checks that the directory belongs to this node of this cluster, or writes it down, durably, if it belongs
    /// to none yet.
    ///
    /// # Errors
    /// [`LogDirError::Mismatch`]; the directory is left as it is.
    pub fn bind(&mut self, cluster_id: &str, node_id: NodeId) -> Result<(), LogDirError> {
        let mismatch = |property, found: String, expected: String| {
            Err(LogDirError::Mismatch {
                path: self.dir.path.clone(),
                property,
                found,
                expected,
            })
        };
        match &self.meta.cluster_id {
            Some(found) if found != cluster_id => {
                return mismatch("cluster.id", found.clone(), cluster_id.to_owned());
            }
            _ => {}
        }
        match self.meta.node_id {
            Some(found) if found != node_id => return mismatch("node.id", found.to_string(), node_id.to_string()),
            _ => {}
        }
        let bound = MetaProperties {
            cluster_id: Some(cluster_id.to_owned()),
            node_id: Some(node_id),
            directory_id: self.meta.directory_id,
        };
        if bound != self.meta {
            bound.write(&*self.dir.disk, &self.dir.path)?;
            self.meta = bound;
        }
        Ok(())
    }

    /// Recovers every log, one after the other. Blocking; reads only what lies after the durable marks, and a little of each
    /// segment before. Deletions that a crash interrupted are finished.
    ///
    /// # Errors
    /// [`LogDirError::Io`] if the disk fails. Damage in one log is that log's [`crate::RecoveryOutcome`].
    pub fn recover(&mut self) -> Result<Vec<Recovered>, LogDirError> {
        let mut recovery = self.begin_recovery()?;
        for job in recovery.take_jobs() {
            recovery.add(job.run()?);
        }
        self.end_recovery(recovery)
    }

    /// [`LogDir::recover`] in jobs that may run at the same time. Blocking.
    ///
    /// # Errors
    /// [`LogDirError::Io`].
    pub fn begin_recovery(&self) -> Result<Recovery, LogDirError> {
        let started = self.dir.host.now();
        let entries = self.finish_deletions().map_err(|error| LogDirError::Io {
            path: self.dir.path.clone(),
            error,
        })?;
        let marks = self.dir.marks();
        let (logs, mut replay) = (marks.state().logs.clone(), marks.to_replay());
        drop(marks);
        let logs = logs.into_iter().filter(|(_, state)| !state.deleting);
        let logs = logs.map(|(key, state)| (key, state, replay.remove(&key).unwrap_or_default()));
        Ok(Recovery::new(&self.dir, started, entries, logs.collect()))
    }

    /// What the jobs found becomes durable, and their logs can be used. Blocking.
    ///
    /// # Errors
    /// [`LogDirError::Offline`].
    pub fn end_recovery(&self, recovery: Recovery) -> Result<Vec<Recovered>, LogDirError> {
        let (started, entries, mut recovered) = recovery.into_parts();
        let settled = self.dir.marks().finish_replay(&entries);
        settled.map_err(|error| {
            self.dir.fail("marks journal", &error);
            LogDirError::Offline
        })?;
        // Truncations among the entries have raised generations; no flush is under way yet.
        let marks = self.dir.marks();
        for found in &mut recovered {
            if let Some(state) = marks.state().logs.get(&found.log.key) {
                found.log.generation = state.generation;
            }
        }
        drop(marks);
        let (bytes, bytes_read) = recovered.iter().fold((0, 0), |(bytes, read), found| {
            (bytes + found.log.size(), read + found.bytes_read)
        });
        let took_ms = self.dir.host.now().since(started).as_millis();
        tracing::info!(directory = %self.dir.path.display(), logs = recovered.len(), bytes, bytes_read, took_ms, "logs recovered");
        Ok(recovered)
    }

    fn finish_deletions(&self) -> io::Result<Vec<Entry>> {
        let (disk, path) = (&self.dir.disk, &self.dir.path);
        let mut entries = Vec::new();
        for (key, state) in &self.dir.marks().state().logs {
            if !state.deleting {
                continue;
            }
            let named = path.join(format!("{}-{}", state.name, key.tp.partition));
            if disk.exists(&named) {
                let id = Uuid::from_u64_pair(key.tp.topic.0.as_u64_pair().0, key.incarnation.0);
                let away = deleted_path(path, &state.name, key.tp.partition, id);
                if disk.exists(&away) {
                    disk.remove_dir_all(&away)?;
                }
                disk.rename(&named, &away)?;
            }
            entries.push(Entry::Removed { key: *key });
        }
        disk.sync_dir(path)?;
        // The last process had them wait long enough, or said so.
        let left = disk.read_dir(path)?.into_iter();
        let left = left.filter(|entry| entry.is_dir && is_deleted_directory(&entry.name));
        self.dir
            .remove_later(left.map(|entry| path.join(entry.name)), Duration::ZERO);
        Ok(entries)
    }

    /// Creates an empty log; durable when this returns.
    ///
    /// # Errors
    /// [`LogError::Exists`], [`LogError::InvalidName`], [`LogError::Offline`]; [`LogError::Full`] if the file system has no
    /// room, and nothing of the log is left.
    pub fn create_log(
        &self,
        name: &str,
        tp: TopicPartition,
        incarnation: ReplicaIncarnation,
        config: LogConfig,
    ) -> Result<Log, LogError> {
        let legal = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
        if name.is_empty() || name.len() > limits::TOPIC_NAME_MAX || !name.chars().all(legal) || tp.partition < 0 {
            return Err(LogError::InvalidName(name.to_owned()));
        }
        self.dir.check_online()?;
        let key = LogKey { tp, incarnation };
        let taken = self
            .dir
            .marks()
            .state()
            .logs
            .iter()
            .any(|(other, state)| other.tp == tp || (state.name == name && other.tp.partition == tp.partition));
        if taken {
            return Err(LogError::Exists(tp));
        }
        self.dir.journal(&[Entry::Create {
            key,
            name: name.to_owned(),
        }])?;
        lock(&self.dir.high_watermarks).remove(&(name.to_owned(), tp.partition));
        lock(&self.dir.scrub_marks).remove(&(name.to_owned(), tp.partition));
        let mut log = Log::bare(&self.dir, key, name.to_owned(), config, types::Offset::ZERO);
        match self.dir.write_if_room("create", || log.create_files()) {
            Ok(()) => Ok(log),
            Err(LogError::Full) => {
                self.take_back(&log)?;
                Err(LogError::Full)
            }
            Err(error) => Err(error),
        }
    }

    /// Half of a new log is there: it goes, as if it had never been asked for. The journal has its blocks already.
    fn take_back(&self, log: &Log) -> Result<(), LogError> {
        let key = log.key;
        self.dir.journal(&[Entry::Delete { key }])?;
        self.dir.forget_files_below(&log.path);
        self.dir.write("create", || {
            if self.dir.disk.exists(&log.path) {
                self.dir.disk.remove_dir_all(&log.path)?;
            }
            self.dir.disk.sync_dir(&self.dir.path)
        })?;
        self.dir.journal(&[Entry::Removed { key }])
    }

    /// Starts the one flusher of this directory.
    #[must_use]
    pub fn start_flusher(&self, host: &HostRef, strategy: Box<dyn FlushStrategy>) -> Flusher {
        Flusher::new(self.dir.clone(), host.pool("log-flusher", 1), strategy)
    }

    /// Removes the files of segments and partitions whose `file.delete.delay.ms` is over, on the directory's cleaner. To
    /// be called every second or so; does not wait.
    pub fn remove_due_files(&self) {
        self.dir.remove_due();
    }

    /// Syncs segments that were not written to for a while and are in the journal, so that they need not be kept open. To be
    /// called every second or so; does not wait.
    pub fn sync_idle_segments(&self) {
        self.dir.cover_idle();
    }

    /// Writes the exports `replication-offset-checkpoint` and `log-start-offset-checkpoint`, and the
    /// `leader-epoch-checkpoint` of each log whose epochs changed. Blocking; to be called every few seconds and on
    /// shutdown.
    ///
    /// # Errors
    /// The disk's; nothing depends on these files being new.
    pub fn write_checkpoints(&self) -> io::Result<()> {
        let high_watermarks = offset_checkpoint(&lock(&self.dir.high_watermarks));
        export(&*self.dir.disk, &self.dir.path.join(HIGH_WATERMARKS), &high_watermarks)?;
        let scrubbed = crate::scrub::to_text(&lock(&self.dir.scrub_marks));
        export(&*self.dir.disk, &self.dir.path.join(SCRUB), &scrubbed)?;
        let (mut starts, mut epochs) = (BTreeMap::new(), Vec::new());
        for (key, state) in self.dir.marks().living_logs() {
            if state.log_start.0 > 0 {
                starts.insert((state.name.clone(), key.tp.partition), state.log_start);
            }
            if !std::mem::replace(&mut state.epochs_exported, true) {
                let name = format!("{}-{}", state.name, key.tp.partition);
                epochs.push((self.dir.path.join(name), epoch_checkpoint(&state.epochs)));
            }
        }
        for (log, text) in epochs {
            match export(&*self.dir.disk, &log.join(EPOCHS), &text) {
                // Deleted meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                written => written?,
            }
        }
        export(
            &*self.dir.disk,
            &self.dir.path.join(LOG_STARTS),
            &offset_checkpoint(&starts),
        )
    }
}

/// Whether a directory without `meta.properties` may become a log directory: it must not hold what looks like a partition.
/// `lost+found` of a new file system and a metadata directory inside are none.
///
/// # Errors
/// [`LogDirError::MetaProperties`], [`LogDirError::Io`].
fn check_empty(disk: &dyn Disk, path: &Path) -> Result<(), LogDirError> {
    let entries = disk.read_dir(path).map_err(|error| LogDirError::Io {
        path: path.to_owned(),
        error,
    })?;
    let is_partition = |name: &str| {
        let number =
            |(_, digits): (&str, &str)| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
        name != "__cluster_metadata-0" && (name.ends_with("-delete") || name.rsplit_once('-').is_some_and(number))
    };
    match entries.iter().find(|entry| entry.is_dir && is_partition(&entry.name)) {
        None => Ok(()),
        Some(entry) => Err(LogDirError::MetaProperties {
            path: path.join("meta.properties"),
            problem: format!("missing, although the directory holds the partition {:?}", entry.name),
        }),
    }
}

/// A checkpoint's content; empty if it is missing or damaged, which costs time after a restart, not data.
fn read_checkpoint(disk: &dyn Disk, path: &Path) -> BTreeMap<(String, i32), types::Offset> {
    match disk.read(path) {
        Ok(bytes) => parse_offset_checkpoint(&String::from_utf8_lossy(&bytes)).unwrap_or_else(|| {
            tracing::warn!(path = %path.display(), "a checkpoint is damaged and ignored");
            Default::default()
        }),
        Err(_) => Default::default(),
    }
}
