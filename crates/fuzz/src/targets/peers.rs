//! What another node sends: replica frames and Raft messages.

use crate::bounded::bounded;
use crate::checksums::seal_frame;
use crate::{Kind, Target};
use broker::replica_stream::protocol::{Answer, Entry, Frame, StreamHello, Welcome};
use bytes::Bytes;
use prost::Message;
use raft::pb;
use records::{BatchBuilder, BatchHeader, Compression, split_batches, verify_crc};
use replica::{
    Durability, EntryHeader, EpochCache, Follower, FollowerAck, FollowerAction, FollowerHello, HelloAnswer, Leader,
    LogBounds, PartitionView, digest,
};
use std::collections::BTreeMap;
use std::time::Duration;
use types::{
    BrokerEpoch, DirectoryId, ErrorCode, LeaderEpoch, Monotonic, NodeId, Offset, PartitionEpoch, StreamGeneration,
    TopicId, TopicPartition,
};
use uuid::Uuid;

/// Memory that a message may take: a base, and so much for each byte.
const BYTES_BASE: usize = 1 << 20;
const BYTES_PER_BYTE: usize = 64;
const TP: TopicPartition = TopicPartition {
    topic: TopicId::ZERO,
    partition: 0,
};

pub(crate) fn all() -> Vec<Target> {
    vec![
        Target::new("replica-stream", Kind::Peer, replica_stream, replica_streams),
        Target::new("raft-message", Kind::Peer, raft_message, raft_messages),
    ]
}

fn limit(input: &[u8]) -> usize {
    BYTES_BASE + BYTES_PER_BYTE * input.len()
}

/// A byte that says whether lengths and CRCs are made right, then frames as they are on the wire.
fn replica_streams() -> Vec<Vec<u8>> {
    let mut batch = BatchBuilder::new(Compression::None)
        .base_offset(Offset(10))
        .leader_epoch(LeaderEpoch(5));
    batch.push(1, None, Some(b"value"), &[]);
    let records = batch.build();
    let header = BatchHeader::parse(&records).expect("a batch");
    let hello = FollowerHello {
        node: NodeId(2),
        broker_epoch: BrokerEpoch(1),
        generation: StreamGeneration(1),
        leader_epoch: LeaderEpoch(5),
        log_start: Offset(2),
        log_end: Offset(10),
        durable: Offset(8),
        last_epoch: LeaderEpoch(4),
    };
    let answer = |answer| Answer {
        tp: TP,
        generation: StreamGeneration(1),
        answer,
    };
    let send_from = Frame::Answers(vec![answer(Ok(HelloAnswer::SendFrom {
        offset: Offset(10),
        high_watermark: Offset(7),
        log_start: Offset(2),
    }))]);
    let data = Frame::Data(vec![Entry {
        tp: TP,
        header: EntryHeader {
            leader_epoch: LeaderEpoch(5),
            previous_end: Offset(10),
            previous_epoch: LeaderEpoch(4),
            generation: StreamGeneration(1),
            high_watermark: Offset(7),
            log_start: Offset(2),
            digest: digest([&header].into_iter()),
        },
        records,
    }]);
    let acks = Frame::Acks(vec![(
        TP,
        FollowerAck {
            node: NodeId(2),
            leader_epoch: LeaderEpoch(5),
            generation: StreamGeneration(1),
            log_end: Offset(10),
            durable: Offset(9),
            log_start: Offset(2),
        },
    )]);
    let other = Frame::Answers(vec![
        answer(Ok(HelloAnswer::Diverging {
            epoch: LeaderEpoch(4),
            end_offset: Offset(8),
        })),
        answer(Ok(HelloAnswer::StartOver { log_start: Offset(3) })),
        answer(Err(ErrorCode::FencedLeaderEpoch)),
    ]);
    let stream = Frame::Hello(StreamHello {
        versions: (1, 1),
        cluster_id: "cluster".to_owned(),
        from: NodeId(2),
        to: NodeId(1),
        broker_epoch: BrokerEpoch(1),
        stream_id: 1,
        follower_shards: 2,
        follower_shard: 1,
        leader_shards: 1,
        leader_shard: 0,
        directories: vec![DirectoryId(Uuid::from_u128(1))],
    });
    let welcome = Frame::Welcome(Welcome {
        code: ErrorCode::None,
        version: 1,
        broker_epoch: BrokerEpoch(1),
        message: "hello".to_owned(),
    });
    let positions = Frame::Positions(vec![(TP, hello)]);
    let streams = [
        vec![&stream, &positions, &acks],
        vec![&positions, &acks, &acks],
        vec![&welcome, &send_from, &data],
        vec![&send_from, &data, &data],
        vec![&other, &send_from, &Frame::KeepAlive],
    ];
    let bytes = |seal| {
        streams.clone().map(move |frames| {
            let frames = frames.into_iter().flat_map(|frame| frame.encode().into_bytes());
            [seal].into_iter().chain(frames).collect()
        })
    };
    [bytes(1), bytes(0)].concat()
}

