use super::round::{ROUND_ALIGNMENT, Round, encode_round};
use super::state::{DirectoryState, LogState};
use super::{Entry, LogKey, MarksError};
use host::{Disk, File, OpenMode};
use metrics::Counter;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use types::{DirectoryId, limits};

/// The journal: two files, of which one is written.
///
/// ```text
///  marks-0   │ snapshot 17 │ 18 │ 19 │ 20 │            (older: left as it is)
///  marks-1   │ snapshot 21 │ 22 │ 23 │ …torn           (the file whose first round is newest)
/// ```
///
/// A round is one write and one fdatasync; the next begins after both. So a bad round can only be the last,
/// torn by a crash, and was never reported: it is ignored. A valid round with a later sequence than the
/// last good one, in either file, proves that acknowledged rounds were damaged. When the file is full, the
/// whole state goes as a snapshot round into the other file, which is the current one from then on.
pub(crate) struct MarksJournal {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    id: DirectoryId,
    state: DirectoryState,
    file: Arc<dyn File>,
    /// Which of the two files is written.
    current: usize,
    position: u64,
    rewrite_at: u64,
    sequence: u64,
    found_sequence: u64,
    last_crc: u32,
    fill: Arc<JournalFill>,
}

/// How far the journal has come; to be read without its lock, which is held while a round is synced.
#[derive(Debug, Default)]
pub(crate) struct JournalFill {
    /// Length of the current file, and how long it may become before it is rewritten compactly.
    pub(crate) bytes: Counter,
    pub(crate) rewrite_at: Counter,
    /// Of the last round that is durable.
    pub(crate) sequence: Counter,
}

/// What a file holds: (first round's sequence, state, end, last sequence, last CRC).
struct Loaded {
    first: u64,
    state: DirectoryState,
    end: usize,
    last: u64,
    last_crc: u32,
}

/// The last round before a rewrite may begin just before the end, and a round is padded.
const ROUND_ROOM: u64 = 4 * ROUND_ALIGNMENT as u64;

fn file_name(index: usize) -> String {
    format!("marks-{index}")
}

fn load_file(bytes: &[u8], id: DirectoryId) -> Result<Option<Loaded>, MarksError> {
    let Some(first) = Round::parse(bytes, id).filter(|round| round.snapshot) else {
        return Ok(None);
    };
    let mut loaded = Loaded {
        first: first.sequence,
        state: DirectoryState::default(),
        end: 0,
        last: first.sequence,
        last_crc: 0,
    };
    let mut next = Some(first);
    while let Some(round) = next {
        let mut entries = round.entries;
        while !entries.is_empty() {
            loaded.state.apply(&Entry::decode(&mut entries)?)?;
        }
        loaded.last = round.sequence;
        loaded.last_crc = round.crc;
        loaded.end += round.size();
        next = bytes
            .get(loaded.end..)
            .and_then(|rest| Round::parse(rest, id))
            .filter(|round| {
                !round.snapshot
                    && Some(round.sequence) == loaded.last.checked_add(1)
                    && round.previous_crc == loaded.last_crc
            });
    }
    Ok(Some(loaded))
}

/// The highest sequence of a valid round after `last`, wherever it stands.
fn later_round(bytes: &[u8], id: DirectoryId, last: u64) -> Option<u64> {
    (0..bytes.len())
        .step_by(ROUND_ALIGNMENT)
        .filter_map(|at| Round::parse(&bytes[at..], id))
        .map(|round| round.sequence)
        .filter(|sequence| *sequence > last)
        .max()
}

