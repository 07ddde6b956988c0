//! What must hold at every moment, read from the nodes' own state and disks between two steps. Nothing here changes the
//! run.
//!
//! - A partition has one leader per leader epoch, of one life of one broker.
//! - In a leader epoch the high watermark never goes back.
//! - `log_start <= high_watermark <= log_end`, and nothing is durable beyond the end.
//! - A record that was committed once is the same everywhere below every high watermark, for good: its bytes, offset and
//!   leader epoch.
//! - Whoever leads in the newest leader epoch has everything that was ever committed, with the same bytes.
//! - The metadata after one log index is the same on every node, and every node is of the same cluster.

use crate::history::NewestEpochs;
use crate::replica_reader::{Batch, ReplicaReader};
use broker::inspect::{self, ReplicaState};
use host::Disk;
use metadata::Image;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use types::{BrokerEpoch, LeaderEpoch, LogIndex, NodeId, Offset, TopicPartition};

/// Reports of one run; what follows is mostly their consequence.
const PROBLEMS_MAX: usize = 12;
/// Everything below the high watermarks is read anew this often.
const READ_ANEW: Duration = Duration::from_secs(5);
/// Every so many looks all replicas are looked at, between them those only that something was done with.
const LOOK_AT_ALL: u64 = 20;
/// Metadata of so many indexes is remembered.
const IMAGES_MAX: usize = 4_096;

/// What was committed in a partition: by offset, and up to where.
#[derive(Debug, Default)]
struct Committed {
    batches: BTreeMap<Offset, Batch>,
    end: Offset,
    /// Below it records were deleted by whoever leads.
    start: Offset,
}

impl Committed {
    /// Whether anything else was committed at an offset of `batch`.
    fn overlaps(&self, batch: &Batch) -> bool {
        let before = self.batches.range(..batch.base).next_back();
        let within = self.batches.range(batch.base..batch.next).next();
        within.is_some() || before.is_some_and(|(_, before)| before.next > batch.base)
    }
}

/// Where the disks of a node are.
pub struct Disks {
    pub disk: Arc<dyn Disk>,
    pub log_dirs: Vec<PathBuf>,
}

#[derive(Default)]
pub struct Invariants {
    leaders: BTreeMap<(TopicPartition, LeaderEpoch), (NodeId, Option<BrokerEpoch>)>,
    pub newest: NewestEpochs,
    high_watermarks: BTreeMap<(TopicPartition, LeaderEpoch), Offset>,
    committed: BTreeMap<TopicPartition, Committed>,
    readers: BTreeMap<(NodeId, TopicPartition), ReplicaReader>,
    images: BTreeMap<LogIndex, Arc<Image>>,
    last_images: BTreeMap<NodeId, LogIndex>,
    /// Partitions to be looked at though nothing was done with them: more was found to be committed, or not all could be read.
    unsettled: BTreeSet<TopicPartition>,
    looks: u64,
    cluster_id: Option<String>,
    read_anew_at: Duration,
    /// A bit turned over in one of its files, so that they do not say what it once wrote.
    rotten: BTreeSet<NodeId>,
    /// Topics that may lose what they committed: relaxed ones, where more machines stop at once than they stand.
    excused: BTreeSet<String>,
    problems: Vec<String>,
    /// Batches that were compared.
    pub compared: u64,
}

impl Invariants {
    /// Files of this node are no longer what it wrote: it is not read any more.
    pub fn rots(&mut self, node: NodeId) {
        self.rotten.insert(node);
    }

    /// What this topic committed may be gone.
    pub fn excuse(&mut self, topic: &str) {
        self.excused.insert(topic.to_owned());
    }

    /// Looks at every node that runs.
    pub fn look(&mut self, now: Duration, machine_of: impl Fn(NodeId) -> Disks) {
        let mut all = self.looks.is_multiple_of(LOOK_AT_ALL);
        self.looks += 1;
        if now >= self.read_anew_at {
            self.read_anew_at = now + READ_ANEW;
            self.readers.clear();
            all = true;
        }
        let unsettled = std::mem::take(&mut self.unsettled);
        let (mut images, mut replicas) = (Vec::new(), Vec::new());
        inspect::look(
            |node, image| images.push((node, image.clone())),
            |tp| all || unsettled.contains(&tp),
            |state, image| replicas.push((*state, image.clone())),
        );
        for (node, image) in images {
            self.look_at_image(now, node, &image);
        }
        // Leaders first: they say what is committed.
        replicas.sort_by_key(|(state, _)| !state.leads);
        for (state, image) in &replicas {
            let Some(topic) = image.topic_by_id(state.tp.topic) else {
                continue;
            };
            let name = topic.name.as_str();
            self.look_at_bounds(now, name, state);
            let is_read = !self.rotten.contains(&state.node_id) && !self.excused.contains(name) && !state.away;
            if is_read && !self.look_at_bytes(now, name, state, || machine_of(state.node_id)) {
                self.unsettled.insert(state.tp);
            }
        }
    }

    /// Whether every replica of every partition was in sync in the newest metadata that any node had, and none is moved.
    #[must_use]
    pub fn all_in_sync(&self) -> bool {
        let Some((_, image)) = self.images.last_key_value() else {
            return false;
        };
        let alive = image.brokers.values().all(|broker| !broker.fenced);
        let mut partitions = image.partitions();
        alive
            && partitions.all(|(_, _, partition)| {
                partition.isr.len() == partition.replicas.len() && !partition.is_reassigned() && partition.isr.len() > 1
            })
    }

