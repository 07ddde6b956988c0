mod isr;
#[cfg(test)]
mod tests;

use crate::follower_progress::{FollowerProgress, Positions};
use crate::{
    Action, EpochLookup, Error, FollowerAck, FollowerHello, HelloAnswer, IsrAnswer, LogBounds, PartitionView,
    ProposalId,
};
use isr::Proposals;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use types::{Broken, BrokerEpoch, LeaderEpoch, Monotonic, NodeId, Offset, StreamGeneration, TopicPartition, broken};

/// The leader of a partition for one leader epoch. On any other leader epoch the shell drops it and
/// makes a new one, or a [`crate::Follower`].
///
/// The rules that keep acknowledged records:
/// - ◆ HW = minimum `acked` over the *maximal* ISR (committed ∪ every proposal that is pending or whose
///   outcome is unknown, KIP-497), the leader's own included; `acked` is the durable position for strict topics.
/// - ◆ HW moves only while the *committed* ISR is at least the effective minimum (KIP-966).
/// - ◆ A follower is proposed only with `acked` ≥ HW and ≥ the epoch's start, unfenced, under its current
///   broker epoch (KIP-841, KIP-903).
/// - ◆ A hello erases what was known of the follower; acks of other generations are refused.
#[derive(Debug, Clone)]
pub struct Leader {
    topic_partition: TopicPartition,
    me: NodeId,
    view: PartitionView,
    bounds: LogBounds,
    /// Log end when the epoch began: below it stand records of earlier epochs only.
    epoch_start: Offset,
    since: Monotonic,
    lag_max: Duration,
    followers: BTreeMap<NodeId, FollowerProgress>,
    proposals: Proposals,
}

/// What a leader knows of a follower, for status and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FollowerStatus {
    pub node: NodeId,
    pub in_isr: bool,
    pub connected: bool,
    /// Of the last hello.
    pub broker_epoch: Option<BrokerEpoch>,
    pub generation: Option<StreamGeneration>,
    /// `None` until a hello agreed with our log.
    pub log_start: Option<Offset>,
    pub log_end: Option<Offset>,
    pub durable: Option<Offset>,
    pub caught_up_at: Monotonic,
}

impl Leader {
    /// Begins a leader epoch: its start is `bounds.log_end`, and every follower counts as caught up `now`, so
    /// that nobody leaves the ISR before it had `lag_max` to connect.
    ///
    /// # Panics
    /// If `bounds` are invalid.
    #[must_use]
    pub fn new(
        topic_partition: TopicPartition,
        me: NodeId,
        view: PartitionView,
        bounds: LogBounds,
        lag_max: Duration,
        now: Monotonic,
    ) -> Self {
        bounds.validate();
        let mut leader = Self {
            topic_partition,
            me,
            view,
            bounds,
            epoch_start: bounds.log_end,
            since: now,
            lag_max,
            followers: BTreeMap::new(),
            proposals: Proposals::default(),
        };
        leader.match_followers(now);
        leader
    }

    /// Our log grew to `log_end`.
    ///
    /// # Panics
    /// If `log_end` is below the old one: a leader never truncates.
    pub fn on_append(&mut self, log_end: Offset, now: Monotonic) -> Vec<Action> {
        assert!(
            log_end >= self.bounds.log_end,
            "{}: a leader's log shrank",
            self.topic_partition
        );
        for follower in self.followers.values_mut() {
            follower.before_append(self.view.durability, self.bounds.log_end, now);
        }
        self.bounds.log_end = log_end;
        self.advance(now).into_iter().collect()
    }

    /// Our log is durable below `durable`.
    ///
    /// # Panics
    /// If `durable` lies above the log end.
    pub fn on_durable(&mut self, durable: Offset, now: Monotonic) -> Vec<Action> {
        self.bounds.durable = self.bounds.durable.max(durable);
        self.bounds.validate();
        self.advance(now).into_iter().collect()
    }

    /// Records below `log_start` were deleted. Only what is committed may be.
    ///
    /// # Panics
    /// If `log_start` lies above the high watermark.
    pub fn on_log_start(&mut self, log_start: Offset) {
        self.bounds.log_start = self.bounds.log_start.max(log_start);
        self.bounds.validate();
    }

