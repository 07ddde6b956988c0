//! Tables: a leader in a state, an event, the exact actions. Node 1 leads epoch 5, nodes 2 and 3 follow.
//! Tests marked ◆ say which line they guard; without it they fail.

mod commit;
mod isr;
mod stream;

use super::*;
use crate::{Durability, EpochCache};
use types::{PartitionEpoch, TopicId};

const ME: NodeId = NodeId(1);
const TWO: NodeId = NodeId(2);
const THREE: NodeId = NodeId(3);
const LAG: Duration = Duration::from_millis(10_000);

fn at(ms: u64) -> Monotonic {
    Monotonic::from_millis(ms)
}

fn view(durability: Durability, isr: &[i32], partition_epoch: i32) -> PartitionView {
    PartitionView {
        leader: Some(ME),
        leader_epoch: LeaderEpoch(5),
        partition_epoch: PartitionEpoch(partition_epoch),
        replicas: vec![ME, TWO, THREE],
        isr: isr.iter().map(|node| NodeId(*node)).collect(),
        elr: Vec::new(),
        min_isr: 2,
        durability,
        brokers: [(ME, 11), (TWO, 12), (THREE, 13)]
            .into_iter()
            .map(|(node, epoch)| (node, (BrokerEpoch(epoch), false)))
            .collect(),
    }
}

/// Log 0..100 of epochs 3 (from 0) and 4 (from 60), committed below 90, epoch 5 starts at 100.
fn leader(durability: Durability, isr: &[i32]) -> Leader {
    let bounds = LogBounds {
        log_start: Offset(0),
        high_watermark: Offset(90),
        durable: Offset(100),
        log_end: Offset(100),
    };
    let tp = TopicPartition {
        topic: TopicId::default(),
        partition: 0,
    };
    Leader::new(tp, ME, view(durability, isr, 7), bounds, LAG, at(0))
}

fn epochs(log_end: i64) -> (EpochCache, Offset) {
    let pairs = [(3, 0), (4, 60), (5, 100)].map(|(epoch, start)| (LeaderEpoch(epoch), Offset(start)));
    (EpochCache::from(pairs.as_slice()), Offset(log_end))
}

fn hello_of(node: i32, generation: u64, log_end: i64, last_epoch: i32) -> FollowerHello {
    FollowerHello {
        node: NodeId(node),
        broker_epoch: BrokerEpoch(10 + u64::from(node.unsigned_abs())),
        generation: StreamGeneration(generation),
        leader_epoch: LeaderEpoch(5),
        log_start: Offset(0),
        log_end: Offset(log_end),
        durable: Offset(log_end),
        last_epoch: LeaderEpoch(last_epoch),
    }
}

fn say(leader: &mut Leader, hello: &FollowerHello, now: u64) -> Result<HelloAnswer, Error> {
    let (cache, end) = epochs(leader.bounds.log_end.0);
    leader.on_hello(hello, &cache.of_log(end), at(now))
}

fn ack(node: i32, generation: u64, log_end: i64, durable: i64) -> FollowerAck {
    FollowerAck {
        node: NodeId(node),
        leader_epoch: LeaderEpoch(5),
        generation: StreamGeneration(generation),
        log_end: Offset(log_end),
        durable: Offset(durable),
        log_start: Offset(0),
    }
}

fn commit(to: i64) -> Action {
    Action::AdvanceHighWatermark { to: Offset(to) }
}

fn propose(id: u64, isr: &[i32], partition_epoch: i32) -> Action {
    Action::ProposeIsr {
        proposal: ProposalId(id),
        isr: isr
            .iter()
            .map(|node| (NodeId(*node), BrokerEpoch(10 + u64::from(node.unsigned_abs()))))
            .collect(),
        leader_epoch: LeaderEpoch(5),
        partition_epoch: PartitionEpoch(partition_epoch),
    }
}

/// Both followers at 100, in generation 1, log end 100.
fn connected(durability: Durability, isr: &[i32]) -> Leader {
    let mut leader = leader(durability, isr);
    for node in [2, 3] {
        let answer = say(&mut leader, &hello_of(node, 1, 100, 4), 0);
        let from = HelloAnswer::SendFrom {
            offset: Offset(100),
            high_watermark: Offset(90),
            log_start: Offset(0),
        };
        assert_eq!(answer, Ok(from));
    }
    leader
}
