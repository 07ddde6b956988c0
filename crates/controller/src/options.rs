use metadata::{DirectoryReport, Endpoint};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use types::{NodeId, Timings, TopicPartition};

/// What the control plane of a node is told when it starts.
#[derive(Debug, Clone)]
pub struct ControlOptions {
    pub node_id: NodeId,
    pub rack: Option<String>,
    /// Where Kafka clients are told to connect.
    pub kafka_advertised: Endpoint,
    /// Where other brokers open replica streams.
    pub replica: Endpoint,
    /// Where this control plane listens; port 0 picks one (then the advertised port 0 becomes it).
    pub control_listen: Endpoint,
    /// Where other control planes dial it.
    pub control_advertised: Endpoint,
    /// Control addresses of the founders, the same list in the same order on every node. Empty: this node
    /// founds alone (`found_alone`) or belongs to a cluster already.
    pub founders: Vec<Endpoint>,
    /// May found a cluster although no founders are listed.
    pub found_alone: bool,
    /// The log directories and what recovery found in them.
    pub directories: Vec<LogDirectory>,
    /// The cluster that the log directories belong to, if any does: the node founds and joins no other.
    pub cluster_id: Option<String>,
    pub shards: u16,
    /// Where the identity is kept, beside the Raft store.
    pub metadata_dir: PathBuf,
    pub timings: Timings,
    /// Broker properties that planners need: `num.partitions`, `default.replication.factor`,
    /// `min.insync.replicas` and the other synonyms of topic configs that they decide with.
    pub defaults: BTreeMap<String, String>,
    /// `None`: leaders stay where they are (`auto.leader.rebalance.enable=false`).
    pub leader_balance: Option<LeaderBalance>,
}

/// How the controller gives partitions back to their preferred leaders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaderBalance {
    /// `leader.imbalance.check.interval.seconds`.
    pub check_interval: Duration,
    /// `leader.imbalance.per.broker.percentage`: of what a broker should lead so much may be elsewhere.
    pub percentage: u32,
}

impl Default for LeaderBalance {
    /// Kafka's.
    fn default() -> Self {
        Self {
            check_interval: Duration::from_secs(300),
            percentage: 10,
        }
    }
}

/// A log directory, and what recovery found in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogDirectory {
    pub path: PathBuf,
    /// Made by this start.
    pub new: bool,
    /// Rounds of its journal as they were found (`LogDir::found_sequence`).
    pub sequence: u64,
    pub report: DirectoryReport,
    /// Replicas whose logs miss something below their durable marks, at most
    /// [`types::limits::DAMAGED_REPLICAS_MAX`].
    pub damaged: Vec<TopicPartition>,
}

impl ControlOptions {
    /// Voters that the cluster is meant to have: 5 with five founders or more, else up to 3.
    #[must_use]
    pub fn voters_wanted(&self) -> usize {
        match self.founders.len() {
            0 | 1 => 1,
            2 => 2,
            3 | 4 => 3,
            _ => 5,
        }
    }

    /// Replicas of a topic whose creator leaves the number open (`default.replication.factor`).
    #[must_use]
    pub fn default_replication_factor(&self) -> usize {
        let given = self.defaults.get("default.replication.factor");
        given
            .and_then(|value| value.trim().parse().ok())
            .filter(|factor| *factor > 0)
            .unwrap_or(3)
    }

    /// Voters without which no topic is created (DESIGN section 2).
    #[must_use]
    pub fn voters_needed(&self) -> usize {
        self.founders.len().clamp(1, 3)
    }
}
