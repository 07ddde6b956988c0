//! Who joins the ISR, who leaves it, and how the controller is asked.

use super::*;

/// ◆ A proposal of unknown outcome stays in the maximal ISR until a newer partition epoch. Fails if
/// `IsrAnswer::Unknown` just drops it, or if a later rejection clears it.
#[test]
fn an_unknown_outcome_holds_until_the_view_tells() {
    let mut leader = connected(Durability::Relaxed, &[1, 2]);
    leader.on_ack(&ack(3, 1, 100, 100), at(1)).expect("current");
    leader.on_append(Offset(110), at(2));
    assert_eq!(leader.on_isr_answer(ProposalId(1), IsrAnswer::Unknown, at(3)), []);
    assert_eq!(
        leader.on_ack(&ack(2, 1, 110, 110), at(4)),
        Ok(vec![]),
        "3 may be a member: nothing commits"
    );
    // Tried again at the next tick, for the same partition epoch: of both, one at most can be committed.
    assert_eq!(leader.on_tick(at(5)), [propose(2, &[1, 2, 3], 7)]);
    assert_eq!(
        leader.on_isr_answer(ProposalId(2), IsrAnswer::Rejected, at(6)),
        [],
        "the first may still hold"
    );
    assert_eq!(
        leader.on_view(view(Durability::Relaxed, &[1, 2], 7), at(7)),
        [propose(3, &[1, 2, 3], 7)]
    );
    assert_eq!(leader.high_watermark(), Offset(100));
    // Late enough that nobody waits for 3 any more.
    let after = leader.on_view(view(Durability::Relaxed, &[1, 2], 8), at(1_008));
    assert_eq!(
        after,
        [commit(110)],
        "3 was never committed, and with 100 it may not join at HW 110"
    );
}

/// ◆ A proposed member that dies while the outcome is unknown must not hold HW until it returns: what is committed
/// is proposed again, and the new partition epoch settles the old proposal. Fails without `outcome_unknown` in
/// `propose`.
#[test]
fn a_dead_member_of_an_unknown_proposal_is_settled_without_it() {
    let mut leader = connected(Durability::Relaxed, &[1, 2]);
    leader.on_ack(&ack(3, 1, 100, 100), at(1)).expect("current");
    leader.on_append(Offset(110), at(2));
    leader.on_isr_answer(ProposalId(1), IsrAnswer::Unknown, at(3));
    leader.on_stream_lost(THREE, StreamGeneration(1), at(4));
    assert_eq!(leader.on_ack(&ack(2, 1, 110, 110), at(5)), Ok(vec![]), "held");
    assert_eq!(leader.on_tick(at(6)), [propose(2, &[1, 2], 7)]);
    assert_eq!(leader.on_tick(at(7)), [], "it is under way");
    let committed = IsrAnswer::Committed {
        partition_epoch: PartitionEpoch(8),
    };
    assert_eq!(leader.on_isr_answer(ProposalId(2), committed, at(8)), [commit(110)]);
    assert_eq!(leader.on_tick(at(9)), [], "nothing is unknown any more");
}

/// The same, told by an image (3 is fenced) before the next tick.
#[test]
fn an_image_asks_again_where_an_outcome_is_unknown() {
    let mut leader = connected(Durability::Relaxed, &[1, 2]);
    leader.on_ack(&ack(3, 1, 100, 100), at(1)).expect("current");
    leader.on_append(Offset(110), at(2));
    leader.on_ack(&ack(2, 1, 110, 110), at(3)).expect("current");
    leader.on_isr_answer(ProposalId(1), IsrAnswer::Unknown, at(3));
    let mut fenced = view(Durability::Relaxed, &[1, 2], 7);
    fenced.brokers.insert(THREE, (BrokerEpoch(13), true));
    assert_eq!(leader.on_view(fenced, at(4)), [propose(2, &[1, 2], 7)]);
}

