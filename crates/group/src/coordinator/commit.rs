//! OffsetCommit and OffsetFetch.

use super::Coordinator;
use crate::appends::Then;
use crate::effect::{Answer, Ticket};
use crate::now::Now;
use crate::record::{CommittedOffset, Record};
use crate::request::{CommitOffsets, FetchOffsets, FetchedOffset, FetchedOffsets, GroupState};
use types::{ErrorCode, TopicId};

impl Coordinator {
    /// OffsetCommit. `topic_id` gives what stands behind a name now; zero if that is not known.
    pub fn commit(&mut self, ticket: Ticket, request: &CommitOffsets, topic_id: impl Fn(&str) -> TopicId, now: Now) {
        if let Err(error) = self.check_commit(request) {
            return self.out.answer(ticket, Answer::Offsets(Err(error)));
        }
        self.keep_session(request, now);
        let expire_timestamp = match request.retention_time_ms {
            ..0 => -1,
            retention => now.wall_ms.saturating_add(retention),
        };
        let mut records = Vec::new();
        let mut answer = Vec::new();
        for (topic, partitions) in &request.topics {
            let topic_id = topic_id(topic);
            let mut codes = Vec::new();
            for asked in partitions {
                let code = self.check_partition(request, topic, asked.partition, &asked.metadata);
                codes.push((asked.partition, code));
                if code.is_none() {
                    let value = CommittedOffset {
                        offset: asked.offset,
                        leader_epoch: asked.leader_epoch,
                        metadata: asked.metadata.clone(),
                        commit_timestamp: now.wall_ms,
                        expire_timestamp,
                        topic_id,
                    };
                    records.push(Record::Offset {
                        group_id: request.group_id.clone(),
                        topic: topic.clone(),
                        partition: asked.partition,
                        value: Some(value),
                    });
                }
            }
            answer.push((topic.clone(), codes));
        }
        if records.is_empty() {
            return self.out.answer(ticket, Answer::Offsets(Ok(answer)));
        }
        self.group(&request.group_id, now.wall_ms);
        self.append_offsets(records, Then::Offsets(ticket, answer), now);
    }

    /// Gives records of offsets, and of groups, to the log.
    pub(super) fn append_offsets(&mut self, records: Vec<Record>, then: Then, now: Now) {
        for record in &records {
            if let Record::Offset {
                group_id,
                topic,
                partition,
                ..
            } = record
            {
                self.offsets.sent(group_id, topic, *partition);
            }
        }
        self.out.append(records, then, now.at);
        self.account();
    }

    /// Who may commit: a member in its generation; anybody, without naming one, while the group has no members.
    fn check_commit(&self, request: &CommitOffsets) -> Result<(), ErrorCode> {
        if request.group_id.len() > i16::MAX as usize {
            return Err(ErrorCode::InvalidGroupId);
        }
        let Some(group) = self.groups.get(&request.group_id) else {
            // A group without members is made by its first commit.
            return match request.generation_id < 0 {
                true => Ok(()),
                false => Err(ErrorCode::IllegalGeneration),
            };
        };
        if request.generation_id < 0 && group.state() == GroupState::Empty {
            return Ok(());
        }
        let instance_id = request.group_instance_id.as_deref();
        if request.generation_id < 0 && request.member_id.is_empty() && instance_id.is_none() {
            return Err(ErrorCode::UnknownMemberId);
        }
        group.check_member(&request.member_id, instance_id)?;
        if request.generation_id != group.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        if group.state() == GroupState::CompletingRebalance {
            // Offsets of the last generation: the partition may have another owner by now.
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }

    /// A member that commits lives.
    fn keep_session(&mut self, request: &CommitOffsets, now: Now) {
        let settled = |state| matches!(state, GroupState::Stable | GroupState::PreparingRebalance);
        self.turn(&request.group_id, now, |turn| {
            if settled(turn.group.state()) {
                turn.renew_session(&request.member_id);
            }
        });
    }

    fn check_partition(&self, request: &CommitOffsets, topic: &str, partition: i32, metadata: &str) -> ErrorCode {
        if metadata.len() > self.config.offset_metadata_max_bytes {
            return ErrorCode::OffsetMetadataTooLarge;
        }
        let known = self.offsets.get(&request.group_id, topic, partition).is_some();
        if !known && self.memory.is_full() {
            return ErrorCode::InvalidCommitOffsetSize;
        }
        ErrorCode::None
    }

    /// OffsetFetch, of what is committed. An offset of a topic that was deleted and made anew is none.
    #[must_use]
    pub fn fetch(&self, request: &FetchOffsets, topic_id: impl Fn(&str) -> TopicId) -> FetchedOffsets {
        let group_id = request.group_id.as_str();
        let Some(topics) = &request.topics else {
            let mut all = FetchedOffsets::new();
            for (topic, partition, committed) in self.offsets.of(group_id) {
                let fetched = fetched(partition, Some(committed));
                match all.last_mut() {
                    Some((last, partitions)) if last == topic => partitions.push(fetched),
                    _ => all.push((topic.to_owned(), vec![fetched])),
                }
            }
            return all;
        };
        let of_topic = |(topic, partitions): &(String, Vec<i32>)| {
            let id = topic_id(topic);
            let is_same =
                |committed: &&CommittedOffset| id.is_zero() || committed.topic_id.is_zero() || committed.topic_id == id;
            let committed = |partition: i32| self.offsets.get(group_id, topic, partition).filter(is_same);
            let partitions = partitions
                .iter()
                .map(|partition| fetched(*partition, committed(*partition)));
            (topic.clone(), partitions.collect())
        };
        topics.iter().map(of_topic).collect()
    }
}

fn fetched(partition: i32, committed: Option<&CommittedOffset>) -> FetchedOffset {
    FetchedOffset {
        partition,
        offset: committed.map_or(-1, |committed| committed.offset),
        leader_epoch: committed.map_or(-1, |committed| committed.leader_epoch),
        metadata: committed
            .map(|committed| committed.metadata.clone())
            .unwrap_or_default(),
        error: ErrorCode::None,
    }
}
