//! Tables: a follower in a state, an event, the exact actions. Node 2 follows in leader epoch 5. Tests
//! marked ◆ say which line they guard; without it they fail.

use super::*;
use crate::EpochCache;
use std::collections::BTreeMap;
use types::{PartitionEpoch, ProducerEpoch, ProducerId, TopicId};

const EPOCH: LeaderEpoch = LeaderEpoch(5);

fn view() -> PartitionView {
    PartitionView {
        leader: Some(NodeId(1)),
        leader_epoch: EPOCH,
        partition_epoch: PartitionEpoch(1),
        replicas: vec![NodeId(1), NodeId(2)],
        isr: vec![NodeId(1), NodeId(2)],
        elr: Vec::new(),
        min_isr: 2,
        durability: crate::Durability::Strict,
        brokers: BTreeMap::new(),
    }
}

/// Log 0..100, last epoch 4, committed below 90, generation 10.
fn stating() -> Follower {
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
    Follower::new(
        tp,
        NodeId(2),
        &view(),
        bounds,
        LeaderEpoch(4),
        StreamGeneration(10),
        Monotonic::default(),
    )
}

fn following() -> Follower {
    let mut follower = stating();
    let answer = HelloAnswer::SendFrom {
        offset: Offset(100),
        high_watermark: Offset(95),
        log_start: Offset(0),
    };
    let actions = follower.on_answer(&answer, &EpochCache::new().of_log(Offset(100)));
    assert_eq!(
        actions,
        [
            FollowerAction::Ready,
            FollowerAction::AdvanceHighWatermark { to: Offset(95) }
        ]
    );
    follower
}

fn batch(base: i64, count: i32, epoch: i32) -> BatchHeader {
    BatchHeader {
        base_offset: Offset(base),
        batch_length: 49,
        leader_epoch: LeaderEpoch(epoch),
        magic: 2,
        crc: 0x1234_5678 ^ base as u32,
        attributes: 0,
        last_offset_delta: count - 1,
        base_timestamp: base,
        max_timestamp: base.wrapping_add(i64::from(count)),
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch(-1),
        base_sequence: -1,
        record_count: count,
    }
}

fn entry(batches: &[BatchHeader]) -> EntryHeader {
    EntryHeader {
        leader_epoch: EPOCH,
        previous_end: Offset(100),
        previous_epoch: LeaderEpoch(4),
        generation: StreamGeneration(10),
        high_watermark: Offset(95),
        log_start: Offset(0),
        digest: digest(batches.iter()),
    }
}

#[test]
fn batches_that_continue_the_log_are_appended() {
    let mut follower = following();
    let batches = [batch(100, 5, 4), batch(105, 5, 5), batch(117, 3, 5)];
    let header = EntryHeader {
        high_watermark: Offset(118),
        ..entry(&batches)
    };
    let expected = [
        FollowerAction::AssignEpoch {
            epoch: EPOCH,
            start: Offset(105),
        },
        FollowerAction::Append {
            first: Offset(100),
            next: Offset(120),
            last_epoch: EPOCH,
        },
        FollowerAction::AdvanceHighWatermark { to: Offset(100) },
    ];
    assert_eq!(follower.on_entry(&header, &batches).as_deref(), Ok(expected.as_slice()));
    assert_eq!(
        follower.on_appended(Offset(120), EPOCH),
        [FollowerAction::AdvanceHighWatermark { to: Offset(118) }]
    );
    follower.on_durable(Offset(110));
    let ack = follower.ack();
    assert_eq!(
        (ack.log_end, ack.durable, ack.generation),
        (Offset(120), Offset(110), StreamGeneration(10))
    );
}