/// ◆ Nothing is proposed while a proposal is pending. Fails without `may_propose` (then the assert in
/// `Proposals::start` stops it).
#[test]
fn one_proposal_at_a_time() {
    let mut leader = connected(Durability::Relaxed, &[1]);
    assert_eq!(
        leader.on_ack(&ack(2, 1, 100, 100), at(1)),
        Ok(vec![propose(1, &[1, 2, 3], 7)])
    );
    assert_eq!(leader.on_ack(&ack(3, 1, 100, 100), at(2)), Ok(vec![]));
    assert_eq!(leader.on_tick(at(3)), []);
    assert_eq!(leader.on_view(view(Durability::Relaxed, &[1], 7), at(4)), []);
    // Its fate is told by an image first; the answer comes too late and says nothing.
    assert_eq!(
        leader.on_view(view(Durability::Relaxed, &[1, 2, 3], 8), at(5)),
        [commit(100)]
    );
    let committed = IsrAnswer::Committed {
        partition_epoch: PartitionEpoch(8),
    };
    assert_eq!(leader.on_isr_answer(ProposalId(1), committed, at(6)), []);
}

#[test]
fn a_refusing_controller_is_not_asked_without_pause() {
    let mut leader = connected(Durability::Relaxed, &[1]);
    assert_eq!(
        leader.on_ack(&ack(2, 1, 100, 100), at(1)),
        Ok(vec![propose(1, &[1, 2, 3], 7)])
    );
    assert_eq!(leader.on_isr_answer(ProposalId(1), IsrAnswer::Rejected, at(2)), []);
    assert_eq!(leader.on_ack(&ack(2, 1, 100, 100), at(3)), Ok(vec![]));
    assert_eq!(leader.on_tick(at(4)), [propose(2, &[1, 2, 3], 7)]);
}

/// ◆ Each column is one condition of `may_join`; leaving it out turns its row into a proposal.
#[test]
fn who_may_join() {
    let fenced = {
        let mut view = view(Durability::Strict, &[1, 2], 7);
        view.brokers.insert(THREE, (BrokerEpoch(13), true));
        view
    };
    let reborn = {
        let mut view = view(Durability::Strict, &[1, 2], 7);
        view.brokers.insert(THREE, (BrokerEpoch(99), false));
        view
    };
    let gone = {
        let mut view = view(Durability::Strict, &[1, 2], 7);
        view.brokers.remove(&THREE);
        view
    };
    let plain = view(Durability::Strict, &[1, 2], 7);
    // (view, 3's log end, 3's durable position, joins)
    let rows = [
        ("worthy", &plain, 110, 110, true),
        ("at HW exactly", &plain, 110, 105, true),
        ("below HW", &plain, 110, 104, false),
        ("fenced (KIP-841)", &fenced, 110, 110, false),
        ("registered anew since its hello (KIP-903)", &reborn, 110, 110, false),
        ("not registered", &gone, 110, 110, false),
    ];
    for (what, view, log_end, durable, joins) in rows {
        let mut leader = connected(Durability::Strict, &[1, 2]);
        // When nobody waits for 3.
        let later = at(1_002);
        leader.on_append(Offset(110), at(1));
        leader.on_durable(Offset(110), later);
        assert_eq!(
            leader
                .on_ack(&ack(2, 1, 105, 105), later)
                .map(|mut actions| actions.remove(0)),
            Ok(commit(105))
        );
        leader.on_isr_answer(ProposalId(1), IsrAnswer::Rejected, later);
        leader.proposals = Proposals::default();
        leader.on_ack(&ack(3, 1, log_end, durable), later).expect("current");
        leader.proposals = Proposals::default();
        let actions = leader.on_view(view.clone(), later);
        assert_eq!(
            actions.iter().any(|action| matches!(action, Action::ProposeIsr { .. })),
            joins,
            "{what}"
        );
    }
}

/// ◆ While 3 was away records were deleted, and the client was told so: a 3 that still has them and is elected would bring
/// them back. Fails without the log start in `may_join`.
#[test]
fn nobody_joins_with_records_that_were_deleted() {
    let mut leader = connected(Durability::Relaxed, &[1, 2]);
    leader.on_log_start(Offset(50));
    assert_eq!(leader.on_ack(&ack(3, 1, 100, 100), at(1)), Ok(vec![commit(100)]));
    let carried_out = FollowerAck {
        log_start: Offset(50),
        ..ack(3, 1, 100, 100)
    };
    assert_eq!(leader.on_ack(&carried_out, at(2)), Ok(vec![propose(1, &[1, 2, 3], 7)]));
}

