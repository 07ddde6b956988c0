//! DeleteGroups, OffsetDelete, and topics that are gone.

use super::Coordinator;
use crate::appends::Then;
use crate::effect::{Answer, Ticket};
use crate::now::Now;
use crate::record::Record;
use crate::request::{DeleteOffsets, GroupState};
use types::{ErrorCode, limits};

impl Coordinator {
    /// DeleteGroups, of one: a group without members, and everything that it has committed.
    pub fn delete(&mut self, ticket: Ticket, group_id: &str, now: Now) {
        let state = self.groups.get(group_id).map(|group| group.state());
        match state {
            None | Some(GroupState::Dead) => self.out.answer(ticket, Answer::Deleted(ErrorCode::GroupIdNotFound)),
            Some(GroupState::Empty) => {
                let records = self.tombstones(group_id);
                self.append_tombstones(records, Then::Deleted(ticket), now);
            }
            Some(_) => self.out.answer(ticket, Answer::Deleted(ErrorCode::NonEmptyGroup)),
        }
    }

    /// OffsetDelete: of topics that the group's members do not read.
    pub fn delete_offsets(&mut self, ticket: Ticket, request: &DeleteOffsets, now: Now) {
        let group_id = &request.group_id;
        let Some(group) = self.groups.get(group_id) else {
            return self
                .out
                .answer(ticket, Answer::Offsets(Err(ErrorCode::GroupIdNotFound)));
        };
        let is_of_consumers = group.protocol_type.as_deref() == Some("consumer");
        if group.state() != GroupState::Empty && !is_of_consumers {
            return self.out.answer(ticket, Answer::Offsets(Err(ErrorCode::NonEmptyGroup)));
        }
        let known = self.offsets.keys(group_id);
        let mut records = Vec::new();
        let mut answer = Vec::new();
        for (topic, partitions) in &request.topics {
            let code = match group.subscribes_to(topic) {
                true => ErrorCode::GroupSubscribedToTopic,
                false => ErrorCode::None,
            };
            for partition in partitions {
                let there = known.binary_search_by(|(name, number)| (name, number).cmp(&(topic, partition)));
                if code.is_none() && there.is_ok() {
                    records.push(tombstone(group_id, topic, *partition));
                }
            }
            let codes = partitions.iter().map(|partition| (*partition, code));
            answer.push((topic.clone(), codes.collect()));
        }
        if records.is_empty() {
            return self.out.answer(ticket, Answer::Offsets(Ok(answer)));
        }
        self.append_tombstones(records, Then::Offsets(ticket, answer), now);
    }

    /// A topic was deleted, and with it what groups have read of it.
    pub fn topic_deleted(&mut self, topic: &str, now: Now) {
        let keys = self.offsets.keys_of_topic(topic);
        let records = keys
            .iter()
            .map(|(group_id, partition)| tombstone(group_id, topic, *partition));
        let records: Vec<_> = records.collect();
        if !records.is_empty() {
            self.append_tombstones(records, Then::Nothing, now);
        }
    }

    /// Everything of a group, itself last.
    pub(super) fn tombstones(&self, group_id: &str) -> Vec<Record> {
        let offsets = self.offsets.keys(group_id).into_iter();
        let mut records: Vec<_> = offsets
            .map(|(topic, partition)| tombstone(group_id, &topic, partition))
            .collect();
        records.push(Record::Group {
            group_id: group_id.to_owned(),
            value: None,
        });
        records
    }

    /// In batches that a log takes; what follows, follows the last.
    pub(super) fn append_tombstones(&mut self, records: Vec<Record>, then: Then, now: Now) {
        let mut rest = records;
        while rest.len() > limits::TOMBSTONES_PER_BATCH {
            let later = rest.split_off(limits::TOMBSTONES_PER_BATCH);
            self.append_offsets(std::mem::replace(&mut rest, later), Then::Nothing, now);
        }
        self.append_offsets(rest, then, now);
    }
}

pub(super) fn tombstone(group_id: &str, topic: &str, partition: i32) -> Record {
    Record::Offset {
        group_id: group_id.to_owned(),
        topic: topic.to_owned(),
        partition,
        value: None,
    }
}
