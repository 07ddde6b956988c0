use super::Log;
use crate::flush::{FlushJob, Flushed};

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
            bytes: self.bytes_dirty,
        };
        self.job_out = true;
        self.active_dirty = false;
        self.dir_dirty = false;
        self.cut_dirty = false;
        self.bytes_dirty = 0;
        Some(job)
    }

    /// Takes in the result of the job that is out. One from before a truncation moves nothing; what it
    /// synced is synced.
    pub fn finish_flush(&mut self, done: &Flushed) {
        if done.tp != self.key.tp || done.incarnation != self.key.incarnation {
            return;
        }
        self.job_out = false;
        if done.generation != self.generation {
            return;
        }
        self.durable = self.durable.max(done.durable.min(self.log_end));
        if let Some(epoch) = done.epoch_durable {
            let covered = self.epochs.partition_point(|(known, _)| *known <= epoch);
            self.epochs_durable = self.epochs_durable.max(covered);
        }
    }
}
