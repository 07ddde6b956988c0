use super::errand::Cut;
use super::{Partition, Role, TopicRules};
use crate::replica_stream::StreamOut;
use replica::{
    Durability, Follower, FollowerAck, FollowerHello, HelloAnswer, IsrAnswer, Leader, LogBounds, PartitionView,
    ProposalId,
};
use std::rc::Rc;
use types::{Broken, ErrorCode, LeaderEpoch, Monotonic, NodeId, StreamGeneration, broken};

/// What a change of role asks of the shard.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RoleChange {
    Nothing,
    /// State the position to this leader, once there is one to state; drop what was stated to another.
    Follow {
        leader: NodeId,
    },
    /// Follow nobody, if anybody was followed.
    Unfollow,
}

impl Partition {
    /// Takes in what the newest image says. ◆ A watch skips images: any jump of the leader epoch is a full demotion, then
    /// a promotion. An epoch below the highest that was seen is refused.
    pub fn on_view(&mut self, view: PartitionView, rules: TopicRules, now: Monotonic) -> RoleChange {
        if self.rules.log != rules.log
            && let Some(log) = self.log.as_mut()
        {
            log.set_config(rules.log);
        }
        let before = std::mem::replace(&mut self.rules, rules);
        let change = self.take_view(view, now);
        self.note_whole(now);
        // What waits was appended when nothing asked for a flush, and nothing else may come.
        if before.durability == Durability::Relaxed && rules.durability == Durability::Strict {
            self.flush();
        }
        change
    }

    fn take_view(&mut self, view: PartitionView, now: Monotonic) -> RoleChange {
        if self.broken || self.log.as_ref().is_some_and(|log| log.is_offline()) {
            return self.become_idle(ErrorCode::KafkaStorageError);
        }
        if view.leader_epoch < self.highest_epoch {
            tracing::error!(topic = self.topic, partition = self.tp.partition, theirs = %view.leader_epoch, ours = %self.highest_epoch,
                "the image has an older leader epoch than the log: this replica stays idle");
            return self.become_idle(ErrorCode::NotLeaderOrFollower);
        }
        let stays = view.leader_epoch == self.view.leader_epoch
            || (broken(Broken::SkipDemotion) && matches!(self.role, Role::Leader(_)));
        let same_epoch = stays && !matches!(self.role, Role::Idle);
        if same_epoch && view.leader == self.view.leader {
            return self.update_view(view, now);
        }
        self.highest_epoch = self.highest_epoch.max(view.leader_epoch);
        self.demote(&view);
        self.view = view;
        self.waits_for_room = false;
        match self.view.leader {
            Some(leader) if leader == self.links.node_id => {
                self.promote(now);
                RoleChange::Unfollow
            }
            Some(_) if self.is_full() => {
                self.waits_for_room = true;
                RoleChange::Unfollow
            }
            Some(leader) => {
                self.follow(leader, now);
                RoleChange::Follow { leader }
            }
            None => RoleChange::Unfollow,
        }
    }

    fn update_view(&mut self, view: PartitionView, now: Monotonic) -> RoleChange {
        if view.partition_epoch < self.view.partition_epoch {
            return RoleChange::Nothing;
        }
        self.view = view;
        if let Role::Leader(leader) = &mut self.role {
            let actions = leader.on_view(self.view.clone(), now);
            let enough = leader.enough_in_sync();
            self.perform(actions);
            if !enough {
                self.fail_waiting_after_append();
            }
            // Who is live may have changed.
            self.answer_deletions();
        }
        RoleChange::Nothing
    }

    /// Leaves the leader epoch: whoever waits is told who leads now, if that is known.
    fn demote(&mut self, next: &PartitionView) {
        self.bounds = self.bounds();
        if let Role::Follower { machine, .. } = &self.role {
            self.generation = machine.generation();
        }
        self.role = Role::Idle;
        self.streams.clear();
        self.cut_after_move = None;
        self.drop_unappended();
        if broken(Broken::KeepWaitingOverEpochs) {
            return;
        }
        self.fail_waiting(
            ErrorCode::NotLeaderOrFollower,
            next.leader.map(|leader| (leader, next.leader_epoch)),
        );
    }

    /// Nothing is led or followed; the log stays.
    pub fn become_idle(&mut self, code: ErrorCode) -> RoleChange {
        self.bounds = self.bounds();
        if let Role::Follower { machine, .. } = &self.role {
            self.generation = machine.generation();
        }
        self.role = Role::Idle;
        self.streams.clear();
        self.cut_after_move = None;
        self.drop_unappended();
        self.fail_waiting(code, None);
        RoleChange::Unfollow
    }

    /// An invariant of ours broke in the middle of something: stops this replica for good.
    pub fn stop_broken(&mut self) -> RoleChange {
        self.broken = true;
        self.producers_incomplete = true;
        self.role = Role::Idle;
        self.streams.clear();
        self.cut_after_move = None;
        self.drop_unappended();
        self.fail_waiting(ErrorCode::KafkaStorageError, None);
        RoleChange::Unfollow
    }

    /// The bounds of the log itself, with the high watermark that is known.
    pub(super) fn log_bounds(&self) -> Option<LogBounds> {
        let log = self.log.as_ref()?;
        let (log_start, log_end) = (log.log_start_offset(), log.log_end_offset());
        Some(LogBounds {
            log_start,
            high_watermark: self.bounds.high_watermark.clamp(log_start, log_end),
            durable: log.durable_offset().min(log_end),
            log_end,
        })
    }

