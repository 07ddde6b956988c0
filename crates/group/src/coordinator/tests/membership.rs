use super::*;

#[test]
fn a_new_member_is_told_its_id_before_it_joins() {
    let mut room = Room::new();
    let asking = JoinGroup {
        requires_known_member_id: true,
        ..consumer(&["range"])
    };
    let first = room.join_with(&asking);
    let told = room.joined(first).unwrap();
    assert_eq!(told.error, ErrorCode::MemberIdRequired);
    assert_eq!(told.member_id, "c-00000000-0000-4000-8000-000000000001");
    assert_eq!(told.generation_id, -1);

    let second = room.join_with(&JoinGroup {
        member_id: told.member_id.clone(),
        ..asking
    });
    room.pass(2_999);
    assert_eq!(room.joined(second), None, "an empty group waits for more members");
    room.pass(1);
    let joined = room.joined(second).unwrap();
    assert_eq!((joined.generation_id, joined.error), (1, ErrorCode::None));
    assert_eq!(
        (joined.leader.as_str(), joined.members.len()),
        (told.member_id.as_str(), 1)
    );
    assert_eq!(joined.protocol_name.as_deref(), Some("range"));
}

#[test]
fn an_id_that_is_not_used_is_forgotten_with_its_group() {
    let mut room = Room::new();
    let ticket = room.join_with(&JoinGroup {
        requires_known_member_id: true,
        ..consumer(&["range"])
    });
    let told = room.joined(ticket).unwrap();
    assert_eq!(room.coordinator.list().len(), 1);
    room.pass(10_000);
    assert_eq!(room.coordinator.list(), []);
    let late = room.join_with(&known(&told.member_id));
    assert_eq!(room.joined(late).unwrap().error, ErrorCode::UnknownMemberId);
    assert_eq!(room.coordinator.memory.used(), 0);
}

#[test]
fn members_that_come_while_an_empty_group_waits_are_in_its_first_generation() {
    let mut room = Room::new();
    let first = room.join_with(&consumer(&["range"]));
    room.pass(2_000);
    let second = room.join_with(&consumer(&["range"]));
    room.pass(1_000);
    assert_eq!(room.joined(first), None, "one came, and so may another");
    room.pass(3_000);
    let (first, second) = (room.joined(first).unwrap(), room.joined(second).unwrap());
    assert_eq!((first.generation_id, second.generation_id), (1, 1));
    assert_eq!(
        (first.members.len(), second.members.len()),
        (2, 0),
        "the leader alone is told of all"
    );
    assert_eq!(second.leader, first.member_id);
}

#[test]
fn assignments_are_handed_out_once_they_are_written_down() {
    let mut room = Room::new();
    let tickets = [consumer(&["range"]), consumer(&["range"])].map(|member| room.join_with(&member));
    room.pass(9_000);
    let [leader, other] = tickets.map(|ticket| room.joined(ticket).unwrap().member_id);
    let waiting = room.sync_with(sync(&other, 1, BTreeMap::new()));
    assert_eq!(room.synced(waiting), None);
    room.holds = true;
    let assignments = BTreeMap::from([
        (other.clone(), Bytes::from_static(b"B")),
        ("stranger".into(), Bytes::new()),
    ]);
    let assigning = room.sync_with(sync(&leader, 1, assignments));
    assert_eq!((room.synced(waiting), room.synced(assigning)), (None, None));
    assert_eq!(room.state(), GroupState::CompletingRebalance);
    assert_eq!(room.beat(&other, 1), ErrorCode::None);
    room.release();
    assert_eq!(room.synced(waiting).unwrap().assignment, Bytes::from_static(b"B"));
    let own = room.synced(assigning).unwrap();
    assert_eq!((own.error, own.assignment), (ErrorCode::None, Bytes::new()));
    assert_eq!(room.state(), GroupState::Stable);
    let again = room.sync_with(sync(&other, 1, BTreeMap::new()));
    assert_eq!(room.synced(again).unwrap().assignment, Bytes::from_static(b"B"));
}