/// ◆ HW is never above our own log end, whatever the leader's is. Fails if `advance` takes the leader's.
#[test]
fn the_high_watermark_stays_within_the_log() {
    let mut follower = following();
    let header = EntryHeader {
        high_watermark: Offset(1000),
        ..entry(&[])
    };
    assert_eq!(
        follower.on_entry(&header, &[]).as_deref(),
        Ok([FollowerAction::AdvanceHighWatermark { to: Offset(100) }].as_slice())
    );
    // And an older one moves nothing back.
    let older = EntryHeader {
        high_watermark: Offset(10),
        ..entry(&[])
    };
    assert_eq!(follower.on_entry(&older, &[]), Ok(vec![]));
    assert_eq!(follower.high_watermark(), Offset(100));
}

/// ◆ Continuity: each row breaks one of the four, or the digest; without its comparison it would be appended.
#[test]
fn what_does_not_continue_is_not_appended() {
    let batches = [batch(100, 5, 5)];
    let good = entry(&batches);
    let rows = [
        (
            "previous end",
            EntryHeader {
                previous_end: Offset(99),
                ..good
            },
        ),
        // Compacted logs have gaps: base offset 100 at our end 100 proves nothing.
        (
            "previous epoch",
            EntryHeader {
                previous_epoch: LeaderEpoch(3),
                ..good
            },
        ),
        (
            "digest",
            EntryHeader {
                digest: good.digest ^ 1,
                ..good
            },
        ),
    ];
    for (what, header) in rows {
        let mut follower = following();
        assert_eq!(
            follower.on_entry(&header, &batches),
            Ok(vec![FollowerAction::Restate]),
            "{what}"
        );
        assert_eq!(follower.generation(), StreamGeneration(11), "{what}");
        // What was under way behind it is void.
        assert_eq!(follower.on_entry(&good, &batches), Ok(vec![]), "{what}");
        assert_eq!(follower.hello(BrokerEpoch(1)).log_end, Offset(100));
    }
    let mut follower = following();
    let older = EntryHeader {
        generation: StreamGeneration(9),
        ..good
    };
    assert_eq!(
        follower.on_entry(&older, &batches),
        Ok(vec![]),
        "of an older generation: dropped"
    );
    let newer = EntryHeader {
        generation: StreamGeneration(11),
        ..good
    };
    assert_eq!(follower.on_entry(&newer, &batches), Err(Error::StaleStream(NodeId(2))));
    let ours = EPOCH;
    let theirs = LeaderEpoch(4);
    let fenced = EntryHeader {
        leader_epoch: theirs,
        ..good
    };
    assert_eq!(
        follower.on_entry(&fenced, &batches),
        Err(Error::FencedLeaderEpoch { theirs, ours })
    );
    let theirs = LeaderEpoch(6);
    let unknown = EntryHeader {
        leader_epoch: theirs,
        ..good
    };
    assert_eq!(
        follower.on_entry(&unknown, &batches),
        Err(Error::UnknownLeaderEpoch { theirs, ours })
    );
    assert!(follower.is_following() && follower.generation() == StreamGeneration(10));
}

#[test]
fn frames_before_the_answer_are_not_taken() {
    let batches = [batch(100, 5, 5)];
    let mut follower = stating();
    assert_eq!(
        follower.on_entry(&entry(&batches), &batches),
        Ok(vec![FollowerAction::Restate])
    );
}

/// ◆ A batch of a newer epoch than its frame would be a record that no leader of ours wrote. Fails without
/// the first line of `check_batches`.
#[test]
fn batches_that_cannot_be() {
    let rows = [
        (vec![batch(100, 5, 6)], Error::BatchEpochAboveFrame(Offset(100))),
        (vec![batch(99, 5, 5)], Error::BrokenBatches(Offset(99))),
        (vec![batch(100, 5, 3)], Error::BrokenBatches(Offset(100))),
        (
            vec![batch(100, 5, 5), batch(104, 5, 5)],
            Error::BrokenBatches(Offset(104)),
        ),
        (
            vec![batch(100, 5, 5), batch(105, 5, 4)],
            Error::BrokenBatches(Offset(105)),
        ),
        (vec![batch(100, 0, 5)], Error::BrokenBatches(Offset(100))),
        (vec![batch(i64::MAX, 5, 5)], Error::BrokenBatches(Offset(i64::MAX))),
    ];
    for (batches, error) in rows {
        let mut follower = following();
        assert_eq!(follower.on_entry(&entry(&batches), &batches), Err(error));
        assert_eq!(follower.bounds(), following().bounds());
    }
}

