//! A group of three: founding, growing, committing, failing, coming back.

#[path = "three_nodes/lost_tail.rs"]
mod lost_tail;

use async_trait::async_trait;
use host::{HostRef, RealHost};
use metadata::{Endpoint, Record};
use raft::{
    CallError, FramedTransport, Handler, ProposeError, RaftNode, RaftOptions, RaftState, RaftStore, RocksStore,
    Serving, Session, SimStore, TonicTransport, Transport, pb,
};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use types::{LogIndex, RaftId, Timings};

const PATIENCE: Duration = Duration::from_secs(20);
const CLUSTER: &str = "a cluster";
const SNAPSHOT_EVERY: u64 = 50;

struct ForRaft(RaftNode);

#[async_trait]
impl Handler for ForRaft {
    async fn call(&self, _from: SocketAddr, request: pb::CallRequest) -> Result<pb::CallReply, String> {
        self.0.handle(request).await
    }

    async fn session(&self, _from: SocketAddr, _hello: pb::SessionMessage, _session: Session) {}
}

enum Disk {
    Rocks(TempDir),
    Sim(SimStore),
}

/// A machine: what survives a restart.
struct Machine {
    id: RaftId,
    disk: Disk,
    port: u16,
    host: HostRef,
}

struct Node {
    raft: RaftNode,
    serving: Serving,
    transport: Arc<dyn Transport>,
    at: Endpoint,
}

async fn within<F: Future>(what: &str, future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("{what}: not in time"))
}

impl Machine {
    fn rocks(id: u64) -> Self {
        let disk = Disk::Rocks(tempfile::tempdir().unwrap());
        Self {
            id: RaftId(id),
            disk,
            port: 0,
            host: Arc::new(RealHost::new()),
        }
    }

    fn simulated(id: u64) -> Self {
        Self {
            id: RaftId(id),
            disk: Disk::Sim(SimStore::new(id)),
            port: 0,
            host: Arc::new(RealHost::new()),
        }
    }

    async fn store(&self) -> Arc<dyn RaftStore> {
        match &self.disk {
            Disk::Rocks(dir) => {
                within("the database is free", async {
                    loop {
                        // Its flush thread holds it until it has seen the end of its queue.
                        match RocksStore::open(dir.path()) {
                            Ok(store) => break store,
                            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                        }
                    }
                })
                .await
            }
            Disk::Sim(store) => store.reopen(),
        }
    }

    async fn start(&mut self) -> Node {
        let transport: Arc<dyn Transport> = match &self.disk {
            Disk::Rocks(_) => Arc::new(TonicTransport::new(Timings::LAN, None)),
            Disk::Sim(_) => Arc::new(FramedTransport::new(self.host.clone())),
        };
        let options = RaftOptions {
            raft_id: self.id,
            cluster_id: CLUSTER.into(),
            timings: Timings::LAN,
            snapshot_every: SNAPSHOT_EVERY,
        };
        let raft = RaftNode::start(options, self.store().await, transport.clone(), self.host.clone())
            .await
            .unwrap();
        let handler = Arc::new(ForRaft(raft.clone()));
        let serving = transport.serve(("127.0.0.1".into(), self.port), handler).await.unwrap();
        self.port = serving.port;
        let at = Endpoint {
            host: "127.0.0.1".into(),
            port: self.port,
        };
        Node {
            raft,
            serving,
            transport,
            at,
        }
    }
}

impl Node {
    /// As nearly a `kill -9` as one process can do to a part of itself.
    async fn kill(self, machine: &Machine) {
        if let Disk::Sim(store) = &machine.disk {
            store.crash(machine.id.0);
        }
        self.serving.close().await;
        self.raft.shutdown().await;
    }

    async fn leads(&self) {
        let mut leadership = self.raft.leadership();
        within("it leads", leadership.wait_for(|seen| seen.i_lead))
            .await
            .unwrap();
    }

    fn next_producer_id(&self) -> i64 {
        self.raft.image().borrow().next_producer_id
    }

    async fn propose(&self, next: i64) -> LogIndex {
        let base = self.raft.image().borrow().index;
        self.raft
            .propose(base, vec![Record::NextProducerId { next }])
            .await
            .unwrap()
    }