#[test]
fn assignments_that_cannot_be_written_down_begin_the_rebalance_again() {
    for (error, told) in [
        (ErrorCode::NotEnoughReplicas, ErrorCode::CoordinatorNotAvailable),
        (ErrorCode::MessageTooLarge, ErrorCode::UnknownServerError),
    ] {
        let mut room = Room::new();
        let ticket = room.join_with(&consumer(&["range"]));
        room.pass(9_000);
        let member = room.joined(ticket).unwrap().member_id;
        room.holds = true;
        let waiting = room.sync_with(sync(&member, 1, BTreeMap::new()));
        room.fail(error);
        assert_eq!(room.synced(waiting).unwrap().error, told);
        assert_eq!(room.state(), GroupState::PreparingRebalance);
        let again = room.join_with(&known(&member));
        assert_eq!(room.joined(again).unwrap().generation_id, 2);
    }
    let mut room = Room::new();
    let ticket = room.join_with(&consumer(&["range"]));
    room.pass(9_000);
    let member = room.joined(ticket).unwrap().member_id;
    room.holds = true;
    let waiting = room.sync_with(sync(&member, 1, BTreeMap::new()));
    room.pass(5_000);
    assert_eq!(room.synced(waiting).unwrap().error, ErrorCode::CoordinatorNotAvailable);
    room.release();
    assert_eq!(
        room.state(),
        GroupState::PreparingRebalance,
        "what is committed late is of no generation any more"
    );
}

#[test]
fn who_does_not_come_back_in_time_is_left_out() {
    let mut room = Room::new();
    let ids = room.stable(&[consumer(&["range"]), consumer(&["range"])]);
    let third = room.join_with(&consumer(&["range"]));
    assert_eq!(room.state(), GroupState::PreparingRebalance);
    assert_eq!(room.beat(&ids[1], 1), ErrorCode::RebalanceInProgress);
    let back = room.join_with(&known(&ids[0]));
    for _ in 0..7 {
        // It lives, and does not join.
        room.pass(8_000);
        room.beat(&ids[1], 1);
    }
    assert_eq!(room.joined(back), None);
    room.pass(4_000);
    let joined = room.joined(back).unwrap();
    assert_eq!((joined.generation_id, joined.members.len()), (2, 2));
    assert_eq!(room.joined(third).unwrap().generation_id, 2);
    assert_eq!(room.beat(&ids[1], 1), ErrorCode::UnknownMemberId);
}

#[test]
fn a_session_without_heartbeats_ends() {
    let mut room = Room::new();
    let ids = room.stable(&[consumer(&["range"]), consumer(&["range"])]);
    room.beat(&ids[1], 1);
    for _ in 0..3 {
        room.pass(3_000);
        assert_eq!(room.beat(&ids[0], 1), ErrorCode::None);
    }
    room.pass(999);
    assert_eq!(room.state(), GroupState::Stable);
    room.pass(1);
    assert_eq!(
        room.state(),
        GroupState::PreparingRebalance,
        "the other was silent for ten seconds"
    );
}

#[test]
fn a_member_that_does_not_sync_is_removed() {
    let mut room = Room::new();
    let tickets = [consumer(&["range"]), consumer(&["range"])].map(|member| room.join_with(&member));
    room.pass(9_000);
    let [leader, other] = tickets.map(|ticket| room.joined(ticket).unwrap().member_id);
    let waiting = room.sync_with(sync(&other, 1, BTreeMap::new()));
    for _ in 0..10 {
        room.pass(6_000);
        room.beat(&leader, 1);
    }
    assert_eq!(room.synced(waiting).unwrap().error, ErrorCode::RebalanceInProgress);
    let again = room.join_with(&known(&other));
    let joined = room.joined(again).unwrap();
    assert_eq!((joined.leader, joined.members.len()), (other, 1));
}

#[test]
fn who_leaves_makes_the_others_join_again() {
    let mut room = Room::new();
    let ids = room.stable(&[consumer(&["range"]), consumer(&["range"])]);
    assert_eq!(room.leave("stranger"), ErrorCode::UnknownMemberId);
    assert_eq!(room.leave(&ids[0]), ErrorCode::None);
    assert_eq!(room.beat(&ids[1], 1), ErrorCode::RebalanceInProgress);
    let ticket = room.join_with(&known(&ids[1]));
    assert_eq!(room.joined(ticket).unwrap().members.len(), 1);
    assert_eq!(room.leave(&ids[1]), ErrorCode::None);
    assert_eq!(room.state(), GroupState::Empty);
    let Some(Record::Group { value: Some(last), .. }) = room.log.last() else {
        panic!("{:?}", room.log.last())
    };
    assert_eq!((last.generation, last.members.len()), (3, 0));
}

#[test]
fn a_join_whose_answer_was_lost_is_answered_again() {
    let mut room = Room::new();
    let tickets = [consumer(&["range"]), consumer(&["range"])].map(|member| room.join_with(&member));
    room.pass(9_000);
    let [leader, other] = tickets.map(|ticket| room.joined(ticket).unwrap());
    let again = room.join_with(&known(&leader.member_id));
    assert_eq!(room.joined(again).unwrap(), leader);
    room.sync_with(sync(&leader.member_id, 1, BTreeMap::new()));
    room.sync_with(sync(&other.member_id, 1, BTreeMap::new()));
    let again = room.join_with(&known(&other.member_id));
    assert_eq!(room.joined(again).unwrap(), other);
    let again = room.join_with(&known(&leader.member_id));
    assert_eq!(room.joined(again), None, "a leader that joins again wants a rebalance");
    assert_eq!(room.state(), GroupState::PreparingRebalance);
}

