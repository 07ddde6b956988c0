//! A controller's request to a planner's command, and the plan's response to the reply.

mod delete_topics;

use crate::envelope::{endpoint, refusal};
use crate::identity::remembers;
use crate::messages::{bytes_of, config_change, outcomes_message, reassignments, resource, resource_message, topic_id};
use crate::options::ControlOptions;
use metadata::plan::{self, PlanError};
use metadata::{BrokerRegistration, DirectoryOutcome, DirectoryReport, Endpoint, Image, Record};
use raft::pb;
use raft::pb::controller_reply::Reply;
use raft::pb::controller_request::Request;
use types::{BrokerEpoch, DirectoryId, ErrorCode, LeaderEpoch, NodeId, PartitionEpoch, RaftId, TopicPartition};
use uuid::Uuid;

/// Records, and what to answer once they are committed. A broker epoch of 0 in a reply becomes the entry's index.
pub(crate) struct Planned {
    pub records: Vec<Record>,
    pub reply: Reply,
}

/// What planners need besides the image.
pub(crate) struct Context<'a> {
    pub options: &'a ControlOptions,
    pub random: u64,
    /// Whether a live session of this node is open.
    pub session_alive: &'a dyn Fn(NodeId) -> bool,
}

fn refused(error: PlanError) -> Planned {
    Planned {
        records: Vec::new(),
        reply: refusal(error.code, error.message),
    }
}

fn code(error: ErrorCode) -> i32 {
    i32::from(error.code())
}

fn invalid(message: &str) -> Planned {
    Planned {
        records: Vec::new(),
        reply: refusal(ErrorCode::InvalidRequest, message),
    }
}

/// Plans one request on the image.
pub(crate) fn plan(image: &Image, request: &Request, context: &Context<'_>) -> Planned {
    match request {
        Request::Join(join) => join_member(image, join, context),
        Request::RegisterBroker(register) => register_broker(image, register, context),
        Request::ControlledShutdown(shutdown) => {
            match plan::controlled_shutdown(image, NodeId(shutdown.node_id), BrokerEpoch(shutdown.broker_epoch)) {
                Ok(plan) => Planned {
                    records: plan.records,
                    reply: Reply::ControlledShutdown(pb::ControlledShutdownReply {}),
                },
                Err(error) => refused(error),
            }
        }
        Request::CreateTopics(create) => create_topics(image, create, context),
        Request::CreatePartitions(create) => create_partitions(image, create, context),
        Request::DeleteTopics(delete) => delete_topics::plan(image, delete),
        Request::ElectLeaders(elect) => elect_leaders(image, elect),
        Request::AlterReassignments(alter) => {
            let plan = plan::alter_reassignments(image, &reassignments(alter));
            Planned {
                reply: Reply::AlterReassignments(pb::AlterReassignmentsReply {
                    topics: outcomes_message(plan.response),
                    index: 0,
                }),
                records: plan.records,
            }
        }
        Request::AlterPartitions(alter) => alter_partitions(image, alter),
        Request::AlterConfigs(alter) => alter_configs(image, alter),
        Request::AllocateProducerIds(allocate) => {
            match plan::allocate_producer_ids(image, NodeId(allocate.node_id), BrokerEpoch(allocate.broker_epoch)) {
                Ok(plan) => Planned {
                    records: plan.records,
                    reply: Reply::AllocateProducerIds(pb::AllocateProducerIdsReply {
                        first: plan.response.first,
                        len: plan.response.len,
                    }),
                },
                Err(error) => refused(error),
            }
        }
        Request::UnregisterBroker(unregister) => match plan::unregister(image, NodeId(unregister.node_id)) {
            Ok(plan) => Planned {
                records: plan.records,
                reply: Reply::UnregisterBroker(pb::UnregisterBrokerReply {}),
            },
            Err(error) => refused(error),
        },
        Request::Drain(drain) => self::drain(image, drain),
        Request::WithholdVote(vote) => match plan::withhold_vote(image, NodeId(vote.node_id), vote.withheld) {
            Ok(plan) => Planned {
                records: plan.records,
                reply: Reply::WithholdVote(pb::WithholdVoteReply {}),
            },
            Err(error) => refused(error),
        },
        Request::MarkStrict(mark) => mark_strict(image, mark),
        Request::ExpelDamaged(damaged) => expel_damaged(image, damaged),
        Request::ResignLeaders(resign) => resign_leaders(image, resign),
        Request::OfflineDirectories(offline) => offline_directories(image, offline),
        Request::Probe(_) | Request::Admit(_) | Request::ClusterStatus(_) | Request::Diagnose(_) => {
            invalid("not a command")
        }
    }
}

