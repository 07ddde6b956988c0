//! Syncing the segments whose newest bytes only the journal has for certain, so that it can be written over and they can be
//! closed. On a thread of its own: neither a shard nor the flusher waits.

use crate::directory::{Directory, lock};
use crate::marks::LogKey;
use host::File;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use types::{Monotonic, limits};

/// When segments are synced that nothing is written to any more.
#[derive(Default)]
pub(crate) struct Covering {
    /// Some are being synced.
    under_way: AtomicBool,
    /// The process has no file handle left: all that can be closed is to be.
    handles_wanted: AtomicBool,
    /// How far the journal was at a time, and at that before.
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    at: Monotonic,
    sequence: u64,
    before: u64,
}

impl Covering {
    pub(crate) fn want_handles(&self) {
        self.handles_wanted.store(true, Ordering::Relaxed);
    }

    /// Of segments that no round after this one has anything of, nothing is written any more.
    fn idle_since(&self, now: Monotonic, sequence: u64) -> u64 {
        if self.handles_wanted.swap(false, Ordering::Relaxed) {
            return sequence;
        }
        let mut seen = lock(&self.seen);
        if now.since(seen.at) >= limits::JOURNAL_IDLE {
            *seen = Seen {
                at: now,
                sequence,
                before: seen.sequence,
            };
        }
        seen.before
    }
}

impl Directory {
    /// After a round: syncs some of the segments that hold the journal back, if it is time. Does not wait.
    pub(crate) fn cover_soon(self: &Arc<Self>) {
        if self.marks().must_cover() {
            self.cover_in_background(|dir| {
                let (sequence, files) = dir.marks().to_cover();
                dir.cover(sequence, &files);
            });
        }
    }

    /// Syncs the segments that nothing is written to any more. To be called every second or so; does not wait.
    pub(crate) fn cover_idle(self: &Arc<Self>) {
        if self.journal_fill.uncovered.get() == 0 {
            return;
        }
        self.cover_in_background(|dir| {
            let since = dir.covering.idle_since(dir.host.now(), dir.journal_fill.sequence.get());
            loop {
                let (sequence, files) = dir.marks().idle_since(since);
                if files.is_empty() || !dir.cover(sequence, &files) {
                    return;
                }
            }
        });
    }

    fn cover_in_background(self: &Arc<Self>, cover: impl FnOnce(&Self) + Send + 'static) {
        if self.covering.under_way.swap(true, Ordering::AcqRel) {
            return;
        }
        let dir = self.clone();
        self.coverer.submit(Box::new(move || {
            cover(&dir);
            dir.covering.under_way.store(false, Ordering::Release);
        }));
    }

    /// Answers whether it succeeded; a failure takes the directory offline.
    fn cover(&self, sequence: u64, files: &[(LogKey, Arc<dyn File>)]) -> bool {
        if self.is_offline() {
            return false;
        }
        let synced: io::Result<()> = files.iter().try_for_each(|(_, file)| file.sync_data());
        if let Err(error) = synced {
            self.fail("sync of a journalled segment", &error);
            return false;
        }
        let mut marks = self.marks();
        files.iter().for_each(|(key, _)| marks.covered(key, sequence));
        true
    }
}
