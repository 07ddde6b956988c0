//! Whatever a peer says, in whatever order: an answer or an error, bounds that hold, a high watermark that
//! never goes back. Numbers are drawn small, so that messages are often nearly right, or extreme.

use proptest::prelude::*;
use records::BatchHeader;
use replica::{
    Durability, EntryHeader, EpochCache, Follower, FollowerAck, FollowerAction, FollowerHello, HelloAnswer, Leader,
    LogBounds, PartitionView, digest,
};
use std::collections::BTreeMap;
use std::time::Duration;
use types::{
    BrokerEpoch, LeaderEpoch, Monotonic, NodeId, Offset, PartitionEpoch, ProducerEpoch, ProducerId, StreamGeneration,
    TopicId, TopicPartition,
};

const TP: TopicPartition = TopicPartition {
    topic: TopicId::ZERO,
    partition: 0,
};

fn view(durability: Durability) -> PartitionView {
    let nodes: Vec<NodeId> = (1..=3).map(NodeId).collect();
    PartitionView {
        leader: Some(NodeId(1)),
        leader_epoch: LeaderEpoch(5),
        partition_epoch: PartitionEpoch(1),
        replicas: nodes.clone(),
        isr: nodes.clone(),
        elr: Vec::new(),
        min_isr: 2,
        durability,
        brokers: nodes
            .into_iter()
            .map(|node| (node, (BrokerEpoch(1), false)))
            .collect::<BTreeMap<_, _>>(),
    }
}

fn bounds() -> LogBounds {
    LogBounds {
        log_start: Offset(2),
        high_watermark: Offset(5),
        durable: Offset(8),
        log_end: Offset(10),
    }
}

fn epochs() -> EpochCache {
    EpochCache::from([(LeaderEpoch(1), Offset(2)), (LeaderEpoch(4), Offset(6))].as_slice())
}

fn position() -> impl Strategy<Value = Offset> {
    prop_oneof![8 => (-1i64..13).prop_map(Offset), 1 => Just(Offset(i64::MIN)), 1 => Just(Offset(i64::MAX))]
}

fn epoch() -> impl Strategy<Value = LeaderEpoch> {
    prop_oneof![6 => Just(LeaderEpoch(5)), 3 => (-1i32..7).prop_map(LeaderEpoch), 1 => Just(LeaderEpoch(i32::MAX))]
}

fn hello() -> impl Strategy<Value = FollowerHello> {
    (
        0i32..4,
        0u64..3,
        0u64..3,
        epoch(),
        position(),
        position(),
        position(),
        -1i32..6,
    )
        .prop_map(
            |(node, broker_epoch, generation, leader_epoch, log_start, log_end, durable, last_epoch)| FollowerHello {
                node: NodeId(node),
                broker_epoch: BrokerEpoch(broker_epoch),
                generation: StreamGeneration(generation),
                leader_epoch,
                log_start,
                log_end,
                durable,
                last_epoch: LeaderEpoch(last_epoch),
            },
        )
}

fn ack() -> impl Strategy<Value = FollowerAck> {
    (0i32..4, 0u64..3, epoch(), position(), position(), position()).prop_map(
        |(node, generation, leader_epoch, log_end, durable, log_start)| FollowerAck {
            node: NodeId(node),
            leader_epoch,
            generation: StreamGeneration(generation),
            log_end,
            durable,
            log_start,
        },
    )
}

fn answer() -> impl Strategy<Value = HelloAnswer> {
    prop_oneof![
        (position(), position(), position()).prop_map(|(offset, high_watermark, log_start)| HelloAnswer::SendFrom {
            offset,
            high_watermark,
            log_start
        }),
        Just(HelloAnswer::SendFrom {
            offset: Offset(10),
            high_watermark: Offset(7),
            log_start: Offset(2)
        }),
        (epoch(), position()).prop_map(|(epoch, end_offset)| HelloAnswer::Diverging { epoch, end_offset }),
        position().prop_map(|log_start| HelloAnswer::StartOver { log_start }),
    ]
}