    async fn sees(&self, next: i64) {
        let mut image = self.raft.image();
        within("the image", image.wait_for(|image| image.next_producer_id == next))
            .await
            .unwrap();
    }
}

/// Three machines, the first of which founds; all vote.
async fn found(machines: &mut [Machine]) -> Vec<Node> {
    let start = Instant::now();
    let mut nodes = Vec::new();
    for machine in machines.iter_mut() {
        nodes.push(machine.start().await);
    }
    let started = start.elapsed();
    nodes[0].raft.initialize(nodes[0].at.clone()).await.unwrap();
    nodes[0].raft.initialize(nodes[0].at.clone()).await.unwrap();
    nodes[0].leads().await;
    let led = start.elapsed();
    nodes[0].propose(1).await;
    println!("started {started:?}, leads {led:?}, first commit {:?}", start.elapsed());
    for id in 1..machines.len() {
        nodes[0]
            .raft
            .add_learner(machines[id].id, nodes[id].at.clone())
            .await
            .unwrap();
    }
    for node in &nodes[1..] {
        node.sees(1).await;
    }
    let all: BTreeSet<RaftId> = machines.iter().map(|machine| machine.id).collect();
    assert_eq!(nodes[0].raft.status().learners.len(), machines.len() - 1);
    nodes[0].raft.change_voters(all.clone()).await.unwrap();
    let status = nodes[0].raft.status();
    assert_eq!((status.voters, status.state), (all, RaftState::Leader));
    println!("{} voters {:?}", machines.len(), start.elapsed());
    nodes
}

/// The node among these that leads; waits until there is one.
async fn leader(nodes: &[Node]) -> usize {
    let mut watches: Vec<_> = nodes.iter().map(|node| node.raft.leadership()).collect();
    let any = watches
        .iter_mut()
        .map(|watch| Box::pin(watch.wait_for(|seen| seen.i_lead)));
    let (found, index, _) = within("a leader", futures::future::select_all(any)).await;
    found.unwrap();
    index
}

async fn a_group_lives(mut machines: Vec<Machine>) {
    let mut nodes = found(&mut machines).await;

    // What the leader commits, all see.
    let index = nodes[0].propose(10).await;
    for node in &nodes {
        node.sees(10).await;
        assert_eq!(node.raft.image().borrow().index, index);
    }
    assert!(nodes[0].raft.read_index().await.unwrap() >= index);
    let status = nodes[0].raft.status();
    assert_eq!(status.matched.len(), 3);
    assert!(status.committed >= index && status.settled, "{status:?}");

    // A plan on an older image changes nothing, nor does one that does not fit, nor one at a follower.
    let records = || vec![Record::NextProducerId { next: 11 }];
    assert_eq!(
        nodes[0].raft.propose(LogIndex(0), records()).await,
        Err(ProposeError::Stale)
    );
    let backwards = nodes[0]
        .raft
        .propose(index, vec![Record::NextProducerId { next: 5 }])
        .await;
    assert!(matches!(backwards, Err(ProposeError::Invalid(_))), "{backwards:?}");
    let hint = Some((machines[0].id, nodes[0].at.clone()));
    assert_eq!(
        nodes[1].raft.propose(index, records()).await,
        Err(ProposeError::NotLeader { hint: hint.clone() })
    );
    assert_eq!(nodes[1].raft.read_index().await, Err(ProposeError::NotLeader { hint }));
    assert_eq!(nodes[0].next_producer_id(), 10);

    // Leadership moves where it is told to.
    nodes[0].raft.transfer_leader(machines[1].id).await.unwrap();
    nodes[1].leads().await;
    nodes[1].propose(20).await;
    nodes[0].sees(20).await;

    // The leader dies: another leads, with everything.
    let killed = Instant::now();
    nodes.remove(1).kill(&machines[1]).await;
    let survivor = leader(&nodes).await;
    println!("killed -> new leader {:?}", killed.elapsed());
    assert!(killed.elapsed() < Duration::from_secs(2), "{:?}", killed.elapsed());
    nodes[survivor].propose(30).await;

    // It comes back with what it had, and gets the rest.
    let back = machines[1].start().await;
    back.sees(30).await;
    nodes.push(back);

    // All die and come back: nothing is lost.
    for (node, machine) in nodes.into_iter().zip([0, 2, 1]) {
        node.kill(&machines[machine]).await;
    }
    let restarted = Instant::now();
    let mut nodes = Vec::new();
    for machine in &mut machines {
        nodes.push(machine.start().await);
    }
    let chosen = leader(&nodes).await;
    println!("restart of all -> leader {:?}", restarted.elapsed());
    assert_eq!(nodes[chosen].next_producer_id(), 30);

    // A follower is removed: first no voter, then nothing at all.
    let other = (chosen + 1) % 3;
    let voters: BTreeSet<RaftId> = (0..3)
        .filter(|node| *node != other)
        .map(|node| machines[node].id)
        .collect();
    nodes[chosen].raft.change_voters(voters.clone()).await.unwrap();
    assert_eq!(
        nodes[chosen].raft.status().learners,
        BTreeSet::from([machines[other].id])
    );
    nodes[chosen].raft.remove(machines[other].id).await.unwrap();
    let status = nodes[chosen].raft.status();
    assert_eq!((status.voters, status.members.len()), (voters, 2));
    nodes[chosen].propose(40).await;

    // Alone without the other voter it commits nothing, and stops when told to.
    let last = nodes.swap_remove(chosen);
    for node in nodes {
        node.serving.close().await;
        node.raft.shutdown().await;
    }
    let alone = tokio::time::timeout(Duration::from_secs(4), last.raft.read_index())
        .await
        .unwrap();
    assert!(matches!(alone, Err(ProposeError::NotLeader { .. })), "{alone:?}");
    last.raft.shutdown().await;
    assert!(!within("it says so", last.raft.failed()).await.is_empty());
    assert_eq!(
        last.raft.propose(LogIndex(0), records()).await,
        Err(ProposeError::Shutdown)
    );
    assert!(!last.raft.leadership().borrow().i_lead);
}

