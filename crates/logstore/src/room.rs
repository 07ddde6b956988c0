use host::DiskSpace;
use metrics::Counter;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use types::limits;

/// How much clients' records may still take of a log directory's file system before only the reserve is left, which is
/// for what must go on in a full directory: marks, epochs, deletions, the metadata log (docs/adr/0008-disk-full.md).
///
/// ```text
///  0 ──────────── reserve ──────── reserve × 5/4 ──────────────── free bytes
///  │ no records  │ none, if it was full before  │ records       │
/// ```
///
/// The free space is measured now and then; in between what is taken is counted, so that no burst gets past the reserve.
pub(crate) struct Room {
    /// Until the reserve is reached, by the last measurement and what was taken since.
    left_bytes: AtomicI64,
    /// As measured last.
    full: AtomicBool,
    pub(crate) free_bytes: Counter,
    pub(crate) total_bytes: Counter,
    pub(crate) reserve_bytes: Counter,
}

impl Default for Room {
    /// Before the first measurement there is room.
    fn default() -> Self {
        Self {
            left_bytes: AtomicI64::new(i64::MAX),
            full: AtomicBool::new(false),
            free_bytes: Counter::default(),
            total_bytes: Counter::default(),
            reserve_bytes: Counter::default(),
        }
    }
}

/// The reserve of a file system for which none is configured: 256 MiB or a hundredth of it, whichever is more.
pub(crate) fn default_reserve(total_bytes: u64) -> u64 {
    (total_bytes / limits::LOG_DIR_RESERVE_SHARE).max(limits::LOG_DIR_RESERVE_BYTES_MIN)
}

impl Room {
    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed) || self.left_bytes() == 0
    }

    /// As measured last; `None` before the first time.
    pub(crate) fn space(&self) -> Option<DiskSpace> {
        let (free_bytes, total_bytes) = (self.free_bytes.get(), self.total_bytes.get());
        (total_bytes > 0).then_some(DiskSpace {
            free_bytes,
            total_bytes,
        })
    }

    /// Until the reserve is reached.
    pub(crate) fn left_bytes(&self) -> u64 {
        u64::try_from(self.left_bytes.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// So many bytes of the file system are taken.
    pub(crate) fn take(&self, bytes: u64) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.left_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// The file system itself refused: somebody else took what we counted on.
    pub(crate) fn ran_out(&self) {
        self.left_bytes.store(0, Ordering::Relaxed);
    }

    /// Takes in what was measured, and says so in the log when the directory becomes full and when it no longer is.
    pub(crate) fn measured(&self, space: DiskSpace, reserve_bytes: u64, directory: &Path) {
        self.free_bytes.set(space.free_bytes);
        self.total_bytes.set(space.total_bytes);
        self.reserve_bytes.set(reserve_bytes);
        let resume_bytes = reserve_bytes.saturating_add(reserve_bytes / 4);
        let was_full = self.full.load(Ordering::Relaxed);
        let wanted = if was_full { resume_bytes } else { reserve_bytes };
        let full = space.free_bytes < wanted;
        let left = if full { 0 } else { space.free_bytes - reserve_bytes };
        self.left_bytes
            .store(i64::try_from(left).unwrap_or(i64::MAX), Ordering::Relaxed);
        self.full.store(full, Ordering::Relaxed);
        let directory = directory.display();
        match (was_full, full) {
            (false, true) => {
                tracing::error!(%directory, free_bytes = space.free_bytes, total_bytes = space.total_bytes, reserve_bytes,
                resume_bytes, "a log directory is full but for its reserve (log.dir.reserve.bytes): it takes no more records. What was acknowledged is safe; \
                reads, retention and deletions go on, and writes will by themselves once resume_bytes are free")
            }
            (true, false) => tracing::info!(%directory, free_bytes = space.free_bytes, reserve_bytes,
                "a log directory has room again: it takes records"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_full_from_the_reserve_down_until_a_quarter_more_is_free() {
        let room = Room::default();
        assert!(!room.is_full(), "nothing is known yet");
        // (free bytes, full)
        let measurements = [
            (1_001, false),
            (1_000, false),
            (999, true),
            (0, true),
            (1_000, true),
            (1_249, true),
            (1_250, false),
            (1_000, false),
            (999, true),
        ];
        for (step, (free_bytes, full)) in measurements.into_iter().enumerate() {
            let space = DiskSpace {
                free_bytes,
                total_bytes: 10_000,
            };
            room.measured(space, 1_000, Path::new("/data"));
            // With not a byte above the reserve the next write is refused too, without a word.
            assert_eq!(room.is_full(), full || free_bytes == 1_000, "step {step}");
        }
    }

    #[test]
    fn what_is_taken_between_two_measurements_counts() {
        let room = Room::default();
        let space = DiskSpace {
            free_bytes: 1_100,
            total_bytes: 10_000,
        };
        room.measured(space, 1_000, Path::new("/data"));
        room.take(99);
        assert!(!room.is_full());
        room.take(1);
        assert!(room.is_full());
        room.measured(space, 1_000, Path::new("/data"));
        assert_eq!(room.left_bytes(), 100, "only the file system knows");
        room.ran_out();
        assert!(room.is_full());
    }

    #[test]
    fn the_default_reserve_grows_with_the_file_system() {
        assert_eq!(default_reserve(1 << 30), 256 << 20);
        assert_eq!(default_reserve(100 << 40), 1 << 40);
    }
}
