//! What commits, and what holds the high watermark back.

use super::*;

#[test]
fn everyone_in_the_isr_commits() {
    let mut leader = connected(Durability::Relaxed, &[1, 2, 3]);
    assert_eq!(leader.on_append(Offset(110), at(1)), [commit(100)]);
    assert_eq!(leader.on_ack(&ack(2, 1, 110, 100), at(2)), Ok(vec![]));
    assert_eq!(leader.on_ack(&ack(3, 1, 105, 100), at(3)), Ok(vec![commit(105)]));
    assert_eq!(leader.on_ack(&ack(3, 1, 110, 100), at(4)), Ok(vec![commit(110)]));
    assert_eq!(leader.high_watermark(), Offset(110));
}

/// ◆ `acked` is the durable position for strict topics, the leader's own included. Fails if
/// `FollowerProgress::acked` or `Leader::own_acked` takes the log end.
#[test]
fn strict_commits_only_what_is_durable_everywhere() {
    let mut leader = connected(Durability::Strict, &[1, 2, 3]);
    assert_eq!(leader.on_append(Offset(110), at(1)), [commit(100)]);
    assert_eq!(leader.on_ack(&ack(2, 1, 110, 110), at(2)), Ok(vec![]));
    assert_eq!(
        leader.on_ack(&ack(3, 1, 110, 100), at(3)),
        Ok(vec![]),
        "3 has it in memory only"
    );
    assert_eq!(
        leader.on_ack(&ack(3, 1, 110, 108), at(4)),
        Ok(vec![]),
        "our own disk has it not"
    );
    assert_eq!(leader.on_durable(Offset(104), at(5)), [commit(104)]);
    assert_eq!(leader.on_durable(Offset(110), at(6)), [commit(108)]);
    assert_eq!(leader.on_ack(&ack(3, 1, 110, 110), at(7)), Ok(vec![commit(110)]));
}

/// ◆ HW stands while the committed ISR is below the effective minimum. Fails without `enough_in_sync` in
/// `advance`; and with the maximal ISR in its place, since then a pending member would open the gate.
#[test]
fn min_isr_gates_on_the_committed_isr() {
    let mut leader = leader(Durability::Relaxed, &[1]);
    assert!(!leader.enough_in_sync());
    assert_eq!(leader.on_append(Offset(110), at(1)), []);
    say(&mut leader, &hello_of(2, 1, 100, 4), 2).expect("agrees");
    assert_eq!(
        leader.on_ack(&ack(2, 1, 110, 110), at(3)),
        Ok(vec![propose(1, &[1, 2], 7)])
    );
    assert_eq!(
        leader.on_append(Offset(111), at(3)),
        [],
        "2 is pending: two hold 110, one is committed"
    );
    assert_eq!(leader.high_watermark(), Offset(90));
    let committed = IsrAnswer::Committed {
        partition_epoch: PartitionEpoch(8),
    };
    assert_eq!(leader.on_isr_answer(ProposalId(1), committed, at(4)), [commit(110)]);
    assert!(leader.enough_in_sync());
}

#[test]
fn a_lower_minimum_opens_the_gate() {
    let mut leader = leader(Durability::Relaxed, &[1]);
    assert_eq!(
        leader.on_view(
            PartitionView {
                min_isr: 1,
                ..view(Durability::Relaxed, &[1], 7)
            },
            at(1)
        ),
        [commit(100)]
    );
}

/// ◆ A pending member holds HW back (KIP-497): the controller may elect it the moment it commits. Fails if
/// `maximal_isr` leaves the proposals out.
#[test]
fn a_pending_member_holds_the_high_watermark() {
    let mut leader = connected(Durability::Relaxed, &[1, 2]);
    assert_eq!(
        leader.on_ack(&ack(3, 1, 100, 100), at(1)),
        Ok(vec![commit(100), propose(1, &[1, 2, 3], 7)])
    );
    leader.on_append(Offset(110), at(2));
    assert_eq!(
        leader.on_ack(&ack(2, 1, 110, 110), at(3)),
        Ok(vec![]),
        "3 is pending and at 100"
    );
    assert_eq!(
        leader.on_isr_answer(ProposalId(1), IsrAnswer::Rejected, at(4)),
        [commit(110)]
    );
}

/// A member that has said nothing in this epoch has acknowledged nothing, whatever it held before.
#[test]
fn silence_commits_nothing() {
    let mut leader = leader(Durability::Relaxed, &[1, 2, 3]);
    say(&mut leader, &hello_of(2, 1, 100, 4), 0).expect("agrees");
    assert_eq!(leader.on_ack(&ack(2, 1, 100, 100), at(1)), Ok(vec![]));
    say(&mut leader, &hello_of(3, 1, 100, 4), 2).expect("agrees");
    assert_eq!(leader.on_ack(&ack(3, 1, 100, 100), at(3)), Ok(vec![commit(100)]));
}

#[test]
#[should_panic(expected = "log shrank")]
fn a_leaders_log_never_shrinks() {
    leader(Durability::Relaxed, &[1]).on_append(Offset(99), at(1));
}
