use super::*;

const A: NodeId = NodeId(1);
const EPOCH: BrokerEpoch = BrokerEpoch(7);
const S: SessionId = SessionId(1);

fn registered(fenced: bool) -> Event {
    Event::Registered {
        node: A,
        broker_epoch: EPOCH,
        fenced,
        unfence_at: LogIndex(9),
    }
}
fn opened(session: u64) -> Event {
    Event::SessionOpened {
        node: A,
        broker_epoch: EPOCH,
        session: SessionId(session),
    }
}
fn heartbeat(applied: u64) -> Event {
    Event::Heartbeat {
        node: A,
        session: S,
        applied: LogIndex(applied),
    }
}
fn hangs(session: u64) -> Event {
    Event::Hangs {
        node: A,
        session: SessionId(session),
    }
}
fn broken(session: u64) -> Event {
    Event::SessionBroken {
        node: A,
        session: SessionId(session),
    }
}
fn dialled(dial: u64, outcome: DialOutcome) -> Event {
    Event::Dialled { node: A, dial, outcome }
}
fn dial(dial: u64) -> Action {
    Action::Dial { node: A, dial }
}
fn fence(why: Why) -> Action {
    Action::Fence {
        node: A,
        broker_epoch: EPOCH,
        why,
    }
}
const UNFENCE: Action = Action::Unfence {
    node: A,
    broker_epoch: EPOCH,
};

/// Each step: at this millisecond, this event, exactly these actions. A tick runs every 100 ms between.
fn check(name: &str, steps: &[(u64, Event, &[Action])]) {
    let mut liveness = Liveness::new(&Timings::LAN, Monotonic::default(), None);
    let mut ticked = 0;
    for (at, event, expected) in steps {
        while ticked + 100 < *at {
            ticked += 100;
            let actions = liveness.on(Event::Tick, Monotonic::from_millis(ticked));
            assert_eq!(actions, [], "{name}: tick at {ticked}");
        }
        let actions = liveness.on(*event, Monotonic::from_millis(*at));
        assert_eq!(actions, *expected, "{name}: {event:?} at {at}");
    }
}

#[test]
fn evidence() {
    use DialOutcome::{Accepted, Refused, Unclear};
    check(
        "two refusals",
        &[
            (0, registered(false), &[]),
            (1, opened(1), &[]),
            (5, broken(1), &[dial(1)]),
            (6, dialled(1, Refused), &[]),
            (25, Event::Tick, &[]),
            (26, Event::Tick, &[dial(2)]),
            (27, dialled(2, Refused), &[fence(Why::Evidence)]),
            (28, Event::Tick, &[]),
            (29, registered(true), &[]),
            (500, Event::Tick, &[]),
        ],
    );
    check(
        "the fence was not written",
        &[
            (0, registered(false), &[]),
            (1, opened(1), &[]),
            (5, broken(1), &[dial(1)]),
            (6, dialled(1, Refused), &[]),
            (26, Event::Tick, &[dial(2)]),
            (27, dialled(2, Refused), &[fence(Why::Evidence)]),
            (30, Event::Undecided { node: A }, &[]),
            (47, Event::Tick, &[dial(3)]),
            (48, dialled(3, Refused), &[fence(Why::Evidence)]),
        ],
    );
    check(
        "a dying process still listens",
        &[
            (0, registered(false), &[]),
            (1, opened(1), &[]),
            (5, broken(1), &[dial(1)]),
            (6, dialled(1, Accepted), &[]),
            (26, Event::Tick, &[dial(2)]),
            (27, dialled(2, Refused), &[]),
            (47, Event::Tick, &[dial(3)]),
            (48, dialled(3, Refused), &[fence(Why::Evidence)]),
        ],
    );
    check(
        "a refusal, then it answers, then a refusal: not two in a row",
        &[
            (0, registered(false), &[]),
            (1, opened(1), &[]),
            (5, broken(1), &[dial(1)]),
            (6, dialled(1, Refused), &[]),
            (26, Event::Tick, &[dial(2)]),
            (27, dialled(2, Unclear), &[]),
            (47, Event::Tick, &[dial(3)]),
            (48, dialled(3, Refused), &[]),
            (49, opened(2), &[]),
            (90, Event::Tick, &[]),
        ],
    );
    check(
        "the broker is back before the second dial, the old session's end is old news",
        &[
            (0, registered(false), &[]),
            (1, opened(1), &[]),
            (2, opened(2), &[]),
            (5, broken(1), &[]),
            (6, broken(2), &[dial(1)]),
            (7, opened(3), &[]),
            (8, dialled(1, Refused), &[]),
            (60, Event::Tick, &[]),
        ],
    );
    check(
        "unclear dials never fence; silence does",
        &[
            (0, registered(false), &[]),
            (1, opened(1), &[]),
            (5, broken(1), &[dial(1)]),
            (6, dialled(1, Unclear), &[]),
            (26, Event::Tick, &[dial(2)]),
            (27, dialled(2, Unclear), &[]),
            (67, Event::Tick, &[dial(3)]),
        ],
    );
}

