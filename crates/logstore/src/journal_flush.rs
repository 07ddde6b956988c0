use crate::flush::{FlushJob, FlushStrategy, Flushed};
use std::io;
use std::sync::Arc;
use types::{Broken, broken, limits};

/// The journal strategy: new bytes of segments go into the journal, with the marks, and one sync covers them all.
///
/// ```text
///            fewer than 256 KiB, nothing but the active segment        ┐
///  job ──┬─────────────────────────────────────────────────────► data ─┤ one round: one write, one fdatasync
///        └─ more; names, index files, cuts; a full journal ─► sync ────► marks
/// ```
///
/// The segments that have the same bytes unsynced are synced later, on a thread of their own, before the journal is written
/// over ([`crate::marks::MarksJournal`], `docs/adr/0013-tail-journal.md`).
#[derive(Debug, Default)]
pub struct JournalFlush;

impl FlushStrategy for JournalFlush {
    fn flush(&mut self, jobs: Vec<FlushJob>) -> io::Result<Vec<Flushed>> {
        let Some(first) = jobs.first() else {
            return Ok(Vec::new());
        };
        let journalled = choose(&jobs);
        let mut direct = jobs.iter().zip(&journalled).filter(|(_, journalled)| !**journalled);
        let synced = direct.try_for_each(|(job, _)| sync(job));
        let marked = synced.and_then(|()| FlushJob::commit(&jobs, &journalled));
        if !broken(Broken::StayAfterFailedFlush) {
            marked?;
        }
        first.dir.cover_soon();
        Ok(jobs.iter().map(FlushJob::flushed).collect())
    }
}

/// Which jobs go through the journal: the smallest ones, as far as a round has room.
fn choose(jobs: &[FlushJob]) -> Vec<bool> {
    let mut chosen = vec![false; jobs.len()];
    let mut small: Vec<(u64, usize)> = jobs
        .iter()
        .enumerate()
        .filter(|(_, job)| job.tail.is_some() && job.bytes < limits::JOURNALLED_BYTES_MAX)
        .map(|(index, job)| (job.bytes, index))
        .collect();
    let Some(first) = jobs.first().filter(|_| !small.is_empty()) else {
        return chosen;
    };
    let marks = first.dir.marks();
    let Some(mut left) = marks.data_bytes_max() else {
        marks.count_direct_round();
        return chosen;
    };
    drop(marks);
    small.sort_unstable();
    for (bytes, index) in small {
        let Some(rest) = left.checked_sub(bytes) else { break };
        left = rest;
        chosen[index] = true;
    }
    chosen
}

/// Syncs all that the job has changed, and what of its log the journal alone has for certain.
fn sync(job: &FlushJob) -> io::Result<()> {
    let marks = job.dir.marks();
    let (sequence, held) = (marks.sequence(), marks.uncovered_file(&job.key));
    drop(marks);
    job.sync()?;
    if let Some(held) = held.filter(|_| !broken(Broken::MarkBeforeSync)) {
        if !job.files.iter().any(|file| Arc::ptr_eq(file, &held)) {
            held.sync_data()?;
        }
        job.dir.marks().covered(&job.key, sequence);
    }
    Ok(())
}
