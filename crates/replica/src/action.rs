use types::{BrokerEpoch, LeaderEpoch, NodeId, Offset, PartitionEpoch};

/// Names one ISR proposal of one leader, so that a late answer is not taken for another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProposalId(pub u64);

/// What became of an ISR proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IsrAnswer {
    /// The metadata log holds it; the partition has this epoch now.
    Committed { partition_epoch: PartitionEpoch },
    /// It was refused and will never be committed.
    Rejected,
    /// No answer, or one that does not tell (time-out, lost connection, new controller).
    Unknown,
}

/// What the shell of a leader must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Records below `to` are committed: answer waiting produces and fetches, tell followers.
    AdvanceHighWatermark { to: Offset },
    /// Ask the controller for this ISR (AlterPartition) and report with [`crate::Leader::on_isr_answer`],
    /// in every case exactly once.
    ProposeIsr {
        proposal: ProposalId,
        /// Members, each with the broker epoch it is known under, the leader included (KIP-903).
        isr: Vec<(NodeId, BrokerEpoch)>,
        leader_epoch: LeaderEpoch,
        partition_epoch: PartitionEpoch,
    },
}

/// What the shell of a follower must do, in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FollowerAction {
    /// Cut the log to end at `to`, then call [`crate::Follower::on_truncated`] and send a new hello.
    Truncate { to: Offset },
    /// Empty the log and let it start at `at`, then call [`crate::Follower::on_truncated`] with `at` and
    /// [`LeaderEpoch::NONE`], and send a new hello.
    StartOver { at: Offset },
    /// The leader agrees with the log; frames follow. Send an acknowledgement now: it is what brings an
    /// idle follower back into the ISR.
    Ready,
    /// The epoch's first record will stand at `start`: make that durable before the append that follows.
    AssignEpoch { epoch: LeaderEpoch, start: Offset },
    /// Append the batches of the entry, then call [`crate::Follower::on_appended`].
    Append {
        first: Offset,
        next: Offset,
        last_epoch: LeaderEpoch,
    },
    /// The entry does not continue the log: drop it and send a new hello (the generation is raised).
    Restate,
    /// The follower's own high watermark moved.
    AdvanceHighWatermark { to: Offset },
    /// The leader's log starts later: records below `to` may be deleted.
    AdvanceLogStart { to: Offset },
}
