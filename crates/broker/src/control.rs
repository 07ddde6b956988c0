use futures::future::BoxFuture;
use metadata::Image;
use std::sync::Arc;
use tokio::sync::watch;
use types::{BrokerEpoch, DirectoryId, ErrorCode, LeaderEpoch, NodeId, PartitionEpoch, TopicPartition};

/// A leader's proposal for the ISR (KIP-497), each member with the epoch of its broker (KIP-903).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsrProposal {
    pub tp: TopicPartition,
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: PartitionEpoch,
    pub isr: Vec<(NodeId, BrokerEpoch)>,
}

/// What the controller answered to one proposal: the partition's record after it.
pub type Altered = (TopicPartition, Result<AlteredIsr, ErrorCode>);

/// A partition after a change of its ISR.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlteredIsr {
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: PartitionEpoch,
    pub isr: Vec<NodeId>,
}

/// What the data plane needs of the control plane. `controller::ControlHandle` is the real one; tests script
/// their own.
pub trait Control: Send + Sync + 'static {
    /// The newest image; a watch, so images may be skipped.
    fn image(&self) -> watch::Receiver<Arc<Image>>;

    /// `Some` once this node's image holds its own registration. ◆ Nothing is served, led or followed before.
    fn registration(&self) -> watch::Receiver<Option<BrokerEpoch>>;

    /// Proposes ISRs, one answer for each. An error for all: the outcome is unknown.
    fn alter_partitions(&self, proposals: Vec<IsrProposal>) -> BoxFuture<'static, Result<Vec<Altered>, ErrorCode>>;

    /// Reports replicas of this broker whose logs are damaged, with the leader epoch in which that was found: they leave
    /// ISR and ELR in a new epoch. One answer for each; `ELIGIBLE_LEADERS_NOT_AVAILABLE`: nobody else could lead.
    fn expel_damaged(
        &self,
        replicas: Vec<(TopicPartition, LeaderEpoch)>,
    ) -> BoxFuture<'static, Result<Vec<ErrorCode>, ErrorCode>>;

    /// Records that what these replicas of this broker acknowledge is on disk (`true`), or will not be.
    fn mark_strict(
        &self,
        replicas: Vec<(TopicPartition, LeaderEpoch, bool)>,
    ) -> BoxFuture<'static, Result<(), ErrorCode>>;

    /// Asks for other leaders in place of these of this broker, each named with its leader epoch: their disk stalls.
    /// Where no other member of the ISR can lead they stay.
    fn resign_leaders(&self, leaders: Vec<(TopicPartition, LeaderEpoch)>) -> BoxFuture<'static, Result<(), ErrorCode>>;

    /// Says that these log directories of this broker have failed: its replicas in them lead nothing and leave the ISR.
    fn offline_directories(&self, directories: Vec<DirectoryId>) -> BoxFuture<'static, Result<(), ErrorCode>>;
}

#[cfg(feature = "controller")]
impl Control for controller::ControlHandle {
    fn image(&self) -> watch::Receiver<Arc<Image>> {
        controller::ControlHandle::image(self)
    }

    fn registration(&self) -> watch::Receiver<Option<BrokerEpoch>> {
        controller::ControlHandle::registration(self)
    }

    fn alter_partitions(&self, proposals: Vec<IsrProposal>) -> BoxFuture<'static, Result<Vec<Altered>, ErrorCode>> {
        let handle = self.clone();
        let command = |proposal: IsrProposal| controller::AlterPartition {
            tp: proposal.tp,
            leader_epoch: proposal.leader_epoch,
            partition_epoch: proposal.partition_epoch,
            isr: proposal.isr,
        };
        Box::pin(async move {
            let answers = handle
                .alter_partitions(proposals.into_iter().map(command).collect())
                .await?;
            let altered = |answer: controller::AlteredPartition| AlteredIsr {
                leader_epoch: answer.leader_epoch,
                partition_epoch: answer.partition_epoch,
                isr: answer.isr,
            };
            Ok(answers
                .into_iter()
                .map(|(tp, answer)| (tp, answer.map(altered)))
                .collect())
        })
    }

    fn expel_damaged(
        &self,
        replicas: Vec<(TopicPartition, LeaderEpoch)>,
    ) -> BoxFuture<'static, Result<Vec<ErrorCode>, ErrorCode>> {
        let handle = self.clone();
        Box::pin(async move { handle.expel_damaged(&replicas).await })
    }

    fn mark_strict(
        &self,
        replicas: Vec<(TopicPartition, LeaderEpoch, bool)>,
    ) -> BoxFuture<'static, Result<(), ErrorCode>> {
        let handle = self.clone();
        let mark = |(tp, leader_epoch, strict)| controller::MarkStrict {
            tp,
            leader_epoch,
            strict,
        };
        Box::pin(async move { handle.mark_strict(replicas.into_iter().map(mark).collect()).await })
    }
    fn resign_leaders(&self, leaders: Vec<(TopicPartition, LeaderEpoch)>) -> BoxFuture<'static, Result<(), ErrorCode>> {
        let handle = self.clone();
        Box::pin(async move { handle.resign_leaders(leaders).await })
    }

    fn offline_directories(&self, directories: Vec<DirectoryId>) -> BoxFuture<'static, Result<(), ErrorCode>> {
        let handle = self.clone();
        Box::pin(async move { handle.offline_directories(directories).await })
    }
}