    fn promote(&mut self, now: Monotonic) {
        let Some(bounds) = self.log_bounds() else {
            // The log is on a pool; the shard looks at the image again when it is back.
            return;
        };
        let epoch = self.view.leader_epoch;
        let Some(log) = self.log.as_mut() else { return };
        if let Some(at) = log.corrupt_at() {
            tracing::error!(topic = self.topic, partition = self.tp.partition, %at,
                "elected, but the log is damaged below its durable mark: this replica does not lead. Replace it from another, or accept the loss");
            return;
        }
        log.assign_epoch(epoch, bounds.log_end);
        self.bounds = bounds;
        self.log_start_wanted = bounds.log_start;
        let leader = Leader::new(
            self.tp,
            self.links.node_id,
            self.view.clone(),
            bounds,
            self.links.lag_max,
            now,
        );
        self.role = Role::Leader(Box::new(leader));
        tracing::info!(topic = self.topic, partition = self.tp.partition, leader_epoch = %epoch, log_end = %bounds.log_end,
            high_watermark = %bounds.high_watermark, "leading");
        self.rebuild_producers_if_needed();
        if broken(Broken::ForgetProducers) {
            self.producers = replica::ProducerStates::new(crate::recovered::PRODUCER_EXPIRATION_MS);
        }
        self.flush();
        // A lone replica commits by itself.
        if let Role::Leader(leader) = &mut self.role {
            let actions = leader.on_append(bounds.log_end, now);
            self.perform(actions);
        }
    }

    fn follow(&mut self, leader: NodeId, now: Monotonic) {
        if let Some(log) = self.log.as_ref()
            && log.corrupt_at().is_some()
        {
            tracing::warn!(
                topic = self.topic,
                partition = self.tp.partition,
                "the log is damaged below its durable mark: copying it again from the leader"
            );
            let start = log.log_start_offset();
            if self.moving_log_start {
                // The shard looks at the image again when that is done.
                return;
            }
            self.copies_again(now);
            self.send_away(Cut::StartOver(start));
        }
        if self.start_over_if_damaged() {
            return;
        }
        // Away: the shard looks at the image again when it is back.
        let Some(bounds) = self.log_bounds() else { return };
        self.bounds = bounds;
        self.log_start_wanted = bounds.log_start;
        self.generation = StreamGeneration(self.generation.0 + 1);
        let last_epoch = self.log.as_mut().map_or(LeaderEpoch::NONE, |log| {
            if !broken(Broken::KeepEmptyEpochs) {
                log.forget_empty_epochs();
            }
            log.last_epoch()
        });
        let machine = Follower::new(
            self.tp,
            self.links.node_id,
            &self.view,
            bounds,
            last_epoch,
            self.generation,
            now,
        );
        self.role = Role::Follower {
            machine: Box::new(machine),
        };
        tracing::info!(topic = self.topic, partition = self.tp.partition, leader_epoch = %self.view.leader_epoch, %leader,
            log_end = %bounds.log_end, "following");
        // What a relaxed life left behind counts for a strict one only once it is on disk.
        self.flush_if_due(self.links.host.wall_ms());
    }

    /// The controller answered a proposal.
    pub fn isr_answered(&mut self, epoch: LeaderEpoch, proposal: ProposalId, answer: IsrAnswer, now: Monotonic) {
        // Proposals are numbered anew in each leader epoch.
        if let Role::Leader(leader) = &mut self.role
            && leader.leader_epoch() == epoch
        {
            let actions = leader.on_isr_answer(proposal, answer, now);
            let enough = leader.enough_in_sync();
            self.perform(actions);
            if !enough {
                self.fail_waiting_after_append();
            }
        }
    }

    /// A follower stated its position. Where the logs agree, `stream` is told from now on when there is more to send.
    ///
    /// # Errors
    /// As `Leader::on_hello`; NOT_LEADER_OR_FOLLOWER if this replica does not lead.
    pub fn stated(
        &mut self,
        hello: &FollowerHello,
        stream: &Rc<StreamOut>,
        now: Monotonic,
    ) -> Result<HelloAnswer, ErrorCode> {
        let epochs = self.epochs();
        let Some(log_end) = self.log.as_ref().map(logstore::Log::log_end_offset) else {
            return Err(ErrorCode::NotLeaderOrFollower);
        };
        let Role::Leader(leader) = &mut self.role else {
            return Err(ErrorCode::NotLeaderOrFollower);
        };
        let answer = leader
            .on_hello(hello, &epochs.of_log(log_end), now)
            .map_err(|error| error.code())?;
        self.streams.insert(hello.node, stream.clone());
        // Its position may be what the high watermark waits for.
        let actions = leader.on_append(log_end, now);
        self.perform(actions);
        self.answer_deletions();
        Ok(answer)
    }

    /// A follower acknowledged.
    pub fn acked(&mut self, ack: &FollowerAck, now: Monotonic) {
        let Role::Leader(leader) = &mut self.role else { return };
        match leader.on_ack(ack, now) {
            Ok(actions) => {
                self.perform(actions);
                self.answer_deletions();
            }
            // From before a restatement or an election: the follower says it again where it still holds.
            Err(error) => {
                tracing::debug!(topic = self.topic, partition = self.tp.partition, %error, "an acknowledgement is refused")
            }
        }
    }

    /// A follower's stream ended.
    pub fn stream_lost(&mut self, stream: &Rc<StreamOut>, generation: StreamGeneration, now: Monotonic) {
        if self
            .streams
            .get(&stream.node)
            .is_some_and(|current| Rc::ptr_eq(current, stream))
        {
            self.streams.remove(&stream.node);
            if let Role::Leader(leader) = &mut self.role {
                leader.on_stream_lost(stream.node, generation, now);
            }
        }
    }
}
