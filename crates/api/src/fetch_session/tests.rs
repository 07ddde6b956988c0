use super::*;
use bytes::Bytes;
use wire::StrBytes;
use wire::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};

const NOW: Monotonic = Monotonic(Duration::from_secs(1_000));

fn request(session_id: i32, session_epoch: i32, partitions: &[i32], forgotten: &[i32]) -> FetchRequest {
    let name = || StrBytes::from_static_str("t").into();
    let partition = |p: &i32| FetchPartition::default().with_partition(*p);
    let mut request = FetchRequest::default()
        .with_session_id(session_id)
        .with_session_epoch(session_epoch);
    if !partitions.is_empty() {
        let topic = FetchTopic::default().with_topic(name());
        request.topics = vec![topic.with_partitions(partitions.iter().map(partition).collect())];
    }
    if !forgotten.is_empty() {
        request.forgotten_topics_data = vec![
            ForgottenTopic::default()
                .with_topic(name())
                .with_partitions(forgotten.to_vec()),
        ];
    }
    request
}

/// High watermark, error, bytes of records, diverging epoch.
type Answer = (i64, i16, usize, i32);

fn answers(context: &Context, of: impl Fn(i32) -> Answer) -> Vec<(PartitionKey, Wanted, PartitionData)> {
    let one = |(key, wanted): &(PartitionKey, Wanted)| {
        let (high_watermark, error, bytes, diverging) = of(key.1);
        let mut data = PartitionData::default()
            .with_partition_index(key.1)
            .with_error_code(error)
            .with_high_watermark(high_watermark)
            .with_log_start_offset(0)
            .with_records(Some(Bytes::from(vec![0; bytes])));
        data.diverging_epoch.epoch = diverging;
        (key.clone(), *wanted, data)
    };
    context.partitions.iter().map(one).collect()
}

fn order(context: &Context) -> Vec<i32> {
    context.partitions.iter().map(|(key, _)| key.1).collect()
}

/// A session over partitions 0, 1 and 2 whose high watermark was told to be 5.
fn begun(sessions: &mut FetchSessions) -> i32 {
    let context = sessions.open(&request(0, 0, &[0, 1, 2], &[]), false, NOW).unwrap();
    assert_eq!(context.kind, Kind::New { by_id: false });
    let (id, included) = sessions.answered(context.kind, &answers(&context, |_| (5, 0, 0, -1)), 77, NOW);
    assert_eq!((id, included), (77, vec![true; 3]));
    id
}

#[test]
fn errors_of_a_session() {
    let mut sessions = FetchSessions::new(4);
    let id = begun(&mut sessions);
    let table = [
        (id + 1, 1, false, ErrorCode::FetchSessionIdNotFound),
        (id, 2, false, ErrorCode::InvalidFetchSessionEpoch),
        (id, 1, true, ErrorCode::FetchSessionTopicIdError),
    ];
    for (session, epoch, by_id, expected) in table {
        assert_eq!(
            sessions.open(&request(session, epoch, &[], &[]), by_id, NOW),
            Err(expected)
        );
    }
    // None of them broke it.
    assert_eq!(
        order(&sessions.open(&request(id, 1, &[], &[]), false, NOW).unwrap()),
        [0, 1, 2]
    );
    assert!(
        sessions.open(&request(id, 1, &[], &[]), false, NOW).is_err(),
        "the epoch has moved on"
    );
}

#[test]
fn incremental_answers_hold_what_changed() {
    let mut sessions = FetchSessions::new(4);
    let id = begun(&mut sessions);
    let steps: [([Answer; 3], [bool; 3]); 5] = [
        ([(5, 0, 0, -1), (5, 0, 0, -1), (5, 0, 0, -1)], [false, false, false]),
        ([(6, 0, 0, -1), (5, 3, 0, -1), (5, 0, 0, 2)], [true, true, true]),
        // An error and a divergence are told every time.
        ([(6, 0, 0, -1), (5, 3, 0, -1), (5, 0, 0, 2)], [false, true, true]),
        // And so is their end.
        ([(6, 0, 0, -1), (5, 0, 0, -1), (5, 0, 0, -1)], [false, true, true]),
        ([(6, 0, 0, -1), (5, 0, 0, -1), (5, 0, 0, -1)], [false, false, false]),
    ];
    for (epoch, (state, expected)) in (1..).zip(steps) {
        let context = sessions.open(&request(id, epoch, &[], &[]), false, NOW).unwrap();
        let told = answers(&context, |p| state[usize::try_from(p).unwrap()]);
        assert_eq!(
            sessions.answered(context.kind, &told, 0, NOW),
            (id, expected.to_vec()),
            "epoch {epoch}"
        );
    }
}

#[test]
fn partitions_with_records_go_to_the_end() {
    let mut sessions = FetchSessions::new(4);
    let id = begun(&mut sessions);
    let context = sessions.open(&request(id, 1, &[], &[]), false, NOW).unwrap();
    let told = answers(&context, |p| (5, 0, usize::from(p == 0), -1));
    assert_eq!(sessions.answered(context.kind, &told, 0, NOW).1, [true, false, false]);
    let next = sessions.open(&request(id, 2, &[7], &[1]), false, NOW).unwrap();
    assert_eq!(order(&next), [2, 0, 7], "1 is forgotten, 7 is new");
}

