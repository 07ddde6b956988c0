use super::*;
use crate::links::FlushResult;
use crate::support::{TP, batch, host_on};
use host::sim_disk::SimDisk;
use logstore::{LogConfig, LogDir, PlainFlush};
use replica::HelloAnswer;
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc;
use types::{BrokerEpoch, PartitionEpoch};

const ME: NodeId = NodeId(2);

struct Fixture {
    disk: SimDisk,
    partition: Partition,
    links: Rc<Links>,
    flushed: mpsc::UnboundedReceiver<FlushResult>,
    _dir: LogDir,
}

fn view(leader: i32, epoch: i32) -> PartitionView {
    let nodes = vec![NodeId(1), NodeId(2), NodeId(3)];
    PartitionView {
        leader: Some(NodeId(leader)),
        leader_epoch: LeaderEpoch(epoch),
        partition_epoch: PartitionEpoch(epoch),
        replicas: nodes.clone(),
        isr: nodes.clone(),
        elr: Vec::new(),
        min_isr: 2,
        durability: Durability::Strict,
        brokers: nodes.into_iter().map(|node| (node, (BrokerEpoch(1), false))).collect(),
    }
}

fn rules(durability: Durability) -> TopicRules {
    TopicRules {
        durability,
        log_append_time: false,
        flush_messages: i64::MAX,
        flush_ms: i64::MAX,
        log: LogConfig::default(),
    }
}

impl Fixture {
    /// A replica with so many records of epoch 0, one a batch.
    fn with(records: i64) -> Self {
        let disk = SimDisk::new();
        let host = host_on(disk.handle());
        let mut dir = LogDir::open(&host, Path::new("/data")).unwrap();
        dir.recover().unwrap();
        let mut log = dir
            .create_log("orders", TP, ReplicaIncarnation(1), LogConfig::default())
            .unwrap();
        for offset in 0..records {
            let mut bytes = batch("value").to_vec();
            records::set_base_offset(&mut bytes, Offset(offset));
            records::set_leader_epoch(&mut bytes, LeaderEpoch(0));
            log.append(bytes.into(), Offset(offset), Offset(offset + 1), 0).unwrap();
        }
        let flusher = dir.start_flusher(&host, Box::new(PlainFlush));
        let (results, flushed) = mpsc::unbounded_channel();
        let flushers = [(dir.id(), flusher)].into();
        let links = Rc::new(Links::new(host, ME, Duration::from_secs(10), flushers, results));
        let replica = NewReplica {
            log,
            producers: ProducerStates::new(1_000),
            high_watermark: Offset::ZERO,
        };
        let nobody = PartitionView {
            leader: None,
            ..view(1, -1)
        };
        let rules = rules(Durability::Strict);
        let partition = Partition::new(links.clone(), replica, nobody, rules, StreamGeneration(1));
        Self {
            disk,
            partition,
            links,
            flushed,
            _dir: dir,
        }
    }

    fn see(&mut self, view: PartitionView) {
        let now = self.links.host.now();
        self.partition.on_view(view, rules(Durability::Strict), now);
    }

    fn leads(&self) -> bool {
        matches!(self.partition.role, Role::Leader(_))
    }

    /// What the pool does, when it gets to it.
    fn run_errand(&mut self) {
        let mut errand = self.links.take_errands().pop().expect("the log is away");
        let outcome = errand.run();
        self.partition.errand_done(errand, outcome);
    }

    async fn flush(&mut self) {
        let result = self.flushed.recv().await.unwrap();
        let now = self.links.host.now();
        self.partition.flushed(result, now);
    }
}

/// ◆ What a leader said is carried out in its epoch: nobody leads on a log that is about to be cut for a leader that is
/// dead.
#[test]
fn a_replica_whose_log_is_being_cut_is_not_promoted() {
    let mut fixture = Fixture::with(5);
    fixture.see(view(1, 1));
    let hello = fixture.partition.hello(BrokerEpoch(1)).unwrap();
    let diverging = HelloAnswer::Diverging {
        epoch: LeaderEpoch(0),
        end_offset: Offset(2),
    };
    assert_eq!(
        fixture.partition.answered(hello.generation, &diverging),
        Followed::Nothing
    );
    fixture.see(view(ME.0, 2));
    assert!(!fixture.leads(), "its log is away");
    fixture.run_errand();
    assert!(!fixture.leads(), "the shard looks at the image again");
    fixture.see(view(ME.0, 2));
    assert!(fixture.leads());
    assert_eq!(fixture.partition.bounds().log_end, Offset(2));
}