/// Two of three are gone for good. A person makes the third the only voter: it leads with all that it had, the lost come
/// back as learners, and their old logs give way.
async fn a_lost_quorum_is_recovered(mut machines: Vec<Machine>) {
    let mut nodes = found(&mut machines).await;
    nodes[0].propose(10).await;
    nodes[2].sees(10).await;
    while let Some(node) = nodes.pop() {
        node.kill(&machines[nodes.len()]).await;
    }
    let store = machines[2].store().await;
    let at = Endpoint {
        host: "127.0.0.1".into(),
        port: machines[2].port,
    };
    let before = raft::stored_quorum(&store).await.unwrap();
    assert_eq!(before.voters.len(), 3);
    let after = raft::make_sole_voter(&store, machines[2].id, &at).await.unwrap();
    assert_eq!(after.voters, [machines[2].id].into());
    assert_eq!((after.members.len(), after.last_index.0), (3, before.last_index.0 + 1));
    assert!(after.last_term > before.last_term);
    drop(store);
    let survivor = machines[2].start().await;
    survivor.leads().await;
    assert_eq!(survivor.next_producer_id(), 10);
    survivor.propose(20).await;
    let back = machines[0].start().await;
    back.sees(20).await;
    let status = back.raft.status();
    assert_eq!(
        (status.voters, status.state),
        ([machines[2].id].into(), RaftState::Learner)
    );
}

/// ◆ The quorum was recovered on a node that knew less: who knows more is told so and stops. Without the check openraft
/// panics in debug builds, and goes on with an image that nobody else has in others.
async fn who_knows_what_was_given_up_stops(mut machines: Vec<Machine>) {
    let mut nodes = found(&mut machines).await;
    nodes[0].propose(10).await;
    nodes[2].sees(10).await;
    nodes.remove(2).kill(&machines[2]).await;
    let leading = leader(&nodes).await;
    for next in 20..40 {
        nodes[leading].propose(next).await;
    }
    nodes[0].sees(39).await;
    while let Some(node) = nodes.pop() {
        node.kill(&machines[nodes.len()]).await;
    }
    let store = machines[2].store().await;
    let at = Endpoint {
        host: "127.0.0.1".into(),
        port: machines[2].port,
    };
    raft::make_sole_voter(&store, machines[2].id, &at).await.unwrap();
    drop(store);
    let survivor = machines[2].start().await;
    survivor.leads().await;
    let ahead = machines[0].start().await;
    let why = within("it says so", ahead.raft.failed()).await;
    assert!(why.contains("given up"), "{why}");
    survivor.propose(15).await;
}

