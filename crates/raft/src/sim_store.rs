use crate::store::{Done, RaftStore, Slot, Write};
use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// How long a sync takes in the simulation, in microseconds.
const SYNC_MICROS: Range<u64> = 100..4_000;

/// The simulator's twin of [`crate::RocksStore`]: what was written is in memory at once and on the simulated disk only
/// after a sync. Keep it outside the simulated host; [`SimStore::reopen`] gives the store of one life.
pub struct SimStore {
    seed: u64,
    lives: AtomicU64,
    durable: Arc<Mutex<Content>>,
    current: Mutex<Option<Arc<AtomicBool>>>,
}

#[derive(Debug, Clone, Default)]
struct Content {
    log: BTreeMap<u64, Bytes>,
    slots: BTreeMap<Slot, Bytes>,
}

struct Life {
    volatile: Mutex<Content>,
    waiting: mpsc::UnboundedSender<(Vec<Write>, Done)>,
    sealed: Arc<AtomicBool>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Content {
    fn apply(&mut self, write: Write) {
        match write {
            Write::Entry(index, bytes) => {
                self.log.insert(index, bytes);
            }
            Write::Set(slot, bytes) => {
                self.slots.insert(slot, bytes);
            }
            Write::TruncateFrom(index) => {
                self.log.split_off(&index);
            }
            Write::PurgeTo(index) => self.log = self.log.split_off(&(index + 1)),
        }
    }
}

impl SimStore {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, lives: AtomicU64::new(0), durable: Arc::default(), current: Mutex::new(None) }
    }

    /// The store of a new life, with what was durable. Must be called inside the simulated host.
    #[must_use]
    pub fn reopen(&self) -> Arc<dyn RaftStore> {
        let life = self.lives.fetch_add(1, Ordering::Relaxed);
        let sealed = Arc::new(AtomicBool::new(false));
        *lock(&self.current) = Some(sealed.clone());
        let (waiting, mut queue) = mpsc::unbounded_channel::<(Vec<Write>, Done)>();
        let (durable, closed) = (self.durable.clone(), sealed.clone());
        let mut random = SmallRng::seed_from_u64(self.seed ^ (life << 32));
        tokio::task::spawn_local(async move {
            while let Some(first) = queue.recv().await {
                let mut round = vec![first];
                while let Ok(more) = queue.try_recv() {
                    round.push(more);
                }
                tokio::time::sleep(Duration::from_micros(random.random_range(SYNC_MICROS))).await;
                if closed.load(Ordering::Acquire) {
                    return;
                }
                for (writes, done) in round {
                    {
                        let mut durable = lock(&durable);
                        writes.into_iter().for_each(|write| durable.apply(write));
                    }
                    done(Ok(()));
                }
            }
        });
        let volatile = Mutex::new(lock(&self.durable).clone());
        Arc::new(Life { volatile, waiting, sealed })
    }

    /// The machine stops: the current life's store fails from now on, and what it had not synced is gone.
    /// (A sync in this store is all or nothing, so `seed` has nothing to decide.)
    pub fn crash(&self, _seed: u64) {
        if let Some(sealed) = lock(&self.current).take() {
            sealed.store(true, Ordering::Release);
        }
    }

    /// Everything is gone, as on a new disk.
    pub fn wipe(&self) {
        *lock(&self.durable) = Content::default();
    }
}

impl RaftStore for Life {
    fn write(&self, writes: Vec<Write>, done: Done) -> io::Result<()> {
        if self.sealed.load(Ordering::Acquire) {
            return Err(io::Error::other("the simulated machine has stopped"));
        }
        {
            let mut volatile = lock(&self.volatile);
            writes.iter().cloned().for_each(|write| volatile.apply(write));
        }
        self.waiting.send((writes, done)).map_err(|_| io::Error::other("the simulated machine has stopped"))
    }

    fn entries(&self, range: Range<u64>) -> io::Result<Vec<(u64, Bytes)>> {
        Ok(lock(&self.volatile).log.range(range).map(|(index, bytes)| (*index, bytes.clone())).collect())
    }

    fn last(&self) -> io::Result<Option<(u64, Bytes)>> {
        Ok(lock(&self.volatile).log.last_key_value().map(|(index, bytes)| (*index, bytes.clone())))
    }

    fn get(&self, slot: Slot) -> io::Result<Option<Bytes>> {
        Ok(lock(&self.volatile).slots.get(&slot).cloned())
    }
}