fn drain(image: &Image, drain: &pb::DrainRequest) -> Planned {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let target = |(node, replicas): (NodeId, usize)| pb::DrainTarget {
        node_id: node.0,
        replicas: count(replicas),
    };
    match plan::drain(image, NodeId(drain.node_id), drain.drained) {
        Ok(plan) => Planned {
            records: if drain.validate_only { Vec::new() } else { plan.records },
            reply: Reply::Drain(pb::DrainReply {
                leaders: count(plan.response.leaders),
                targets: plan.response.targets.into_iter().map(target).collect(),
                waiting: count(plan.response.waiting),
            }),
        },
        Err(error) => refused(error),
    }
}

fn directory(bytes: &[u8]) -> DirectoryId {
    DirectoryId(Uuid::from_slice(bytes).unwrap_or_default())
}

fn place(address: Option<&pb::Address>) -> Endpoint {
    address.cloned().and_then(endpoint).unwrap_or_default()
}

/// What a node is told whose number another has.
pub(crate) fn in_use(image: &Image, node: NodeId) -> String {
    let at = image.broker(node).map(|broker| format!(" at {}", broker.control));
    format!(
        "node.id={node} is in use by a node that is alive{}. Give this node a number and directories of its own, or stop \
         the other",
        at.unwrap_or_default()
    )
}

fn join_member(image: &Image, join: &pb::JoinRequest, context: &Context<'_>) -> Planned {
    let node = NodeId(join.node_id);
    // ◆ Another directory under this number replaces its voter: not while the node itself is alive.
    let other = |member: &std::sync::Arc<metadata::Member>| member.directory != directory(&join.directory_id);
    if image.member_of(node).is_some_and(other) && (context.session_alive)(node) {
        return Planned {
            records: Vec::new(),
            reply: refusal(ErrorCode::DuplicateBrokerRegistration, in_use(image, node)),
        };
    }
    let command = plan::JoinMember {
        node_id: NodeId(join.node_id),
        directory: directory(&join.directory_id),
        endpoint: place(join.control.as_ref()),
    };
    match plan::join_member(image, &command) {
        Ok(plan) => Planned {
            records: plan.records,
            reply: Reply::Join(pb::JoinReply {
                cluster_id: image.cluster_id.clone().unwrap_or_default(),
                raft_id: plan.response.0,
            }),
        },
        Err(error) => refused(error),
    }
}

