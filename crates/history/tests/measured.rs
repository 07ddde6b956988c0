//! What is measured rather than found: gaps, what a fault cost, lag; and runs that prove nothing.

mod support;

use history::{Body, Demands, Event, Header, Outcome, Read, Verdict};
use support::{clean, collect, event, strict};

const MS: u64 = 1_000_000;

fn send(at_ms: u64, operation: u64) -> Event<'static> {
    let body = Body::Send {
        operation,
        partition: Some("t-0".into()),
        value: operation,
    };
    event(at_ms * MS, "p", body)
}

fn sent(at_ms: u64, operation: u64, offset: i64) -> Event<'static> {
    let body = Body::Sent {
        operation,
        partition: None,
        offset: Some(offset),
        leader_epoch: None,
    };
    event(at_ms * MS, "p", body)
}

fn poll(at_ms: u64, worker: &str, offset: i64, value: u64) -> Event<'static> {
    let records = vec![Read {
        offset,
        value: Some(value),
        leader_epoch: None,
    }];
    let partition = "t-0".into();
    event(at_ms * MS, worker.to_owned(), Body::Poll { partition, records })
}

fn fault(at_ms: u64, operation: u64, begin: bool) -> Event<'static> {
    let body = match begin {
        true => Body::FaultBegin {
            operation,
            name: "kill".into(),
            on: None,
        },
        false => Body::FaultEnd { operation },
    };
    event(at_ms * MS, "main", body)
}

/// A send every 100 ms for 10 s, answered after 1 ms, but for those between 3 s and 5 s, which are all answered at 5 s. A fault
/// at 3 s, undone at 4 s, and another at 8 s that costs nothing.
fn run() -> Vec<Event<'static>> {
    let mut events = Vec::new();
    for number in 0..100 {
        let at = number * 100;
        let end = if (3_000..5_000).contains(&at) { 5_000 } else { at + 1 };
        events.push(send(at, number));
        events.push(sent(end, number, i64::try_from(number).unwrap()));
        events.push(poll(end + 4, "c", i64::try_from(number).unwrap(), number));
    }
    events.extend([fault(3_000, 1_000, true), fault(4_000, 1_000, false)]);
    events.extend([fault(8_000, 1_001, true), fault(8_500, 1_001, false)]);
    events
}

#[test]
fn a_faults_cost_is_the_longest_gap_while_something_was_waited_for() {
    let report = collect(Header::default(), &run()).check(&Demands::default());
    assert_eq!(report.verdict, Verdict::Clean, "{report}");
    let gap = report.longest_gap.clone().unwrap();
    assert_eq!(
        (gap.partition.as_str(), gap.from_ns, gap.length_ns),
        ("t-0", 3_000 * MS, 2_000 * MS)
    );
    let [first, second] = &report.faults[..] else {
        panic!("{report}")
    };
    assert_eq!(first.longest_gap, Some(gap));
    assert_eq!(first.longest_gap_of_all.as_ref().unwrap().length_ns, 2_000 * MS);
    // Between two sends nothing is waited for, so their distance is no gap.
    assert_eq!(second.longest_gap.as_ref().unwrap().length_ns, MS);
    assert_eq!((first.acknowledged, second.acknowledged), (50, 20));
    assert!(
        report
            .to_string()
            .contains("| 3.000 s | kill | 1.000 s | 2.000 s | 2.000 s | 50 |"),
        "{report}"
    );
}

#[test]
fn a_gap_is_the_cost_of_a_fault_from_its_beginning_on() {
    let mut events = run();
    events.extend([fault(4_500, 1_005, true), fault(4_600, 1_005, false)]);
    let report = collect(Header::default(), &events).check(&Demands::default());
    let costs: Vec<u64> = report
        .faults
        .iter()
        .map(|fault| fault.longest_gap.as_ref().unwrap().length_ns / MS)
        .collect();
    assert_eq!(costs, [1_500, 1, 500], "{report}");
}