fn batch() -> impl Strategy<Value = BatchHeader> {
    (position(), -2i32..4, epoch(), any::<u32>()).prop_map(|(base_offset, last_offset_delta, leader_epoch, crc)| {
        BatchHeader {
            base_offset,
            batch_length: 49,
            leader_epoch,
            magic: 2,
            crc,
            attributes: 0,
            last_offset_delta,
            base_timestamp: 0,
            max_timestamp: 0,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch(-1),
            base_sequence: -1,
            record_count: 1,
        }
    })
}

type Frame = (EntryHeader, Vec<BatchHeader>);

fn frame() -> impl Strategy<Value = Frame> {
    let positions = (position(), position(), position());
    (
        epoch(),
        epoch(),
        0u64..4,
        positions,
        prop::collection::vec(batch(), 0..3),
        any::<bool>(),
    )
        .prop_map(
            |(leader_epoch, previous_epoch, generation, (previous_end, high_watermark, log_start), batches, honest)| {
                let header = EntryHeader {
                    leader_epoch,
                    previous_end,
                    previous_epoch,
                    generation: StreamGeneration(generation),
                    high_watermark,
                    log_start,
                    digest: if honest { digest(batches.iter()) } else { 0 },
                };
                (header, batches)
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_leader_bears_any_follower(
        messages in prop::collection::vec((hello(), ack()), 1..30), strict in any::<bool>()
    ) {
        let durability = if strict { Durability::Strict } else { Durability::Relaxed };
        let mut leader = Leader::new(TP, NodeId(1), view(durability), bounds(), Duration::from_secs(1), Monotonic::default());
        let cache = epochs();
        let mut mark = leader.high_watermark();
        for (hello, ack) in messages {
            let _ = leader.on_hello(&hello, &cache.of_log(Offset(10)), Monotonic::default());
            let _ = leader.on_ack(&ack, Monotonic::default());
            leader.bounds().validate();
            prop_assert!(leader.high_watermark() >= mark);
            mark = leader.high_watermark();
        }
    }

    #[test]
    fn a_follower_bears_any_leader(messages in prop::collection::vec((answer(), frame()), 1..30)) {
        let mut follower = Follower::new(
            TP, NodeId(2), &view(Durability::Strict), bounds(), LeaderEpoch(4), StreamGeneration(1), Monotonic::default(),
        );
        let mut cache = epochs();
        for (answer, (entry, batches)) in messages {
            let mut actions = follower.on_answer(&answer, &cache.of_log(follower.bounds().log_end));
            actions.extend(follower.on_entry(&entry, &batches).unwrap_or_default());
            for action in actions {
                match action {
                    FollowerAction::Truncate { to } => {
                        prop_assert!(to >= follower.bounds().log_start && to < follower.bounds().log_end);
                        cache.truncate_from_end(to);
                        let last = cache.latest().map_or(LeaderEpoch::NONE, |(epoch, _)| epoch);
                        follower.on_truncated(to, last);
                    }
                    FollowerAction::StartOver { at } => {
                        prop_assert!(at >= Offset::ZERO);
                        cache = EpochCache::new();
                        follower.on_truncated(at, LeaderEpoch::NONE);
                    }
                    FollowerAction::AssignEpoch { epoch, start } => prop_assert!(cache.assign(epoch, start)),
                    FollowerAction::Append { first, next, last_epoch, .. } => {
                        prop_assert!(first >= follower.bounds().log_end && next > first);
                        follower.on_appended(next, last_epoch);
                    }
                    FollowerAction::AdvanceLogStart { to } => follower.on_log_start(to),
                    FollowerAction::Ready | FollowerAction::Restate | FollowerAction::AdvanceHighWatermark { .. } => {}
                }
            }
            follower.bounds().validate();
        }
    }
}
