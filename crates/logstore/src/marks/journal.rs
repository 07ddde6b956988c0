use super::entry::Data;
use super::load::{Loaded, Replay, load};
use super::round::{ROUND_ALIGNMENT, RoundBuffer, RoundHeader};
use super::state::{DirectoryState, LogState};
use super::uncovered::Uncovered;
use super::{Entry, JournalSize, LogKey, MarksError};
use host::{Disk, File, OpenMode};
use metrics::Counter;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use types::{Broken, DirectoryId, broken, limits};

/// The journal: two files, of which one is written, in turn.
///
/// ```text
///  marks-0   │ snapshot 17 │ 18 │ 19 │ 20 │ (rounds of an older lap)
///  marks-1   │ snapshot 21 │ 22 │ 23 │ torn … (rounds of an older lap)     ← the first round is the newest: current
///                             ▲
///                             replay from: the oldest round with bytes that no segment has for certain
/// ```
///
/// A round is one write and one fdatasync; the next begins after both. So a bad round can only be the last,
/// torn by a crash, and was never reported: it is ignored. A valid round with a later sequence than the
/// last good one, in either file, proves that acknowledged rounds were damaged. When the file is full, the
/// whole state goes as a snapshot round into the other file, which is the current one from then on. ◆ Before that, all
/// segments with bytes in the other file are synced, and a round says durably that replay begins after it.
///
/// Files are written with zeros when they grow, and then over and over: a sync of a round changes nothing but its bytes.
pub(crate) struct MarksJournal {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    id: DirectoryId,
    size: JournalSize,
    secret: u64,
    state: DirectoryState,
    file: Arc<dyn File>,
    /// Which of the two files is written.
    current: usize,
    position: u64,
    /// Length of the current file.
    capacity: u64,
    /// Sequence of the current file's first round.
    lap: u64,
    /// The current file has data.
    data_in_lap: bool,
    sequence: u64,
    found_sequence: u64,
    last_crc: u32,
    /// As the last durable round says it.
    replay_from: u64,
    uncovered: Uncovered,
    /// Segments with bytes up to this round are to be synced now.
    cover_goal: u64,
    /// What the last process left to be written to segments, until recovery has done so.
    replay: Replay,
    /// The last round's, to be used again.
    buffer: Vec<u8>,
    fill: Arc<JournalFill>,
}

/// How far the journal has come; to be read without its lock, which is held while a round is synced.
#[derive(Debug, Default)]
pub(crate) struct JournalFill {
    /// Used of the current file, and its length.
    pub(crate) bytes: Counter,
    pub(crate) capacity: Counter,
    /// Of the last round that is durable.
    pub(crate) sequence: Counter,
    /// Segments with bytes that only the journal has for certain.
    pub(crate) uncovered: Counter,
    /// Rounds that synced all files because the journal was nearly full.
    pub(crate) direct_rounds: Counter,
    /// Segments for whose sync a full journal had to wait.
    pub(crate) waits: Counter,
}

/// A round, and files that hold bytes of it and of others before it.
pub(crate) type ToCover = (u64, Vec<(LogKey, Arc<dyn File>)>);

/// Written to a file that grows at once.
const ZEROS: usize = 1 << 20;

fn file_name(index: usize) -> String {
    format!("marks-{index}")
}

impl MarksJournal {
    /// A journal for a new directory; durable when this returns. Files that are there are replaced.
    pub(crate) fn create(
        disk: &Arc<dyn Disk>,
        directory: &Path,
        id: DirectoryId,
        size: JournalSize,
        secret: u64,
    ) -> Result<Self, MarksError> {
        for index in 0..2 {
            let path = directory.join(file_name(index));
            if disk.exists(&path) {
                disk.remove_file(&path)?;
            }
        }
        let second = disk.open(&directory.join(file_name(1)), OpenMode::Create)?;
        let mut journal = Self {
            disk: disk.clone(),
            directory: directory.to_owned(),
            id,
            size,
            secret,
            state: DirectoryState::default(),
            file: second.clone(),
            current: 1,
            position: 0,
            capacity: 0,
            lap: 0,
            data_in_lap: false,
            sequence: 0,
            found_sequence: 0,
            last_crc: 0,
            replay_from: 0,
            uncovered: Uncovered::default(),
            cover_goal: 0,
            replay: Replay::new(),
            buffer: Vec::new(),
            fill: Arc::default(),
        };
        journal.grow(&*second, 0, size.bytes)?;
        second.sync_data()?;
        journal.switch()?;
        Ok(journal)
    }