#[test]
fn the_protocol_is_one_that_all_support() {
    let mut room = Room::new();
    let members = [
        consumer(&["a", "b"]),
        consumer(&["c", "b", "a"]),
        consumer(&["b", "a", "c"]),
    ];
    let tickets = members.map(|member| room.join_with(&member));
    let other = room.join_with(&consumer(&["c"]));
    assert_eq!(room.joined(other).unwrap().error, ErrorCode::InconsistentGroupProtocol);
    let connect = JoinGroup {
        protocol_type: "connect".into(),
        ..consumer(&["a"])
    };
    let other = room.join_with(&connect);
    assert_eq!(room.joined(other).unwrap().error, ErrorCode::InconsistentGroupProtocol);
    room.pass(60_000);
    assert_eq!(room.joined(tickets[0]).unwrap().protocol_name.as_deref(), Some("b"));
}

#[test]
fn requests_that_cannot_be_right_are_refused() {
    let cases = [
        (
            JoinGroup {
                group_id: String::new(),
                ..known("")
            },
            ErrorCode::InvalidGroupId,
        ),
        (
            JoinGroup {
                group_id: "g".repeat(32_768),
                ..known("")
            },
            ErrorCode::InvalidGroupId,
        ),
        (
            JoinGroup {
                session_timeout_ms: 5_999,
                ..known("")
            },
            ErrorCode::InvalidSessionTimeout,
        ),
        (
            JoinGroup {
                session_timeout_ms: 1_800_001,
                ..known("")
            },
            ErrorCode::InvalidSessionTimeout,
        ),
        (known("stranger"), ErrorCode::UnknownMemberId),
        (consumer(&[]), ErrorCode::InconsistentGroupProtocol),
        (
            JoinGroup {
                protocol_type: String::new(),
                ..known("")
            },
            ErrorCode::InconsistentGroupProtocol,
        ),
        (consumer(&["x"; 101]), ErrorCode::InvalidRequest),
        (
            JoinGroup {
                group_instance_id: Some("i".repeat(250)),
                ..known("")
            },
            ErrorCode::InvalidRequest,
        ),
    ];
    for (request, expected) in cases {
        let mut room = Room::new();
        let ticket = room.join_with(&request);
        assert_eq!(room.joined(ticket).unwrap().error, expected, "{request:?}");
        assert_eq!(room.coordinator.list(), [], "nothing is kept of it");
    }
    let mut room = Room::new();
    let ids = room.stable(&[consumer(&["range"])]);
    let syncs = [
        (sync("stranger", 1, BTreeMap::new()), ErrorCode::UnknownMemberId),
        (sync(&ids[0], 2, BTreeMap::new()), ErrorCode::IllegalGeneration),
        (
            SyncGroup {
                protocol_name: Some("x".into()),
                ..sync(&ids[0], 1, BTreeMap::new())
            },
            ErrorCode::InconsistentGroupProtocol,
        ),
        (
            SyncGroup {
                group_id: "other".into(),
                ..sync(&ids[0], 1, BTreeMap::new())
            },
            ErrorCode::UnknownMemberId,
        ),
    ];
    for (request, expected) in syncs {
        let ticket = room.sync_with(request.clone());
        assert_eq!(room.synced(ticket).unwrap().error, expected, "{request:?}");
    }
    assert_eq!(room.beat(&ids[0], 0), ErrorCode::IllegalGeneration);
    assert_eq!(room.beat("stranger", 1), ErrorCode::UnknownMemberId);
}

#[test]
fn a_flood_of_joins_is_bounded() {
    let config = GroupConfig {
        group_max_size: 3,
        ..GroupConfig::default()
    };
    let mut room = Room::with(config);
    let asking = JoinGroup {
        requires_known_member_id: true,
        ..consumer(&["range"])
    };
    for attempt in 0..10 {
        let ticket = room.join_with(&asking);
        let expected = if attempt < 3 {
            ErrorCode::MemberIdRequired
        } else {
            ErrorCode::GroupMaxSizeReached
        };
        assert_eq!(room.joined(ticket).unwrap().error, expected);
    }
    let mut room = Room::with(config);
    room.stable(&[consumer(&["range"]), consumer(&["range"]), consumer(&["range"])]);
    let fourth = room.join_with(&consumer(&["range"]));
    assert_eq!(room.joined(fourth).unwrap().error, ErrorCode::GroupMaxSizeReached);

    let mut room = Room::new();
    room.coordinator.memory = Memory::new(10_000);
    let mut refused = 0;
    for number in 0..100 {
        let ticket = room.join_with(&JoinGroup {
            group_id: format!("g{number}"),
            ..asking.clone()
        });
        refused += usize::from(room.joined(ticket).unwrap().error == ErrorCode::CoordinatorNotAvailable);
    }
    assert!(refused > 80, "{refused}");
    assert!(room.coordinator.memory.used() < 12_000);
    let huge = JoinGroup {
        protocols: vec![Protocol {
            name: "range".into(),
            metadata: Bytes::from(vec![0; limits::GROUP_BYTES_MAX]),
        }],
        ..consumer(&[])
    };
    let ticket = Room::new().join_with(&huge);
    let mut room = Room::new();
    let again = room.join_with(&huge);
    assert_eq!(
        (ticket, room.joined(again).unwrap().error),
        (again, ErrorCode::GroupMaxSizeReached)
    );
}