/// The frames of one stream, in the order in which a shard would see them, against a leader and a follower.
fn replica_stream(input: &[u8]) {
    let Some((seal, mut rest)) = input.split_first() else {
        return;
    };
    let mut replicas = Replicas::new();
    for _ in 0..20 {
        let Some((length, behind)) = rest.split_first_chunk::<4>() else {
            return;
        };
        let length = u32::from_be_bytes(*length) as usize;
        let mut frame = behind[..length.min(behind.len())].to_vec();
        rest = &behind[frame.len()..];
        if seal & 1 != 0 {
            seal_frame(&mut frame);
        }
        let frame = Bytes::from(frame);
        let Ok(decoded) = bounded(limit(&frame), || Frame::decode(&frame)) else {
            return;
        };
        assert_eq!(
            Frame::decode(&decoded.encode().into_bytes().slice(4..)).as_ref(),
            Ok(&decoded)
        );
        replicas.take(decoded);
    }
}

struct Replicas {
    leader: Leader,
    follower: Follower,
    leader_epochs: EpochCache,
    follower_epochs: EpochCache,
}

impl Replicas {
    fn new() -> Self {
        let nodes: Vec<NodeId> = (1..=3).map(NodeId).collect();
        let view = PartitionView {
            leader: Some(NodeId(1)),
            leader_epoch: LeaderEpoch(5),
            partition_epoch: PartitionEpoch(1),
            replicas: nodes.clone(),
            isr: nodes.clone(),
            elr: Vec::new(),
            min_isr: 2,
            durability: Durability::Strict,
            brokers: nodes
                .into_iter()
                .map(|node| (node, (BrokerEpoch(1), false)))
                .collect::<BTreeMap<_, _>>(),
        };
        let bounds = LogBounds {
            log_start: Offset(2),
            high_watermark: Offset(5),
            durable: Offset(8),
            log_end: Offset(10),
        };
        let epochs = EpochCache::from([(LeaderEpoch(1), Offset(2)), (LeaderEpoch(4), Offset(6))].as_slice());
        let now = Monotonic::default();
        let (lag, generation) = (Duration::from_secs(1), StreamGeneration(1));
        Self {
            leader: Leader::new(TP, NodeId(1), view.clone(), bounds, lag, now),
            follower: Follower::new(TP, NodeId(2), &view, bounds, LeaderEpoch(4), generation, now),
            leader_epochs: epochs.clone(),
            follower_epochs: epochs,
        }
    }

    fn take(&mut self, frame: Frame) {
        let now = Monotonic::default();
        let mark = self.leader.high_watermark();
        match frame {
            Frame::Positions(positions) => {
                for (_, hello) in positions {
                    let _ = self
                        .leader
                        .on_hello(&hello, &self.leader_epochs.of_log(Offset(10)), now);
                }
            }
            Frame::Acks(acks) => {
                for (_, ack) in acks {
                    let _ = self.leader.on_ack(&ack, now);
                }
            }
            Frame::Answers(answers) => {
                for answer in answers.into_iter().filter_map(|answer| answer.answer.ok()) {
                    let end = self.follower.bounds().log_end;
                    let actions = self.follower.on_answer(&answer, &self.follower_epochs.of_log(end));
                    self.perform(actions);
                }
            }
            Frame::Data(entries) => {
                for entry in entries {
                    let batches: Vec<_> = split_batches(&entry.records).collect();
                    let whole = batches.iter().flatten().filter(|batch| verify_crc(&batch.bytes));
                    let headers: Vec<BatchHeader> = whole.map(|batch| batch.header).collect();
                    if headers.len() == batches.len()
                        && let Ok(actions) = self.follower.on_entry(&entry.header, &headers)
                    {
                        self.perform(actions);
                    }
                }
            }
            Frame::Hello(_) | Frame::Welcome(_) | Frame::KeepAlive | Frame::Leaves(_) => {}
        }
        self.leader.bounds().validate();
        self.follower.bounds().validate();
        assert!(self.leader.high_watermark() >= mark);
    }