fn register_broker(image: &Image, register: &pb::RegisterBrokerRequest, context: &Context<'_>) -> Planned {
    let Ok(incarnation) = <[u8; 16]>::try_from(&register.incarnation[..]).map(u128::from_be_bytes) else {
        return invalid("an incarnation has 16 bytes");
    };
    let node = NodeId(register.node_id);
    let recorded = image.broker(node);
    let directories = register
        .directories
        .iter()
        .map(|report| DirectoryReport {
            id: directory(&report.directory_id),
            outcome: match report.outcome {
                0 => DirectoryOutcome::Intact,
                1 => DirectoryOutcome::Missing,
                _ => DirectoryOutcome::Failed,
            },
            clean: report.clean,
        })
        .collect();
    let damaged = register.directories.iter().flat_map(|report| {
        let of = directory(&report.directory_id);
        report.damaged.iter().map(move |replica| {
            let tp = TopicPartition {
                topic: topic_id(&replica.topic_id),
                partition: replica.partition,
            };
            (of, tp)
        })
    });
    let damaged = damaged.collect();
    let command = plan::RegisterBroker {
        registration: BrokerRegistration {
            node_id: node,
            broker_epoch: BrokerEpoch(0),
            incarnation,
            raft_id: RaftId(register.raft_id),
            rack: (!register.rack.is_empty()).then(|| register.rack.clone()),
            kafka: place(register.kafka.as_ref()),
            replica: place(register.replica.as_ref()),
            control: place(register.control.as_ref()),
            shards: u16::try_from(register.shards).unwrap_or(1).max(1),
            directories,
            fenced: true,
            shutting_down: false,
            silent: false,
        },
        previous_broker_epoch: recorded
            .filter(|broker| remembers(broker.incarnation, incarnation))
            .map(|broker| broker.broker_epoch),
        damaged,
        session_alive: (context.session_alive)(node),
    };
    match plan::register_broker(image, &command) {
        Ok(plan) => Planned {
            records: plan.records,
            reply: Reply::RegisterBroker(pb::RegisterBrokerReply {
                broker_epoch: plan.response.map_or(0, |epoch| epoch.0),
            }),
        },
        Err(error) => refused(error),
    }
}

fn create_topics(image: &Image, create: &pb::CreateTopicsRequest, context: &Context<'_>) -> Planned {
    let topics = create
        .topics
        .iter()
        .map(|topic| plan::NewTopic {
            id: topic_id(&topic.topic_id),
            name: topic.name.clone(),
            partitions: topic.partitions,
            replication_factor: i16::try_from(topic.replication_factor).unwrap_or(i16::MAX),
            assignments: topic
                .assignments
                .iter()
                .map(|assignment| {
                    (
                        assignment.partition,
                        assignment.replicas.iter().copied().map(NodeId).collect(),
                    )
                })
                .collect(),
            configs: topic
                .configs
                .iter()
                .map(|config| (config.name.clone(), config.value.clone()))
                .collect(),
        })
        .collect();
    let command = plan::CreateTopics {
        topics,
        validate_only: create.validate_only,
        defaults: context.options.defaults.clone(),
    };
    let plan = plan::create_topics(image, &command, context.random);
    let answers = create
        .topics
        .iter()
        .zip(plan.response)
        .map(|(asked, answer)| match answer {
            Ok(created) => pb::CreatedTopicMessage {
                name: created.name,
                topic_id: bytes_of(created.id.0),
                error_code: 0,
                message: String::new(),
                partitions: created.partitions,
                replication_factor: i32::from(created.replication_factor),
            },
            Err(error) => pb::CreatedTopicMessage {
                name: asked.name.clone(),
                topic_id: bytes_of(Uuid::nil()),
                error_code: code(error.code),
                message: error.message,
                partitions: -1,
                replication_factor: -1,
            },
        });
    Planned {
        reply: Reply::CreateTopics(pb::CreateTopicsReply {
            topics: answers.collect(),
            again_after: 0,
        }),
        records: plan.records,
    }
}

fn create_partitions(image: &Image, create: &pb::CreatePartitionsRequest, context: &Context<'_>) -> Planned {
    let replicas = |of: &pb::PartitionReplicas| of.replicas.iter().copied().map(NodeId).collect();
    let topics = create.topics.iter().map(|topic| plan::MorePartitions {
        name: topic.name.clone(),
        count: topic.count,
        assignments: topic.assigned.then(|| topic.assignments.iter().map(replicas).collect()),
    });
    let command = plan::CreatePartitions {
        topics: topics.collect(),
        validate_only: create.validate_only,
    };
    let plan = plan::create_partitions(image, &command, context.random);
    let answers = create.topics.iter().zip(plan.response).map(|(asked, answer)| {
        let (error_code, message) = answer
            .err()
            .map_or((0, String::new()), |error| (code(error.code), error.message));
        pb::GrownTopicMessage {
            name: asked.name.clone(),
            error_code,
            message,
        }
    });
    Planned {
        reply: Reply::CreatePartitions(pb::CreatePartitionsReply {
            topics: answers.collect(),
        }),
        records: plan.records,
    }
}