#[test]
fn a_new_controller_dials_who_does_not_come_back() {
    check(
        "gone",
        &[
            (0, registered(false), &[]),
            (49, Event::Tick, &[]),
            (50, Event::Tick, &[dial(1)]),
            (51, dialled(1, DialOutcome::Refused), &[]),
            (71, Event::Tick, &[dial(2)]),
            (72, dialled(2, DialOutcome::Refused), &[fence(Why::Evidence)]),
        ],
    );
    check(
        "back in time",
        &[
            (0, registered(false), &[]),
            (30, opened(1), &[]),
            (90, Event::Tick, &[]),
        ],
    );
    check(
        "fenced anyway",
        &[
            (0, registered(true), &[]),
            (90, Event::Tick, &[]),
            (4000, Event::Tick, &[]),
        ],
    );
}

#[test]
fn silence() {
    check(
        "a session that says nothing",
        &[
            (0, registered(false), &[]),
            (10, opened(1), &[]),
            (1000, heartbeat(1), &[]),
            (3999, Event::Tick, &[]),
            (4000, Event::Tick, &[fence(Why::Silence)]),
            (4010, heartbeat(20), &[]),
            (4011, registered(true), &[]),
            (4020, heartbeat(20), &[UNFENCE]),
        ],
    );
    check(
        "a heartbeat of another session is not heard",
        &[
            (0, registered(false), &[]),
            (10, opened(2), &[]),
            (1000, heartbeat(1), &[]),
            (3010, Event::Tick, &[fence(Why::Silence)]),
        ],
    );
}

#[test]
fn a_broker_is_unfenced_once_it_has_applied_enough() {
    check(
        "catching up",
        &[
            (0, registered(true), &[]),
            (1, opened(1), &[]),
            (2, heartbeat(8), &[]),
            (3, heartbeat(9), &[UNFENCE]),
            (4, heartbeat(10), &[]),
            (5, registered(false), &[]),
            (6, heartbeat(11), &[]),
        ],
    );
    let other = Event::SessionOpened {
        node: A,
        broker_epoch: BrokerEpoch(6),
        session: S,
    };
    check(
        "a dead self",
        &[(0, registered(true), &[]), (1, other, &[]), (2, heartbeat(9), &[])],
    );
}

#[test]
fn a_pause_of_the_controller_is_nobodys_silence() {
    let mut liveness = Liveness::new(&Timings::LAN, Monotonic::default(), None);
    liveness.on(registered(false), Monotonic::default());
    liveness.on(opened(1), Monotonic::default());
    assert_eq!(liveness.on(Event::Tick, Monotonic::from_millis(400)), []);
    // Stopped for a minute; the heartbeats wait in the socket.
    assert_eq!(liveness.on(Event::Tick, Monotonic::from_millis(60_400)), []);
    assert_eq!(liveness.on(heartbeat(1), Monotonic::from_millis(60_401)), []);
    assert_eq!(liveness.deadline(), Some(Monotonic::from_millis(63_401)));
}

