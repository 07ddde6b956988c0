use crate::runtime;
use crate::store::{Change, Done, RaftStore, Slot};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[derive(Debug, Clone, Default)]
struct Half {
    slots: BTreeMap<Slot, Vec<u8>>,
    log: BTreeMap<u64, Vec<u8>>,
}

impl Half {
    fn make(&mut self, change: &Change) {
        if let Some(range) = &change.remove {
            self.log.retain(|index, _| !range.contains(index));
        }
        self.slots.extend(change.puts.iter().cloned());
        self.log.extend(change.entries.iter().cloned());
    }
}

struct State {
    life: u64,
    random: u64,
    volatile: Half,
    durable: Half,
    waiting: VecDeque<(Change, Option<Done>)>,
    syncing: bool,
    stalled: bool,
}

impl State {
    fn random(&mut self) -> u64 {
        self.random = runtime::mix(self.random);
        self.random
    }
}

/// The simulator's store: a volatile half that reads see, and a durable half that survives
/// [`SimStore::crash`]. An fsync is a local task that takes 0.1 to 2 simulated milliseconds.
pub struct SimStore(Arc<Mutex<State>>);

struct Life {
    state: Arc<Mutex<State>>,
    life: u64,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SimStore {
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            life: 0,
            random: seed,
            volatile: Half::default(),
            durable: Half::default(),
            waiting: VecDeque::new(),
            syncing: false,
            stalled: false,
        })))
    }

    /// From now on the disk writes nothing, or goes on. What it has not written by a crash is lost.
    pub fn stall(&self, stalled: bool) {
        lock(&self.0).stalled = stalled;
    }

    /// A handle of the current life.
    pub fn reopen(&self) -> Arc<dyn RaftStore> {
        Arc::new(Life {
            life: lock(&self.0).life,
            state: self.0.clone(),
        })
    }

    /// Seals all handles. What was not synced is lost, but for a prefix that the seed chooses: the disk may
    /// have written it on its own.
    pub fn crash(&self, seed: u64) {
        let mut state = lock(&self.0);
        let waiting = std::mem::take(&mut state.waiting);
        let written = if state.stalled { 0 } else { waiting.len() as u64 };
        let kept = (runtime::mix(seed) % (written + 1)) as usize;
        for (change, _) in waiting.iter().take(kept) {
            state.durable.make(change);
        }
        state.life += 1;
        state.syncing = false;
        state.volatile = state.durable.clone();
        drop(state);
        // The callbacks of the old life are dropped outside the lock, unanswered.
        drop(waiting);
    }
}

impl Life {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = lock(&self.state);
        if state.life == self.life {
            Ok(state)
        } else {
            Err(io::Error::other("crashed"))
        }
    }

    fn put(&self, change: Change, done: Option<Done>) -> io::Result<()> {
        let mut state = self.state()?;
        state.volatile.make(&change);
        let syncs = done.is_some();
        state.waiting.push_back((change, done));
        if syncs && !state.syncing {
            state.syncing = true;
            drop(state);
            runtime::spawn(sync(self.state.clone(), self.life));
        }
        Ok(())
    }
}

async fn sync(shared: Arc<Mutex<State>>, life: u64) {
    loop {
        let (count, delay) = {
            let mut state = lock(&shared);
            if state.life != life {
                return;
            }
            if !state.waiting.iter().any(|(_, done)| done.is_some()) {
                state.syncing = false;
                return;
            }
            (state.waiting.len(), Duration::from_micros(100 + state.random() % 1900))
        };
        tokio::time::sleep(delay).await;
        let synced: Vec<_> = {
            let mut state = lock(&shared);
            if state.life != life {
                return;
            }
            if state.stalled {
                continue;
            }
            let synced: Vec<_> = state.waiting.drain(..count).collect();
            for (change, _) in &synced {
                state.durable.make(change);
            }
            synced
        };
        for done in synced.into_iter().filter_map(|(_, done)| done) {
            done(Ok(()));
        }
    }
}

impl RaftStore for Life {
    fn read(&self, slot: Slot) -> io::Result<Option<Vec<u8>>> {
        Ok(self.state()?.volatile.slots.get(&slot).cloned())
    }

    fn entries(&self, range: Range<u64>, bytes: usize) -> io::Result<Vec<Vec<u8>>> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let (state, mut found, mut size) = (self.state()?, Vec::new(), 0);
        for value in state.volatile.log.range(range).map(|(_, value)| value) {
            if !found.is_empty() && size + value.len() > bytes {
                break;
            }
            size += value.len();
            found.push(value.clone());
        }
        Ok(found)
    }

    fn last_entry(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(self.state()?.volatile.log.values().next_back().cloned())
    }

    fn submit(&self, change: Change, done: Done) -> io::Result<()> {
        self.put(change, Some(done))
    }

    fn hint(&self, slot: Slot, value: Vec<u8>) -> io::Result<()> {
        self.put(
            Change {
                puts: vec![(slot, value)],
                ..Change::default()
            },
            None,
        )
    }
}
