use super::*;
use crate::request::{DeleteOffsets, FetchOffsets};

const DAY: u64 = 24 * 3600 * 1000;

#[test]
fn a_commit_counts_when_it_is_replicated() {
    let mut room = Room::new();
    room.holds = true;
    let ticket = room.commit_with(&commit("", -1, 7));
    assert_eq!((room.committed(ticket), room.offset("t", 0)), (None, -1));
    room.release();
    assert_eq!(
        (room.committed(ticket), room.offset("t", 0)),
        (Some(ErrorCode::None), 7)
    );
    let request = FetchOffsets {
        group_id: "g".into(),
        topics: None,
        ..FetchOffsets::default()
    };
    let all = room.coordinator.fetch(&request, |_| TopicId::default());
    assert_eq!((all[0].1[0].leader_epoch, all[0].1[0].metadata.as_str()), (5, "m"));
}

#[test]
fn a_commit_that_fails_leaves_nothing() {
    let cases = [
        (ErrorCode::NotEnoughReplicas, ErrorCode::CoordinatorNotAvailable),
        (ErrorCode::NotLeaderOrFollower, ErrorCode::NotCoordinator),
        (ErrorCode::MessageTooLarge, ErrorCode::InvalidCommitOffsetSize),
    ];
    for (error, told) in cases {
        let mut room = Room::new();
        room.holds = true;
        let ticket = room.commit_with(&commit("", -1, 7));
        room.fail(error);
        assert_eq!((room.committed(ticket), room.offset("t", 0)), (Some(told), -1));
        assert_eq!(room.coordinator.list(), []);
        assert_eq!(room.coordinator.memory.used(), 0);
    }
}

#[test]
fn a_commit_that_takes_too_long_is_answered_and_counts_when_it_is_there() {
    let mut room = Room::new();
    room.holds = true;
    let first = room.commit_with(&commit("", -1, 7));
    room.pass(4_000);
    let second = room.commit_with(&commit("", -1, 8));
    room.pass(1_000);
    assert_eq!(room.committed(first), Some(ErrorCode::CoordinatorNotAvailable));
    assert_eq!(room.committed(second), None);
    room.release();
    assert_eq!(
        (room.committed(second), room.offset("t", 0)),
        (Some(ErrorCode::None), 8)
    );
}

#[test]
fn who_may_commit() {
    let mut room = Room::new();
    let cases = [("", -1, ErrorCode::None), ("", 3, ErrorCode::IllegalGeneration)];
    for (member, generation, expected) in cases {
        let mut request = commit(member, generation, 1);
        request.group_id = format!("nobody{generation}");
        let ticket = room.commit_with(&request);
        assert_eq!(
            room.committed(ticket),
            Some(expected),
            "{member} {generation} in no group"
        );
    }
    let ids = room.stable(&[consumer(&["range"])]);
    let cases = [
        (ids[0].as_str(), 1, ErrorCode::None),
        (ids[0].as_str(), 0, ErrorCode::IllegalGeneration),
        ("stranger", 1, ErrorCode::UnknownMemberId),
        ("", -1, ErrorCode::UnknownMemberId),
    ];
    for (member, generation, expected) in cases {
        let ticket = room.commit_with(&commit(member, generation, 1));
        assert_eq!(room.committed(ticket), Some(expected), "{member} {generation}");
    }
    let second = room.join_with(&consumer(&["range"]));
    let during = room.commit_with(&commit(&ids[0], 1, 2));
    assert_eq!(
        room.committed(during),
        Some(ErrorCode::None),
        "while others join it may finish"
    );
    room.join_with(&known(&ids[0]));
    assert_eq!(room.joined(second).unwrap().generation_id, 2);
    let early = room.commit_with(&commit(&ids[0], 2, 3));
    assert_eq!(room.committed(early), Some(ErrorCode::RebalanceInProgress));
    assert_eq!(room.offset("t", 0), 2);
}

#[test]
fn a_commit_keeps_the_session() {
    let mut room = Room::new();
    let ids = room.stable(&[consumer(&["range"])]);
    for offset in 0..5 {
        room.pass(8_000);
        room.commit_with(&commit(&ids[0], 1, offset));
    }
    assert_eq!(room.state(), GroupState::Stable);
}

#[test]
fn too_much_metadata_is_refused_alone() {
    let mut room = Room::new();
    let mut request = commit("", -1, 7);
    let mut large = request.topics[0].1[0].clone();
    (large.partition, large.metadata) = (1, "m".repeat(4097));
    request.topics[0].1.push(large);
    let ticket = room.commit_with(&request);
    let codes = vec![(0, ErrorCode::None), (1, ErrorCode::OffsetMetadataTooLarge)];
    assert_eq!(room.answers[&ticket], Answer::Offsets(Ok(vec![("t".into(), codes)])));
    assert_eq!((room.offset("t", 0), room.offset("t", 1)), (7, -1));
}

