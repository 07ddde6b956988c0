//! What a log directory holds after a crash, log by log.

mod job;
mod segments;

use crate::LogConfig;
use crate::directory::Directory;
use crate::log::Log;
use crate::marks::{Cut, Data, Entry, LogKey, LogState};
use crate::removal::is_deleted_file;
use crate::segment::segment_path;
use host::OpenMode;
use segments::Walk;
use std::collections::{BTreeMap, btree_map};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use types::{Broken, LeaderEpoch, Offset, broken};

pub use job::{Recovery, RecoveryDone, RecoveryJob};

/// What recovery found in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecoveryOutcome {
    Intact,
    /// Unsynced data at the end was not whole: the log was cut. Nothing that was reported durable is gone.
    CutAboveMark {
        from: Offset,
        to: Offset,
    },
    /// Data below the durable mark is damaged or missing. Nothing was changed; the replica must not serve or
    /// acknowledge before it was copied again.
    Corrupt {
        at: Offset,
        why: String,
    },
}

/// A log that recovery opened.
pub struct Recovered {
    pub log: Log,
    pub outcome: RecoveryOutcome,
    /// Bytes of segments that were read for it.
    pub bytes_read: u64,
}

/// Recovers one log.
///
/// ```text
///          log start          durable mark                    file end
///  ────────────┼───────────────────┼──────────────────────────────┤
///   removed    │ bad: Corrupt      │ bad: cut here, whatever follows
///  below the recovery point: size and index only │ above: every batch
/// ```
///
/// Answers the entries that the journal must take once all logs are done; a crash before only means that
/// recovery finds the same again, because no append happens in between.
fn recover_log(
    dir: &Arc<Directory>,
    key: LogKey,
    state: &LogState,
    replay: &[Data],
    config: LogConfig,
) -> io::Result<(Recovered, Vec<Entry>)> {
    let mut log = Log::bare(dir, key, state.name.clone(), config, state.log_start);
    log.generation = state.generation;
    log.durable = state.durable;
    log.epochs.clone_from(&state.epochs);
    ensure_directory(&log)?;
    remove_leftovers(&log)?;
    if let Some(Cut::Fully(at)) = state.cut {
        log.start_over(at.max(state.log_start))?;
        log.epochs.clone_from(&state.epochs);
        let entries = settle(&mut log, state)?;
        return Ok((
            Recovered {
                log,
                outcome: RecoveryOutcome::Intact,
                bytes_read: 0,
            },
            entries,
        ));
    }
    write_replayed(&log, state.log_start, replay)?;
    let cut_at = match state.cut {
        Some(Cut::From(at)) => at,
        _ => Offset(i64::MAX),
    };
    let walk = Walk::run(&log, state, cut_at)?;
    let bytes_read = walk.bytes_read;
    let at = walk.end.max(state.log_start);
    if state.durable > state.log_start && walk.end < state.durable && !broken(Broken::CutBelowMark) {
        let why = walk
            .bad
            .unwrap_or_else(|| "the log ends below its durable mark".to_owned());
        log.segments = walk.segments;
        log.log_end = at;
        log.durable = at;
        log.epochs.retain(|(_, start)| *start < at);
        log.epochs_durable = log.epochs.len();
        log.last_epoch = log.epochs.last().map_or(LeaderEpoch::NONE, |(epoch, _)| *epoch);
        log.corrupt = Some(at);
        return Ok((
            Recovered {
                log,
                outcome: RecoveryOutcome::Corrupt { at, why },
                bytes_read,
            },
            Vec::new(),
        ));
    }
    let outcome = match walk.bad {
        Some(_) if walk.found_until > at => RecoveryOutcome::CutAboveMark {
            from: walk.found_until,
            to: at,
        },
        _ => RecoveryOutcome::Intact,
    };
    walk.apply(&mut log)?;
    let entries = settle(&mut log, state)?;
    Ok((
        Recovered {
            log,
            outcome,
            bytes_read,
        },
        entries,
    ))
}

