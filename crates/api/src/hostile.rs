//! Requests from somebody who means harm: small to send, and no dearer to answer than a small multiple.

mod sockets;

use crate::describe_groups::tests::two_groups;
use crate::dispatch::Origin;
use crate::test_image::{cluster, topic_id};
use crate::test_node::{TestNode, run};
use crate::{
    alter_configs, alter_partition_reassignments, create_partitions, delete_groups, delete_records, describe_configs,
    describe_groups, elect_leaders, fetch, join_group, leave_group, list_offsets, metadata_api, offset_commit,
    offset_delete, offset_fetch, produce, sync_group,
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
use wire::messages::join_group_request::JoinGroupRequestProtocol;
use wire::messages::leave_group_request::MemberIdentity;
use wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use wire::messages::metadata_request::MetadataRequestTopic;
use wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use wire::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use wire::messages::offset_fetch_request::OffsetFetchRequestGroup;
use wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use wire::messages::sync_group_request::SyncGroupRequestAssignment;
use wire::messages::{
    AlterConfigsRequest, AlterPartitionReassignmentsRequest, CreatePartitionsRequest, DeleteGroupsRequest,
    DeleteRecordsRequest, DescribeConfigsRequest, DescribeGroupsRequest, ElectLeadersRequest, FetchRequest,
    JoinGroupRequest, LeaveGroupRequest, ListOffsetsRequest, MetadataRequest, OffsetCommitRequest, OffsetDeleteRequest,
    OffsetFetchRequest, ProduceRequest, SyncGroupRequest, alter_configs_request, alter_partition_reassignments_request,
    elect_leaders_request,
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

/// A group's name is short, and its members and offsets are not.
#[test]
fn one_group_a_hundred_thousand_times() {
    let node = two_groups();
    let services = &node.services;
    let many = || vec![StrBytes::from_static_str("work").into(); 100_000];
    let request = DescribeGroupsRequest::default().with_groups(many());
    costs(MIB, "describe groups", || {
        run(describe_groups::answer(services, request, 6))
    });
    let request = DeleteGroupsRequest::default().with_groups_names(many());
    costs(MIB, "delete groups", || run(delete_groups::answer(services, request)));
    assert_eq!(node.groups.deletions.borrow().len(), 1);
    let group = OffsetFetchRequestGroup::default().with_topics(None);
    let request = OffsetFetchRequest::default().with_groups(vec![group; 100_000]);
    // An answer takes some 150 bytes for each.
    costs(30 * MIB, "offset fetch", || {
        run(offset_fetch::answer(services, request, 9))
    });
    assert_eq!(node.groups.fetches.borrow().len(), 1);
}

#[test]
fn offsets_of_a_long_name_in_many_partitions() {
    let node = TestNode::new(cluster());
    let services = &node.services;
    let partition = |index| OffsetCommitRequestPartition::default().with_partition_index(index);
    let topic = OffsetCommitRequestTopic::default()
        .with_name(long_name().into())
        .with_partitions((0..100_000).map(partition).collect());
    let request = OffsetCommitRequest::default().with_topics(vec![topic]);
    costs(20 * MIB, "offset commit", || {
        run(offset_commit::answer(services, request, 9))
    });
    let partition = |index| OffsetDeleteRequestPartition::default().with_partition_index(index);
    let topic = OffsetDeleteRequestTopic::default()
        .with_name(long_name().into())
        .with_partitions((0..100_000).map(partition).collect());
    let request = OffsetDeleteRequest::default()
        .with_group_id(StrBytes::from_static_str("g").into())
        .with_topics(vec![topic]);
    costs(20 * MIB, "offset delete", || {
        run(offset_delete::answer(services, request))
    });
    assert!(node.groups.commits.borrow().is_empty());
}

/// Each of a few bytes; a member that is copied takes some hundred.
#[test]
fn members_of_very_much() {
    let node = TestNode::new(cluster());
    let services = &node.services;
    let group = || StrBytes::from_static_str("g").into();
    let request = JoinGroupRequest::default()
        .with_group_id(group())
        .with_protocols(vec![JoinGroupRequestProtocol::default(); 500_000]);
    costs(MIB, "join group", || {
        run(join_group::answer(services, request, 9, Origin::default()))
    });
    assert_eq!(
        node.groups.joins.borrow()[0].protocols.len(),
        limits::GROUP_PROTOCOLS_MAX + 1
    );
    let number = |number: i32| StrBytes::from(number.to_string());
    let assignment = |n| SyncGroupRequestAssignment::default().with_member_id(number(n));
    let request = SyncGroupRequest::default()
        .with_group_id(group())
        .with_assignments((0..500_000).map(assignment).collect());
    costs(4 * MIB, "sync group", || run(sync_group::answer(services, request, 4)));
    let request = LeaveGroupRequest::default()
        .with_group_id(group())
        .with_members(vec![MemberIdentity::default(); 500_000]);
    let response = costs(MIB, "leave group", || run(leave_group::answer(services, request, 5)));
    assert_eq!(response.error_code, 42);
}
