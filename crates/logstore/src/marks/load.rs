use super::entry::Data;
use super::round::{ROUND_ALIGNMENT, Round};
use super::state::DirectoryState;
use super::{Entry, LogKey, MarksError};
use std::collections::BTreeMap;
use std::ops::Range;
use types::DirectoryId;

/// Data by the round that brought it.
pub(super) type Replay = BTreeMap<u64, Vec<(LogKey, Data)>>;

/// What a file, and then the journal, holds.
pub(super) struct Loaded {
    /// Sequence of the first round, and the CRC that the round before had.
    pub(super) first: u64,
    previous_crc: u32,
    pub(super) state: DirectoryState,
    pub(super) replay: Replay,
    pub(super) replay_from: u64,
    pub(super) secret: Option<u64>,
    /// Where the last round is in the file.
    pub(super) last_round: Range<usize>,
    pub(super) last: u64,
    pub(super) last_crc: u32,
}

fn load_file(bytes: &[u8], id: DirectoryId) -> Result<Option<Loaded>, MarksError> {
    let Some(first) = Round::parse(bytes, id).filter(|round| round.snapshot) else {
        return Ok(None);
    };
    let mut loaded = Loaded {
        first: first.sequence,
        previous_crc: first.previous_crc,
        state: DirectoryState::default(),
        replay: Replay::new(),
        replay_from: first.replay_from,
        secret: first.secret,
        last_round: 0..0,
        last: first.sequence,
        last_crc: 0,
    };
    let lap = first.lap;
    let mut next = Some(first);
    while let Some(round) = next {
        loaded.take(&round)?;
        next = bytes
            .get(loaded.last_round.end..)
            .and_then(|rest| Round::parse(rest, id))
            .filter(|round| {
                !round.snapshot
                    && Some(round.sequence) == loaded.last.checked_add(1)
                    && round.previous_crc == loaded.last_crc
                    && round.secret == loaded.secret
                    && round.lap == lap
            });
    }
    Ok(Some(loaded))
}

impl Loaded {
    fn take(&mut self, round: &Round<'_>) -> Result<(), MarksError> {
        let mut entries = round.entries;
        let mut brought = Vec::new();
        while !entries.is_empty() {
            let entry = Entry::decode(&mut entries)?;
            self.state.apply(&entry, round.sequence)?;
            if let Entry::Data { key, data } = entry {
                brought.push((key, data));
            }
        }
        if !brought.is_empty() {
            self.replay.insert(round.sequence, brought);
        }
        self.last = round.sequence;
        self.last_crc = round.crc;
        self.replay_from = round.replay_from;
        self.last_round = self.last_round.end..self.last_round.end + round.size();
        Ok(())
    }

    /// Takes over what is still needed of the file before this one.
    fn join(&mut self, before: Option<Self>) -> Result<(), MarksError> {
        if self.secret.is_none() {
            // Nothing was replayed then.
            self.replay_from = self.first;
        }
        if self.replay_from < self.first {
            let before = before.filter(|before| {
                before.first <= self.replay_from
                    && before.last.checked_add(1) == Some(self.first)
                    && before.last_crc == self.previous_crc
                    && before.secret == self.secret
            });
            let Some(mut before) = before else {
                return Err(MarksError::Incomplete {
                    from: self.replay_from,
                    to: self.first,
                });
            };
            self.replay.append(&mut before.replay);
        }
        self.replay = self.replay.split_off(&self.replay_from);
        Ok(())
    }

    /// ◆ What is to be written to segments again: data that is not known to be in them, of the segments that are there now.
    pub(super) fn retain_needed(&mut self) {
        let logs = &self.state.logs;
        self.replay.retain(|_, brought| {
            brought.retain(|(key, data)| {
                let log = logs.get(key);
                log.is_some_and(|log| !log.deleting && log.files == data.files)
            });
            !brought.is_empty()
        });
    }
}

/// The highest sequence of a valid round after `last`, wherever it stands.
fn later_round(bytes: &[u8], id: DirectoryId, last: u64, secret: Option<u64>) -> Option<u64> {
    (0..bytes.len())
        .step_by(ROUND_ALIGNMENT)
        .filter_map(|at| Round::parse(&bytes[at..], id))
        // After version 1 anything may come.
        .filter(|round| secret.is_none() || round.secret == secret)
        .map(|round| round.sequence)
        .filter(|sequence| *sequence > last)
        .max()
}

/// Reads both files; answers which of them is current, too.
pub(super) fn load(files: &[Vec<u8>; 2], id: DirectoryId) -> Result<(usize, Loaded), MarksError> {
    let (first, second) = (load_file(&files[0], id)?, load_file(&files[1], id)?);
    let (current, mut loaded, before) = match (first, second) {
        (Some(first), second) if second.as_ref().is_none_or(|second| first.first >= second.first) => (0, first, second),
        (first, Some(second)) => (1, second, first),
        (_, None) => return Err(MarksError::Missing),
    };
    for bytes in files {
        if let Some(later) = later_round(bytes, id, loaded.last, loaded.secret) {
            return Err(MarksError::Corrupt {
                after: loaded.last,
                later,
            });
        }
    }
    loaded.join(before)?;
    loaded.retain_needed();
    Ok((current, loaded))
}

/// Reads a pair of journal files as recovery would, without a directory; for checks of damaged ones. Answers
/// the number of logs.
///
/// # Errors
/// [`MarksError`].
pub fn inspect_marks(files: &[Vec<u8>; 2], id: DirectoryId) -> Result<usize, MarksError> {
    load(files, id).map(|(_, loaded)| loaded.state.logs.len())
}