/// A flush that ended while the log was away counts, and the cut is made durable without other traffic.
#[tokio::test]
async fn a_flush_that_ends_while_the_log_is_away_is_not_lost() {
    let mut fixture = Fixture::with(5);
    fixture.see(view(1, 1));
    let hello = fixture.partition.hello(BrokerEpoch(1)).unwrap();
    let diverging = HelloAnswer::Diverging {
        epoch: LeaderEpoch(0),
        end_offset: Offset(2),
    };
    fixture.partition.answered(hello.generation, &diverging);
    // The flush of the promotion to follower comes back first.
    fixture.flush().await;
    fixture.run_errand();
    assert!(fixture.partition.take_restate());
    while fixture.partition.bounds().durable < Offset(2) {
        fixture.flush().await;
    }
    let hello = fixture.partition.hello(BrokerEpoch(1)).unwrap();
    assert_eq!((hello.log_end, hello.durable), (Offset(2), Offset(2)));
}

/// A leader that does not keep to its window is asked again; what it sent is dropped.
#[test]
fn what_waits_for_the_disk_is_bounded() {
    let mut fixture = Fixture::with(0);
    fixture.see(view(1, 1));
    let hello = fixture.partition.hello(BrokerEpoch(1)).unwrap();
    let agreed = HelloAnswer::SendFrom {
        offset: Offset(0),
        high_watermark: Offset(0),
        log_start: Offset(0),
    };
    assert_eq!(fixture.partition.answered(hello.generation, &agreed), Followed::Ack);
    fixture.partition.log = None;
    let entry = EntryHeader {
        leader_epoch: LeaderEpoch(1),
        previous_end: Offset(0),
        previous_epoch: LeaderEpoch::NONE,
        generation: hello.generation,
        high_watermark: Offset(0),
        log_start: Offset(0),
        digest: 0,
    };
    let bytes = Bytes::from(vec![0; 4 << 20]);
    let mut outcomes = (0..100).map(|_| fixture.partition.entry(entry, bytes.clone()));
    assert!(outcomes.any(|outcome| outcome == Followed::Restate));
    assert_eq!((fixture.partition.inbox.len(), fixture.partition.inbox_bytes), (0, 0));
}

impl Fixture {
    /// Follows node 1 in epoch 1, which has all 5 records of this replica, committed, and starts at `log_start`.
    fn following(log_start: i64) -> (Self, StreamGeneration) {
        let mut fixture = Self::with(5);
        fixture.see(view(1, 1));
        let hello = fixture.partition.hello(BrokerEpoch(1)).unwrap();
        let agreed = HelloAnswer::SendFrom {
            offset: Offset(5),
            high_watermark: Offset(5),
            log_start: Offset(log_start),
        };
        assert_eq!(fixture.partition.answered(hello.generation, &agreed), Followed::Ack);
        (fixture, hello.generation)
    }

    fn diverge_at(&mut self, end: i64) {
        self.partition.reopen();
        let hello = self.partition.hello(BrokerEpoch(1)).unwrap();
        let diverging = HelloAnswer::Diverging {
            epoch: LeaderEpoch(0),
            end_offset: Offset(end),
        };
        self.partition.answered(hello.generation, &diverging);
    }
}

/// ◆ The journal must not learn of a log start above the log end. Fails if the log is cut while its start moves.
#[test]
fn a_cut_waits_for_a_log_start_that_is_under_way() {
    for (cut_at, expected) in [(4, (3, 4)), (2, (3, 3))] {
        let (mut fixture, _) = Fixture::following(3);
        fixture.diverge_at(cut_at);
        assert!(fixture.partition.log.is_some(), "the log is not away");
        fixture.run_errand();
        assert_eq!(fixture.partition.bounds().log_start, Offset(3));
        assert!(fixture.partition.log.is_none(), "now it is");
        fixture.run_errand();
        let bounds = fixture.partition.bounds();
        assert_eq!((bounds.log_start.0, bounds.log_end.0), expected);
    }
}