    #[must_use]
    pub fn found_any(&self) -> bool {
        !self.problems.is_empty()
    }

    /// What was found, once.
    pub fn take_problems(&mut self) -> Vec<String> {
        std::mem::take(&mut self.problems)
    }

    fn problem(&mut self, now: Duration, what: String) {
        if self.problems.len() < PROBLEMS_MAX {
            tracing::info!(problem = what, "an invariant does not hold");
            self.problems.push(format!("at {:.3} s: {what}", now.as_secs_f64()));
        }
    }

    fn look_at_image(&mut self, now: Duration, node: NodeId, image: &Arc<Image>) {
        if self.last_images.insert(node, image.index) == Some(image.index) {
            return;
        }
        if let Some(cluster_id) = &image.cluster_id {
            let known = self.cluster_id.get_or_insert_with(|| cluster_id.clone()).clone();
            if known != *cluster_id {
                self.problem(
                    now,
                    format!("node {node} belongs to cluster {cluster_id}, others to {known}"),
                );
                return;
            }
        }
        let known = self.images.entry(image.index).or_insert_with(|| image.clone());
        let differs = !Arc::ptr_eq(known, image) && **known != **image;
        if self.images.len() > IMAGES_MAX {
            self.images.pop_first();
        }
        if differs {
            let index = image.index;
            self.problem(
                now,
                format!("node {node} has other metadata at index {index} than another node had"),
            );
        }
    }

    fn look_at_bounds(&mut self, now: Duration, topic: &str, state: &ReplicaState) {
        let ReplicaState {
            node_id,
            tp,
            leader_epoch,
            bounds,
            ..
        } = *state;
        let at = || format!("{topic}-{}", tp.partition);
        let in_order = bounds.log_start <= bounds.high_watermark
            && bounds.high_watermark <= bounds.log_end
            && bounds.durable <= bounds.log_end;
        if !in_order {
            self.problem(now, format!("{} on node {node_id}: {bounds:?}", at()));
        }
        {
            let mut newest = self.newest.borrow_mut();
            let newest = newest.entry(tp).or_insert(leader_epoch);
            *newest = leader_epoch.max(*newest);
        }
        if !state.leads {
            return;
        }
        let me = (node_id, state.broker_epoch);
        let leader = *self.leaders.entry((tp, leader_epoch)).or_insert(me);
        if leader != me {
            let (node, life) = leader;
            let what = format!(
                "{} has two leaders in leader epoch {leader_epoch}: node {node} ({life:?}) and node {node_id} ({:?})",
                at(),
                state.broker_epoch
            );
            self.problem(now, what);
        }
        let mark = self.high_watermarks.entry((tp, leader_epoch)).or_default();
        let before = *mark;
        *mark = bounds.high_watermark.max(before);
        if bounds.high_watermark < before {
            let what = format!(
                "{}: the high watermark of leader epoch {leader_epoch} was {before} and is {}",
                at(),
                bounds.high_watermark
            );
            self.problem(now, what);
        }
    }

    /// Whether everything was read that there is to read.
    fn look_at_bytes(&mut self, now: Duration, topic: &str, state: &ReplicaState, machine: impl Fn() -> Disks) -> bool {
        let (node, tp, bounds) = (state.node_id, state.tp, state.bounds);
        let newest = self.newest.borrow().get(&tp).copied() == Some(state.leader_epoch);
        let committed = self.committed.entry(tp).or_default();
        let leads = state.leads && newest;
        if leads {
            committed.start = committed.start.max(bounds.log_start);
            if bounds.log_end < committed.end {
                let what = format!(
                    "{topic}-{}: node {node} leads in epoch {} with a log that ends at {}, and {} was committed",
                    tp.partition, state.leader_epoch, bounds.log_end, committed.end
                );
                // Once.
                committed.end = bounds.log_end;
                committed.batches.retain(|offset, _| *offset < bounds.log_end);
                self.problem(now, what);
                return false;
            }
        }
        // Of the newest leader everything that was committed, even above its own high watermark.
        let until = if leads {
            committed.end.max(bounds.high_watermark)
        } else {
            bounds.high_watermark
        };
        let reader = self.readers.entry((node, tp)).or_default();
        if !reader.is_due(bounds.log_start, until) {
            return true;
        }
        let machine = machine();
        let places = machine
            .log_dirs
            .iter()
            .map(|dir| dir.join(format!("{topic}-{}", tp.partition)));
        let mut different = None;
        let (mut compared, mut commits) = (0, 0);
        reader.read(&machine.disk, places, bounds.log_start, until, |batch| {
            compared += 1;
            if batch.next <= committed.start {
                return;
            }
            match committed.batches.get(&batch.base) {
                Some(known) if *known == batch => {}
                None if !committed.overlaps(&batch) => {
                    // The first high watermark that covers it says that it is committed.
                    if state.leads || batch.next <= bounds.high_watermark {
                        committed.end = committed.end.max(batch.next);
                        committed.batches.insert(batch.base, batch);
                        commits += 1;
                    }
                }
                known => different = different.or(Some((known.copied(), batch))),
            }
        });
        let is_settled = !reader.is_due(bounds.log_start, until);
        self.compared += compared;
        if commits > 0 {
            // Whoever leads must have it.
            self.unsettled.insert(tp);
        }
        if let Some((known, batch)) = different {
            let what = format!(
                "{topic}-{}: node {node} has {batch:?} below {until}, and {known:?} was committed",
                tp.partition
            );
            self.problem(now, what);
        }
        is_settled
    }
}
