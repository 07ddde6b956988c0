use crate::client::Client;
use crate::machine::FOUNDERS;
use crate::workload::{BRIEF, RELAXED, STRICT, STRICT_PARTITIONS, create, partitions_of, topic_name};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use std::time::Duration;
use wire::ApiKey;
use wire::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use wire::messages::describe_topic_partitions_request::TopicRequest;
use wire::messages::elect_leaders_request::TopicPartitions;
use wire::messages::{
    AlterPartitionReassignmentsRequest, BrokerId, DescribeTopicPartitionsRequest, ElectLeadersRequest,
    ListPartitionReassignmentsRequest, RequestKind, ResponseKind,
};

/// `ElectionType.UNCLEAN`.
const UNCLEAN: i8 = 1;

/// Somebody who moves replicas about: any replicas to any nodes, cancelled now and then, leaders elected.
pub async fn move_about(mut client: Client, seed: u64, until: Duration) {
    let mut random = SmallRng::seed_from_u64(seed);
    loop {
        tokio::time::sleep(Duration::from_millis(random.random_range(200..2_500))).await;
        if turmoil::sim_elapsed().unwrap_or_default() >= until {
            return;
        }
        let node = random.random_range(0..client.nodes());
        // An error is nobody's problem here: the next one comes.
        if random.random_bool(0.35) {
            elect(&mut client, node).await;
            continue;
        }
        if random.random_bool(0.2) {
            hand_around(&mut client, &mut random, node).await;
            continue;
        }
        let mut nodes: Vec<i32> = (0i32..).take(client.nodes()).collect();
        nodes.shuffle(&mut random);
        // ◆ Two at least: what rots in the only copy is lost.
        nodes.truncate(random.random_range(2..=FOUNDERS));
        let replicas = (!random.random_bool(0.2)).then_some(nodes);
        let _ = alter(&mut client, node, random.random_range(0..STRICT_PARTITIONS), replicas).await;
    }
}

/// Whoever should lead does so from now on.
async fn elect(client: &mut Client, node: usize) {
    let every = ElectLeadersRequest::default().with_topic_partitions(None);
    let _ = client
        .call(node, ApiKey::ElectLeaders, 2, &RequestKind::ElectLeaders(every))
        .await;
}

/// Leadership of a partition is handed around as fast as it goes, so that many a leader appends nothing.
async fn hand_around(client: &mut Client, random: &mut SmallRng, node: usize) {
    let partition = random.random_range(0..STRICT_PARTITIONS);
    let mut nodes: Vec<i32> = (0i32..).take(FOUNDERS).collect();
    for _ in 0..random.random_range(3..12) {
        nodes.shuffle(random);
        let _ = alter(client, node, partition, Some(nodes.clone())).await;
        elect(client, node).await;
    }
}

async fn alter(client: &mut Client, node: usize, partition: i32, replicas: Option<Vec<i32>>) -> anyhow::Result<i16> {
    let replicas = replicas.map(|replicas| replicas.into_iter().map(BrokerId).collect());
    let asked = ReassignablePartition::default()
        .with_partition_index(partition)
        .with_replicas(replicas);
    let topic = ReassignableTopic::default()
        .with_name(topic_name(STRICT))
        .with_partitions(vec![asked]);
    let request = AlterPartitionReassignmentsRequest::default().with_topics(vec![topic]);
    let request = RequestKind::AlterPartitionReassignments(request);
    let answer = client
        .call(node, ApiKey::AlterPartitionReassignments, 1, &request)
        .await?;
    let ResponseKind::AlterPartitionReassignments(answer) = answer else {
        anyhow::bail!("a wrong answer")
    };
    let outcomes = answer.responses.iter().flat_map(|topic| &topic.partitions);
    let code = outcomes.map(|partition| partition.error_code).next();
    Ok(code.unwrap_or(answer.error_code))
}

/// Gives every partition a replica on every node, and returns when that is done and all are in sync.
pub async fn everywhere(client: &mut Client) {
    let nodes: Vec<i32> = (0i32..).take(FOUNDERS).collect();
    for node in (0..client.nodes()).cycle() {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut asked = create(client, node, BRIEF).await;
        for partition in 0..STRICT_PARTITIONS {
            asked &= matches!(alter(client, node, partition, Some(nodes.clone())).await, Ok(0));
        }
        if asked && is_settled(client, node).await {
            return;
        }
    }
}

/// What a person does about a relaxed topic (docs/operations.md, OttlaOfflinePartitions): where all lost power and then the
/// last leader its disk, nobody can say any more what was acknowledged, and whoever is left leads. Nowhere else: a leader that
/// is known comes back by itself.
///
/// # Errors
/// As [`Client::call`].
pub async fn elect_who_is_left(client: &mut Client, node: usize) -> anyhow::Result<()> {
    let topic = TopicRequest::default().with_name(topic_name(RELAXED));
    let request = DescribeTopicPartitionsRequest::default()
        .with_topics(vec![topic])
        .with_response_partition_limit(partitions_of(RELAXED));
    let request = RequestKind::DescribeTopicPartitions(request);
    let answer = client.call(node, ApiKey::DescribeTopicPartitions, 0, &request).await?;
    let ResponseKind::DescribeTopicPartitions(answer) = answer else {
        anyhow::bail!("a wrong answer")
    };
    let is_none = |nodes: &Option<Vec<BrokerId>>| nodes.as_ref().is_none_or(Vec::is_empty);
    let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
    let forgotten = partitions.filter(|partition| {
        partition.isr_nodes.is_empty()
            && is_none(&partition.eligible_leader_replicas)
            && is_none(&partition.last_known_elr)
    });
    let forgotten: Vec<i32> = forgotten.map(|partition| partition.partition_index).collect();
    if forgotten.is_empty() {
        return Ok(());
    }
    tracing::info!(topic = RELAXED, partitions = ?forgotten, "electing whoever is left");
    let named = TopicPartitions::default()
        .with_topic(topic_name(RELAXED))
        .with_partitions(forgotten);
    let unclean = ElectLeadersRequest::default()
        .with_election_type(UNCLEAN)
        .with_topic_partitions(Some(vec![named]));
    client
        .call(node, ApiKey::ElectLeaders, 2, &RequestKind::ElectLeaders(unclean))
        .await
        .map(drop)
}

async fn is_settled(client: &mut Client, node: usize) -> bool {
    let every = ListPartitionReassignmentsRequest::default().with_topics(None);
    let request = RequestKind::ListPartitionReassignments(every);
    let answer = client.call(node, ApiKey::ListPartitionReassignments, 0, &request).await;
    let over = matches!(answer, Ok(ResponseKind::ListPartitionReassignments(answer)) if answer.topics.is_empty());
    let in_sync = client.in_sync(node, STRICT).await.unwrap_or_default();
    over && in_sync.len() == STRICT_PARTITIONS.unsigned_abs() as usize && in_sync.iter().all(|count| *count == FOUNDERS)
}
