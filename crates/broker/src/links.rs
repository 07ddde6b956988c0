use crate::partition::Errand;
use crate::replica_stream::StreamOut;
use crate::shard_stats::ShardStats;
use host::HostRef;
use logstore::{FlushFailed, FlushJob, Flushed, Flusher};
use replica::ProposalId;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use types::{
    BrokerEpoch, DirectoryId, LeaderEpoch, NodeId, PartitionEpoch, ReplicaIncarnation, StreamGeneration, TopicPartition,
};

/// An ISR that a leader wants (KIP-497), on its way to the controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proposal {
    pub tp: TopicPartition,
    pub id: ProposalId,
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: PartitionEpoch,
    pub isr: Vec<(NodeId, BrokerEpoch)>,
}

/// A flush job's result, on its way back to the shard that owns the log.
pub(crate) struct FlushResult {
    pub tp: TopicPartition,
    pub incarnation: ReplicaIncarnation,
    pub outcome: Result<Flushed, FlushFailed>,
}

/// What the partitions of a shard reach of the world around them. They never reach each other.
pub(crate) struct Links {
    pub host: HostRef,
    pub node_id: NodeId,
    pub lag_max: Duration,
    /// The highest generation of the replicas that were here and are deleted.
    pub retired_generation: Cell<StreamGeneration>,
    pub stats: Arc<ShardStats>,
    flushers: BTreeMap<DirectoryId, Flusher>,
    flushed: mpsc::UnboundedSender<FlushResult>,
    proposals: RefCell<Vec<Proposal>>,
    pub proposed: Notify,
    /// Logs on their way to a pool, at most one of each partition.
    errands: RefCell<Vec<Errand>>,
    pub errand: Notify,
    /// Partitions where a read met damage.
    suspects: RefCell<BTreeSet<TopicPartition>>,
    pub suspected: Notify,
    /// Partitions with produces that wait for the next drain.
    dirty: RefCell<BTreeSet<TopicPartition>>,
    pub drain: Notify,
}

impl Links {
    pub fn new(
        host: HostRef,
        node_id: NodeId,
        lag_max: Duration,
        flushers: BTreeMap<DirectoryId, Flusher>,
        flushed: mpsc::UnboundedSender<FlushResult>,
    ) -> Self {
        let stats = Arc::<ShardStats>::default();
        stats.ticked(host.now(), 0, 0);
        Self {
            host,
            node_id,
            lag_max,
            retired_generation: Cell::default(),
            stats,
            flushers,
            flushed,
            proposals: RefCell::default(),
            proposed: Notify::new(),
            errands: RefCell::default(),
            errand: Notify::new(),
            suspects: RefCell::default(),
            suspected: Notify::new(),
            dirty: RefCell::default(),
            drain: Notify::new(),
        }
    }

    /// Hands a job to its directory's flusher. At most one job per log is out, so what waits is bounded by the
    /// number of logs.
    pub fn flush(&self, directory: DirectoryId, incarnation: ReplicaIncarnation, job: FlushJob) {
        let tp = job.topic_partition();
        let flushed = self.flushed.clone();
        match self.flushers.get(&directory) {
            Some(flusher) => flusher.submit(
                job,
                Box::new(move |outcome| {
                    // The shard is gone only when the node stops.
                    let _ = flushed.send(FlushResult {
                        tp,
                        incarnation,
                        outcome,
                    });
                }),
            ),
            None => {
                tracing::error!(%directory, topic_id = %tp.topic, partition = tp.partition, "a log lies in a directory without a flusher")
            }
        }
    }

    pub fn propose(&self, proposal: Proposal) {
        self.proposals.borrow_mut().push(proposal);
        self.proposed.notify_one();
    }

    /// Asks for a drain of this partition: once per turn of the shard's loop, however many ask.
    pub fn mark_dirty(&self, tp: TopicPartition) {
        self.dirty.borrow_mut().insert(tp);
        self.drain.notify_one();
    }

    pub fn suspect(&self, tp: TopicPartition) {
        self.suspects.borrow_mut().insert(tp);
        self.suspected.notify_one();
    }

    pub fn take_suspects(&self) -> BTreeSet<TopicPartition> {
        std::mem::take(&mut self.suspects.borrow_mut())
    }

    pub fn take_dirty(&self) -> BTreeSet<TopicPartition> {
        std::mem::take(&mut self.dirty.borrow_mut())
    }

    pub fn send_away(&self, errand: Errand) {
        self.errands.borrow_mut().push(errand);
        self.errand.notify_one();
    }

    pub fn take_errands(&self) -> Vec<Errand> {
        std::mem::take(&mut self.errands.borrow_mut())
    }

    pub fn take_proposals(&self) -> Vec<Proposal> {
        std::mem::take(&mut self.proposals.borrow_mut())
    }
}

/// Tells streams of this partition's followers that there is something to send.
pub(crate) fn mark_all<'a>(streams: impl Iterator<Item = &'a Rc<StreamOut>>, tp: TopicPartition) {
    for stream in streams {
        stream.mark(tp);
    }
}
