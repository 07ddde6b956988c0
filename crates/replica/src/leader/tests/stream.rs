//! Hellos and acknowledgements: what is answered, refused, erased.

use super::*;

/// ◆ An ack from before the last hello counts records that the follower no longer has. Fails without
/// `is_current`, or if a hello keeps the old positions.
#[test]
fn a_hello_erases_and_older_acks_are_refused() {
    let mut leader = connected(Durability::Relaxed, &[1, 2, 3]);
    leader.on_append(Offset(110), at(1));
    assert_eq!(leader.on_ack(&ack(2, 1, 110, 110), at(2)), Ok(vec![]));
    // 2 crashed and lost its tail; its new stream states 100, then an old ack arrives.
    say(&mut leader, &hello_of(2, 2, 100, 4), 3).expect("agrees");
    assert_eq!(leader.follower_next(TWO), Some(Offset(100)));
    assert_eq!(leader.on_ack(&ack(2, 1, 110, 110), at(4)), Err(Error::StaleStream(TWO)));
    assert_eq!(
        leader.on_ack(&ack(3, 1, 110, 110), at(5)),
        Ok(vec![]),
        "2 has it no more"
    );
    // A diverging hello leaves nothing that counts, not even what it held before.
    let diverging = say(&mut leader, &hello_of(2, 3, 101, 4), 6);
    assert_eq!(
        diverging,
        Ok(HelloAnswer::Diverging {
            epoch: LeaderEpoch(4),
            end_offset: Offset(100)
        })
    );
    assert_eq!(leader.follower_next(TWO), None);
    assert_eq!(leader.on_ack(&ack(2, 3, 101, 101), at(7)), Err(Error::StaleStream(TWO)));
}

#[test]
fn hellos_and_acks_that_are_refused() {
    let mut leader = connected(Durability::Relaxed, &[1, 2, 3]);
    let before = leader.follower_status();
    let good = hello_of(2, 2, 100, 4);
    let (old, new) = (LeaderEpoch(4), LeaderEpoch(6));
    let ours = LeaderEpoch(5);
    let hellos = [
        (
            FollowerHello {
                leader_epoch: old,
                ..good
            },
            Error::FencedLeaderEpoch { theirs: old, ours },
        ),
        (
            FollowerHello {
                leader_epoch: new,
                ..good
            },
            Error::UnknownLeaderEpoch { theirs: new, ours },
        ),
        (
            FollowerHello {
                last_epoch: new,
                ..good
            },
            Error::UnknownLeaderEpoch { theirs: new, ours },
        ),
        (
            FollowerHello {
                node: NodeId(4),
                ..good
            },
            Error::NotAReplica(NodeId(4)),
        ),
        (FollowerHello { node: ME, ..good }, Error::NotAReplica(ME)),
        (
            FollowerHello {
                broker_epoch: BrokerEpoch(11),
                ..good
            },
            Error::StaleBrokerEpoch(TWO),
        ),
        (
            FollowerHello {
                generation: StreamGeneration(0),
                ..good
            },
            Error::StaleStream(TWO),
        ),
        (
            FollowerHello {
                generation: StreamGeneration(1),
                ..good
            },
            Error::StaleStream(TWO),
        ),
        (
            FollowerHello {
                durable: Offset(101),
                ..good
            },
            Error::ImpossiblePosition(TWO),
        ),
        (
            FollowerHello {
                log_start: Offset(101),
                ..good
            },
            Error::ImpossiblePosition(TWO),
        ),
        (
            FollowerHello {
                log_start: Offset(-1),
                ..good
            },
            Error::ImpossiblePosition(TWO),
        ),
        (
            FollowerHello {
                log_start: Offset(100),
                ..good
            },
            Error::ImpossiblePosition(TWO),
        ),
    ];
    for (hello, error) in hellos {
        assert_eq!(say(&mut leader, &hello, 1), Err(error), "{hello:?}");
    }
    let good = ack(2, 1, 100, 100);
    let acks = [
        (
            FollowerAck {
                leader_epoch: old,
                ..good
            },
            Error::FencedLeaderEpoch { theirs: old, ours },
        ),
        (
            FollowerAck {
                leader_epoch: new,
                ..good
            },
            Error::UnknownLeaderEpoch { theirs: new, ours },
        ),
        (
            FollowerAck {
                node: NodeId(4),
                ..good
            },
            Error::NotAReplica(NodeId(4)),
        ),
        (
            FollowerAck {
                generation: StreamGeneration(2),
                ..good
            },
            Error::StaleStream(TWO),
        ),
        (
            FollowerAck {
                log_end: Offset(101),
                ..good
            },
            Error::ImpossiblePosition(TWO),
        ),
        (
            FollowerAck {
                log_end: Offset(99),
                durable: Offset(99),
                ..good
            },
            Error::ImpossiblePosition(TWO),
        ),
        (
            FollowerAck {
                durable: Offset(101),
                ..good
            },
            Error::ImpossiblePosition(TWO),
        ),
        (
            FollowerAck {
                log_start: Offset(101),
                ..good
            },
            Error::ImpossiblePosition(TWO),
        ),
    ];
    for (ack, error) in acks {
        assert_eq!(leader.on_ack(&ack, at(1)), Err(error), "{ack:?}");
    }
    assert_eq!(leader.follower_status(), before, "refused messages change nothing");
}

