use super::*;

fn instance(name: &str) -> JoinGroup {
    JoinGroup {
        group_instance_id: Some(name.into()),
        ..consumer(&["range"])
    }
}

fn beat_as(room: &mut Room, member_id: &str, name: &str) -> ErrorCode {
    let request = Heartbeat {
        group_id: "g".into(),
        generation_id: 1,
        member_id: member_id.into(),
        group_instance_id: Some(name.into()),
    };
    room.coordinator.heartbeat(&request, room.now)
}

#[test]
fn one_that_comes_back_takes_its_place_without_a_rebalance() {
    for skips in [false, true] {
        let mut room = Room::new();
        let ids = room.stable(&[instance("a"), instance("b")]);
        room.holds = true;
        let back = room.join_with(&JoinGroup {
            supports_skipping_assignment: skips,
            ..instance("a")
        });
        assert_eq!(room.joined(back), None, "its new id is not written down yet");
        room.release();
        let joined = room.joined(back).unwrap();
        assert_eq!((joined.error, joined.generation_id), (ErrorCode::None, 1));
        assert_ne!(joined.member_id, ids[0]);
        // Kafka tells an older client that its former self leads, so that it does not assign.
        let leader = if skips { &joined.member_id } else { &ids[0] };
        assert_eq!((&joined.leader, joined.skip_assignment), (leader, skips));
        assert_eq!(joined.members.len(), if skips { 2 } else { 0 });
        assert_eq!(room.state(), GroupState::Stable);
        assert_eq!(beat_as(&mut room, &ids[0], "a"), ErrorCode::FencedInstanceId);
        assert_eq!(beat_as(&mut room, &joined.member_id, "a"), ErrorCode::None);
        let synced = room.sync_with(sync(&joined.member_id, 1, BTreeMap::new()));
        assert_eq!(room.synced(synced).unwrap().assignment, Bytes::from(ids[0].clone()));

        room.failover();
        assert_eq!(beat_as(&mut room, &joined.member_id, "a"), ErrorCode::None);
        assert_eq!(beat_as(&mut room, &ids[0], "a"), ErrorCode::FencedInstanceId);
    }
}

#[test]
fn its_former_self_is_fenced_where_it_waits() {
    let mut room = Room::new();
    let first = room.join_with(&instance("a"));
    let second = room.join_with(&instance("a"));
    assert_eq!(room.joined(first).unwrap().error, ErrorCode::FencedInstanceId);
    room.pass(9_000);
    let joined = room.joined(second).unwrap();
    assert_eq!((joined.members.len(), joined.leader == joined.member_id), (1, true));

    let third = room.join_with(&instance("b"));
    room.pass(1);
    let back = room.join_with(&JoinGroup {
        member_id: joined.member_id.clone(),
        ..instance("a")
    });
    assert_eq!(room.joined(back).unwrap().generation_id, 2);
    let other = room.joined(third).unwrap().member_id;
    let waiting = room.sync_with(SyncGroup {
        group_instance_id: Some("b".into()),
        ..sync(&other, 2, BTreeMap::new())
    });
    room.join_with(&instance("b"));
    assert_eq!(room.synced(waiting).unwrap().error, ErrorCode::FencedInstanceId);
    assert_eq!(
        room.state(),
        GroupState::PreparingRebalance,
        "the leader may have been told the old id"
    );
}

#[test]
fn one_with_other_protocols_makes_a_rebalance() {
    let mut room = Room::new();
    room.stable(&[JoinGroup {
        group_instance_id: Some("a".into()),
        ..consumer(&["range", "sticky"])
    }]);
    let back = room.join_with(&JoinGroup {
        group_instance_id: Some("a".into()),
        ..consumer(&["sticky"])
    });
    let joined = room.joined(back).unwrap();
    assert_eq!(
        (joined.generation_id, joined.protocol_name.as_deref()),
        (2, Some("sticky"))
    );
}

#[test]
fn an_absent_one_keeps_its_place_as_long_as_its_session() {
    let mut room = Room::new();
    let long = JoinGroup {
        session_timeout_ms: 600_000,
        ..instance("b")
    };
    let ids = room.stable(&[instance("a"), long]);
    let third = room.join_with(&consumer(&["range"]));
    room.join_with(&JoinGroup {
        member_id: ids[0].clone(),
        ..instance("a")
    });
    room.pass(60_000);
    let joined = room.joined(third).unwrap();
    assert_eq!(joined.generation_id, 2);
    assert_eq!(
        room.coordinator.describe("g").unwrap().members.len(),
        3,
        "b is still there"
    );
}

#[test]
fn an_operator_removes_one_by_its_name() {
    let mut room = Room::new();
    room.stable(&[instance("a")]);
    let by_name = |name: &str| LeavingMember {
        group_instance_id: Some(name.into()),
        ..LeavingMember::default()
    };
    let request = LeaveGroup {
        group_id: "g".into(),
        members: vec![by_name("x"), by_name("a")],
    };
    let left = room.coordinator.leave(&request, room.now);
    room.settle();
    assert_eq!(left.members, [ErrorCode::UnknownMemberId, ErrorCode::None]);
    assert_eq!(room.state(), GroupState::Empty);
}
