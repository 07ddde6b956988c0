//! Topics that come and go, records that are deleted.

use crate::client::Client;
use crate::history::{SharedHistory, place};
use crate::workload::{BRIEF, SHORT, bounds, create, topic_name};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::time::Duration;
use wire::ApiKey;
use wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use wire::messages::delete_topics_request::DeleteTopicState;
use wire::messages::{DeleteRecordsRequest, DeleteTopicsRequest, RequestKind, ResponseKind};

/// Deletes the brief topic and creates it again, and deletes records of the short one.
pub async fn come_and_go(mut client: Client, seed: u64, history: SharedHistory, until: Duration) {
    let mut random = SmallRng::seed_from_u64(seed);
    loop {
        tokio::time::sleep(Duration::from_millis(random.random_range(500..4_000))).await;
        if turmoil::sim_elapsed().unwrap_or_default() >= until {
            return;
        }
        let node = random.random_range(0..client.nodes());
        match random.random_range(0..4) {
            0 => delete_topic(&mut client, node, &history).await,
            1 => {
                create(&mut client, node, BRIEF).await;
            }
            _ => delete_records(&mut client, &mut random, &history).await,
        }
    }
}

async fn delete_topic(client: &mut Client, node: usize, history: &SharedHistory) {
    if client.refresh(node, BRIEF).await.is_err() {
        return;
    }
    let Some(id) = client.topic_id(BRIEF) else { return };
    // From now on, for the answer may be lost.
    history.borrow_mut().delete(BRIEF, id);
    let state = DeleteTopicState::default().with_name(None).with_topic_id(id);
    let request = DeleteTopicsRequest::default()
        .with_topics(vec![state])
        .with_timeout_ms(1_000);
    let request = RequestKind::DeleteTopics(request);
    // Whether it is gone shows when it is created again.
    let _ = client.call(node, ApiKey::DeleteTopics, 6, &request).await;
}

async fn delete_records(client: &mut Client, random: &mut SmallRng, history: &SharedHistory) {
    let node = random.random_range(0..client.nodes());
    if client.refresh(node, SHORT).await.is_err() {
        return;
    }
    let Some(led) = client.leader(SHORT, 0) else { return };
    let Ok(told) = bounds(client, SHORT, led, 0).await else {
        return;
    };
    let to = random.random_range(told.start..=told.end.max(told.start));
    let partition = DeleteRecordsPartition::default()
        .with_partition_index(0)
        .with_offset(to);
    let topic = DeleteRecordsTopic::default()
        .with_name(topic_name(SHORT))
        .with_partitions(vec![partition]);
    let request = DeleteRecordsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(1_000);
    let request = RequestKind::DeleteRecords(request);
    let answer = client.call(led.node, ApiKey::DeleteRecords, 2, &request).await;
    let Ok(ResponseKind::DeleteRecords(answer)) = answer else {
        return;
    };
    let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
    for partition in partitions.filter(|partition| partition.error_code == 0) {
        let place = place(SHORT, led.topic_id, partition.partition_index);
        history.borrow_mut().deleted_to(place, partition.low_watermark);
    }
}
