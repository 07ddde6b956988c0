use super::Log;
use crate::LogError;
use crate::flush::{FlushJob, Flushed, Tail};
use bytes::Bytes;
use types::{Broken, broken};

impl Log {
    /// What must be flushed now; `None` if all is durable or a job is out already.
    #[must_use]
    pub fn begin_flush(&mut self) -> Option<FlushJob> {
        let clean = self.durable == self.log_end
            && self.epochs_durable == self.epochs.len()
            && !(self.active_dirty || self.dir_dirty || self.cut_dirty)
            && self.unsynced.is_empty();
        if clean || self.job_out || self.corrupt.is_some() {
            return None;
        }
        let tail = self.tail_to_flush();
        let mut files = std::mem::take(&mut self.unsynced);
        if self.active_dirty {
            files.extend(self.segments.last().and_then(|active| active.file.clone()));
        }
        let dirs = if self.dir_dirty {
            vec![self.path.clone()]
        } else {
            Vec::new()
        };
        let job = FlushJob {
            dir: self.dir.clone(),
            key: self.key,
            generation: self.generation,
            files,
            dirs,
            epochs: self.epochs[self.epochs_durable..].to_vec(),
            durable: self.log_end,
            recovery_point: self.indexed,
            bytes: self.bytes_dirty,
            replaced: std::mem::take(&mut self.replaced),
            tail,
        };
        self.job_out = true;
        self.active_dirty = false;
        self.dir_dirty = false;
        self.cut_dirty = false;
        self.bytes_dirty = 0;
        Some(job)
    }

    /// ◆ Only where new bytes of the active segment are all that is not on disk: a mark also says that names, cuts and index
    /// files are.
    fn tail_to_flush(&mut self) -> Option<Tail> {
        let parts = std::mem::take(&mut self.parts);
        let changed = (self.dir_dirty || self.cut_dirty) && !(self.cut_dirty && broken(Broken::JournalBesideCut));
        let more = changed || self.mending || !self.unsynced.is_empty();
        let known: usize = parts.iter().map(Bytes::len).sum();
        let active = self.segments.last().filter(|active| active.file.is_some())?;
        let whole = self.active_dirty && !more && known > 0 && known as u64 == self.bytes_dirty;
        let position = active.size.checked_sub(self.bytes_dirty).filter(|_| whole)?;
        Some(Tail {
            base: active.base,
            position: u32::try_from(position).ok()?,
            parts,
        })
    }

    /// Writes what the active segment's index files lack, so that a restart reads only what comes after. It counts, in
    /// [`Log::begin_flush`], once it is synced.
    ///
    /// # Errors
    /// [`LogError::Full`]; [`LogError::Corrupt`]; [`LogError::Offline`].
    pub fn checkpoint_index(&mut self) -> Result<(), LogError> {
        self.check_writable()?;
        let dir = self.dir.clone();
        let Some(active) = self.segments.last_mut() else {
            return Ok(());
        };
        let written = dir.write_if_room("index", || active.write_index(&dir))?;
        self.unsynced.extend(written);
        self.indexed = self.log_end;
        self.dir_dirty = true;
        Ok(())
    }

    /// To be called every few seconds: an active segment that was not appended to since the last call, and is synced,
    /// gives its descriptor back. ◆ One with unsynced bytes stays open.
    pub fn rest(&mut self) {
        let idle = !(std::mem::take(&mut self.touched) || self.active_dirty || self.job_out);
        if let Some(active) = self.segments.last_mut().filter(|_| idle) {
            active.file = None;
        }
    }

    /// Takes in the result of the job that is out. One from before a truncation moves nothing; what it
    /// synced is synced.
    pub fn finish_flush(&mut self, done: &Flushed) {
        if done.tp != self.key.tp || done.incarnation != self.key.incarnation {
            return;
        }
        self.job_out = false;
        let forgotten = std::mem::take(&mut self.epochs_forgotten);
        // A later job than the one that was out when the append failed: the cut is on disk.
        self.mending &= self.active_dirty;
        if done.generation != self.generation {
            return;
        }
        self.durable = self.durable.max(done.durable.min(self.log_end));
        if let Some(epoch) = done.epoch_durable.filter(|_| !forgotten) {
            let covered = self.epochs.partition_point(|(known, _)| *known <= epoch);
            self.epochs_durable = self.epochs_durable.max(covered);
        }
    }
}