#[test]
fn sessions_end() {
    let mut sessions = FetchSessions::new(4);
    let id = begun(&mut sessions);
    let closing = sessions.open(&request(id, -1, &[0], &[]), false, NOW).unwrap();
    assert_eq!((closing.kind, sessions.len()), (Kind::Sessionless, 0));
    let id = begun(&mut sessions);
    let emptied = sessions.open(&request(id, 1, &[], &[0, 1, 2]), false, NOW).unwrap();
    assert_eq!((emptied.kind, sessions.len()), (Kind::Sessionless, 0));
}

#[test]
fn a_full_cache_evicts_only_what_is_old() {
    let mut sessions = FetchSessions::new(1);
    let old = begun(&mut sessions);
    let fresh = |sessions: &mut FetchSessions, now| {
        let context = sessions.open(&request(0, 0, &[0], &[]), false, now).unwrap();
        sessions
            .answered(context.kind, &answers(&context, |_| (5, 0, 0, -1)), 99, now)
            .0
    };
    assert_eq!(
        fresh(&mut sessions, NOW.plus(Duration::from_secs(119))),
        0,
        "no session"
    );
    assert_eq!(fresh(&mut sessions, NOW.plus(Duration::from_secs(120))), 99);
    assert_eq!(
        sessions.open(&request(old, 1, &[], &[]), false, NOW),
        Err(ErrorCode::FetchSessionIdNotFound)
    );
    assert_eq!((sessions.len(), sessions.by_use.len()), (1, 1));
}

#[test]
fn a_session_has_a_limit() {
    let mut sessions = FetchSessions::new(4);
    let id = begun(&mut sessions);
    let many: Vec<i32> = (0..=i32::try_from(limits::FETCH_SESSION_PARTITIONS_MAX).unwrap()).collect();
    assert_eq!(
        sessions.open(&request(id, 1, &many, &[]), false, NOW),
        Err(ErrorCode::FetchSessionIdNotFound)
    );
    assert!(sessions.is_empty());
}

/// Names that no topic can have are answered every time, and never remembered.
#[test]
fn impossible_names_are_not_kept() {
    let long = "x".repeat(limits::TOPIC_NAME_MAX + 1);
    let topic = |name: &str| {
        FetchTopic::default()
            .with_topic(StrBytes::from(name.to_owned()).into())
            .with_partitions(vec![FetchPartition::default()])
    };
    let ask = |session, epoch, topics: Vec<FetchTopic>| {
        FetchRequest::default()
            .with_session_id(session)
            .with_session_epoch(epoch)
            .with_topics(topics)
    };
    let mut sessions = FetchSessions::new(4);
    let only = sessions.open(&ask(0, 0, vec![topic(&long)]), false, NOW).unwrap();
    assert_eq!(only.partitions.len(), 1, "it is answered");
    let (id, included) = sessions.answered(only.kind, &answers(&only, |_| (-1, 3, 0, -1)), 9, NOW);
    assert_eq!((id, included, sessions.len()), (0, vec![true], 0));

    let both = sessions
        .open(&ask(0, 0, vec![topic("t"), topic(&long)]), false, NOW)
        .unwrap();
    let (id, _) = sessions.answered(both.kind, &answers(&both, |_| (5, 0, 0, -1)), 9, NOW);
    assert_eq!((id, sessions.partitions), (9, 1));
    let added = sessions.open(&ask(9, 1, vec![topic(&long)]), false, NOW).unwrap();
    assert_eq!((added.partitions.len(), sessions.partitions), (2, 1));
    let (_, included) = sessions.answered(added.kind, &answers(&added, |_| (5, 0, 0, -1)), 0, NOW);
    assert_eq!(included, [false, true]);
    assert_eq!(
        sessions.open(&ask(9, 2, vec![]), false, NOW).unwrap().partitions.len(),
        1
    );
}

/// All sessions of a shard share one allowance of partitions.
#[test]
fn partitions_are_counted_over_all_sessions() {
    let mut sessions = FetchSessions::new(4);
    sessions.partitions_max = 6;
    let begin = |sessions: &mut FetchSessions, fresh, now| {
        let context = sessions.open(&request(0, 0, &[0, 1, 2], &[]), false, now).unwrap();
        sessions
            .answered(context.kind, &answers(&context, |_| (5, 0, 0, -1)), fresh, now)
            .0
    };
    assert_eq!((begin(&mut sessions, 1, NOW), begin(&mut sessions, 2, NOW)), (1, 2));
    assert_eq!(begin(&mut sessions, 3, NOW), 0, "no room");
    // One that would grow past it ends.
    assert_eq!(
        sessions.open(&request(1, 1, &[9], &[]), false, NOW),
        Err(ErrorCode::FetchSessionIdNotFound)
    );
    assert_eq!((sessions.partitions, begin(&mut sessions, 4, NOW)), (3, 4));
    sessions.open(&request(4, 1, &[8], &[0, 1]), false, NOW).unwrap();
    assert_eq!(sessions.partitions, 5);
    assert_eq!(
        begin(&mut sessions, 5, NOW.plus(EVICTION_AGE)),
        5,
        "what is old makes room"
    );
    let held: usize = sessions.sessions.values().map(|s| s.partitions.len()).sum();
    assert_eq!(sessions.partitions, held);
}
