use crate::convert::{decode, entry_from_pb, entry_to_pb, log_id_from_pb, log_id_to_pb, vote_from_pb, vote_to_pb};
use crate::pb;
use crate::store::{Change, RaftStore, Slot};
use crate::type_config::{Entry, LogId, TypeConfig, Vote};
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::{OptionalSend, RaftTypeConfig};
use prost::Message;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

/// Bytes of entries handed to one AppendEntries: far under the limit of a message between control planes.
const APPEND_BYTES: usize = 4 << 20;

/// openraft's view of a [`RaftStore`].
#[derive(Clone)]
pub struct LogStorage(pub Arc<dyn RaftStore>);

impl LogStorage {
    fn slot<M: prost::Message + Default>(&self, slot: Slot) -> io::Result<Option<M>> {
        self.0.read(slot)?.map(|bytes| decode(&bytes)).transpose()
    }
}

fn bounds(range: &impl RangeBounds<u64>) -> std::ops::Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start + 1,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end + 1,
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    start..end.max(start)
}

fn read_entry(bytes: &[u8]) -> io::Result<Entry> {
    entry_from_pb(&decode::<pb::Entry>(bytes)?)
}

impl RaftLogReader<TypeConfig> for LogStorage {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        self.0
            .entries(bounds(&range), usize::MAX)?
            .iter()
            .map(|bytes| read_entry(bytes))
            .collect()
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.slot::<pb::Vote>(Slot::Vote)?.as_ref().map(vote_from_pb))
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.0
            .entries(start..end, APPEND_BYTES)?
            .iter()
            .map(|bytes| read_entry(bytes))
            .collect()
    }
}

impl RaftLogStorage<TypeConfig> for LogStorage {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let purged = self.slot::<pb::LogId>(Slot::Purged)?.as_ref().map(log_id_from_pb);
        let last = match self.0.last_entry()? {
            Some(bytes) => Some(read_entry(&bytes)?.log_id),
            None => purged,
        };
        Ok(LogState {
            last_purged_log_id: purged,
            last_log_id: last.max(purged),
        })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let puts = vec![(Slot::Vote, vote_to_pb(vote).encode_to_vec())];
        self.0
            .write(Change {
                puts,
                ..Change::default()
            })
            .await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        // It only spares a restarted node from waiting for the leader: need not be durable at once.
        match committed {
            Some(id) => self.0.hint(Slot::Committed, log_id_to_pb(&id).encode_to_vec()),
            None => Ok(()),
        }
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.slot::<pb::LogId>(Slot::Committed)?.as_ref().map(log_id_from_pb))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = <TypeConfig as RaftTypeConfig>::Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries
            .into_iter()
            .map(|entry| (entry.log_id.index, entry_to_pb(&entry).encode_to_vec()))
            .collect();
        let change = Change {
            entries,
            ..Change::default()
        };
        self.0
            .submit(change, Box::new(move |outcome| callback.io_completed(outcome)))
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let from = last.map_or(0, |id| id.index + 1);
        self.0
            .write(Change {
                remove: Some(from..u64::MAX),
                ..Change::default()
            })
            .await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let puts = vec![(Slot::Purged, log_id_to_pb(&upto).encode_to_vec())];
        self.0
            .write(Change {
                puts,
                remove: Some(0..upto.index + 1),
                ..Change::default()
            })
            .await
    }
}
