use super::draft::Draft;
use super::rules::{Candidates, Rules};
use super::{PartitionOutcomes, Plan, PlanError};
use crate::{Image, PartitionImage, TopicImage};
use types::{ErrorCode, TopicPartition};

/// Kafka's ElectLeaders (KIP-460).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ElectLeaders {
    /// Where there is no leader, any replica may become it, even if it lacks committed records. Otherwise the preferred
    /// replica, which is the first, takes the place of another leader.
    pub unclean: bool,
    /// `None`: all there are.
    pub topics: Option<Vec<(String, Vec<i32>)>>,
}

/// Elects leaders on demand. Where all partitions are asked for, those that need no election are left out of the answer.
///
/// Errors per partition: `UNKNOWN_TOPIC_OR_PARTITION`, `ELECTION_NOT_NEEDED`, `PREFERRED_LEADER_NOT_AVAILABLE` (not in sync,
/// or may not lead), `ELIGIBLE_LEADERS_NOT_AVAILABLE` (unclean: no replica may lead).
#[must_use]
pub fn elect_leaders(image: &Image, command: &ElectLeaders) -> Plan<PartitionOutcomes> {
    let mut draft = Draft::new(image);
    let every = || {
        let topics = image
            .names
            .iter()
            .filter_map(|(name, id)| Some((name, image.topic_by_id(*id)?)));
        let numbers = |topic: &TopicImage| (0i32..).zip(&topic.partitions).map(|(number, _)| number).collect();
        topics.map(|(name, topic)| (name.clone(), numbers(topic))).collect()
    };
    let topics: Vec<(String, Vec<i32>)> = command.topics.clone().unwrap_or_else(every);
    let mut response = Vec::with_capacity(topics.len());
    for (name, numbers) in topics {
        let elections = numbers
            .into_iter()
            .map(|number| (number, elect(image, &mut draft, command.unclean, &name, number)));
        let told = |(_, outcome): &(i32, Result<(), PlanError>)| {
            let needless = matches!(outcome, Err(error) if error.code == ErrorCode::ElectionNotNeeded);
            command.topics.is_some() || !needless
        };
        let elections = elections.filter(told).collect();
        response.push((name, elections));
    }
    Plan {
        records: draft.into_records(),
        response,
    }
}

fn elect(image: &Image, draft: &mut Draft<'_>, unclean: bool, name: &str, number: i32) -> Result<(), PlanError> {
    let refuse = |code, message: String| Err(PlanError::new(code, message));
    let Some(topic) = image.topic(name) else {
        return refuse(ErrorCode::UnknownTopicOrPartition, format!("No such topic as {name}"));
    };
    let tp = TopicPartition {
        topic: topic.id,
        partition: number,
    };
    let Some(recorded) = image.partition(tp) else {
        return refuse(
            ErrorCode::UnknownTopicOrPartition,
            format!("No such partition as {name}-{number}"),
        );
    };
    let preferred = recorded.replicas.first().copied();
    let needless = if unclean {
        recorded.leader.is_some()
    } else {
        recorded.leader == preferred
    };
    if needless {
        return refuse(
            ErrorCode::ElectionNotNeeded,
            "Leader election not needed for topic partition.".into(),
        );
    }
    let rules = Rules {
        unclean,
        ..Rules::of(image, topic, recorded)
    };
    let mut elected: Option<PartitionImage> = None;
    draft.change(tp, |partition| {
        if unclean {
            rules.elect(partition, Candidates::all(image));
        } else {
            rules.elect_preferred(partition, Candidates::all(image));
        }
        elected = Some(partition.clone());
    });
    let leader = elected.and_then(|partition| partition.leader);
    match (unclean, leader) {
        (false, leader) if leader != preferred => refuse(
            ErrorCode::PreferredLeaderNotAvailable,
            "The preferred leader was not available.".into(),
        ),
        (true, None) => refuse(
            ErrorCode::EligibleLeadersNotAvailable,
            "Eligible topic partition leaders are not available.".into(),
        ),
        _ => Ok(()),
    }
}
