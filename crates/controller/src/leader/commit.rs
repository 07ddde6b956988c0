//! From what waits at the controller to one entry of the metadata log, and the answers.

use super::Term;
use crate::envelope::refusal;
use crate::liveness::{Event, Why};
use crate::planning::{Context, Planned, plan};
use crate::shared::Command;
use metadata::{Image, Record};
use raft::ProposeError;
use raft::pb;
use raft::pb::controller_reply::Reply;
use raft::pb::controller_request::Request;
use tokio::sync::oneshot;
use types::{BrokerEpoch, ErrorCode, LogIndex, NodeId, RaftId};

/// Something to plan.
pub(super) enum Work {
    Command(Command),
    Fence {
        node: NodeId,
        broker_epoch: BrokerEpoch,
        why: Why,
    },
    Unfence {
        node: NodeId,
        broker_epoch: BrokerEpoch,
    },
    RemoveMember(RaftId),
    /// Partitions go back to their preferred leaders; so much per cent of a broker's may be elsewhere.
    BalanceLeaders(u32),
    /// Replicas leave nodes that are being emptied, and short topics are raised.
    SettleReplicas,
}

/// Planned, and waiting for the commit.
struct Done {
    work: Work,
    reply: Option<Reply>,
    /// It has records of its own.
    changed: bool,
}

pub(super) fn answer(reply: oneshot::Sender<Reply>, with: Reply) {
    // Whoever asked may have gone away.
    let _ = reply.send(with);
}

impl Term {
    /// Plans everything that is waiting on the newest image, and commits it as one entry.
    pub(super) async fn commit(&mut self) {
        let mut waiting = std::mem::take(&mut self.work);
        while !waiting.is_empty() {
            let image = self.shared.image();
            self.removed_topics.plan_on(image.index);
            let mut planned_on = (*image).clone();
            let mut records: Vec<Record> = Vec::new();
            let mut done: Vec<Done> = Vec::new();
            let mut rest = waiting.into_iter();
            for work in rest.by_ref() {
                let (planned, reply) = self.plan(&planned_on, &work);
                // What the log index fills in at apply cannot be planned on: such an entry ends here.
                let last = planned.iter().any(has_placeholder);
                if !last && planned_on.apply_all(image.index, &planned).is_err() {
                    tracing::error!("a plan does not fit its own image");
                }
                self.removed_topics.planned(&planned);
                let changed = !planned.is_empty();
                records.extend(planned);
                done.push(Done { work, reply, changed });
                if last {
                    break;
                }
            }
            waiting = rest.collect();
            let outcome = if records.is_empty() {
                Ok(image.index)
            } else {
                self.raft.propose(image.index, records.clone()).await
            };
            match outcome {
                Ok(index) => done.into_iter().for_each(|done| finish(done, index)),
                Err(ProposeError::Stale) => {
                    self.removed_topics.missed_some();
                    // Planned again, before what came later.
                    let mut again: Vec<Work> = done.into_iter().map(|done| done.work).collect();
                    again.append(&mut waiting);
                    waiting = again;
                }
                Err(error) => {
                    tracing::warn!(%error, records = records.len(), "metadata records were not committed");
                    for work in done.into_iter().map(|done| done.work).chain(waiting.drain(..)) {
                        self.give_up(work, &error);
                    }
                }
            }
        }
    }

    fn plan(&self, image: &Image, work: &Work) -> (Vec<Record>, Option<Reply>) {
        let nothing = |error: metadata::plan::PlanError| {
            tracing::debug!(%error, "nothing to be done any more");
            (Vec::new(), None)
        };
        match work {
            Work::Command(command) => {
                if let Request::CreateTopics(create) = &command.request
                    && let Some(index) = self.removed_topics.again_after(image, create)
                {
                    let again = pb::CreateTopicsReply {
                        topics: Vec::new(),
                        again_after: index.0,
                    };
                    return (Vec::new(), Some(Reply::CreateTopics(again)));
                }
                let alive = |node: NodeId| self.alive(node);
                let context = Context {
                    options: &self.shared.options,
                    random: self.shared.host.random_u64(),
                    session_alive: &alive,
                };
                let Planned { records, reply } = plan(image, &command.request, &context);
                (records, Some(reply))
            }
            Work::Fence {
                node,
                broker_epoch,
                why,
            } => match metadata::plan::fence(image, *node, *broker_epoch, *why != Why::Evidence) {
                Ok(plan) => (plan.records, None),
                Err(error) => nothing(error),
            },
            Work::Unfence { node, broker_epoch } => {
                let heartbeat = metadata::plan::Heartbeat {
                    node_id: *node,
                    broker_epoch: *broker_epoch,
                    applied: LogIndex(u64::MAX),
                };
                match metadata::plan::heartbeat(image, heartbeat) {
                    Ok(plan) => (plan.records, None),
                    Err(error) => nothing(error),
                }
            }
            Work::BalanceLeaders(percentage) => {
                let plan = metadata::plan::balance_leaders(image, *percentage);
                if plan.response > 0 {
                    tracing::info!(
                        partitions = plan.response,
                        "giving partitions back to their preferred leaders"
                    );
                }
                (plan.records, None)
            }
            Work::SettleReplicas => {
                let factor = self.shared.options.default_replication_factor();
                let plan = metadata::plan::settle_replicas(image, factor);
                if plan.response > 0 {
                    tracing::info!(
                        partitions = plan.response,
                        "moving replicas off emptied nodes, or raising short topics"
                    );
                }
                (plan.records, None)
            }
            Work::RemoveMember(id) => match metadata::plan::remove_member(image, *id) {
                Ok(plan) => (plan.records, None),
                Err(error) => nothing(error),
            },
        }
    }

    fn give_up(&mut self, work: Work, error: &ProposeError) {
        match work {
            Work::Command(command) => {
                let reply = match error {
                    // It may be committed: only the sender can know whether asking again is safe.
                    ProposeError::Unknown => refusal(ErrorCode::RequestTimedOut, error.to_string()),
                    ProposeError::Invalid(_) => refusal(ErrorCode::UnknownServerError, error.to_string()),
                    _ => self.shared.not_controller(),
                };
                answer(command.reply, reply);
            }
            Work::Fence { node, .. } | Work::Unfence { node, .. } => self.event(Event::Undecided { node }),
            Work::RemoveMember(_) | Work::BalanceLeaders(_) | Work::SettleReplicas => {}
        }
    }
}

/// Whether applying the record fills in the index of its entry.
fn has_placeholder(record: &Record) -> bool {
    match record {
        Record::Broker(broker) => broker.broker_epoch.0 == 0,
        Record::Partition { partition, .. } => partition.incarnation.0 == 0,
        _ => false,
    }
}

/// What was planned is committed: only now has it happened.
fn finish(done: Done, index: LogIndex) {
    let command = match done.work {
        Work::Command(command) => command,
        Work::Fence {
            node,
            broker_epoch,
            why,
        } if done.changed => return tracing::warn!(%node, %broker_epoch, ?why, "fenced a broker"),
        Work::Unfence { node, broker_epoch } if done.changed => {
            return tracing::info!(%node, %broker_epoch, "unfenced a broker");
        }
        _ => return,
    };
    let Some(mut reply) = done.reply else { return };
    match &mut reply {
        Reply::RegisterBroker(reply) if reply.broker_epoch == 0 => reply.broker_epoch = index.0,
        Reply::AlterPartitions(reply) => reply.index = index.0,
        Reply::ElectLeaders(reply) => reply.index = index.0,
        Reply::AlterReassignments(reply) => reply.index = index.0,
        _ => {}
    }
    answer(command.reply, reply);
}