/// KIP-101 and KIP-279. Our epochs: 1 from 0, 3 from 40, 4 from 70; the log ends at 100.
#[test]
fn truncation_follows_epochs() {
    let pairs = [(1, 0), (3, 40), (4, 70)].map(|(epoch, start)| (LeaderEpoch(epoch), Offset(start)));
    let cache = EpochCache::from(pairs.as_slice());
    let rows = [
        (
            "the leader's epoch 4 ended at 80",
            4,
            80,
            FollowerAction::Truncate { to: Offset(80) },
        ),
        (
            "we were longest in 3, the leader ended it at 60",
            3,
            60,
            FollowerAction::Truncate { to: Offset(60) },
        ),
        (
            "the leader had more of 3",
            3,
            90,
            FollowerAction::Truncate { to: Offset(70) },
        ),
        (
            "2 is unknown here: 1 may be common, ends at 40 here",
            2,
            55,
            FollowerAction::Truncate { to: Offset(40) },
        ),
        (
            "all of ours is newer",
            0,
            30,
            FollowerAction::Truncate { to: Offset(0) },
        ),
        ("it contradicts itself", 4, 120, FollowerAction::Restate),
    ];
    for (what, epoch, end_offset, action) in rows {
        let mut follower = stating();
        let answer = HelloAnswer::Diverging {
            epoch: LeaderEpoch(epoch),
            end_offset: Offset(end_offset),
        };
        assert_eq!(
            follower.on_answer(&answer, &cache.of_log(Offset(100))),
            [action],
            "{what}"
        );
    }
}

/// ◆ Truncating raises the generation and lowers durable position and HW with the log. Fails without
/// `restate` in `on_truncated`: frames and acks from before it would count.
#[test]
fn truncation_raises_the_generation() {
    let cache = EpochCache::from([(LeaderEpoch(4), Offset(0))].as_slice());
    let mut follower = stating();
    let answer = HelloAnswer::Diverging {
        epoch: LeaderEpoch(4),
        end_offset: Offset(80),
    };
    follower.on_answer(&answer, &cache.of_log(Offset(100)));
    follower.on_truncated(Offset(80), LeaderEpoch(4));
    let hello = follower.hello(BrokerEpoch(1));
    assert_eq!(
        (hello.generation, hello.log_end, hello.durable),
        (StreamGeneration(11), Offset(80), Offset(80))
    );
    assert_eq!(follower.high_watermark(), Offset(80));
    assert!(!follower.is_following());
    let answer = HelloAnswer::SendFrom {
        offset: Offset(80),
        high_watermark: Offset(95),
        log_start: Offset(0),
    };
    assert_eq!(
        follower.on_answer(&answer, &cache.of_log(Offset(80))),
        [FollowerAction::Ready]
    );
}

/// KAFKA-9491: HW moves with the start of the log.
#[test]
fn starting_over_moves_every_bound() {
    for at in [50, 500] {
        let mut follower = stating();
        let answer = HelloAnswer::StartOver { log_start: Offset(at) };
        let actions = follower.on_answer(&answer, &EpochCache::new().of_log(Offset(100)));
        assert_eq!(actions, [FollowerAction::StartOver { at: Offset(at) }]);
        assert_eq!(
            follower.on_answer(&answer, &EpochCache::new().of_log(Offset(100))),
            [],
            "said once"
        );
        follower.on_truncated(Offset(at), LeaderEpoch::NONE);
        let all = Offset(at);
        assert_eq!(
            follower.bounds(),
            LogBounds {
                log_start: all,
                high_watermark: all,
                durable: all,
                log_end: all
            }
        );
        assert_eq!(follower.hello(BrokerEpoch(1)).last_epoch, LeaderEpoch::NONE);
        assert_eq!(follower.generation(), StreamGeneration(11));
    }
}