#[test]
fn the_deadline_is_the_next_dial_or_the_session_timeout() {
    let mut liveness = Liveness::new(&Timings::LAN, Monotonic::default(), None);
    assert_eq!(liveness.deadline(), None);
    liveness.on(registered(false), Monotonic::from_millis(10));
    assert_eq!(liveness.deadline(), Some(Monotonic::from_millis(60)));
    liveness.on(opened(1), Monotonic::from_millis(20));
    assert_eq!(liveness.deadline(), Some(Monotonic::from_millis(3020)));
    liveness.on(Event::Unregistered { node: A }, Monotonic::from_millis(30));
    assert_eq!(liveness.deadline(), None);
}

/// Fails without the look back: the silence would begin with the term.
#[test]
fn the_silence_that_made_an_election_counts_for_the_controller_before() {
    let at = Monotonic::from_millis;
    // (who was heard last, when, elected at, fenced at)
    for (heard, elected, expected) in [
        (Some((A, at(10_000))), 10_800, 13_000),
        (Some((NodeId(2), at(10_000))), 10_800, 13_800),
        (None, 10_800, 13_800),
        // This node was stopped, or the election took long: who lives has time to say so.
        (Some((A, at(0))), 10_800, 11_300),
        (Some((A, at(99_000))), 10_800, 13_800),
    ] {
        let mut liveness = Liveness::new(&Timings::LAN, at(elected), heard);
        let mut now = elected;
        liveness.on(registered(false), at(now));
        let silent = loop {
            let actions = liveness.on(Event::Tick, at(now));
            if actions.contains(&fence(Why::Silence)) {
                break now;
            }
            assert!(now < 20_000, "never fenced");
            now += 10;
        };
        assert_eq!(silent, expected, "{heard:?}");
        let mut liveness = Liveness::new(&Timings::LAN, at(elected), heard);
        liveness.on(registered(false), at(elected));
        liveness.on(opened(1), at(elected + 400));
        let deadline = liveness.deadline().unwrap();
        assert_eq!(deadline, at(elected + 3_400), "a session is a sign of life");
    }
}

#[test]
fn an_isolated_controller_gives_everybody_their_time_again() {
    check(
        "isolated",
        &[
            (0, registered(false), &[]),
            (1, opened(1), &[]),
            (3_001, Event::Tick, &[fence(Why::Silence)]),
            (3_002, Event::Isolated, &[]),
            (3_002, Event::Undecided { node: A }, &[]),
            (6_002, Event::Tick, &[fence(Why::Silence)]),
        ],
    );
}

#[test]
fn who_says_that_it_hangs_is_fenced_at_once_and_comes_back_by_a_heartbeat() {
    check(
        "hangs",
        &[
            (0, registered(false), &[]),
            (1, opened(1), &[]),
            (250, heartbeat(9), &[]),
            (260, hangs(2), &[]),
            (500, hangs(1), &[fence(Why::Hangs)]),
            (501, hangs(1), &[]),
            (502, registered(true), &[]),
            (503, hangs(1), &[]),
            (900, heartbeat(9), &[UNFENCE]),
        ],
    );
}

/// ◆ The end of a connection may be lost, with the machine at its other end: its node id is free then, and it is no live
/// voter. Fails if a session counts for as long as it is open.
#[test]
fn a_session_on_which_nobody_speaks_counts_no_more() {
    let at = Monotonic::from_millis;
    let mut liveness = Liveness::new(&Timings::LAN, at(0), None);
    liveness.on(registered(false), at(0));
    assert!(!liveness.connected(A, at(0)));
    liveness.on(opened(1), at(1));
    liveness.on(heartbeat(9), at(100));
    assert!(liveness.connected(A, at(3_099)));
    assert!(!liveness.connected(A, at(3_100)));
    liveness.on(heartbeat(9), at(3_200));
    assert!(liveness.connected(A, at(3_201)), "it was slow, no more");
}
