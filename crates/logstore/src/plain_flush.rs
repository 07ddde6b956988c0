use crate::flush::{FlushJob, FlushStrategy, Flushed};
use std::io;

/// The plain strategy: files and new directories are synced one by one, then one round of the marks journal
/// covers them all.
#[derive(Debug, Default)]
pub struct PlainFlush;

impl FlushStrategy for PlainFlush {
    fn flush(&mut self, jobs: Vec<FlushJob>) -> io::Result<Vec<Flushed>> {
        for job in &jobs {
            job.sync()?;
        }
        FlushJob::commit_marks(&jobs)?;
        Ok(jobs.iter().map(FlushJob::flushed).collect())
    }
}