/// Records were deleted up to the middle of a batch: who starts over there takes the batch that holds the log start, and
/// nothing else from below. Fails if every batch must begin at the log end.
#[test]
fn an_empty_log_may_start_in_the_middle_of_a_batch() {
    let mut follower = stating();
    let answer = HelloAnswer::StartOver { log_start: Offset(202) };
    follower.on_answer(&answer, &EpochCache::new().of_log(Offset(100)));
    follower.on_truncated(Offset(202), LeaderEpoch::NONE);
    let answer = HelloAnswer::SendFrom {
        offset: Offset(202),
        high_watermark: Offset(202),
        log_start: Offset(202),
    };
    follower.on_answer(&answer, &EpochCache::new().of_log(Offset(202)));
    let entry_of = |batches: &[BatchHeader]| EntryHeader {
        previous_end: Offset(202),
        previous_epoch: LeaderEpoch::NONE,
        generation: StreamGeneration(11),
        log_start: Offset(202),
        ..entry(batches)
    };
    for below in [[batch(198, 4, 5)], [batch(200, 2, 5)]] {
        let refused = follower.clone().on_entry(&entry_of(&below), &below);
        assert_eq!(refused, Err(Error::BrokenBatches(below[0].base_offset)));
    }
    let batches = [batch(200, 5, 5), batch(205, 1, 5)];
    let expected = [
        FollowerAction::AssignEpoch {
            epoch: EPOCH,
            start: Offset(200),
        },
        FollowerAction::Append {
            first: Offset(200),
            next: Offset(206),
            last_epoch: EPOCH,
        },
    ];
    assert_eq!(
        follower.on_entry(&entry_of(&batches), &batches).as_deref(),
        Ok(&expected[..])
    );
    follower.on_appended(Offset(206), EPOCH);
    assert_eq!(follower.bounds().log_start, Offset(202));
    // No longer empty.
    let again = [batch(205, 3, 5)];
    let header = EntryHeader {
        previous_end: Offset(206),
        previous_epoch: EPOCH,
        ..entry_of(&again)
    };
    assert_eq!(
        follower.on_entry(&header, &again),
        Err(Error::BrokenBatches(Offset(205)))
    );
}

/// ◆ Re-opening the stream raises the generation. Fails if `reopen` keeps it.
#[test]
fn reopening_voids_what_was_under_way() {
    let batches = [batch(100, 5, 5)];
    let mut follower = following();
    follower.reopen();
    assert_eq!(follower.on_entry(&entry(&batches), &batches), Ok(vec![]));
    assert_eq!(follower.ack().generation, StreamGeneration(11));
}

#[test]
fn the_log_start_follows_the_leaders() {
    let mut follower = following();
    let header = EntryHeader {
        log_start: Offset(20),
        ..entry(&[])
    };
    let to_20 = FollowerAction::AdvanceLogStart { to: Offset(20) };
    assert_eq!(follower.on_entry(&header, &[]), Ok(vec![to_20]));
    follower.on_log_start(Offset(20));
    assert_eq!(follower.on_entry(&header, &[]), Ok(vec![]));
    // Never past our HW: what is not known to be committed is not deleted.
    let header = EntryHeader {
        log_start: Offset(99),
        ..entry(&[])
    };
    assert_eq!(
        follower.on_entry(&header, &[]),
        Ok(vec![FollowerAction::AdvanceLogStart { to: Offset(95) }])
    );
}