fn load(files: &[Vec<u8>; 2], id: DirectoryId) -> Result<(usize, Loaded), MarksError> {
    let (first, second) = (load_file(&files[0], id)?, load_file(&files[1], id)?);
    let (current, loaded) = match (first, second) {
        (Some(first), Some(second)) if first.first >= second.first => (0, first),
        (_, Some(second)) => (1, second),
        (Some(first), None) => (0, first),
        (None, None) => return Err(MarksError::Missing),
    };
    for bytes in files {
        if let Some(later) = later_round(bytes, id, loaded.last) {
            return Err(MarksError::Corrupt {
                after: loaded.last,
                later,
            });
        }
    }
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

impl MarksJournal {
    /// A journal for a new directory; durable when this returns. Files that are there are replaced.
    pub(crate) fn create(disk: &Arc<dyn Disk>, directory: &Path, id: DirectoryId) -> Result<Self, MarksError> {
        for index in 0..2 {
            let path = directory.join(file_name(index));
            if disk.exists(&path) {
                disk.remove_file(&path)?;
            }
        }
        disk.sync_dir(directory)?;
        let file = disk.open(&directory.join(file_name(1)), OpenMode::Create)?;
        let mut journal = Self {
            disk: disk.clone(),
            directory: directory.to_owned(),
            id,
            state: DirectoryState::default(),
            file,
            current: 1,
            position: 0,
            rewrite_at: 0,
            sequence: 0,
            found_sequence: 0,
            last_crc: 0,
            fill: Arc::default(),
        };
        journal.rewrite()?;
        Ok(journal)
    }

    /// Whether [`MarksJournal::open`] would read the journal; nothing is written.
    pub(crate) fn check(disk: &dyn Disk, directory: &Path, id: DirectoryId) -> Result<(), MarksError> {
        load(&read_files(disk, directory)?, id).map(|_| ())
    }

    /// Reads the journal of an existing directory.
    pub(crate) fn open(disk: &Arc<dyn Disk>, directory: &Path, id: DirectoryId) -> Result<Self, MarksError> {
        let (current, loaded) = load(&read_files(&**disk, directory)?, id)?;
        let file = disk.open(&directory.join(file_name(current)), OpenMode::Write)?;
        let mut journal = Self {
            disk: disk.clone(),
            directory: directory.to_owned(),
            id,
            state: loaded.state,
            file,
            current,
            position: loaded.end as u64,
            rewrite_at: 0,
            sequence: loaded.last,
            found_sequence: loaded.last,
            last_crc: loaded.last_crc,
            fill: Arc::default(),
        };
        // A fresh file: what a crash left behind the last round is never looked at again, and the last
        // round itself, which may be in the page cache only, is made durable before anything relies on it.
        journal.rewrite()?;
        Ok(journal)
    }

    pub(crate) fn fill(&self) -> Arc<JournalFill> {
        self.fill.clone()
    }

    /// Of the last round that was there when it was opened; 0 for a new one.
    pub(crate) fn found_sequence(&self) -> u64 {
        self.found_sequence
    }

    pub(crate) fn state(&self) -> &DirectoryState {
        &self.state
    }

    /// The logs that are not being deleted, for what is noted of them without being stored.
    pub(crate) fn living_logs(&mut self) -> impl Iterator<Item = (&LogKey, &mut LogState)> {
        self.state.logs.iter_mut().filter(|(_, state)| !state.deleting)
    }

    /// Makes the entries durable as one round. After an error the journal must not be used again.
    pub(crate) fn append(&mut self, entries: &[Entry]) -> io::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut payload = Vec::with_capacity(entries.len() * 48);
        for entry in entries {
            self.state.apply(entry).map_err(io::Error::other)?;
            entry.encode(&mut payload);
        }
        if self.position + payload.len() as u64 > self.rewrite_at {
            return self.rewrite();
        }
        let (bytes, crc) = encode_round(self.id, false, self.sequence + 1, self.last_crc, &payload);
        self.file.write_all_at(&bytes, self.position)?;
        self.file.sync_data()?;
        self.position += bytes.len() as u64;
        self.fill.bytes.set(self.position);
        self.advance(crc);
        Ok(())
    }

    /// A round is durable.
    fn advance(&mut self, crc: u32) {
        self.sequence += 1;
        self.last_crc = crc;
        self.fill.sequence.set(self.sequence);
    }

    /// Writes the state into the other file and goes on there.
    fn rewrite(&mut self) -> io::Result<()> {
        let mut payload = Vec::new();
        for entry in self.state.to_entries() {
            entry.encode(&mut payload);
        }
        let (bytes, crc) = encode_round(self.id, true, self.sequence + 1, self.last_crc, &payload);
        let other = 1 - self.current;
        let file = self
            .disk
            .open_patiently(&self.directory.join(file_name(other)), OpenMode::Create)?;
        file.set_len(0)?;
        file.write_all_at(&bytes, 0)?;
        file.sync_data()?;
        self.disk.sync_dir(&self.directory)?;
        self.file = file;
        self.current = other;
        self.position = bytes.len() as u64;
        self.rewrite_at = (bytes.len() as u64 * 4).max(limits::MARKS_JOURNAL_BYTES);
        self.fill.bytes.set(self.position);
        self.fill.rewrite_at.set(self.rewrite_at);
        // ◆ All that is written until then has its place already: a file system that others fill up takes no directory
        // offline in the middle of what was acknowledged.
        self.file.allocate(0, self.rewrite_at + ROUND_ROOM)?;
        self.advance(crc);
        Ok(())
    }
}

fn read_files(disk: &dyn Disk, directory: &Path) -> Result<[Vec<u8>; 2], MarksError> {
    let read = |index| read_file(disk, &directory.join(file_name(index)));
    Ok([read(0)?, read(1)?])
}

fn read_file(disk: &dyn Disk, path: &Path) -> Result<Vec<u8>, MarksError> {
    let file = match disk.open(path, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let len = file.len()?;
    if len > limits::MARKS_JOURNAL_BYTES_MAX {
        return Err(MarksError::TooLarge(len));
    }
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}