fn elect_leaders(image: &Image, elect: &pb::ElectLeadersRequest) -> Planned {
    let topics = elect.topics.iter().cloned();
    let command = plan::ElectLeaders {
        unclean: elect.unclean,
        topics: (!elect.all).then(|| topics.map(|topic| (topic.name, topic.partitions)).collect()),
    };
    let plan = plan::elect_leaders(image, &command);
    Planned {
        reply: Reply::ElectLeaders(pb::ElectLeadersReply {
            topics: outcomes_message(plan.response),
            index: 0,
        }),
        records: plan.records,
    }
}

fn alter_partitions(image: &Image, alter: &pb::AlterPartitionsRequest) -> Planned {
    let command = plan::AlterPartitions {
        node_id: NodeId(alter.node_id),
        broker_epoch: BrokerEpoch(alter.broker_epoch),
        partitions: alter
            .partitions
            .iter()
            .map(|partition| plan::AlterPartition {
                tp: TopicPartition {
                    topic: topic_id(&partition.topic_id),
                    partition: partition.partition,
                },
                leader_epoch: LeaderEpoch(partition.leader_epoch),
                partition_epoch: PartitionEpoch(partition.partition_epoch),
                isr: partition
                    .isr
                    .iter()
                    .map(|member| (NodeId(member.node_id), BrokerEpoch(member.broker_epoch)))
                    .collect(),
            })
            .collect(),
    };
    let plan = match plan::alter_partitions(image, &command) {
        Ok(plan) => plan,
        Err(error) => return refused(error),
    };
    let answers = plan.response.into_iter().map(|(tp, answer)| {
        let mut message = pb::AlteredPartitionMessage {
            topic_id: bytes_of(tp.topic.0),
            partition: tp.partition,
            leader: -1,
            ..pb::AlteredPartitionMessage::default()
        };
        match answer {
            Ok(altered) => {
                message.leader = altered.leader.map_or(-1, |leader| leader.0);
                message.leader_epoch = altered.leader_epoch.0;
                message.partition_epoch = altered.partition_epoch.0;
                message.isr = altered.isr.iter().map(|node| node.0).collect();
            }
            Err(error) => message.error_code = code(error.code),
        }
        message
    });
    let reply = pb::AlterPartitionsReply {
        partitions: answers.collect(),
        index: 0,
    };
    Planned {
        reply: Reply::AlterPartitions(reply),
        records: plan.records,
    }
}

fn alter_configs(image: &Image, alter: &pb::AlterConfigsRequest) -> Planned {
    let mut resources = Vec::new();
    for of in &alter.resources {
        let Some(resource) = resource(of.resource_type, &of.name) else {
            return invalid("an unknown kind of resource");
        };
        let mut changes = Vec::new();
        for operation in &of.operations {
            match config_change(operation.clone()) {
                Ok(change) => changes.push(change),
                Err(error) => {
                    return Planned {
                        records: Vec::new(),
                        reply: refusal(error, "a change without its value"),
                    };
                }
            }
        }
        resources.push(plan::AlterConfigsResource {
            resource,
            changes,
            replace: of.replace,
        });
    }
    let plan = plan::alter_configs(
        image,
        &plan::AlterConfigs {
            resources,
            validate_only: alter.validate_only,
        },
    );
    let answers = plan.response.into_iter().map(|altered| {
        let (resource_type, name) = resource_message(&altered.resource);
        let (error_code, message) = altered
            .error
            .map_or((0, String::new()), |error| (code(error.code), error.message));
        pb::AlteredConfigsMessage {
            resource_type,
            name,
            error_code,
            message,
        }
    });
    Planned {
        reply: Reply::AlterConfigs(pb::AlterConfigsReply {
            resources: answers.collect(),
        }),
        records: plan.records,
    }
}

