//! DescribeLogDirs (key 35), KIP-113, KIP-827: the log directories of the broker that is asked, no other's.

use crate::Services;
use broker::{LogDirDescription, ReplicaSize};
use std::collections::{BTreeMap, BTreeSet};
use types::ErrorCode;
use wire::messages::TopicName;
use wire::messages::describe_log_dirs_request::DescribeLogDirsRequest;
use wire::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResponse, DescribeLogDirsResult, DescribeLogDirsTopic,
};

/// Where nobody knows how large the file system is.
const UNKNOWN_BYTES: i64 = -1;

/// Which replicas are asked for.
enum Wanted {
    All,
    Named(BTreeMap<String, BTreeSet<i32>>),
}

impl Wanted {
    fn has(&self, replica: &ReplicaSize) -> bool {
        match self {
            Self::All => true,
            Self::Named(topics) => topics
                .get(&replica.topic)
                .is_some_and(|partitions| partitions.contains(&replica.partition)),
        }
    }
}

/// Every directory, with the replicas in it that are asked for: all where no topics are named. One that is not here is
/// left out; a failed directory has its error and nothing else.
pub(crate) async fn answer(services: &Services, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse {
    let wanted = request.topics.map_or(Wanted::All, |topics| {
        let mut named: BTreeMap<String, BTreeSet<i32>> = BTreeMap::new();
        for topic in topics {
            named
                .entry(topic.topic.to_string())
                .or_default()
                .extend(topic.partitions);
        }
        Wanted::Named(named)
    });
    let directories = services.data.describe_log_dirs().await;
    let results = directories.into_iter().map(|dir| described(dir, &wanted));
    DescribeLogDirsResponse::default().with_results(results.collect())
}

fn described(directory: LogDirDescription, wanted: &Wanted) -> DescribeLogDirsResult {
    let result = DescribeLogDirsResult::default()
        .with_log_dir(directory.path.display().to_string().into())
        .with_total_bytes(UNKNOWN_BYTES)
        .with_usable_bytes(UNKNOWN_BYTES);
    if directory.failed {
        return result.with_error_code(ErrorCode::KafkaStorageError.code());
    }
    let mut topics: Vec<DescribeLogDirsTopic> = Vec::new();
    // By topic.
    for replica in directory.replicas.into_iter().filter(|replica| wanted.has(replica)) {
        // How far it is behind its own high watermark (Kafka's `getLogEndOffsetLag`): it never is.
        let partition = DescribeLogDirsPartition::default()
            .with_partition_index(replica.partition)
            .with_partition_size(bytes(replica.size_bytes));
        match topics.last_mut().filter(|topic| topic.name.as_str() == replica.topic) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(
                DescribeLogDirsTopic::default()
                    .with_name(TopicName(replica.topic.into()))
                    .with_partitions(vec![partition]),
            ),
        }
    }
    let result = result.with_topics(topics);
    match directory.space {
        Some(space) => result
            .with_total_bytes(bytes(space.total_bytes))
            .with_usable_bytes(bytes(space.free_bytes)),
        None => result,
    }
}

fn bytes(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_image::cluster;
    use crate::test_node::{TestNode, run};
    use host::DiskSpace;
    use std::path::PathBuf;
    use wire::messages::describe_log_dirs_request::DescribableLogDirTopic;

    fn replica(topic: &str, partition: i32, size_bytes: u64) -> ReplicaSize {
        ReplicaSize {
            topic: topic.to_owned(),
            partition,
            size_bytes,
        }
    }

    fn directory(path: &str, space: Option<(u64, u64)>, replicas: Vec<ReplicaSize>) -> LogDirDescription {
        LogDirDescription {
            path: PathBuf::from(path),
            failed: false,
            space: space.map(|(free_bytes, total_bytes)| DiskSpace {
                free_bytes,
                total_bytes,
            }),
            replicas,
        }
    }

    /// (path, error, total, usable, replicas with their sizes)
    type Row = (String, i16, i64, i64, Vec<(String, i64)>);

    fn rows(request: DescribeLogDirsRequest) -> Vec<Row> {
        let node = TestNode::new(cluster());
        let failed = LogDirDescription {
            failed: true,
            ..directory("/b", None, Vec::new())
        };
        let replicas = vec![
            replica("orders", 0, 10),
            replica("orders", 1, 0),
            replica("payments", 2, 9),
        ];
        *node.data.log_dirs.borrow_mut() = vec![
            directory("/c", Some((3, u64::MAX)), replicas),
            failed,
            directory("/a", None, vec![replica("payments", 0, 7)]),
        ];
        let response = run(answer(&node.services, request));
        assert_eq!(response.error_code, 0);
        let row = |result: DescribeLogDirsResult| {
            let partitions = result.topics.iter().flat_map(|topic| {
                let one = |p: &DescribeLogDirsPartition| {
                    assert_eq!((p.offset_lag, p.is_future_key), (0, false));
                    (
                        format!("{}-{}", topic.name.as_str(), p.partition_index),
                        p.partition_size,
                    )
                };
                topic.partitions.iter().map(one)
            });
            (
                result.log_dir.to_string(),
                result.error_code,
                result.total_bytes,
                result.usable_bytes,
                partitions.collect(),
            )
        };
        response.results.into_iter().map(row).collect()
    }

    fn row(path: &str, numbers: (i16, i64, i64), replicas: &[(&str, i64)]) -> Row {
        let replicas = replicas.iter().map(|(name, size)| ((*name).to_owned(), *size));
        (path.to_owned(), numbers.0, numbers.1, numbers.2, replicas.collect())
    }

    #[test]
    fn every_directory_is_told_with_its_room_and_what_is_in_it() {
        let expected = [
            row(
                "/c",
                (0, i64::MAX, 3),
                &[("orders-0", 10), ("orders-1", 0), ("payments-2", 9)],
            ),
            row("/b", (56, -1, -1), &[]),
            row("/a", (0, -1, -1), &[("payments-0", 7)]),
        ];
        assert_eq!(rows(DescribeLogDirsRequest::default().with_topics(None)), expected);
    }

    #[test]
    fn only_what_is_named_is_told_and_of_an_empty_list_nothing() {
        let named = |topics: &[(&str, &[i32])]| {
            let topic = |(name, partitions): &(&str, &[i32])| {
                DescribableLogDirTopic::default()
                    .with_topic(TopicName((*name).to_owned().into()))
                    .with_partitions(partitions.to_vec())
            };
            let topics = topics.iter().map(topic).collect();
            rows(DescribeLogDirsRequest::default().with_topics(Some(topics)))
        };
        let told = |rows: Vec<Row>| rows.into_iter().map(|row| row.4).collect::<Vec<_>>();
        let found = named(&[
            ("orders", &[1, 7]),
            ("payments", &[0]),
            ("orders", &[0]),
            ("missing", &[0]),
        ]);
        assert_eq!(
            told(found)[0],
            [("orders-0".to_owned(), 10), ("orders-1".to_owned(), 0)]
        );
        let found = named(&[("payments", &[0])]);
        assert_eq!(told(found), [vec![], vec![], vec![("payments-0".to_owned(), 7)]]);
        assert_eq!(told(named(&[])), [vec![], vec![], vec![]]);
    }
}
