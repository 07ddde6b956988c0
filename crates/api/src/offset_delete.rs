//! OffsetDelete (key 47), KIP-496.

use crate::Services;
use crate::offset_commit::{Checked, refusal};
use group::DeleteOffsets;
use types::{ErrorCode, limits};
use wire::messages::offset_delete_request::OffsetDeleteRequest;
use wire::messages::offset_delete_response::{
    OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};

/// The coordinator is asked in any case: it may not know the group.
pub(crate) async fn answer(services: &Services, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let named: usize = request.topics.iter().map(|topic| topic.partitions.len()).sum();
    let failed = |code: ErrorCode| OffsetDeleteResponse::default().with_error_code(code.code());
    if request.group_id.is_empty() {
        return failed(ErrorCode::InvalidGroupId);
    }
    if named > limits::REQUEST_PARTITIONS_MAX {
        return failed(ErrorCode::InvalidRequest);
    }
    let Checked { asked, refusals } = check(services, &request);
    let delete = DeleteOffsets {
        group_id: request.group_id.to_string(),
        topics: asked,
    };
    let deleted = match services.groups.delete_offsets(delete).await {
        Ok(deleted) => deleted,
        Err(code) => return failed(code),
    };
    let mut codes = deleted
        .into_iter()
        .flat_map(|(_, partitions)| partitions)
        .map(|(_, code)| code);
    let mut refusals = refusals.into_iter();
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic
            .partitions
            .iter()
            .zip(refusals.by_ref())
            .map(|(partition, refusal)| {
                let error = refusal.unwrap_or_else(|| codes.next().unwrap_or(ErrorCode::UnknownServerError));
                OffsetDeleteResponsePartition::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(error.code())
            });
        OffsetDeleteResponseTopic::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    OffsetDeleteResponse::default().with_topics(topics.collect())
}

fn check(services: &Services, request: &OffsetDeleteRequest) -> Checked<i32> {
    let image = services.image();
    let mut asked = Vec::new();
    let mut refusals = Vec::new();
    for topic in &request.topics {
        let found = image.topic(&topic.name.0).ok_or(ErrorCode::UnknownTopicOrPartition);
        let numbers: Vec<i32> = topic
            .partitions
            .iter()
            .map(|partition| partition.partition_index)
            .collect();
        refusals.extend(numbers.iter().map(|number| refusal(found, *number)));
        let there: Vec<i32> = numbers
            .into_iter()
            .filter(|number| refusal(found, *number).is_none())
            .collect();
        if !there.is_empty() {
            asked.push((topic.name.to_string(), there));
        }
    }
    Checked { asked, refusals }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_image::cluster;
    use crate::test_node::{TestNode, run};
    use wire::StrBytes;
    use wire::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};

    fn request(group: &'static str, topics: &[(&'static str, &[i32])]) -> OffsetDeleteRequest {
        let partition = |number: &i32| OffsetDeleteRequestPartition::default().with_partition_index(*number);
        let topic = |(name, partitions): &(&'static str, &[i32])| {
            OffsetDeleteRequestTopic::default()
                .with_name(StrBytes::from_static_str(name).into())
                .with_partitions(partitions.iter().map(partition).collect())
        };
        OffsetDeleteRequest::default()
            .with_group_id(StrBytes::from_static_str(group).into())
            .with_topics(topics.iter().map(topic).collect())
    }

    #[test]
    fn what_is_not_there_is_answered_without_the_coordinator_and_in_order() {
        let node = TestNode::new(cluster());
        node.groups.third.set(Some(ErrorCode::GroupSubscribedToTopic));
        let asked = request("g", &[("none", &[0]), ("orders", &[1, 7, 0]), ("payments", &[2])]);
        let response = run(answer(&node.services, asked));
        let topics = response.topics.iter();
        let told: Vec<_> = topics
            .flat_map(|t| {
                t.partitions
                    .iter()
                    .map(|p| (t.name.as_str(), p.partition_index, p.error_code))
            })
            .collect();
        assert_eq!(
            told,
            [
                ("none", 0, 3),
                ("orders", 1, 0),
                ("orders", 7, 3),
                ("orders", 0, 0),
                ("payments", 2, 86)
            ]
        );
        let expected = [("orders".to_owned(), vec![1, 0]), ("payments".to_owned(), vec![2])];
        assert_eq!(node.groups.offset_deletions.borrow()[0].topics, expected);
    }

    #[test]
    fn an_error_of_the_group_is_the_whole_answer() {
        let numbers: Vec<i32> = (0..=i32::try_from(limits::REQUEST_PARTITIONS_MAX).unwrap()).collect();
        let node = TestNode::new(cluster());
        node.groups.error.set(Some(ErrorCode::GroupIdNotFound));
        for (group, partitions, expected) in [("g", &[0][..], 69), ("", &[0], 24), ("g", &numbers, 42)] {
            let response = run(answer(&node.services, request(group, &[("orders", partitions)])));
            assert_eq!((response.error_code, response.topics.len()), (expected, 0));
        }
        assert_eq!(node.groups.offset_deletions.borrow().len(), 1);
    }
}