    /// Whether [`MarksJournal::open`] would read the journal; nothing is written.
    pub(crate) fn check(disk: &dyn Disk, directory: &Path, id: DirectoryId) -> Result<(), MarksError> {
        load(&read_files(disk, directory)?, id).map(|_| ())
    }

    /// Reads the journal of an existing directory. `secret` is for one of version 1, which has none.
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        directory: &Path,
        id: DirectoryId,
        size: JournalSize,
        secret: u64,
    ) -> Result<Self, MarksError> {
        let files = read_files(&**disk, directory)?;
        let (current, loaded) = load(&files, id)?;
        let Loaded { last, last_round, .. } = &loaded;
        let (position, sequence) = (last_round.end as u64, *last);
        let file = disk.open(&directory.join(file_name(current)), OpenMode::Write)?;
        // ◆ The last round may be in the page cache only, and where its sync has failed, as clean pages; a file's name may be
        // there only too. Nothing relies on them before they are on the disk.
        let bytes = files[current].get(last_round.clone()).unwrap_or_default();
        file.write_all_at(bytes, last_round.start as u64)?;
        file.sync_data()?;
        sync_names(&**disk, directory)?;
        let mut journal = Self {
            disk: disk.clone(),
            directory: directory.to_owned(),
            id,
            size,
            secret: loaded.secret.unwrap_or(secret),
            state: loaded.state,
            file,
            current,
            position,
            capacity: files[current].len() as u64,
            lap: loaded.first,
            data_in_lap: false,
            sequence,
            found_sequence: sequence,
            last_crc: loaded.last_crc,
            replay_from: loaded.replay_from,
            uncovered: Uncovered::default(),
            cover_goal: 0,
            replay: loaded.replay,
            buffer: Vec::new(),
            fill: Arc::default(),
        };
        journal.fill.sequence.set(sequence);
        journal.measure();
        if loaded.secret.is_none() {
            journal.switch()?;
        }
        Ok(journal)
    }

    pub(crate) fn fill(&self) -> Arc<JournalFill> {
        self.fill.clone()
    }

    /// Of the last round that was there when it was opened; 0 for a new one.
    pub(crate) fn found_sequence(&self) -> u64 {
        self.found_sequence
    }

    #[cfg(test)]
    pub(super) fn lap(&self) -> u64 {
        self.lap
    }

    /// Of the last durable round.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(crate) fn state(&self) -> &DirectoryState {
        &self.state
    }

    /// The logs that are not being deleted, for what is noted of them without being stored.
    pub(crate) fn living_logs(&mut self) -> impl Iterator<Item = (&LogKey, &mut LogState)> {
        self.state.logs.iter_mut().filter(|(_, state)| !state.deleting)
    }

    /// What must be written to the segments of each log before anything else is done with them, in this order.
    pub(crate) fn to_replay(&self) -> BTreeMap<LogKey, Vec<Data>> {
        let mut by_log: BTreeMap<LogKey, Vec<Data>> = BTreeMap::new();
        for (key, data) in self.replay.values().flatten() {
            by_log.entry(*key).or_default().push(data.clone());
        }
        by_log
    }

    /// All that [`Self::to_replay`] said is on disk: makes that, and what else recovery found, durable as one round.
    pub(crate) fn finish_replay(&mut self, entries: &[Entry]) -> io::Result<()> {
        let replayed = !std::mem::take(&mut self.replay).is_empty();
        if replayed && entries.is_empty() {
            // The last process may have used the room that is kept for it.
            return match self.position + ROUND_ALIGNMENT as u64 > self.capacity {
                true => self.switch(),
                false => self.write(RoundBuffer::new()),
            };
        }
        self.append(entries)
    }

    /// Makes the entries durable as one round. After an error the journal must not be used again.
    pub(crate) fn append(&mut self, entries: &[Entry]) -> io::Result<()> {
        self.append_data(entries, Vec::new())
    }

    /// The same with data among the entries; `held` are its files, open since before it was written to them.
    pub(crate) fn append_data(&mut self, entries: &[Entry], held: Vec<(LogKey, Arc<dyn File>)>) -> io::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut round = RoundBuffer::over(std::mem::take(&mut self.buffer));
        entries.iter().for_each(|entry| entry.encode(round.entries()));
        // Some room is kept for a round that only says where replay begins.
        if self.position + round.size() + ROUND_ALIGNMENT as u64 > self.capacity {
            self.switch()?;
        }
        for entry in entries {
            self.let_go(entry)?;
            self.state.apply(entry, self.sequence + 1).map_err(io::Error::other)?;
        }
        self.write(round)?;
        self.data_in_lap |= !held.is_empty();
        for (key, file) in held {
            self.uncovered.insert(key, file, self.sequence);
        }
        self.measure();
        Ok(())
    }

    /// ◆ The entry voids the log's data in the journal: what stays of it must be in the segments before.
    fn let_go(&mut self, entry: &Entry) -> io::Result<()> {
        let key = entry.key();
        match entry {
            Entry::Truncate { .. } => {
                if let Some(file) = self.uncovered.file(&key).filter(|_| !broken(Broken::CutUnsyncedTail)) {
                    file.sync_data()?;
                }
                self.uncovered.remove(&key);
            }
            Entry::Create { .. } | Entry::TruncateFully { .. } | Entry::Delete { .. } | Entry::Removed { .. } => {
                self.uncovered.remove(&key);
            }
            _ => {}
        }
        Ok(())
    }

    /// One write, one sync.
    fn write(&mut self, round: RoundBuffer) -> io::Result<()> {
        let (bytes, header, crc) = self.seal(round, false);
        self.file.write_all_at(&bytes, self.position)?;
        self.file.sync_data()?;
        let half = self.capacity / 2;
        let was_below = self.position < half;
        self.position += bytes.len() as u64;
        self.advance(&header, crc);
        self.buffer = bytes;
        if was_below && self.position >= half {
            // A quarter of both files.
            self.cover_goal = self.sequence;
        }
        Ok(())
    }

    fn seal(&self, round: RoundBuffer, snapshot: bool) -> (Vec<u8>, RoundHeader, u32) {
        let sequence = self.sequence + 1;
        let left = self.replay.first_key_value().map(|(sequence, _)| *sequence);
        let header = RoundHeader {
            directory: self.id,
            secret: self.secret,
            snapshot,
            sequence,
            previous_crc: self.last_crc,
            lap: if snapshot { sequence } else { self.lap },
            replay_from: left.or(self.uncovered.oldest()).unwrap_or(sequence),
        };
        let (bytes, crc) = round.seal(&header);
        (bytes, header, crc)
    }

    /// A round is durable.
    fn advance(&mut self, header: &RoundHeader, crc: u32) {
        self.sequence = header.sequence;
        self.replay_from = header.replay_from;
        self.last_crc = crc;
        self.fill.sequence.set(self.sequence);
        self.measure();
    }

    fn measure(&self) {
        self.fill.bytes.set(self.position);
        self.fill.capacity.set(self.capacity);
        self.fill.uncovered.set(self.uncovered.len() as u64);
    }

    /// Writes the state into the other file and goes on there.
    fn switch(&mut self) -> io::Result<()> {
        self.free_other()?;
        let mut round = RoundBuffer::new();
        let state = self.state.to_entries();
        state.iter().for_each(|entry| entry.encode(round.entries()));
        let (bytes, header, crc) = self.seal(round, true);
        let (other, len) = (1 - self.current, bytes.len() as u64);
        let path = self.directory.join(file_name(other));
        let file = self.disk.open_patiently(&path, OpenMode::Create)?;
        let before = file.len()?;
        file.write_all_at(&bytes, 0)?;
        self.grow(&*file, before.max(len), self.wanted(len))?;
        file.sync_data()?;
        sync_names(&*self.disk, &self.directory)?;
        if self.lap > 0 {
            tracing::debug!(directory = %self.directory.display(), sequence = header.sequence, bytes = self.position, "the journal goes on in its other file");
        }
        self.capacity = file.len()?;
        self.file = file;
        self.current = other;
        self.position = len;
        self.lap = header.sequence;
        self.data_in_lap = false;
        self.advance(&header, crc);
        self.cover_goal = self.sequence;
        Ok(())
    }

    /// Length of the next file. A directory that is written to a lot gets a longer journal, where the disk has room for it.
    fn wanted(&self, snapshot: u64) -> u64 {
        let least = self.size.bytes.max(snapshot * 4).max(self.capacity);
        let more = (self.capacity * 2).min(self.size.bytes_max);
        let has_room = || {
            let space = self.disk.space(&self.directory);
            space.is_ok_and(|space| space.free_bytes / limits::JOURNAL_ROOM_SHARE >= more)
        };
        if self.data_in_lap && more > least && has_room() {
            more
        } else {
            least
        }
    }

    /// ◆ All that is written until the file is full has its place already: a file system that others fill up takes no
    /// directory offline in the middle of what was acknowledged.
    fn grow(&self, file: &dyn File, from: u64, to: u64) -> io::Result<()> {
        let zeros = vec![0; ZEROS.min(usize::try_from(to.saturating_sub(from)).unwrap_or(ZEROS))];
        let mut at = from;
        while at < to {
            let count = usize::try_from(to - at).map_or(zeros.len(), |left| left.min(zeros.len()));
            match file.write_all_at(&zeros[..count], at) {
                // It stays as long as there was room for.
                Err(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                    break;
                }
                written => written?,
            }
            at += count as u64;
        }
        Ok(())
    }

    /// ◆ The other file may be written over: whatever it still had to say of segments is in them, and that is durable. Here
    /// acknowledgements wait, if the syncs of [`Self::to_cover`] came too late.
    fn free_other(&mut self) -> io::Result<()> {
        if !self.replay.is_empty() {
            return Err(io::Error::other("the journal is written to before recovery"));
        }
        while let Some((key, file)) = self.uncovered.up_to(self.lap.saturating_sub(1), 1).pop() {
            file.sync_data()?;
            self.uncovered.remove(&key);
            self.fill.waits.add(1);
        }
        if self.replay_from < self.lap && !broken(Broken::ReuseBeforeReplayStart) {
            self.write(RoundBuffer::new())?;
        }
        Ok(())
    }

    /// Data that the next round may bring. `None`: the journal is nearly full, and has to be relieved first.
    pub(crate) fn data_bytes_max(&self) -> Option<u64> {
        let other_needed = self.uncovered.oldest().is_some_and(|oldest| oldest < self.lap);
        // Of both files, 90 %.
        let nearly_full = other_needed && self.position >= self.capacity / 5 * 4;
        (!nearly_full).then_some(self.capacity / 4)
    }

    /// Counts a round for which the journal was nearly full.
    pub(crate) fn count_direct_round(&self) {
        self.fill.direct_rounds.add(1);
    }

    /// The file with bytes of this log that only the journal has for certain.
    pub(crate) fn uncovered_file(&self, key: &LogKey) -> Option<Arc<dyn File>> {
        self.uncovered.file(key)
    }

    /// Whether [`Self::to_cover`] has an answer.
    pub(crate) fn must_cover(&self) -> bool {
        self.uncovered.len() > limits::JOURNALLED_FILES_MAX
            || self.uncovered.oldest().is_some_and(|oldest| oldest <= self.cover_goal)
    }

    /// Files that are to be synced now, some of those that hold the journal back longest, and the round up to which their
    /// bytes are then in them: for [`Self::covered`].
    pub(crate) fn to_cover(&self) -> ToCover {
        let goal = match self.uncovered.len() > limits::JOURNALLED_FILES_MAX {
            true => self.sequence,
            false => self.cover_goal,
        };
        (
            self.sequence,
            self.uncovered.up_to(goal, limits::JOURNAL_COVERED_AT_ONCE),
        )
    }

    /// Files that no round after `sequence` has anything of, in the same way.
    pub(crate) fn idle_since(&self, sequence: u64) -> ToCover {
        (
            self.sequence,
            self.uncovered.idle_since(sequence, limits::JOURNAL_COVERED_AT_ONCE),
        )
    }

    /// A sync of the log's file, begun after the round `sequence`, has succeeded.
    pub(crate) fn covered(&mut self, key: &LogKey, sequence: u64) {
        self.uncovered.covered(key, sequence);
        self.measure();
    }
}

fn sync_names(disk: &dyn Disk, directory: &Path) -> io::Result<()> {
    match broken(Broken::ForgetJournalNames) {
        true => Ok(()),
        false => disk.sync_dir(directory),
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