    /// The least log start of us, of every live replica (`Partition.lowWatermarkIfLeader`) and ◆ of everybody who may be
    /// elected without having joined again: what DeleteRecords acknowledged would come back with such a leader. `None` while
    /// one of them has not told where its log starts.
    ///
    /// Kafka asks the live ones only, and its answer may be taken back. A member of the ISR is fenced where it was back from
    /// a crash before anybody missed it.
    #[must_use]
    pub fn low_watermark(&self) -> Option<Offset> {
        let counts = |node: &NodeId| self.view.unfenced(*node).is_some() || self.may_be_elected(*node);
        let mut counting = self.followers.values().filter(|follower| counts(&follower.node));
        counting.try_fold(self.bounds.log_start, |low, follower| {
            Some(low.min(follower.positions?.log_start))
        })
    }

    fn may_be_elected(&self, node: NodeId) -> bool {
        self.view.isr.contains(&node) || self.view.elr.contains(&node) || self.proposals.members().any(|it| it == node)
    }

    /// A follower opened a stream, or stated its position again. ◆ Erases what was known of it; where its log
    /// is a prefix of ours, its positions count as acknowledged from here on.
    ///
    /// # Errors
    /// [`Error::FencedLeaderEpoch`], [`Error::UnknownLeaderEpoch`], [`Error::NotAReplica`],
    /// [`Error::StaleBrokerEpoch`], [`Error::StaleStream`] (a hello older than the last one),
    /// [`Error::ImpossiblePosition`]; state is then unchanged.
    ///
    /// Source: KIP-101, KIP-279, KIP-320 (`Partition.readRecords` with a last fetched epoch).
    pub fn on_hello(
        &mut self,
        hello: &FollowerHello,
        epochs: &dyn EpochLookup,
        now: Monotonic,
    ) -> Result<HelloAnswer, Error> {
        self.check_epoch(hello.leader_epoch)?;
        let follower = self
            .followers
            .get_mut(&hello.node)
            .ok_or(Error::NotAReplica(hello.node))?;
        if self
            .view
            .brokers
            .get(&hello.node)
            .is_some_and(|(current, _)| hello.broker_epoch < *current)
        {
            return Err(Error::StaleBrokerEpoch(hello.node));
        }
        if let Some(known) = follower.stream {
            let stated = (hello.broker_epoch, hello.generation);
            // A repetition is a reopened stream, but only once the old one is known to be gone.
            if stated < known || (stated == known && follower.connected) {
                return Err(Error::StaleStream(hello.node));
            }
        }
        let sane = hello.log_start >= Offset::ZERO
            && hello.log_start <= hello.log_end
            && hello.durable <= hello.log_end
            && (hello.last_epoch == LeaderEpoch::NONE || hello.log_start < hello.log_end);
        if !sane {
            return Err(Error::ImpossiblePosition(hello.node));
        }
        if hello.last_epoch > self.view.leader_epoch {
            return Err(Error::UnknownLeaderEpoch {
                theirs: hello.last_epoch,
                ours: self.view.leader_epoch,
            });
        }
        follower.open(hello);
        let answer = answer_hello(hello, &self.bounds, epochs);
        if matches!(answer, HelloAnswer::SendFrom { .. }) {
            let positions = Positions {
                log_start: hello.log_start,
                log_end: hello.log_end,
                durable: hello.durable,
            };
            follower.state(positions, self.view.durability, self.bounds.log_end, now);
        }
        Ok(answer)
    }

