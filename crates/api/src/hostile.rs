//! Requests from somebody who means harm: small to send, and no dearer to answer than a small multiple.

mod sockets;

use crate::test_image::{cluster, topic_id};
use crate::test_node::{TestNode, run};
use crate::{
    alter_configs, alter_partition_reassignments, create_partitions, delete_records, describe_configs, elect_leaders,
    fetch, list_offsets, metadata_api, produce,
};
use bytes::Bytes;
use host::{Host, RealHost};
use records::{BatchBuilder, Compression};
use std::sync::Arc;
use types::limits;
use wire::StrBytes;
use wire::messages::create_partitions_request::CreatePartitionsTopic;
use wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use wire::messages::describe_configs_request::DescribeConfigsResource;
use wire::messages::fetch_request::{FetchPartition, FetchTopic};
use wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use wire::messages::metadata_request::MetadataRequestTopic;
use wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use wire::messages::{
    AlterConfigsRequest, AlterPartitionReassignmentsRequest, CreatePartitionsRequest, DeleteRecordsRequest,
    DescribeConfigsRequest, ElectLeadersRequest, FetchRequest, ListOffsetsRequest, MetadataRequest, ProduceRequest,
    alter_configs_request, alter_partition_reassignments_request, elect_leaders_request,
};

const MIB: u64 = 1 << 20;

/// Runs what the test does and asserts on the most memory that it takes beyond the request.
fn costs<T>(bytes_max: u64, what: &str, work: impl FnOnce() -> T) -> T {
    let mut result = None;
    let used = allocation_counter::measure(|| result = Some(work()));
    assert!(used.bytes_max <= bytes_max, "{what}: {} bytes", used.bytes_max);
    result.unwrap()
}

/// As long as the wire can say.
fn long_name() -> StrBytes {
    StrBytes::from("x".repeat(32_000))
}

#[test]
fn metadata_of_one_topic_a_hundred_thousand_times() {
    let topic = MetadataRequestTopic::default().with_name(Some(StrBytes::from_static_str("orders").into()));
    let request = MetadataRequest::default().with_topics(Some(vec![topic; 100_000]));
    let node = TestNode::new(cluster());
    costs(MIB, "metadata", || metadata_api::answer(&node.services, &request, 12));
}

#[test]
fn fetch_of_a_long_name_in_many_partitions() {
    for (name, session) in [
        (long_name(), true),
        (StrBytes::from_static_str("orders"), true),
        (long_name(), false),
    ] {
        let partition = |index| FetchPartition::default().with_partition(index);
        let partitions = (0..10_000).map(partition).collect();
        let topic = FetchTopic::default()
            .with_topic(name.into())
            .with_partitions(partitions);
        let request = FetchRequest::default()
            .with_session_epoch(if session { 0 } else { -1 })
            .with_topics(vec![topic]);
        let node = TestNode::new(cluster());
        // An answer takes some 300 bytes for each partition.
        costs(10 * MIB, "fetch", || run(fetch::answer(&node.services, request, 11)));
    }
}

#[test]
fn list_offsets_of_a_long_name_in_many_partitions() {
    let partition = |index| ListOffsetsPartition::default().with_partition_index(index % 50_000);
    let topic = ListOffsetsTopic::default()
        .with_name(long_name().into())
        .with_partitions((0..100_000).map(partition).collect());
    let request = ListOffsetsRequest::default().with_topics(vec![topic]);
    let node = TestNode::new(cluster());
    costs(32 * MIB, "list offsets", || {
        run(list_offsets::answer(&node.services, request, 6))
    });
}

#[test]
fn configs_of_one_topic_fifty_thousand_times() {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(StrBytes::from_static_str("orders"));
    let request = DescribeConfigsRequest::default()
        .with_resources(vec![resource; 50_000])
        .with_include_synonyms(true)
        .with_include_documentation(true);
    let node = TestNode::new(cluster());
    costs(MIB, "describe configs", || {
        describe_configs::answer(&node.services, &request)
    });
}

/// A hundred thousand parts of one request: an answer takes some 100 bytes for each.
#[test]
fn administration_of_very_much() {
    let node = TestNode::new(cluster());
    let services = &node.services;
    let resource = alter_configs_request::AlterConfigsResource::default().with_resource_type(99);
    let request = AlterConfigsRequest::default().with_resources(vec![resource; 100_000]);
    costs(40 * MIB, "alter configs", || {
        run(alter_configs::answer(services, request))
    });
    let number = |number: i32| StrBytes::from(number.to_string()).into();
    let topic = |n| CreatePartitionsTopic::default().with_name(number(n));
    let request = CreatePartitionsRequest::default().with_topics((0..100_000).map(topic).collect());
    costs(40 * MIB, "create partitions", || {
        run(create_partitions::answer(services, request))
    });
    let topic = elect_leaders_request::TopicPartitions::default().with_partitions((0..100_000).collect());
    let request = ElectLeadersRequest::default().with_topic_partitions(Some(vec![topic; 2]));
    costs(MIB, "elect leaders", || run(elect_leaders::answer(services, request)));
    let partition =
        |index| alter_partition_reassignments_request::ReassignablePartition::default().with_partition_index(index);
    let topic = alter_partition_reassignments_request::ReassignableTopic::default()
        .with_partitions((0..100_000).map(partition).collect());
    let request = AlterPartitionReassignmentsRequest::default().with_topics(vec![topic; 2]);
    costs(MIB, "alter reassignments", || {
        run(alter_partition_reassignments::answer(services, request))
    });
    assert!(node.control.reassignments.borrow().is_empty());
    assert!(node.control.elections.borrow().is_empty());
    assert!(node.control.growths.borrow().is_empty() && node.control.alterations.borrow().is_empty());
    let partition = |index| DeleteRecordsPartition::default().with_partition_index(index);
    let topic = DeleteRecordsTopic::default()
        .with_name(long_name().into())
        .with_partitions((0..100_000).map(partition).collect());
    let request = DeleteRecordsRequest::default().with_topics(vec![topic]);
    costs(60 * MIB, "delete records", || {
        run(delete_records::answer(services, request))
    });
}

#[test]
fn produce_of_batches_full_of_errors() {
    let mut image = cluster();
    let orders = Arc::make_mut(image.topics.get_mut(&topic_id(1)).unwrap());
    orders.configs.insert("cleanup.policy".into(), "compact".into());
    let mut keyless = BatchBuilder::new(Compression::Zstd);
    (0..limits::RECORD_ERRORS_MAX).for_each(|_| keyless.push(RealHost::new().wall_ms(), None, None, &[]));
    let batch: Bytes = keyless.build();
    let partition = PartitionProduceData::default().with_records(Some(batch));
    let topic = TopicProduceData::default()
        .with_name(StrBytes::from_static_str("orders").into())
        .with_partition_data(vec![partition; 1_000]);
    let request = ProduceRequest::default().with_acks(-1).with_topic_data(vec![topic]);
    let node = TestNode::new(image);
    costs(4 * MIB, "produce", || {
        run(async { produce::start(&node.services, request, 9, None).await.await })
    });
}
