use super::LogKey;
use host::File;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Segments with bytes that only the journal has for certain. ◆ Each is held open since before those bytes were written, or
/// the error of their write-back could vanish with the inode.
#[derive(Default)]
pub(super) struct Uncovered {
    logs: BTreeMap<LogKey, Held>,
    by_first: BTreeSet<(u64, LogKey)>,
}

struct Held {
    file: Arc<dyn File>,
    /// No round before `first` and none after `last` has bytes of it that are needed.
    first: u64,
    last: u64,
}

impl Uncovered {
    pub(super) fn len(&self) -> usize {
        self.logs.len()
    }

    /// The round from which on data is needed.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.by_first.first().map(|(first, _)| *first)
    }

    /// The round `sequence` has bytes of this file. All bytes of a log that are uncovered are in one file: a roll has both
    /// synced.
    pub(super) fn insert(&mut self, key: LogKey, file: Arc<dyn File>, sequence: u64) {
        match self.logs.get_mut(&key) {
            Some(held) => held.last = sequence,
            None => {
                let (first, last) = (sequence, sequence);
                self.logs.insert(key, Held { file, first, last });
                self.by_first.insert((first, key));
            }
        }
    }

    pub(super) fn file(&self, key: &LogKey) -> Option<Arc<dyn File>> {
        self.logs.get(key).map(|held| held.file.clone())
    }

    pub(super) fn remove(&mut self, key: &LogKey) {
        if let Some(held) = self.logs.remove(key) {
            self.by_first.remove(&(held.first, *key));
        }
    }

    /// A sync of the log's file has begun after the round `sequence`, and succeeded.
    pub(super) fn covered(&mut self, key: &LogKey, sequence: u64) {
        match self.logs.get_mut(key) {
            Some(held) if held.last <= sequence => self.remove(key),
            Some(held) if held.first <= sequence => {
                self.by_first.remove(&(held.first, *key));
                held.first = sequence + 1;
                self.by_first.insert((held.first, *key));
            }
            _ => {}
        }
    }

    /// Those that are needed for the longest time, up to `count`, from rounds up to `sequence`.
    pub(super) fn up_to(&self, sequence: u64, count: usize) -> Vec<(LogKey, Arc<dyn File>)> {
        let old = self.by_first.iter().take_while(|(first, _)| *first <= sequence);
        old.take(count)
            .filter_map(|(_, key)| Some((*key, self.file(key)?)))
            .collect()
    }

    /// Those of which no round after `sequence` has anything, up to `count`.
    pub(super) fn idle_since(&self, sequence: u64, count: usize) -> Vec<(LogKey, Arc<dyn File>)> {
        let idle = self.logs.iter().filter(|(_, held)| held.last <= sequence);
        idle.take(count).map(|(key, held)| (*key, held.file.clone())).collect()
    }
}
