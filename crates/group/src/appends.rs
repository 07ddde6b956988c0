use crate::effect::{Answer, AppendId, Effect, Ticket};
use crate::record::Record;
use crate::request::{Joined, PartitionErrors};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use types::Monotonic;

/// A commit, or a deletion, that is not replicated by then is answered COORDINATOR_NOT_AVAILABLE
/// (`offsets.commit.timeout.ms`). It may still be committed, and counts when it is.
pub(crate) const APPEND_TIMEOUT: Duration = Duration::from_secs(5);

/// What happens when an append is committed, or is not.
#[derive(Debug)]
pub(crate) enum Then {
    Nothing,
    /// Answers a commit or a deletion of offsets.
    Offsets(Ticket, PartitionErrors),
    /// Answers the deletion of a group.
    Deleted(Ticket),
    /// Hands out the assignments of a generation.
    Assign {
        group_id: String,
        generation: i32,
        assignments: BTreeMap<String, Bytes>,
    },
    /// Answers the join of a static member that took the place of its former self.
    Replaced(Ticket, Joined),
}

/// An append that is under way.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) id: AppendId,
    pub(crate) records: Vec<Record>,
    pub(crate) then: Then,
    deadline: Monotonic,
}

/// What goes out of a coordinator: answers, and appends in the order in which they will be committed.
#[derive(Debug, Default)]
pub(crate) struct Out {
    pub(crate) effects: Vec<Effect>,
    pending: VecDeque<Pending>,
    /// Of those in `pending`, how many at the front are past their time and were answered.
    late: usize,
    appended: u64,
    /// Generations that began, for whoever counts them.
    pub(crate) generations: u64,
}

impl Out {
    pub(crate) fn answer(&mut self, ticket: Ticket, answer: Answer) {
        self.effects.push(Effect::Answer(ticket, answer));
    }

    pub(crate) fn append(&mut self, records: Vec<Record>, then: Then, now: Monotonic) {
        self.appended += 1;
        let id = AppendId(self.appended);
        self.effects.push(Effect::Append(id, records.clone()));
        self.pending.push_back(Pending {
            id,
            records,
            then,
            deadline: now.plus(APPEND_TIMEOUT),
        });
    }

    /// The append that comes next in the log, if it is this one.
    pub(crate) fn take(&mut self, id: AppendId) -> Option<Pending> {
        if self.pending.front()?.id != id {
            return None;
        }
        self.late = self.late.saturating_sub(1);
        self.pending.pop_front()
    }

    pub(crate) fn take_all(&mut self) -> VecDeque<Pending> {
        self.late = 0;
        std::mem::take(&mut self.pending)
    }

    /// When the next append is past its time.
    pub(crate) fn next(&self) -> Option<Monotonic> {
        self.pending.get(self.late).map(|pending| pending.deadline)
    }

    /// What is past its time, to be answered. The appends go on.
    pub(crate) fn take_late(&mut self, now: Monotonic) -> Vec<Then> {
        let mut late = Vec::new();
        while self.next().is_some_and(|deadline| deadline <= now) {
            late.push(std::mem::replace(&mut self.pending[self.late].then, Then::Nothing));
            self.late += 1;
        }
        late
    }
}