#[test]
fn failed_sends_do_not_end_a_gap_and_a_send_without_an_end_lasts() {
    let failed = |at_ms: u64, operation| {
        let (outcome, error) = (Outcome::Fail, "no".into());
        let body = Body::NotSent {
            operation,
            outcome,
            error,
        };
        event(at_ms * MS, "p", body)
    };
    let events = [
        send(0, 1),
        failed(10, 1),
        send(20, 2),
        failed(30, 2),
        send(40, 3),
        sent(50, 3, 0),
        send(60, 4),
        send(90, 5),
    ];
    let report = collect(Header::default(), &events).check(&Demands::default());
    assert_eq!(report.longest_gap.unwrap().length_ns, 50 * MS);
    let events = [send(0, 1), sent(1, 1, 0), send(2, 2), send(100, 3)];
    let report = collect(Header::default(), &events).check(&Demands::default());
    assert_eq!(report.longest_gap.unwrap().length_ns, 98 * MS);
}

#[test]
fn lag_counts_from_the_acknowledgement_once_a_consumer_reads() {
    let report = collect(Header::default(), &run()).check(&Demands::default());
    let lag = report.lag.unwrap();
    // All but the first, whose consumer had not read anything before.
    assert_eq!((lag.records, lag.p50_ns, lag.max_ns), (99, 4 * MS, 4 * MS));
    let mut events = run();
    events.push(send(20_000, 200));
    events.push(sent(20_001, 200, 100));
    events.push(poll(29_001, "c", 100, 200));
    let report = collect(Header::default(), &events).check(&Demands::default());
    assert_eq!(report.lag.unwrap().max_ns, 9_000 * MS);
}

#[test]
fn a_run_that_proves_nothing_is_refused() {
    let empty = collect(Header::default(), &[]).check(&Demands::default());
    assert_eq!(empty.verdict, Verdict::Vacuous);
    assert!(empty.vacuous[0].contains("0 sends were acknowledged"), "{empty}");
    assert!(empty.vacuous[1].contains("0 records were read"), "{empty}");

    // The load had ended before the fault.
    let mut events = run();
    events.push(fault(20_000, 1_002, true));
    let report = collect(Header::default(), &events).check(&Demands::default());
    assert_eq!(report.verdict, Verdict::Vacuous, "{report}");
    assert!(
        report.vacuous[0].contains("fault kill at 20.000 s only 0 sends"),
        "{report}"
    );
    assert_eq!(report.vacuous.len(), 1);

    // An anomaly is one, however little happened.
    let events = [send(0, 1), sent(1, 1, 0)];
    let report = collect(Header::default(), &events).check(&Demands::default());
    assert_eq!(report.verdict, Verdict::Anomalous, "{report}");
}

#[test]
fn faults_at_the_same_time_have_the_same_window() {
    let mut events = run();
    events.extend([fault(8_100, 1_003, true), fault(8_600, 1_003, false)]);
    let report = collect(Header::default(), &events).check(&Demands::default());
    assert_eq!(report.verdict, Verdict::Clean, "{report}");
    let last: Vec<u64> = report.faults.iter().map(|fault| fault.acknowledged).collect();
    assert_eq!(last, [50, 20, 19]);
}

#[test]
fn a_history_that_is_written_and_read_says_the_same() {
    for seed in 0..20 {
        let events = clean(seed, 500);
        let mut file = Vec::new();
        strict().write(&mut file).unwrap();
        events
            .iter()
            .for_each(|event| history::write_event(&mut file, event).unwrap());
        let read = history::read(&file[..]).unwrap();
        let demands = Demands::default();
        assert_eq!(
            read.check(&demands),
            collect(strict(), &events).check(&demands),
            "seed {seed}"
        );
        assert_eq!(usize::try_from(read.line()).unwrap(), events.len() + 1);
    }
}
