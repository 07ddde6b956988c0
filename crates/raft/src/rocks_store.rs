use crate::store::{Change, Done, RaftStore, Slot};
use rocksdb::{BlockBasedOptions, Cache, ColumnFamily, DB, Direction, IteratorMode, Options, WriteBatch};
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

const META: &str = "meta";
const LOG: &str = "log";

/// The store on RocksDB. Keys of the log are indexes (u64, big endian). One thread syncs the WAL: it takes
/// all that waits, syncs once, and completes all in order.
pub struct RocksStore {
    db: Arc<DB>,
    /// Taken when the store is dropped, which ends the thread.
    flush: Option<mpsc::Sender<Done>>,
    syncing: Option<JoinHandle<()>>,
    failed: Arc<AtomicBool>,
}

/// The database is closed when this returns: a process that ends while RocksDB is at work aborts in its destructors.
impl Drop for RocksStore {
    fn drop(&mut self) {
        self.flush = None;
        if let Some(syncing) = self.syncing.take()
            && syncing.thread().id() != std::thread::current().id()
        {
            // It has panicked, and said so.
            let _ = syncing.join();
        }
    }
}

fn other(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(error.to_string())
}

fn key(slot: Slot) -> &'static [u8] {
    match slot {
        Slot::Vote => b"vote",
        Slot::Purged => b"purged",
        Slot::Committed => b"committed",
        Slot::Snapshot => b"snapshot",
    }
}

fn options() -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_lru_cache(4 << 20));
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_block_based_table_factory(&table);
    options.set_write_buffer_size(4 << 20);
    options.set_max_write_buffer_number(2);
    options.set_max_total_wal_size(32 << 20);
    options.set_max_background_jobs(2);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(1 << 20);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options
}

impl RocksStore {
    /// Opens or creates the database. Blocking.
    pub fn open(path: &Path) -> io::Result<Arc<Self>> {
        let families = [META, LOG].map(|name| (name, options()));
        let db = Arc::new(DB::open_cf_with_opts(&options(), path, families).map_err(other)?);
        let failed = Arc::new(AtomicBool::new(false));
        let (flush, waiting) = mpsc::channel::<Done>();
        let (syncs, latch) = (db.clone(), failed.clone());
        let sync_all = move || {
            while let Ok(first) = waiting.recv() {
                let mut all = vec![first];
                all.extend(waiting.try_iter());
                if !latch.load(Ordering::Acquire) && syncs.flush_wal(true).is_err() {
                    latch.store(true, Ordering::Release);
                }
                for done in all {
                    done(if latch.load(Ordering::Acquire) {
                        Err(other("sync of the metadata log failed"))
                    } else {
                        Ok(())
                    });
                }
            }
        };
        let syncing = std::thread::Builder::new().name("raft-flush".into()).spawn(sync_all)?;
        Ok(Arc::new(Self {
            db,
            flush: Some(flush),
            syncing: Some(syncing),
            failed,
        }))
    }

    fn family(&self, name: &str) -> io::Result<&ColumnFamily> {
        self.db.cf_handle(name).ok_or_else(|| other("column family missing"))
    }

    fn healthy(&self) -> io::Result<()> {
        if self.failed.load(Ordering::Acquire) {
            Err(other("the metadata store has failed"))
        } else {
            Ok(())
        }
    }

    fn put(&self, batch: WriteBatch) -> io::Result<()> {
        self.healthy()?;
        self.db.write(batch).map_err(|error| {
            self.failed.store(true, Ordering::Release);
            other(error)
        })
    }
}

impl RaftStore for RocksStore {
    fn read(&self, slot: Slot) -> io::Result<Option<Vec<u8>>> {
        self.healthy()?;
        self.db.get_cf(self.family(META)?, key(slot)).map_err(other)
    }

    fn entries(&self, range: Range<u64>, bytes: usize) -> io::Result<Vec<Vec<u8>>> {
        self.healthy()?;
        let (mut found, mut size) = (Vec::new(), 0);
        let from = range.start.to_be_bytes();
        for item in self
            .db
            .iterator_cf(self.family(LOG)?, IteratorMode::From(&from, Direction::Forward))
        {
            let (index, value) = item.map_err(other)?;
            let index = u64::from_be_bytes(
                index
                    .as_ref()
                    .try_into()
                    .map_err(|_| other("key of the log is not an index"))?,
            );
            if index >= range.end || (!found.is_empty() && size + value.len() > bytes) {
                break;
            }
            size += value.len();
            found.push(value.into_vec());
        }
        Ok(found)
    }

    fn last_entry(&self) -> io::Result<Option<Vec<u8>>> {
        self.healthy()?;
        let mut last = self.db.iterator_cf(self.family(LOG)?, IteratorMode::End);
        last.next()
            .transpose()
            .map(|item| item.map(|(_, value)| value.into_vec()))
            .map_err(other)
    }

    fn submit(&self, change: Change, done: Done) -> io::Result<()> {
        let mut batch = WriteBatch::default();
        if let Some(range) = change.remove {
            batch.delete_range_cf(self.family(LOG)?, range.start.to_be_bytes(), range.end.to_be_bytes());
        }
        for (slot, value) in change.puts {
            batch.put_cf(self.family(META)?, key(slot), value);
        }
        for (index, value) in change.entries {
            batch.put_cf(self.family(LOG)?, index.to_be_bytes(), value);
        }
        self.put(batch)?;
        let flush = self.flush.as_ref().ok_or_else(|| other("the store is closed"))?;
        flush.send(done).map_err(|_| other("the flush thread has ended"))
    }

    fn hint(&self, slot: Slot, value: Vec<u8>) -> io::Result<()> {
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family(META)?, key(slot), value);
        self.put(batch)
    }
}
