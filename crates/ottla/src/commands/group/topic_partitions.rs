use crate::client::{Cluster, Place};
use anyhow::bail;
use std::str::FromStr;

/// `orders`, or `orders:0,1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TopicPartitions {
    topic: String,
    /// `None`: all.
    partitions: Option<Vec<i32>>,
}

impl FromStr for TopicPartitions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((topic, numbers)) = text.split_once(':') else {
            return Ok(Self {
                topic: text.to_owned(),
                partitions: None,
            });
        };
        let number = |text: &str| text.trim().parse::<i32>().ok().filter(|number| *number >= 0);
        let partitions: Option<Vec<i32>> = numbers.split(',').map(number).collect();
        Ok(Self {
            topic: topic.to_owned(),
            partitions: Some(partitions.ok_or("wants TOPIC or TOPIC:0,1,…")?),
        })
    }
}

/// All that is meant; what does not exist is an error.
pub(super) async fn places(cluster: &mut Cluster, wanted: &[TopicPartitions]) -> anyhow::Result<Vec<Place>> {
    let mut places = Vec::new();
    for TopicPartitions { topic, partitions } in wanted {
        let there: Vec<i32> = cluster
            .topic(topic, false)
            .await?
            .partitions
            .iter()
            .map(|p| p.index)
            .collect();
        let partitions = partitions.as_ref().unwrap_or(&there);
        if let Some(missing) = partitions.iter().find(|number| !there.contains(number)) {
            bail!(
                "--topic {topic}:{missing}: topic {topic} has the partitions 0 to {}",
                there.len().saturating_sub(1)
            );
        }
        places.extend(partitions.iter().map(|number| (topic.clone(), *number)));
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_with_and_without_partitions() {
        let read = |text: &str| {
            text.parse::<TopicPartitions>()
                .map(|read| (read.topic, read.partitions))
        };
        assert_eq!(read("orders"), Ok(("orders".to_owned(), None)));
        assert_eq!(read("orders:2, 0"), Ok(("orders".to_owned(), Some(vec![2, 0]))));
        for wrong in ["orders:", "orders:x", "orders:-1", "orders:1,"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