#[test]
fn an_offset_of_a_topic_of_the_same_name_is_none() {
    let mut room = Room::new();
    room.commit_with(&commit("", -1, 7));
    let request = FetchOffsets {
        group_id: "g".into(),
        topics: Some(vec![("t".into(), vec![0])]),
        ..FetchOffsets::default()
    };
    let offset = |id: u128| room.coordinator.fetch(&request, |_| TopicId(Uuid::from_u128(id)))[0].1[0].offset;
    assert_eq!([offset(1), offset(2), offset(0)], [7, -1, 7]);
}

#[test]
fn offsets_of_a_deleted_topic_go_with_it() {
    let mut room = Room::new();
    room.commit_with(&commit("", -1, 7));
    room.holds = true;
    room.commit_with(&commit("", -1, 8));
    room.coordinator.topic_deleted("t", room.now);
    room.settle();
    room.release();
    assert_eq!(room.offset("t", 0), -1, "what was on its way, too");
    assert_eq!(room.coordinator.list(), []);
    room.failover();
    assert_eq!(room.offset("t", 0), -1);
}

#[test]
fn groups_are_deleted_when_they_are_empty() {
    let mut room = Room::new();
    let ids = room.stable(&[consumer(&["range"])]);
    room.commit_with(&commit(&ids[0], 1, 7));
    let delete = |room: &mut Room, group_id: &str| {
        let ticket = room.ticket();
        room.coordinator.delete(ticket, group_id, room.now);
        room.settle();
        room.answers[&ticket].clone()
    };
    assert_eq!(delete(&mut room, "other"), Answer::Deleted(ErrorCode::GroupIdNotFound));
    assert_eq!(delete(&mut room, "g"), Answer::Deleted(ErrorCode::NonEmptyGroup));
    room.leave(&ids[0]);
    assert_eq!(delete(&mut room, "g"), Answer::Deleted(ErrorCode::None));
    assert_eq!(room.coordinator.describe("g"), Err(ErrorCode::GroupIdNotFound));
    room.failover();
    assert_eq!(room.coordinator.list(), []);
    assert_eq!(room.offset("t", 0), -1);
}

#[test]
fn offsets_are_deleted_of_topics_that_nobody_reads() {
    let mut room = Room::new();
    let mut other = commit("", -1, 7);
    other.topics[0].0 = "u".into();
    room.commit_with(&other);
    let ids = room.stable(&[consumer(&["range"])]);
    room.commit_with(&commit(&ids[0], 1, 7));
    let request = DeleteOffsets {
        group_id: "g".into(),
        topics: vec![("t".into(), vec![0]), ("u".into(), vec![0, 9])],
    };
    let ticket = room.ticket();
    room.coordinator.delete_offsets(ticket, &request, room.now);
    room.settle();
    let expected = vec![
        ("t".into(), vec![(0, ErrorCode::GroupSubscribedToTopic)]),
        ("u".into(), vec![(0, ErrorCode::None), (9, ErrorCode::None)]),
    ];
    assert_eq!(room.answers[&ticket], Answer::Offsets(Ok(expected)));
    assert_eq!((room.offset("t", 0), room.offset("u", 0)), (7, -1));
}

#[test]
fn offsets_expire_as_kafkas_do() {
    // Of a group that never had members: after their last commit.
    let mut room = Room::new();
    room.commit_with(&commit("", -1, 7));
    room.pass(6 * DAY);
    let mut other = commit("", -1, 1);
    other.topics[0].0 = "u".into();
    room.commit_with(&other);
    room.pass(DAY + 600_000);
    assert_eq!((room.offset("t", 0), room.offset("u", 0)), (-1, 1));
    room.pass(7 * DAY);
    assert_eq!(room.coordinator.list(), []);
    assert!(matches!(room.log.last(), Some(Record::Offset { value: None, .. })));

    // Of a group with members: of topics that they left; of an empty one: once it was empty long enough.
    let mut room = Room::new();
    let mut left = commit("", -1, 3);
    left.topics[0].0 = "left".into();
    room.commit_with(&left);
    let ids = room.stable(&[JoinGroup {
        session_timeout_ms: 1_800_000,
        ..consumer(&["range"])
    }]);
    room.commit_with(&commit(&ids[0], 1, 7));
    for _ in 0..(8 * DAY / 1_500_000) {
        room.pass(1_500_000);
        room.beat(&ids[0], 1);
    }
    assert_eq!((room.offset("t", 0), room.offset("left", 0)), (7, -1));
    room.leave(&ids[0]);
    room.pass(7 * DAY - 600_000);
    assert_eq!(room.offset("t", 0), 7);
    room.pass(2 * 600_000);
    assert_eq!((room.offset("t", 0), room.state()), (-1, GroupState::Dead));
    assert!(matches!(room.log.last(), Some(Record::Group { value: None, .. })));

    // Versions 2 to 4 of OffsetCommit say how long.
    let mut room = Room::new();
    room.commit_with(&CommitOffsets {
        retention_time_ms: 1_000,
        ..commit("", -1, 7)
    });
    room.pass(600_000);
    assert_eq!(room.offset("t", 0), -1);
}