/// ◆ `acked` ≥ the epoch's start: HW of a new leader may trail, so a follower at HW could still lack records that
/// another epoch's ISR committed. Fails without that line of `may_join`.
#[test]
fn nobody_joins_below_the_epoch_start() {
    let mut leader = leader(Durability::Relaxed, &[1, 2]);
    say(&mut leader, &hello_of(3, 1, 95, 4), 1).expect("agrees");
    assert_eq!(
        leader.on_ack(&ack(3, 1, 95, 95), at(1)),
        Ok(vec![]),
        "above HW 90, below the epoch's start 100"
    );
    assert_eq!(
        leader.on_ack(&ack(3, 1, 100, 95), at(2)),
        Ok(vec![propose(1, &[1, 2, 3], 7)])
    );
}

/// 2 and the leader have each append on disk at once, 3 has it two appends later. A step is 10 ms; from `silent` on 3 says
/// nothing. Gives all proposals and the high watermark after each step.
fn steps_behind(steps: i64, silent: i64) -> (Vec<Action>, Vec<i64>) {
    let mut leader = connected(Durability::Strict, &[1, 2]);
    let (mut proposed, mut marks) = (Vec::new(), Vec::new());
    say(
        &mut leader,
        &FollowerHello {
            durable: Offset(80),
            ..hello_of(3, 2, 100, 4)
        },
        0,
    )
    .expect("agrees");
    for step in 1..=steps {
        let (now, end) = (at(u64::try_from(step).unwrap_or(0) * 10), 100 + step * 10);
        let mut actions = leader.on_append(Offset(end), now);
        actions.extend(leader.on_durable(Offset(end), now));
        actions.extend(leader.on_ack(&ack(2, 1, end, end), now).expect("current"));
        if step < silent {
            actions.extend(leader.on_ack(&ack(3, 2, end, end - 20), now).expect("current"));
        }
        actions.extend(leader.on_tick(now));
        proposed.extend(
            actions
                .into_iter()
                .filter(|action| matches!(action, Action::ProposeIsr { .. })),
        );
        marks.push(leader.high_watermark().0);
    }
    (proposed, marks)
}

/// Strict followers acknowledge what is on their disk, and one whose syncs take longer than the next records take to come
/// would be a step behind HW for ever. Fails without `acked_by_joining` in `advance`.
#[test]
fn a_follower_whose_disk_is_always_a_step_behind_joins() {
    let (proposed, marks) = steps_behind(20, 100);
    assert_eq!(proposed, [propose(1, &[1, 2, 3], 7)]);
    assert!(
        marks.is_sorted() && marks.last() > Some(&250),
        "HW moves on with it: {marks:?}"
    );
}

/// Fails without the limit in `acked_by_joining`.
#[test]
fn a_follower_that_stops_before_it_joins_is_waited_for_a_tenth_of_lag_max() {
    // It is known to keep up at step 2 and would have been proposed at step 4.
    let (proposed, marks) = steps_behind(120, 4);
    assert_eq!(proposed, []);
    let held = marks.windows(2).filter(|pair| pair[0] == pair[1]).count();
    assert!((50..=101).contains(&held), "HW was held for {held} steps of 10 ms");
    assert_eq!(marks.last(), Some(&1_300));
}

#[test]
fn a_lost_stream_does_not_join() {
    let mut leader = connected(Durability::Relaxed, &[1, 2]);
    leader.on_stream_lost(THREE, StreamGeneration(0), at(1));
    assert!(
        leader.follower_status()[1].connected,
        "an older stream's end is no news"
    );
    leader.on_stream_lost(THREE, StreamGeneration(1), at(1));
    assert_eq!(leader.on_tick(at(2)), [commit(100)], "nobody is proposed");
    assert_eq!(
        leader.on_ack(&ack(3, 1, 100, 100), at(3)),
        Err(Error::StaleStream(THREE))
    );
}