/// KIP-101 and KIP-279: our epochs are 3 from 0, 4 from 60, 5 from 100.
#[test]
fn answers_to_hellos() {
    let send = |offset| HelloAnswer::SendFrom {
        offset: Offset(offset),
        high_watermark: Offset(90),
        log_start: Offset(0),
    };
    let part = |epoch, end| HelloAnswer::Diverging {
        epoch: LeaderEpoch(epoch),
        end_offset: Offset(end),
    };
    let over = HelloAnswer::StartOver { log_start: Offset(0) };
    let rows = [
        ("same log", 100, 4, send(100)),
        ("a prefix", 70, 4, send(70)),
        ("a prefix in an older epoch", 60, 3, send(60)),
        ("longer than the epoch was", 61, 3, part(3, 60)),
        ("longer than our log", 101, 4, part(4, 100)),
        ("an epoch before all of ours", 10, 2, over),
        ("empty", 0, -1, send(0)),
    ];
    for (what, log_end, last_epoch, answer) in rows {
        let mut leader = leader(Durability::Relaxed, &[1, 2, 3]);
        assert_eq!(
            say(&mut leader, &hello_of(2, 1, log_end, last_epoch), 0),
            Ok(answer),
            "{what}"
        );
    }
    // An epoch that we never had lies between two of ours: KIP-279.
    let gap = EpochCache::from([(LeaderEpoch(2), Offset(0)), (LeaderEpoch(4), Offset(60))].as_slice());
    let mut leader = leader(Durability::Relaxed, &[1, 2, 3]);
    let answer = leader.on_hello(&hello_of(2, 1, 70, 3), &gap.of_log(Offset(100)), at(0));
    assert_eq!(answer, Ok(part(2, 60)));
    // Shorter than our epoch 2, and yet its last records are not ours: the end alone proves nothing.
    let answer = leader.on_hello(&hello_of(2, 2, 55, 3), &gap.of_log(Offset(100)), at(0));
    assert_eq!(answer, Ok(part(2, 60)));
    // What was deleted here cannot be sent; an empty log beyond our end cannot be continued.
    leader.on_log_start(Offset(50));
    let over = HelloAnswer::StartOver { log_start: Offset(50) };
    assert_eq!(say(&mut leader, &hello_of(2, 3, 49, 3), 0), Ok(over));
    let beyond = FollowerHello {
        log_start: Offset(200),
        ..hello_of(2, 4, 200, -1)
    };
    assert_eq!(say(&mut leader, &beyond, 0), Ok(over));
}

#[test]
fn a_reopened_stream_may_repeat_its_generation_once_the_old_is_gone() {
    let mut leader = connected(Durability::Relaxed, &[1, 2, 3]);
    leader.on_stream_lost(TWO, StreamGeneration(1), at(1));
    assert!(say(&mut leader, &hello_of(2, 1, 100, 4), 2).is_ok());
    // A restarted broker begins anew, under a newer broker epoch.
    let reborn = FollowerHello {
        broker_epoch: BrokerEpoch(99),
        ..hello_of(2, 0, 100, 4)
    };
    assert!(say(&mut leader, &reborn, 3).is_ok());
    assert!(matches!(
        say(&mut leader, &hello_of(2, 7, 100, 4), 4),
        Err(Error::StaleStream(_))
    ));
}

/// Behaviour 50: DeleteRecords waits for it (`Partition.lowWatermarkIfLeader`).
#[test]
fn the_low_watermark_is_that_of_the_live_replicas() {
    let mut leader = connected(Durability::Relaxed, &[1, 2, 3]);
    let starts = |node, log_start| FollowerAck {
        log_start: Offset(log_start),
        ..ack(node, 1, 100, 100)
    };
    leader.on_log_start(Offset(50));
    assert_eq!(leader.low_watermark(), Some(Offset(0)));
    leader.on_ack(&starts(2, 50), at(1)).expect("agrees");
    assert_eq!(leader.low_watermark(), Some(Offset(0)), "3 still has everything");
    leader.on_ack(&starts(3, 30), at(1)).expect("agrees");
    assert_eq!(leader.low_watermark(), Some(Offset(30)));
    let dead = |isr: &[i32], elr: &[i32], partition_epoch| {
        let mut view = view(Durability::Relaxed, isr, partition_epoch);
        view.elr = elr.iter().map(|node| NodeId(*node)).collect();
        view.brokers.insert(THREE, (BrokerEpoch(13), true));
        view
    };
    // ◆ Dead or fenced for a moment only: it may be elected, and what was deleted would be back. Fails without
    // `may_be_elected` in `low_watermark`.
    leader.on_view(dead(&[1, 2, 3], &[], 8), at(2));
    assert_eq!(leader.low_watermark(), Some(Offset(30)), "3 is in the ISR");
    leader.on_view(dead(&[1, 2], &[3], 9), at(2));
    assert_eq!(leader.low_watermark(), Some(Offset(30)), "3 is in the ELR");
    leader.on_view(dead(&[1, 2], &[], 10), at(2));
    assert_eq!(
        leader.low_watermark(),
        Some(Offset(50)),
        "nobody waits for what is dead"
    );
    say(&mut leader, &hello_of(2, 2, 101, 4), 3).expect("diverges");
    assert_eq!(leader.low_watermark(), None, "nobody knows where 2 starts");
}