    /// Records a follower's acknowledgement, commits what every gating replica now holds, and proposes the
    /// follower for the ISR once it is worthy.
    ///
    /// `ack` is cumulative. For strict topics the durable position counts, for relaxed ones the log end.
    ///
    /// # Errors
    /// [`Error::FencedLeaderEpoch`], [`Error::UnknownLeaderEpoch`], [`Error::NotAReplica`],
    /// [`Error::StaleStream`] (from before the follower's last hello, or without an agreed one),
    /// [`Error::ImpossiblePosition`] (beyond our log, or backwards); state is then unchanged.
    ///
    /// Source: KIP-320 (fencing), KIP-497 (maximal ISR), KIP-966 (min-ISR gate).
    pub fn on_ack(&mut self, ack: &FollowerAck, now: Monotonic) -> Result<Vec<Action>, Error> {
        self.check_epoch(ack.leader_epoch)?;
        let follower = self.followers.get_mut(&ack.node).ok_or(Error::NotAReplica(ack.node))?;
        if !follower.is_current(ack) {
            return Err(Error::StaleStream(ack.node));
        }
        let Some(known) = follower.positions else {
            return Err(Error::StaleStream(ack.node));
        };
        let sane = ack.log_end <= self.bounds.log_end
            && ack.log_end >= known.log_end
            && ack.durable <= ack.log_end
            && ack.durable >= known.durable
            && ack.log_start >= known.log_start
            && ack.log_start <= ack.log_end;
        if !sane {
            return Err(Error::ImpossiblePosition(ack.node));
        }
        let positions = Positions {
            log_start: ack.log_start,
            log_end: ack.log_end,
            durable: ack.durable,
        };
        follower.state(positions, self.view.durability, self.bounds.log_end, now);
        Ok(self.advance_and_expand(now))
    }

    /// The stream of this generation broke. Its acknowledgements stay, no more are taken.
    pub fn on_stream_lost(&mut self, node: NodeId, generation: StreamGeneration, now: Monotonic) {
        if let Some(follower) = self.followers.get_mut(&node)
            && follower.stream.is_some_and(|(_, current)| current == generation)
        {
            follower.close(self.view.durability, self.bounds.log_end, now);
        }
    }

    /// Time passed: commits what waited for a follower that did not come, proposes to drop members that lag for more than
    /// `lag_max`, and whoever waits to join, or asks again where an outcome is unknown.
    /// A quarter of `lag_max` is a good interval.
    pub fn on_tick(&mut self, now: Monotonic) -> Vec<Action> {
        let rests = self.is_at_rest();
        self.proposals.release();
        // Somebody may have been waited for in vain. Before it is said who may join: that is measured by HW.
        let mut actions: Vec<Action> = self.advance(now).into_iter().collect();
        let mut target = self.joined();
        for node in self.lagging(now) {
            target.remove(&node);
        }
        actions.extend(self.propose(&target));
        debug_assert!(
            !rests || actions.is_empty(),
            "{}: {actions:?} at rest",
            self.topic_partition
        );
        actions
    }