/// ◆ What a dead leader said is not carried out in the next epoch. Fails if a cut that waits outlives the role.
#[test]
fn a_cut_that_waits_is_forgotten_with_its_epoch() {
    let (mut fixture, _) = Fixture::following(3);
    fixture.diverge_at(4);
    fixture.see(view(ME.0, 2));
    assert!(fixture.leads());
    fixture.run_errand();
    assert!(fixture.leads() && fixture.links.take_errands().is_empty());
    let bounds = fixture.partition.bounds();
    assert_eq!((bounds.log_start, bounds.log_end), (Offset(3), Offset(5)));
}

/// A follower that is slower than retention states its position anew, and is told to start over.
#[test]
fn a_follower_whose_next_record_is_deleted_states_its_position() {
    let (mut fixture, generation) = Fixture::following(0);
    let other = StreamGeneration(generation.0 + 1);
    assert_eq!(fixture.partition.refused(other), Followed::Nothing);
    assert_eq!(fixture.partition.refused(generation), Followed::Restate);
    let again = fixture.partition.hello(BrokerEpoch(1)).unwrap();
    assert!(again.generation > generation, "a leader takes no position twice");
}

/// An entry of one batch of epoch 0, from a leader in `epoch`.
fn entry_of_epoch_0(offset: i64, epoch: i32, generation: StreamGeneration) -> (EntryHeader, Bytes) {
    let mut bytes = batch("value").to_vec();
    records::set_base_offset(&mut bytes, Offset(offset));
    records::set_leader_epoch(&mut bytes, LeaderEpoch(0));
    let header = records::BatchHeader::parse(&bytes).unwrap();
    let entry = EntryHeader {
        leader_epoch: LeaderEpoch(epoch),
        previous_end: Offset(offset),
        previous_epoch: LeaderEpoch(0),
        generation,
        high_watermark: Offset(offset),
        log_start: Offset(0),
        digest: replica::digest([header].iter()),
    };
    (entry, bytes.into())
}

/// ◆ Leadership is handed around without a record: who led in epoch 1 and appended nothing follows a leader whose log is
/// longer, in epoch 0. Fails if epoch 0 then ends here where epoch 1 began: as a leader this replica would have the others
/// cut what is committed. The journal, read again after a crash, must not say it either.
#[tokio::test]
async fn an_epoch_without_records_ends_no_other_epoch() {
    let mut fixture = Fixture::with(5);
    fixture.see(view(ME.0, 1));
    // Its start is being made durable while the next leader is elected.
    fixture.see(view(1, 2));
    let hello = fixture.partition.hello(BrokerEpoch(1)).unwrap();
    assert_eq!((hello.log_end, hello.last_epoch), (Offset(5), LeaderEpoch(0)));
    let agreed = HelloAnswer::SendFrom {
        offset: Offset(5),
        high_watermark: Offset(5),
        log_start: Offset(0),
    };
    fixture.partition.answered(hello.generation, &agreed);
    let (entry, bytes) = entry_of_epoch_0(5, 2, hello.generation);
    fixture.partition.entry(entry, bytes);
    while fixture.partition.bounds().durable < Offset(6) {
        fixture.flush().await;
    }
    let log = fixture.partition.log.as_ref().unwrap();
    let epoch_0 = [(LeaderEpoch(0), Offset(0))];
    assert_eq!(log.epochs(), epoch_0);
    let disk = fixture.disk.clone();
    drop(fixture);
    disk.crash_losing_everything_unsynced();
    let mut dir = LogDir::open(&host_on(disk.handle()), Path::new("/data")).unwrap();
    let found = dir.recover().unwrap();
    assert_eq!(
        (found[0].log.log_end_offset(), found[0].log.epochs()),
        (Offset(6), &epoch_0[..])
    );
}