fn mark_strict(image: &Image, mark: &pb::MarkStrictRequest) -> Planned {
    let command = plan::MarkStrict {
        node_id: NodeId(mark.node_id),
        broker_epoch: BrokerEpoch(mark.broker_epoch),
        partitions: mark
            .partitions
            .iter()
            .map(|partition| plan::MarkStrictPartition {
                tp: TopicPartition {
                    topic: topic_id(&partition.topic_id),
                    partition: partition.partition,
                },
                leader_epoch: LeaderEpoch(partition.leader_epoch),
                strict: partition.strict,
            })
            .collect(),
    };
    match plan::mark_strict(image, &command) {
        Ok(plan) => Planned {
            records: plan.records,
            reply: Reply::MarkStrict(pb::MarkStrictReply {}),
        },
        Err(error) => refused(error),
    }
}

fn offline_directories(image: &Image, offline: &pb::OfflineDirectoriesRequest) -> Planned {
    let command = plan::OfflineDirectories {
        node_id: NodeId(offline.node_id),
        broker_epoch: BrokerEpoch(offline.broker_epoch),
        directories: offline.directory_ids.iter().map(|id| directory(id)).collect(),
    };
    match plan::offline_directories(image, &command) {
        Ok(plan) => {
            if !plan.records.is_empty() {
                tracing::warn!(broker = offline.node_id, directories = ?command.directories, partitions = plan.response,
                    "log directories of a broker have failed: its replicas in them lead nothing and leave the ISR");
            }
            Planned {
                records: plan.records,
                reply: Reply::OfflineDirectories(pb::OfflineDirectoriesReply {}),
            }
        }
        Err(error) => refused(error),
    }
}

fn resign_leaders(image: &Image, resign: &pb::ResignLeadersRequest) -> Planned {
    let partition = |resigned: &pb::ResignedPartition| {
        let tp = TopicPartition {
            topic: topic_id(&resigned.topic_id),
            partition: resigned.partition,
        };
        (tp, LeaderEpoch(resigned.leader_epoch))
    };
    let command = plan::ResignLeaders {
        node_id: NodeId(resign.node_id),
        broker_epoch: BrokerEpoch(resign.broker_epoch),
        partitions: resign.partitions.iter().map(partition).collect(),
    };
    match plan::resign_leaders(image, &command) {
        Ok(plan) => Planned {
            records: plan.records,
            reply: Reply::ResignLeaders(pb::ResignLeadersReply {}),
        },
        Err(error) => refused(error),
    }
}

fn expel_damaged(image: &Image, damaged: &pb::ExpelDamagedRequest) -> Planned {
    let partition = |damaged: &pb::DamagedPartition| {
        let tp = TopicPartition {
            topic: topic_id(&damaged.topic_id),
            partition: damaged.partition,
        };
        (tp, LeaderEpoch(damaged.leader_epoch))
    };
    let command = plan::ExpelDamaged {
        node_id: NodeId(damaged.node_id),
        broker_epoch: BrokerEpoch(damaged.broker_epoch),
        partitions: damaged.partitions.iter().map(partition).collect(),
    };
    match plan::expel_damaged(image, &command) {
        Ok(plan) => Planned {
            records: plan.records,
            reply: Reply::ExpelDamaged(pb::ExpelDamagedReply {
                error_codes: plan.response.iter().map(|(_, error)| i32::from(error.code())).collect(),
            }),
        },
        Err(error) => refused(error),
    }
}