    /// Whether [`Self::on_tick`] has nothing to do until something else happens: every replica is a member and has
    /// acknowledged all, and nothing is asked of the controller.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        let LogBounds {
            high_watermark,
            log_end,
            ..
        } = self.bounds;
        let durability = self.view.durability;
        let has_all = |follower: &FollowerProgress| {
            self.view.isr.contains(&follower.node) && follower.acked(durability) == Some(log_end)
        };
        let all_are_members = self.view.isr.contains(&self.me) && self.followers.values().all(has_all);
        high_watermark == log_end && self.proposals.are_settled() && all_are_members
    }

    /// A newer image of the same leader epoch. Of another leader epoch nothing is taken: the shell must
    /// demote. Brokers, minimum and durability are always taken, the ISR only if the image's partition epoch is
    /// not older than what an answer of the controller has told already.
    pub fn on_view(&mut self, view: PartitionView, now: Monotonic) -> Vec<Action> {
        if view.leader_epoch != self.view.leader_epoch {
            return Vec::new();
        }
        let older = view.partition_epoch < self.view.partition_epoch;
        if view.partition_epoch > self.view.partition_epoch {
            self.proposals.settle_all();
        }
        let known = std::mem::replace(&mut self.view, view);
        if older {
            self.view.isr = known.isr;
            self.view.elr = known.elr;
            self.view.partition_epoch = known.partition_epoch;
        }
        self.match_followers(now);
        self.proposals.release();
        self.advance_and_expand(now)
    }

    /// What became of a proposal. Answers to proposals that a newer partition epoch settled are ignored.
    pub fn on_isr_answer(&mut self, proposal: ProposalId, answer: IsrAnswer, now: Monotonic) -> Vec<Action> {
        match answer {
            IsrAnswer::Committed { partition_epoch } => {
                if partition_epoch <= self.view.partition_epoch {
                    // Makes no sense while the proposal is pending; then only an image can tell.
                    self.proposals.keep_as_unknown(proposal);
                    self.proposals.hold();
                    return Vec::new();
                }
                let Some(isr) = self.proposals.take(proposal) else {
                    return Vec::new();
                };
                // All other proposals were for the old partition epoch and can no longer be committed.
                self.proposals.settle_all();
                // Until an image tells, whoever left may have become eligible.
                let left = self.view.isr.iter().filter(|node| !isr.contains(*node));
                self.view.elr.extend(left);
                self.view.isr = isr.into_iter().collect();
                self.view.partition_epoch = partition_epoch;
                self.advance_and_expand(now)
            }
            IsrAnswer::Rejected => {
                // Those whose outcome is unknown stay: this answer says nothing of them. No new proposal
                // before a tick or an image, or a refusing controller would be asked without pause.
                self.proposals.take(proposal);
                self.proposals.hold();
                self.advance(now).into_iter().collect()
            }
            IsrAnswer::Unknown => {
                self.proposals.keep_as_unknown(proposal);
                self.proposals.hold();
                Vec::new()
            }
        }
    }

    /// Records below it are committed.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        self.bounds.high_watermark
    }

    /// First offset of our log.
    #[must_use]
    pub fn log_start(&self) -> Offset {
        self.bounds.log_start
    }

    /// All bounds of our log.
    #[must_use]
    pub fn bounds(&self) -> LogBounds {
        self.bounds
    }

    /// Where this leader epoch began. Until HW reaches it, `ListOffsets` answers OFFSET_NOT_AVAILABLE (KIP-207).
    #[must_use]
    pub fn epoch_start(&self) -> Offset {
        self.epoch_start
    }

    /// When we began to lead in this leader epoch.
    #[must_use]
    pub fn since(&self) -> Monotonic {
        self.since
    }

    /// The leader epoch.
    #[must_use]
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.view.leader_epoch
    }

    /// The view in force: the newest image, ahead of it where the controller has answered a proposal.
    #[must_use]
    pub fn view(&self) -> &PartitionView {
        &self.view
    }

    /// Whether the committed ISR is at least the effective minimum: else acks=all produces are refused
    /// (NOT_ENOUGH_REPLICAS) and HW stands still.
    #[must_use]
    pub fn enough_in_sync(&self) -> bool {
        self.view.isr.len() >= self.view.min_isr || broken(Broken::CommitBelowMinIsr)
    }

    /// Committed ISR and every proposal that is or may become committed, ourselves included (KIP-497).
    #[must_use]
    pub fn maximal_isr(&self) -> BTreeSet<NodeId> {
        let mut isr: BTreeSet<NodeId> = self.view.isr.iter().copied().collect();
        isr.insert(self.me);
        isr.extend(self.proposals.members());
        isr
    }

    /// ◆ Whether nobody else can have committed anything in a later leader epoch, judged by who still follows in this one:
    /// `hears` says from whom the stream was heard of late. Either everybody who could be elected follows, or fewer are left
    /// than a commit takes. The image does not say it: a leader that was cut off has an old one.
    #[must_use]
    pub fn is_confirmed(&self, hears: impl Fn(NodeId) -> bool) -> bool {
        let follows = |node: &NodeId| {
            let known = self.followers.get(node);
            *node == self.me || (known.is_some_and(|it| it.connected && it.positions.is_some()) && hears(*node))
        };
        let elsewhere = self.view.replicas.iter().filter(|node| !follows(node)).count();
        self.view.isr.iter().all(follows) || elsewhere < self.view.min_isr || broken(Broken::AnswerUnconfirmed)
    }

    /// Offset up to which the follower has told that it holds our log, in its current stream.
    #[must_use]
    pub fn follower_next(&self, node: NodeId) -> Option<Offset> {
        self.followers
            .get(&node)
            .and_then(|follower| follower.positions)
            .map(|positions| positions.log_end)
    }

    /// What is known of each follower, by node.
    #[must_use]
    pub fn follower_status(&self) -> Vec<FollowerStatus> {
        let status = |follower: &FollowerProgress| FollowerStatus {
            node: follower.node,
            in_isr: self.view.isr.contains(&follower.node),
            connected: follower.connected,
            broker_epoch: follower.stream.map(|(epoch, _)| epoch),
            generation: follower.stream.map(|(_, generation)| generation),
            log_start: follower.positions.map(|positions| positions.log_start),
            log_end: follower.positions.map(|positions| positions.log_end),
            durable: follower.positions.map(|positions| positions.durable),
            caught_up_at: follower.caught_up_at,
        };
        self.followers.values().map(status).collect()
    }

    fn check_epoch(&self, theirs: LeaderEpoch) -> Result<(), Error> {
        let ours = self.view.leader_epoch;
        match theirs.cmp(&ours) {
            _ if broken(Broken::AcceptOldEpochs) => Ok(()),
            std::cmp::Ordering::Less => Err(Error::FencedLeaderEpoch { theirs, ours }),
            std::cmp::Ordering::Greater => Err(Error::UnknownLeaderEpoch { theirs, ours }),
            std::cmp::Ordering::Equal => Ok(()),
        }
    }

    /// One entry per replica but us.
    fn match_followers(&mut self, now: Monotonic) {
        let replicas: BTreeSet<NodeId> = self
            .view
            .replicas
            .iter()
            .chain(&self.view.isr)
            .copied()
            .filter(|node| *node != self.me)
            .collect();
        self.followers.retain(|node, _| replicas.contains(node));
        for node in replicas {
            self.followers
                .entry(node)
                .or_insert_with(|| FollowerProgress::new(node, now));
        }
    }

    fn own_acked(&self) -> Offset {
        let LogBounds { durable, log_end, .. } = self.bounds;
        self.view.durability.acked(durable, log_end)
    }

    /// Commits what the maximal ISR holds. Pending members hold the mark back; only committed ones open
    /// the gate. Who is about to join is waited for (see [`Self::acked_by_joining`]).
    fn advance(&mut self, now: Monotonic) -> Option<Action> {
        if !self.enough_in_sync() {
            return None;
        }
        let mut acked = self.own_acked();
        // The maximal ISR, some members twice: a set would cost an allocation per acknowledgement.
        for node in self.view.isr.iter().copied().chain(self.proposals.members()) {
            if node != self.me && !self.is_left_out(node) {
                // A member that has not spoken in this epoch has acknowledged nothing.
                acked = acked.min(self.followers.get(&node)?.acked(self.view.durability)?);
            }
        }
        for follower in self.followers.values() {
            acked = acked.min(self.acked_by_joining(follower, now).unwrap_or(acked));
        }
        if acked <= self.bounds.high_watermark {
            return None;
        }
        self.bounds.high_watermark = acked;
        self.bounds.validate();
        Some(Action::AdvanceHighWatermark { to: acked })
    }

    /// Never, but where it is broken on purpose.
    fn is_left_out(&self, node: NodeId) -> bool {
        broken(Broken::AckBeforeReplication)
            || (broken(Broken::CountFenced) && self.view.unfenced(node).is_none())
            || (broken(Broken::IgnorePendingIsr) && !self.view.isr.contains(&node))
    }

    fn advance_and_expand(&mut self, now: Monotonic) -> Vec<Action> {
        let mut actions: Vec<Action> = self.advance(now).into_iter().collect();
        if self.proposal_due() {
            let target = self.joined();
            actions.extend(self.propose(&target));
        }
        actions
    }
}

/// Compares the follower's last epoch and end with ours.
fn answer_hello(hello: &FollowerHello, bounds: &LogBounds, epochs: &dyn EpochLookup) -> HelloAnswer {
    let start_over = HelloAnswer::StartOver {
        log_start: bounds.log_start,
    };
    let send = HelloAnswer::SendFrom {
        offset: hello.log_end,
        high_watermark: bounds.high_watermark,
        log_start: bounds.log_start,
    };
    if hello.log_end < bounds.log_start {
        return start_over;
    }
    if hello.last_epoch == LeaderEpoch::NONE {
        // Empty: nothing to compare, but it must be where we can continue.
        return if hello.log_end <= bounds.log_end {
            send
        } else {
            start_over
        };
    }
    match epochs.end_offset_for(hello.last_epoch) {
        None => start_over,
        Some(_) if broken(Broken::IgnoreLeaderEpochs) && hello.log_end <= bounds.log_end => send,
        Some((epoch, end_offset)) if epoch != hello.last_epoch || end_offset < hello.log_end => {
            HelloAnswer::Diverging { epoch, end_offset }
        }
        Some(_) => send,
    }
}