#[test]
fn ten_thousand_members_join_sync_and_leave() {
    let mut room = Room::new();
    let started = std::time::Instant::now();
    let members = vec![consumer(&["range", "roundrobin"]); 10_000];
    let ids = room.stable(&members);
    assert_eq!(ids.len(), 10_000);
    assert_eq!(room.coordinator.describe("g").unwrap().members.len(), 10_000);
    for id in &ids {
        assert_eq!(room.leave(id), ErrorCode::None);
    }
    assert_eq!(room.state(), GroupState::Empty);
    println!("ten thousand members: {:?}", started.elapsed());
}

#[test]
fn the_next_coordinator_knows_the_last_generation() {
    let mut room = Room::new();
    let ids = room.stable(&[consumer(&["range"]), consumer(&["range"])]);
    let before = room.coordinator.describe("g").unwrap();
    room.failover();
    assert_eq!(room.coordinator.describe("g").unwrap(), before);
    assert_eq!(room.beat(&ids[0], 1), ErrorCode::None);
    assert_eq!(room.beat(&ids[1], 1), ErrorCode::None);
    room.pass(9_000);
    room.beat(&ids[0], 1);
    room.pass(2_000);
    assert_eq!(
        room.state(),
        GroupState::PreparingRebalance,
        "sessions run from the load on"
    );

    let waiting = room.join_with(&known(&ids[0]));
    let third = room.join_with(&consumer(&["range"]));
    room.failover();
    for ticket in [waiting, third] {
        let joined = room.joined(ticket).unwrap();
        assert!(
            [ErrorCode::NotCoordinator, ErrorCode::None].contains(&joined.error),
            "{joined:?}"
        );
    }
}

#[test]
fn whoever_waits_is_told_when_the_coordinator_ends() {
    let mut room = Room::new();
    let ids = room.stable(&[consumer(&["range"]), consumer(&["range"])]);
    let joining = room.join_with(&consumer(&["range"]));
    room.holds = true;
    let mut other = commit(&ids[0], 1, 7);
    other.group_id = "other".into();
    (other.member_id, other.generation_id) = (String::new(), -1);
    let committing = room.commit_with(&other);
    let deleting = room.ticket();
    room.coordinator.delete(deleting, "other", room.now);
    room.coordinator.resign();
    room.settle();
    assert_eq!(room.joined(joining).unwrap().error, ErrorCode::NotCoordinator);
    assert_eq!(room.committed(committing), Some(ErrorCode::NotCoordinator));
    assert_eq!(room.answers[&deleting], Answer::Deleted(ErrorCode::NotCoordinator));
    assert_eq!(room.coordinator.memory.used(), 0);
    assert_eq!(room.coordinator.next_deadline(), None);
}

#[test]
fn assignments_of_a_generation_that_is_over_are_handed_to_nobody() {
    let mut room = Room::new();
    let ticket = room.join_with(&consumer(&["range"]));
    room.pass(9_000);
    let leader = room.joined(ticket).unwrap().member_id;
    room.holds = true;
    room.sync_with(sync(
        &leader,
        1,
        BTreeMap::from([(leader.clone(), Bytes::from_static(b"old"))]),
    ));
    let second = room.join_with(&consumer(&["range"]));
    room.join_with(&known(&leader));
    let second = room.joined(second).unwrap();
    assert_eq!(second.generation_id, 2);
    let waiting = room.sync_with(sync(&leader, 2, BTreeMap::new()));
    let (id, records) = room.held.pop_front().unwrap();
    room.log.extend(records);
    room.coordinator.appended(id, Ok(()), room.now);
    room.settle();
    assert_eq!(
        (room.synced(waiting), room.state()),
        (None, GroupState::CompletingRebalance)
    );
    room.release();
    assert_eq!(room.synced(waiting).unwrap().assignment, Bytes::new());
}