/// The directory and `partition.metadata`: a crash may have come before they were made.
fn ensure_directory(log: &Log) -> io::Result<()> {
    let disk = &log.dir.disk;
    let metadata = log.path.join("partition.metadata");
    if disk.exists(&metadata) {
        return Ok(());
    }
    disk.create_dir_all(&log.path)?;
    let text = crate::log::partition_metadata(log.key.tp.topic);
    disk.write_durably(&metadata, text.as_bytes())?;
    disk.sync_dir(&log.dir.path)
}

/// Writes to segments what the journal has of them, in its order, and syncs them. That again and again, if need be: nothing
/// is appended before the journal knows that it was done.
///
/// ◆ But not to one of which it has nothing from the log start on: another may have taken its place, of which the journal knows
/// nothing yet.
fn write_replayed(log: &Log, log_start: Offset, replay: &[Data]) -> io::Result<()> {
    let mut ends: BTreeMap<Offset, Offset> = BTreeMap::new();
    for data in replay {
        let end = ends.entry(data.base).or_default();
        *end = (*end).max(data.end());
    }
    let mut files = BTreeMap::new();
    for data in replay.iter().filter(|data| ends[&data.base] > log_start) {
        let path = segment_path(&log.path, data.base, "log");
        let file = match files.entry(data.base) {
            btree_map::Entry::Occupied(opened) => opened.into_mut(),
            btree_map::Entry::Vacant(missing) => match log.dir.disk.open(&path, OpenMode::Write) {
                Ok(file) => missing.insert(file),
                // It lies below the log start; else the walk finds out.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            },
        };
        let mut position = u64::from(data.position);
        for part in &data.parts {
            file.write_all_at(part, position)?;
            position += part.len() as u64;
        }
    }
    files.values().try_for_each(|file| file.sync_data())
}

/// Files that the last process was about to remove.
fn remove_leftovers(log: &Log) -> io::Result<()> {
    let left = log.dir.disk.read_dir(&log.path)?.into_iter();
    let left = left.filter(|entry| is_deleted_file(&entry.name));
    log.dir
        .remove_later(left.map(|entry| log.path.join(entry.name)), Duration::ZERO);
    Ok(())
}

/// Syncs what recovery changed or found above the mark, and says what the journal must know. What is
/// read back is in the page cache, which is not the disk: it counts as durable only after this.
fn settle(log: &mut Log, state: &LogState) -> io::Result<Vec<Entry>> {
    for segment in &log.segments {
        if let Some(file) = &segment.file {
            file.sync_data()?;
        }
    }
    for file in log.unsynced.drain(..) {
        file.sync_data()?;
    }
    log.dir.disk.sync_dir(&log.path)?;
    for segment in &mut log.segments {
        segment.file = None;
    }
    let end = log.log_end;
    log.epochs.retain(|(_, start)| *start <= end);
    let key = log.key;
    let mut entries = Vec::new();
    if log.epochs != state.epochs {
        if log.epochs.iter().zip(&state.epochs).any(|(now, before)| now != before)
            || log.epochs.len() < state.epochs.len()
        {
            entries.push(Entry::Truncate {
                key,
                offset: Offset::ZERO,
            });
        }
        entries.extend(log.epochs.iter().map(|(epoch, start)| Entry::Epoch {
            key,
            epoch: *epoch,
            start: *start,
        }));
    }
    if !entries.is_empty() || end != state.durable || state.cut.is_some() {
        entries.push(Entry::Mark { key, offset: end });
    }
    // As far as the active segment's index files were of use.
    if log
        .active()
        .and_then(|active| active.index.as_ref())
        .is_some_and(|index| index.written.0 > 0)
    {
        log.indexed = log.indexed.max(state.recovery_point).min(end);
    }
    if log.indexed > state.recovery_point {
        entries.push(Entry::RecoveryPoint {
            key,
            offset: log.indexed,
        });
    }
    if entries.iter().any(|entry| matches!(entry, Entry::Truncate { .. })) {
        log.generation += 1;
    }
    log.durable = end;
    log.epochs_durable = log.epochs.len();
    (log.active_dirty, log.dir_dirty, log.cut_dirty, log.bytes_dirty) = (false, false, false, 0);
    Ok(entries)
}
