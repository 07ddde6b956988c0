use crate::store::{Done, RaftStore, Slot, Write};
use bytes::Bytes;
use rocksdb::{BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, Direction, IteratorMode, Options, WriteBatch};
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

const LOG: &str = "log";
const STATE: &str = "state";
/// The metadata log is small: so are its buffers.
const WRITE_BUFFER_BYTES: usize = 2 << 20;
const WAL_BYTES: u64 = 16 << 20;
const BLOCK_CACHE_BYTES: usize = 1 << 20;

/// The Raft log in RocksDB. Writes go to its write-ahead log at once; one thread syncs it and then calls all that waited
/// meanwhile (group commit).
pub struct RocksStore {
    db: Arc<DB>,
    waiting: mpsc::Sender<Done>,
    failed: Arc<AtomicBool>,
}

impl RocksStore {
    /// Opens the store in `path`, or creates it.
    ///
    /// # Errors
    /// What RocksDB says: another process has it open, the disk fails, the files are damaged.
    pub fn open(path: &Path) -> io::Result<Arc<Self>> {
        std::fs::create_dir_all(path)?;
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_max_total_wal_size(WAL_BYTES);
        options.set_max_background_jobs(2);
        options.set_keep_log_file_num(2);
        options.set_max_log_file_size(1 << 20);
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        options.set_max_open_files(64);
        options.set_manual_wal_flush(false);
        let cache = Cache::new_lru_cache(BLOCK_CACHE_BYTES);
        let family = |name: &str| {
            let mut options = Options::default();
            options.set_write_buffer_size(WRITE_BUFFER_BYTES);
            options.set_max_write_buffer_number(2);
            let mut blocks = BlockBasedOptions::default();
            blocks.set_block_cache(&cache);
            options.set_block_based_table_factory(&blocks);
            ColumnFamilyDescriptor::new(name, options)
        };
        let db = DB::open_cf_descriptors(&options, path, [family(LOG), family(STATE)]).map_err(io::Error::other)?;
        let db = Arc::new(db);
        let failed = Arc::new(AtomicBool::new(false));
        let (waiting, queue) = mpsc::channel::<Done>();
        let (synced, broken) = (db.clone(), failed.clone());
        std::thread::Builder::new().name("raft-sync".to_owned()).spawn(move || sync_all(&synced, &broken, &queue))?;
        Ok(Arc::new(Self { db, waiting, failed }))
    }

    fn family(&self, name: &str) -> io::Result<&ColumnFamily> {
        self.db.cf_handle(name).ok_or_else(|| io::Error::other(format!("no column family {name}")))
    }
}

/// Until the store is dropped.
fn sync_all(db: &DB, failed: &AtomicBool, queue: &mpsc::Receiver<Done>) {
    while let Ok(first) = queue.recv() {
        let mut round = vec![first];
        while let Ok(more) = queue.try_recv() {
            round.push(more);
        }
        // After a failed sync the kernel has forgotten which pages were dirty: it is never tried again.
        let outcome = if failed.load(Ordering::Acquire) { Err("an earlier sync failed".to_owned()) } else { db.flush_wal(true).map_err(|error| error.to_string()) };
        if let Err(error) = &outcome {
            failed.store(true, Ordering::Release);
            tracing::error!(%error, "the metadata log cannot be synced; this node stops");
        }
        for done in round {
            done(outcome.clone().map_err(io::Error::other));
        }
    }
}

fn slot_key(slot: Slot) -> &'static [u8] {
    match slot {
        Slot::Vote => b"vote",
        Slot::Committed => b"committed",
        Slot::Purged => b"purged",
        Slot::Snapshot => b"snapshot",
    }
}

fn index_of(key: &[u8]) -> io::Result<u64> {
    key.try_into().map(u64::from_be_bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "a key of the log is not an index"))
}

impl RaftStore for RocksStore {
    fn write(&self, writes: Vec<Write>, done: Done) -> io::Result<()> {
        if self.failed.load(Ordering::Acquire) {
            return Err(io::Error::other("an earlier sync of the metadata log failed"));
        }
        let (log, state) = (self.family(LOG)?, self.family(STATE)?);
        let mut batch = WriteBatch::default();
        for write in writes {
            match write {
                Write::Entry(index, bytes) => batch.put_cf(log, index.to_be_bytes(), bytes),
                Write::Set(slot, bytes) => batch.put_cf(state, slot_key(slot), bytes),
                Write::TruncateFrom(index) => batch.delete_range_cf(log, index.to_be_bytes(), u64::MAX.to_be_bytes()),
                Write::PurgeTo(index) => batch.delete_range_cf(log, 0u64.to_be_bytes(), (index + 1).to_be_bytes()),
            }
        }
        self.db.write(&batch).map_err(io::Error::other)?;
        self.waiting.send(done).map_err(|_| io::Error::other("the sync thread has ended"))
    }

    fn entries(&self, range: Range<u64>) -> io::Result<Vec<(u64, Bytes)>> {
        let mut found = Vec::new();
        let start = range.start.to_be_bytes();
        for item in self.db.iterator_cf(self.family(LOG)?, IteratorMode::From(&start, Direction::Forward)) {
            let (key, value) = item.map_err(io::Error::other)?;
            let index = index_of(&key)?;
            if index >= range.end {
                break;
            }
            found.push((index, Bytes::from(value)));
        }
        Ok(found)
    }

    fn last(&self) -> io::Result<Option<(u64, Bytes)>> {
        match self.db.iterator_cf(self.family(LOG)?, IteratorMode::End).next() {
            None => Ok(None),
            Some(item) => {
                let (key, value) = item.map_err(io::Error::other)?;
                Ok(Some((index_of(&key)?, Bytes::from(value))))
            }
        }
    }

    fn get(&self, slot: Slot) -> io::Result<Option<Bytes>> {
        Ok(self.db.get_cf(self.family(STATE)?, slot_key(slot)).map_err(io::Error::other)?.map(Bytes::from))
    }
}