#[test]
fn a_laggard_leaves_after_lag_max() {
    let mut leader = connected(Durability::Relaxed, &[1, 2, 3]);
    leader.on_append(Offset(110), at(5_000));
    leader.on_ack(&ack(2, 1, 110, 110), at(5_001)).expect("current");
    assert_eq!(leader.on_tick(at(15_000)), [], "3 was caught up at 5 s");
    assert_eq!(leader.on_tick(at(15_001)), [propose(1, &[1, 2], 7)]);
    assert_eq!(
        leader.high_watermark(),
        Offset(100),
        "a shrink commits nothing before it is committed"
    );
    let committed = IsrAnswer::Committed {
        partition_epoch: PartitionEpoch(8),
    };
    assert_eq!(
        leader.on_isr_answer(ProposalId(1), committed, at(15_100)),
        [commit(110)]
    );
    assert_eq!(
        leader.on_ack(&ack(3, 1, 110, 110), at(15_200)),
        Ok(vec![propose(2, &[1, 2, 3], 8)])
    );
}

#[test]
fn an_idle_follower_never_lags() {
    let mut leader = connected(Durability::Relaxed, &[1, 2, 3]);
    assert_eq!(leader.on_tick(at(1_000_000)), [commit(100)], "nobody is to leave");
    leader.on_append(Offset(110), at(1_000_001));
    assert_eq!(
        leader.on_tick(at(1_000_002)),
        [],
        "it had everything until a millisecond ago"
    );
}

/// Under steady load the follower is never at our end, and each ack covers what we had two acks ago.
#[test]
fn a_follower_in_step_under_load_never_lags() {
    let mut leader = connected(Durability::Relaxed, &[1, 2, 3]);
    for step in 1..200i64 {
        let now = at(step.unsigned_abs() * 1_000);
        leader.on_append(Offset(100 + 10 * step), now);
        let held = 100 + 10 * (step - 3).max(0);
        for node in [2, 3] {
            leader.on_ack(&ack(node, 1, held, held), now).expect("current");
        }
        assert_eq!(leader.on_tick(now), [], "step {step}");
    }
    // Whoever falls back further and further does lag.
    let mut leader = connected(Durability::Relaxed, &[1, 2, 3]);
    let mut left = None;
    for step in 1..60i64 {
        let now = at(step.unsigned_abs() * 1_000);
        leader.on_append(Offset(100 + 10 * step), now);
        leader.on_ack(&ack(2, 1, 100 + 10 * step, 100), now).expect("current");
        leader.on_ack(&ack(3, 1, 100 + step, 100), now).expect("current");
        left = left.or((!leader.on_tick(now).is_empty()).then_some(step));
    }
    assert!(left.is_some_and(|step| (10..25).contains(&step)), "{left:?}");
}

#[test]
fn a_follower_that_never_came_leaves_after_lag_max() {
    let mut leader = leader(Durability::Relaxed, &[1, 2, 3]);
    say(&mut leader, &hello_of(2, 1, 100, 4), 1).expect("agrees");
    assert_eq!(leader.on_tick(at(10_000)), []);
    assert_eq!(leader.on_tick(at(10_001)), [propose(1, &[1, 2], 7)]);
}

/// Strict: a follower whose disk stalls holds HW as surely as one that receives nothing.
#[test]
fn a_stalled_disk_lags_on_strict_topics() {
    let mut leader = connected(Durability::Strict, &[1, 2, 3]);
    leader.on_append(Offset(110), at(1));
    for now in [2, 10_002] {
        leader.on_ack(&ack(2, 1, 110, 110), at(now)).expect("current");
        leader.on_ack(&ack(3, 1, 110, 100), at(now)).expect("current");
    }
    assert_eq!(leader.on_tick(at(10_002)), [propose(1, &[1, 2], 7)]);
}

#[test]
fn a_fenced_member_is_the_controllers_business() {
    let mut leader = connected(Durability::Relaxed, &[1, 2, 3]);
    let mut fenced = view(Durability::Relaxed, &[1, 2, 3], 7);
    fenced.brokers.insert(THREE, (BrokerEpoch(13), true));
    assert_eq!(leader.on_view(fenced.clone(), at(1)), [commit(100)]);
    fenced.isr = vec![ME, TWO];
    fenced.partition_epoch = PartitionEpoch(8);
    assert_eq!(
        leader.on_view(fenced, at(2)),
        [],
        "and it is not asked back while fenced"
    );
    // Unfenced again, it joins at once.
    assert_eq!(
        leader.on_view(view(Durability::Relaxed, &[1, 2], 8), at(3)),
        [propose(1, &[1, 2, 3], 8)]
    );
}

