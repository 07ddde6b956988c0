use crate::flush::{FlushJob, FlushStrategy, Flushed};
use std::io;
use types::{Broken, broken};

/// The plain strategy: files and new directories are synced one by one, then one round of the marks journal
/// covers them all.
#[derive(Debug, Default)]
pub struct PlainFlush;

impl FlushStrategy for PlainFlush {
    fn flush(&mut self, jobs: Vec<FlushJob>) -> io::Result<Vec<Flushed>> {
        let synced = jobs.iter().try_for_each(FlushJob::sync);
        let marked = synced.and_then(|()| FlushJob::commit_marks(&jobs));
        if !broken(Broken::StayAfterFailedFlush) {
            marked?;
        }
        Ok(jobs.iter().map(FlushJob::flushed).collect())
    }
}
