//! The families of what the metadata says: partitions, brokers, Raft.

use crate::ImageChanges;
use metadata::Image;
use metrics::Kind::Gauge;
use metrics::Page;
use raft::{RaftState, RaftStatus};
use types::NodeId;

/// Partitions of an image, counted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Partitions {
    all: u64,
    offline: u64,
    led: u64,
    /// Of those led here.
    under_replicated: u64,
    under_min_isr: u64,
    at_min_isr: u64,
    /// Led here although another replica is the preferred leader.
    not_preferred: u64,
}

impl Partitions {
    fn of(image: &Image, me: NodeId) -> Self {
        let mut counted = Self::default();
        for topic in image.topics.values() {
            for partition in &topic.partitions {
                let min_isr = image.effective_min_isr(topic, partition);
                counted.all += 1;
                counted.offline += u64::from(partition.leader.is_none());
                if partition.leader == Some(me) {
                    counted.led += 1;
                    counted.under_replicated += u64::from(partition.isr.len() < partition.original_replicas().count());
                    counted.under_min_isr += u64::from(partition.isr.len() < min_isr);
                    let can_be_less = partition.replicas.len() > min_isr;
                    counted.at_min_isr += u64::from(partition.isr.len() == min_isr && can_be_less);
                    counted.not_preferred += u64::from(partition.replicas.first() != Some(&me));
                }
            }
        }
        counted
    }
}

pub(crate) fn write_partitions(page: &mut Page, image: &Image, me: NodeId, changes: &ImageChanges) {
    let partitions = Partitions::of(image, me);
    page.gauge("ottla_topics", "Topics of the cluster.", image.topics.len());
    page.gauge("ottla_partitions", "Partitions of the cluster.", partitions.all);
    page.gauge(
        "ottla_offline_partitions",
        "Partitions of the cluster that nobody leads, as this node knows; the same on every node, so take the maximum.",
        partitions.offline,
    );
    page.gauge("ottla_leader_partitions", "Partitions led here.", partitions.led);
    page.gauge(
        "ottla_under_replicated_partitions",
        "Partitions led here with fewer replicas in sync than there are.",
        partitions.under_replicated,
    );
    page.gauge(
        "ottla_under_min_isr_partitions",
        "Partitions led here with fewer replicas in sync than min.insync.replicas: writes with acks=all are refused.",
        partitions.under_min_isr,
    );
    page.gauge(
        "ottla_at_min_isr_partitions",
        "Partitions led here with just min.insync.replicas in sync although they have more replicas: one less, and writes stop.",
        partitions.at_min_isr,
    );
    page.gauge(
        "ottla_not_preferred_leader_partitions",
        "Partitions led here of which another replica is the preferred leader.",
        partitions.not_preferred,
    );
    for (name, help, value) in [
        (
            "ottla_isr_shrinks_total",
            "Times that a replica left the ISR of a partition led here.",
            changes.isr_shrinks,
        ),
        (
            "ottla_isr_expands_total",
            "Times that a replica joined the ISR of a partition led here.",
            changes.isr_expands,
        ),
        (
            "ottla_leader_elections_total",
            "Leader epochs that began with this node as leader.",
            changes.elections,
        ),
        (
            "ottla_unclean_leader_elections_total",
            "Of these, those from outside ISR and ELR: acknowledged records may be lost.",
            changes.unclean_elections,
        ),
    ] {
        page.counter(name, help, value);
    }
}

pub(crate) fn write_brokers(page: &mut Page, image: &Image, me: NodeId) {
    let mut states = [("alive", 0u64), ("fenced", 0), ("shutting_down", 0)];
    for broker in image.brokers.values() {
        let state = match (broker.fenced, broker.shutting_down) {
            (true, _) => 1,
            (_, true) => 2,
            _ => 0,
        };
        states[state].1 += 1;
    }
    let mut family = page.family("ottla_brokers", Gauge, "Brokers that are registered, by state.");
    for (state, count) in states {
        family.sample(&[("state", state)], count);
    }
    let failed = image.broker(me).map_or(0, |broker| {
        let usable = broker.directories.iter().filter(|directory| directory.is_usable());
        broker.directories.len() - usable.count()
    });
    page.gauge(
        "ottla_failed_log_directories",
        "Log directories of this node that have failed, as the controller knows.",
        failed,
    );
    page.gauge(
        "ottla_metadata_index",
        "Index of the newest entry in this node's image of the metadata.",
        image.index.0,
    );
}

pub(crate) fn write_raft(page: &mut Page, raft: Option<&RaftStatus>) {
    let number = |value: fn(&RaftStatus) -> u64| raft.map_or(0, value);
    page.gauge("ottla_raft_term", "Term of the metadata log.", number(|raft| raft.term));
    page.gauge(
        "ottla_raft_last_log_index",
        "Index of the last entry of this node's metadata log.",
        number(|raft| raft.last_log.0),
    );
    page.gauge(
        "ottla_raft_committed_index",
        "Index up to which this node knows the metadata log to be committed.",
        number(|raft| raft.committed.0),
    );
    page.gauge(
        "ottla_raft_applied_index",
        "Index up to which this node has applied the metadata log.",
        number(|raft| raft.applied.0),
    );
    page.gauge(
        "ottla_raft_applied_lag_entries",
        "Committed entries that this node has not applied.",
        number(|raft| raft.committed.0.saturating_sub(raft.applied.0)),
    );
    page.gauge(
        "ottla_raft_has_leader",
        "1 while this node knows who leads the metadata log; otherwise nothing can be changed.",
        raft.is_some_and(|raft| raft.leader.is_some()),
    );
    page.gauge(
        "ottla_raft_is_leader",
        "1 on the node that leads the metadata log: the controller.",
        raft.is_some_and(|raft| raft.state == RaftState::Leader),
    );
    page.gauge(
        "ottla_raft_is_voter",
        "1 on a node that votes.",
        raft.is_some_and(|raft| raft.voters.contains(&raft.id)),
    );
    page.gauge(
        "ottla_raft_voters",
        "Voters of the metadata log.",
        raft.map_or(0, |raft| raft.voters.len()),
    );
    page.gauge(
        "ottla_raft_learners",
        "Nodes that have the metadata log and do not vote.",
        raft.map_or(0, |raft| raft.learners.len()),
    );
    let mut lag = page.family(
        "ottla_raft_member_lag_entries",
        Gauge,
        "On the leader: entries that a member's metadata log is behind, by Raft id.",
    );
    for (member, matched) in raft.iter().flat_map(|raft| &raft.matched) {
        let last = raft.map_or(0, |raft| raft.last_log.0);
        lag.sample(&[("raft_id", &member.to_string())], last.saturating_sub(matched.0));
    }
}