#[test]
fn an_older_image_does_not_undo_an_answer() {
    let mut leader = connected(Durability::Relaxed, &[1, 2]);
    leader.on_tick(at(1));
    let committed = IsrAnswer::Committed {
        partition_epoch: PartitionEpoch(8),
    };
    leader.on_isr_answer(ProposalId(1), committed, at(2));
    assert_eq!(leader.view().isr, [ME, TWO, THREE]);
    assert_eq!(leader.on_view(view(Durability::Relaxed, &[1, 2], 7), at(3)), []);
    assert_eq!(leader.view().isr, [ME, TWO, THREE]);
    let next = PartitionView {
        leader_epoch: LeaderEpoch(6),
        ..view(Durability::Relaxed, &[1], 9)
    };
    assert_eq!(
        leader.on_view(next, at(4)),
        [],
        "another leader epoch is another leader"
    );
    assert_eq!(leader.view().leader_epoch, LeaderEpoch(5));
}

/// Shards look at leaders at rest seldom: whatever a tick has to do must be known before.
#[test]
fn a_leader_rests_once_everybody_has_everything_and_nothing_is_asked() {
    for durability in [Durability::Strict, Durability::Relaxed] {
        let mut leader = connected(durability, &[1, 2, 3]);
        assert!(!leader.is_at_rest(), "nothing of this epoch is committed");
        leader.on_append(Offset(110), at(1));
        leader.on_durable(Offset(110), at(1));
        leader.on_ack(&ack(2, 1, 110, 110), at(2)).expect("current");
        assert!(!leader.is_at_rest(), "node 3 has not all");
        leader.on_ack(&ack(3, 1, 110, 110), at(2)).expect("current");
        assert!(leader.is_at_rest());
        assert_eq!(leader.on_tick(at(100_000)), []);
        leader.on_stream_lost(THREE, StreamGeneration(1), at(100_001));
        assert!(leader.is_at_rest(), "it has all that there is");
        leader.on_append(Offset(111), at(100_002));
        assert!(!leader.is_at_rest());
    }
    let mut leader = connected(Durability::Relaxed, &[1, 2]);
    leader.on_append(Offset(110), at(1));
    for node in [2, 3] {
        leader.on_ack(&ack(node, 1, 110, 110), at(2)).expect("current");
    }
    assert!(!leader.is_at_rest(), "node 3 is asked for");
    leader.on_isr_answer(ProposalId(1), IsrAnswer::Rejected, at(3));
    assert!(!leader.is_at_rest(), "and will be asked for again");
}

/// ◆ What a leader says without asking anybody may be older than what the next leader has acknowledged.
#[test]
fn a_leader_is_sure_while_too_few_are_left_for_another() {
    let all = |_: NodeId| true;
    let only = |node: NodeId| move |other: NodeId| other == node;
    let mut leader = connected(Durability::Strict, &[1, 2, 3]);
    assert!(leader.is_confirmed(all));
    assert!(leader.is_confirmed(only(TWO)), "node 3 alone commits nothing");
    assert!(!leader.is_confirmed(|_| false), "nodes 2 and 3 may");
    leader.on_stream_lost(TWO, StreamGeneration(1), at(1));
    assert!(leader.is_confirmed(all));
    assert!(!leader.is_confirmed(only(TWO)), "it has left the stream");
    let mut one_suffices = view(Durability::Strict, &[1, 2, 3], 7);
    one_suffices.min_isr = 1;
    leader.on_view(one_suffices.clone(), at(2));
    assert!(!leader.is_confirmed(all), "node 2 may lead, and commit alone");
    one_suffices.isr = vec![ME, THREE];
    one_suffices.partition_epoch = PartitionEpoch(8);
    leader.on_view(one_suffices, at(3));
    assert!(leader.is_confirmed(all), "only node 3 could lead, and follows");
    assert!(leader_of_nobody().is_confirmed(|_| false), "nobody else is a member");
}

fn leader_of_nobody() -> Leader {
    leader(Durability::Strict, &[1])
}