/// ◆ The leader may say for the last time where its log starts before that is committed here. Fails without
/// `leader_log_start`: a follower of an idle leader would keep what was deleted, and never join the ISR.
#[test]
fn a_log_start_that_came_too_early_is_carried_out_later() {
    let batches = [batch(100, 5, 5)];
    let mut follower = following();
    let header = EntryHeader {
        high_watermark: Offset(105),
        log_start: Offset(103),
        ..entry(&batches)
    };
    let actions = follower.on_entry(&header, &batches).expect("continues");
    assert!(actions.contains(&FollowerAction::AdvanceLogStart { to: Offset(100) }));
    assert_eq!(
        follower.on_appended(Offset(105), EPOCH),
        [
            FollowerAction::AdvanceHighWatermark { to: Offset(105) },
            FollowerAction::AdvanceLogStart { to: Offset(103) },
        ]
    );
}

/// ◆ A position with a last epoch and no records is refused by every leader. Fails without the reset in `on_log_start`.
#[test]
fn a_log_of_which_nothing_is_left_states_no_last_epoch() {
    let mut follower = following();
    let all = EntryHeader {
        high_watermark: Offset(100),
        log_start: Offset(100),
        ..entry(&[])
    };
    let expected = [
        FollowerAction::AdvanceHighWatermark { to: Offset(100) },
        FollowerAction::AdvanceLogStart { to: Offset(100) },
    ];
    assert_eq!(follower.on_entry(&all, &[]), Ok(expected.to_vec()));
    follower.on_log_start(Offset(100));
    let hello = follower.hello(BrokerEpoch(1));
    assert_eq!(
        (hello.log_start, hello.log_end, hello.last_epoch),
        (Offset(100), Offset(100), LeaderEpoch::NONE)
    );
    // What comes next continues a batch that we no longer know: the position is stated, and then agrees.
    let batches = [batch(100, 1, 5)];
    assert_eq!(
        follower.on_entry(&entry(&batches), &batches),
        Ok(vec![FollowerAction::Restate])
    );
}

#[test]
fn an_answer_to_another_position_is_stated_again() {
    let mut follower = stating();
    let answer = HelloAnswer::SendFrom {
        offset: Offset(90),
        high_watermark: Offset(95),
        log_start: Offset(0),
    };
    assert_eq!(
        follower.on_answer(&answer, &EpochCache::new().of_log(Offset(100))),
        [FollowerAction::Restate]
    );
}

/// Cutting a log takes the shell a while (it is journalled first). What arrives meanwhile must neither be
/// appended nor make the follower forget what it is waiting for.
#[test]
fn nothing_happens_while_the_log_is_cut() {
    let cache = EpochCache::from([(LeaderEpoch(4), Offset(0))].as_slice());
    let batches = [batch(100, 5, 5)];
    let answers = [
        (
            HelloAnswer::Diverging {
                epoch: LeaderEpoch(4),
                end_offset: Offset(80),
            },
            80,
            LeaderEpoch(4),
        ),
        (
            HelloAnswer::StartOver { log_start: Offset(500) },
            500,
            LeaderEpoch::NONE,
        ),
    ];
    for (answer, end, last_epoch) in answers {
        let mut follower = stating();
        assert_eq!(follower.on_answer(&answer, &cache.of_log(Offset(100))).len(), 1);
        assert_eq!(follower.on_answer(&answer, &cache.of_log(Offset(100))), []);
        assert_eq!(follower.on_entry(&entry(&batches), &batches), Ok(vec![]));
        follower.reopen();
        follower.on_truncated(Offset(end), last_epoch);
        assert_eq!(follower.hello(BrokerEpoch(1)).log_end, Offset(end));
        assert_eq!(follower.generation(), StreamGeneration(12), "reopened and cut");
        assert!(!follower.is_following());
    }
}

#[test]
fn impossible_answers_cut_nothing() {
    let cache = EpochCache::from([(LeaderEpoch(4), Offset(0))].as_slice());
    let answers = [
        HelloAnswer::Diverging {
            epoch: LeaderEpoch(4),
            end_offset: Offset(-1),
        },
        HelloAnswer::StartOver { log_start: Offset(-1) },
    ];
    for answer in answers {
        assert_eq!(
            stating().on_answer(&answer, &cache.of_log(Offset(100))),
            [FollowerAction::Restate]
        );
    }
}
