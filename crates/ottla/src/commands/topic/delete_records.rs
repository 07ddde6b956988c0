//! `ottla topic delete-records`.

use super::TIMEOUT_MS;
use crate::client::{ClientError, Cluster};
use crate::commands::Format;
use crate::commands::table::table;
use anyhow::bail;
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;
use types::ErrorCode;
use wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use wire::messages::{DeleteRecordsRequest, RequestKind, ResponseKind, TopicName};
use wire::{ApiKey, StrBytes};

/// How long a partition without its leader is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
const BACKOFF: Duration = Duration::from_millis(100);
/// DeleteRecords' offset for "all that is committed".
const HIGH_WATERMARK: i64 = -1;

/// Deletes the records of one partition before an offset, or all of a topic.
pub async fn delete_records(
    cluster: &mut Cluster,
    format: Format,
    name: &str,
    partition: Option<i32>,
    before: Option<i64>,
) -> anyhow::Result<()> {
    let topic = cluster.topic(name, false).await?;
    let partitions: Vec<i32> = match partition {
        Some(number) if topic.partitions.iter().all(|p| p.index != number) => bail!(
            "--partition {number}: topic {name} has the partitions 0 to {}",
            topic.partitions.len().saturating_sub(1)
        ),
        Some(number) => vec![number],
        None if before.is_some() => {
            bail!("--before: offsets are a partition's own, say which with --partition")
        }
        None => topic.partitions.iter().map(|p| p.index).collect(),
    };
    let mut deleted = Vec::new();
    for number in partitions {
        let started = Instant::now();
        let low_watermark = loop {
            match once(cluster, name, number, before.unwrap_or(HIGH_WATERMARK)).await {
                Err(error) if error.is_retriable() && started.elapsed() < PATIENCE => {
                    tokio::time::sleep(BACKOFF).await;
                }
                outcome => break outcome?,
            }
        };
        deleted.push((number, low_watermark));
    }
    match format {
        Format::Text => {
            let rows: Vec<Vec<String>> = deleted
                .iter()
                .map(|(p, low)| vec![p.to_string(), low.to_string()])
                .collect();
            print!("{}", table(&["PARTITION", "FIRST OFFSET"], &rows));
        }
        Format::Json => {
            let one = |(p, low): &(i32, i64)| json!({"partition": p, "first_offset": low});
            let list: Vec<_> = deleted.iter().map(one).collect();
            println!("{}", json!({"name": name, "partitions": list}));
        }
    }
    Ok(())
}

/// Asks the partition's leader of the moment; the answer is where the log begins.
async fn once(cluster: &mut Cluster, name: &str, partition: i32, before: i64) -> Result<i64, ClientError> {
    let topic = cluster.topic(name, false).await?;
    let what = format!("partition {partition} of topic {name}");
    let Some(found) = topic.partitions.iter().find(|p| p.index == partition) else {
        return Err(ClientError::Other(format!("{what} does not exist any more")));
    };
    let asked = DeleteRecordsPartition::default()
        .with_partition_index(partition)
        .with_offset(before);
    let topic = DeleteRecordsTopic::default()
        .with_name(TopicName(StrBytes::from_string(name.to_owned())))
        .with_partitions(vec![asked]);
    let request = DeleteRecordsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(TIMEOUT_MS);
    let request = RequestKind::DeleteRecords(request);
    let answer = cluster
        .call_node(found.leader, ApiKey::DeleteRecords, 2, request)
        .await?;
    let ResponseKind::DeleteRecords(answer) = answer else {
        return Err(ClientError::Other("a wrong answer".into()));
    };
    let mut results = answer.topics.iter().flat_map(|topic| &topic.partitions);
    let Some(result) = results.next() else {
        return Err(ClientError::Other(format!("{what}: no answer about it")));
    };
    let message = explained(ErrorCode::from_code(result.error_code), before);
    ClientError::check(what, result.error_code, message)?;
    Ok(result.low_watermark)
}

/// What to do about the errors that are the asker's.
fn explained(error: ErrorCode, before: i64) -> Option<String> {
    match error {
        ErrorCode::PolicyViolation => Some("its cleanup.policy is compact without delete".to_owned()),
        ErrorCode::OffsetOutOfRange => Some(format!("--before {before} is beyond what is committed")),
        _ => None,
    }
}