/// ◆ A leader that comes back alone leads nobody, and never again in its old term: it may have lost the end of its log,
/// and would give its indexes to other entries. Fails with `enable_leader_restore`.
async fn a_leader_does_not_come_back_as_one(mut machines: Vec<Machine>) {
    let mut nodes = found(&mut machines).await;
    nodes[0].propose(10).await;
    let term = nodes[0].raft.status().term;
    // The leader last, so that nobody follows it.
    while let Some(node) = nodes.pop() {
        node.kill(&machines[nodes.len()]).await;
    }
    let back = machines[0].start().await;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(1) {
        let status = back.raft.status();
        assert_ne!(status.state, RaftState::Leader, "{:?}: {status:?}", start.elapsed());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let nodes = [back, machines[1].start().await];
    let chosen = leader(&nodes).await;
    let status = nodes[chosen].raft.status();
    assert!(status.term > term, "term {} after term {term}", status.term);
    nodes[1 - chosen].sees(10).await;
}

async fn a_snapshot_reaches_who_is_far_behind(mut founder: Machine, mut late: Machine) {
    let first = founder.start().await;
    first.raft.initialize(first.at.clone()).await.unwrap();
    first.leads().await;
    for next in 1..=300 {
        first.propose(next).await;
    }
    let second = late.start().await;
    first.raft.add_learner(late.id, second.at.clone()).await.unwrap();
    second.sees(300).await;
    assert!(second.raft.status().snapshot.is_some(), "{:?}", second.raft.status());
    first.propose(301).await;
    second.sees(301).await;
    let (image, copy) = (
        first.raft.image().borrow().clone(),
        second.raft.image().borrow().clone(),
    );
    assert_eq!(image.to_snapshot(), copy.to_snapshot());
    // Both come back from a snapshot and the entries behind it.
    for (machine, node) in [(&mut founder, first), (&mut late, second)] {
        node.kill(machine).await;
    }
    let (first, second) = (founder.start().await, late.start().await);
    first.leads().await;
    first.propose(302).await;
    second.sees(302).await;
    for node in [first, second] {
        node.serving.close().await;
        node.raft.shutdown().await;
    }
}

async fn who_is_meant_for_another_is_refused(mut machine: Machine) {
    let node = machine.start().await;
    node.raft.initialize(node.at.clone()).await.unwrap();
    node.leads().await;
    let term = node.raft.status().term;
    let request = |cluster: &str, target: u64, call| pb::CallRequest {
        envelope: Some(pb::Envelope {
            cluster_id: cluster.into(),
            target_raft_id: target,
            sender_raft_id: 9,
            ..Default::default()
        }),
        call,
    };
    let vote = |term| {
        let vote = pb::Vote {
            term,
            voted_for: 9,
            committed: false,
        };
        Some(pb::call_request::Call::Vote(pb::VoteRequest {
            vote: Some(vote),
            ..Default::default()
        }))
    };
    let entries = |indexes: &[u64]| {
        let entry = |index: &u64| pb::Entry {
            format: 1,
            log_id: Some(pb::LogId {
                term: term + 9,
                index: *index,
            }),
            payload: Some(pb::entry::Payload::Blank(pb::Blank {})),
        };
        Some(pb::call_request::Call::AppendEntries(pb::AppendEntriesRequest {
            vote: Some(pb::Vote {
                term: term + 9,
                voted_for: 9,
                committed: true,
            }),
            entries: indexes.iter().map(entry).collect(),
            ..Default::default()
        }))
    };
    let unreadable = pb::Snapshot {
        meta: Some(pb::SnapshotMeta::default()),
        image_index: 5,
        records: vec![200, 1, 2].into(),
    };
    let vote_of = Some(pb::Vote {
        term: term + 9,
        voted_for: 9,
        committed: true,
    });
    let snapshot = pb::SnapshotRequest {
        vote: vote_of,
        snapshot: Some(unreadable),
    };
    let own = machine.id.0;
    for (name, request) in [
        ("another cluster", request("another cluster", own, vote(term + 1))),
        ("no cluster", request("", own, vote(term + 1))),
        ("another member", request(CLUSTER, own + 1, vote(term + 1))),
        ("no member", request(CLUSTER, 0, vote(term + 1))),
        (
            "no envelope",
            pb::CallRequest {
                envelope: None,
                call: vote(term + 1),
            },
        ),
        ("no call", request(CLUSTER, own, None)),
        (
            "no vote",
            request(
                CLUSTER,
                own,
                Some(pb::call_request::Call::Vote(pb::VoteRequest::default())),
            ),
        ),
        ("entries with a hole", request(CLUSTER, own, entries(&[0, 2]))),
        ("entries from nowhere", request(CLUSTER, own, entries(&[u64::MAX]))),
        (
            "an unreadable snapshot",
            request(CLUSTER, own, Some(pb::call_request::Call::Snapshot(snapshot))),
        ),
    ] {
        let answer = node.transport.call(&node.at, request, PATIENCE).await;
        assert!(matches!(answer, Err(CallError::Rejected(_))), "{name}: {answer:?}");
    }
    node.propose(1).await;
    assert_eq!(node.raft.status().term, term, "undisturbed");
    node.serving.close().await;
    node.raft.shutdown().await;
}

#[tokio::test]
async fn a_group_lives_on_rocksdb_and_grpc() {
    a_group_lives((1..=3).map(Machine::rocks).collect()).await;
}

#[tokio::test]
async fn a_group_lives_in_simulation() {
    let scope = raft::simulated(7, a_group_lives((1..=3).map(Machine::simulated).collect()));
    tokio::task::LocalSet::new().run_until(scope).await;
}

#[tokio::test]
async fn a_leader_does_not_come_back_as_one_in_simulation() {
    a_leader_does_not_come_back_as_one((1..=3).map(Machine::simulated).collect()).await;
}

#[tokio::test]
async fn a_snapshot_goes_over_grpc() {
    a_snapshot_reaches_who_is_far_behind(Machine::rocks(1), Machine::rocks(2)).await;
}

#[tokio::test]
async fn a_snapshot_goes_in_simulation() {
    let scope = raft::simulated(
        8,
        a_snapshot_reaches_who_is_far_behind(Machine::simulated(1), Machine::simulated(2)),
    );
    tokio::task::LocalSet::new().run_until(scope).await;
}

#[tokio::test]
async fn calls_for_another_are_refused() {
    who_is_meant_for_another_is_refused(Machine::rocks(1)).await;
}

#[tokio::test]
async fn a_failed_store_ends_the_node_and_says_so() {
    let mut machine = Machine::simulated(1);
    let node = machine.start().await;
    node.raft.initialize(node.at.clone()).await.unwrap();
    node.leads().await;
    let base = node.raft.image().borrow().index;
    let Disk::Sim(store) = &machine.disk else {
        unreachable!()
    };
    store.crash(1);
    let lost = node.raft.propose(base, vec![Record::NextProducerId { next: 1 }]).await;
    assert_eq!(lost, Err(ProposeError::Unknown));
    let why = within("it says so", node.raft.failed()).await;
    assert!(why.contains("crashed"), "{why}");
    let mut leadership = node.raft.leadership();
    within("it leads no more", leadership.wait_for(|seen| !seen.i_lead))
        .await
        .unwrap();
    assert_eq!(node.raft.status().state, RaftState::Stopped);
}

#[tokio::test]
async fn who_knows_what_was_given_up_stops_on_rocksdb_and_grpc() {
    who_knows_what_was_given_up_stops((1..=3).map(Machine::rocks).collect()).await;
}

#[tokio::test]
async fn a_lost_quorum_is_recovered_on_rocksdb_and_grpc() {
    a_lost_quorum_is_recovered((1..=3).map(Machine::rocks).collect()).await;
}