    fn perform(&mut self, actions: Vec<FollowerAction>) {
        for action in actions {
            match action {
                FollowerAction::Truncate { to } => {
                    let bounds = self.follower.bounds();
                    assert!(to >= bounds.log_start && to < bounds.log_end);
                    self.follower_epochs.truncate_from_end(to);
                    let last = self
                        .follower_epochs
                        .latest()
                        .map_or(LeaderEpoch::NONE, |(epoch, _)| epoch);
                    self.follower.on_truncated(to, last);
                }
                FollowerAction::StartOver { at } => {
                    self.follower_epochs = EpochCache::new();
                    self.follower.on_truncated(at, LeaderEpoch::NONE);
                }
                FollowerAction::AssignEpoch { epoch, start } => assert!(self.follower_epochs.assign(epoch, start)),
                FollowerAction::Append {
                    first,
                    next,
                    last_epoch,
                    ..
                } => {
                    assert!(first >= self.follower.bounds().log_end && next > first);
                    self.follower.on_appended(next, last_epoch);
                }
                FollowerAction::AdvanceLogStart { to } => self.follower.on_log_start(to),
                FollowerAction::Ready | FollowerAction::Restate | FollowerAction::AdvanceHighWatermark { .. } => {}
            }
        }
    }
}

/// A byte for the kind, then the message.
fn raft_message(input: &[u8]) {
    let Some((kind, bytes)) = input.split_first() else {
        return;
    };
    bounded(limit(input) + (4 << 20) + 512 * input.len(), || {
        let _ = match kind % 6 {
            0 => raft::fuzzing::call(bytes),
            1 => raft::fuzzing::reply(bytes),
            stored => raft::fuzzing::stored(stored - 2, bytes),
        };
    });
}

fn raft_messages() -> Vec<Vec<u8>> {
    let log_id = Some(pb::LogId { term: 3, index: 7 });
    let plain_vote = pb::Vote {
        term: 3,
        voted_for: 1,
        committed: true,
    };
    let vote = Some(plain_vote);
    let membership = pb::Membership {
        configurations: vec![pb::Configuration { voters: vec![1, 2] }],
        nodes: [1, 2, 3]
            .map(|raft_id| pb::RaftNode {
                raft_id,
                address: "127.0.0.1:1".to_owned(),
            })
            .to_vec(),
    };
    let records = || Bytes::from(metadata::encode_records(&[metadata::Record::NextRaftId { next: 4 }]));
    let entry = |index, payload| pb::Entry {
        format: 1,
        log_id: Some(pb::LogId { term: 3, index }),
        payload: Some(payload),
    };
    let entries = vec![
        entry(8, pb::entry::Payload::Blank(pb::Blank {})),
        entry(
            9,
            pb::entry::Payload::Proposal(pb::Proposal {
                base: 1,
                records: records(),
            }),
        ),
        entry(10, pb::entry::Payload::Membership(membership.clone())),
    ];
    let stored = pb::StoredMembership {
        log_id,
        membership: Some(membership),
    };
    let snapshot = pb::Snapshot {
        meta: Some(pb::SnapshotMeta {
            format: 1,
            last_log_id: log_id,
            membership: Some(stored.clone()),
        }),
        image_index: 7,
        records: records(),
    };
    let call = |call| {
        let request = pb::CallRequest {
            envelope: None,
            call: Some(call),
        };
        [vec![0], request.encode_to_vec()].concat()
    };
    let reply = |reply| [vec![1], pb::CallReply { reply: Some(reply) }.encode_to_vec()].concat();
    let vote_request = pb::VoteRequest {
        vote,
        last_log_id: log_id,
        leadership_transfer: false,
    };
    use pb::append_entries_reply::Outcome;
    use pb::call_reply::Reply;
    use pb::call_request::Call;
    let mut all = vec![
        call(Call::AppendEntries(pb::AppendEntriesRequest {
            vote,
            prev_log_id: log_id,
            entries: entries.clone(),
            leader_commit: log_id,
        })),
        call(Call::Vote(vote_request)),
        call(Call::PreVote(vote_request)),
        call(Call::Snapshot(pb::SnapshotRequest {
            vote,
            snapshot: Some(snapshot.clone()),
        })),
        call(Call::TransferLeader(pb::TransferLeaderRequest {
            from_leader: vote,
            to: 2,
            last_log_id: log_id,
        })),
        reply(Reply::Vote(pb::VoteReply {
            vote,
            granted: true,
            last_log_id: log_id,
        })),
        [vec![3], plain_vote.encode_to_vec()].concat(),
        [vec![4], stored.encode_to_vec()].concat(),
        [vec![5], snapshot.encode_to_vec()].concat(),
    ];
    all.extend(entries.iter().map(|entry| [vec![2], entry.encode_to_vec()].concat()));
    let outcomes = [
        Outcome::Success(pb::Blank {}),
        Outcome::PartialSuccess(pb::PartialSuccess { matching: log_id }),
        Outcome::HigherVote(plain_vote),
    ];
    all.extend(outcomes.map(|outcome| reply(Reply::AppendEntries(pb::AppendEntriesReply { outcome: Some(outcome) }))));
    all
}
