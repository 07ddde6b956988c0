use super::{Plan, PlanError};
use crate::{Image, Record, topic_config};
use std::collections::BTreeMap;
use topic_config::Effect;
use types::ErrorCode;

/// Founds the cluster, or raises its finalized `metadata.version`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SetCluster {
    pub cluster_id: String,
    pub metadata_version: u16,
    /// The founder's own properties among the synonyms of topic configs that planners decide with: they become the
    /// default of all brokers, because planners cannot use what differs from node to node. Others are ignored.
    pub broker_configs: BTreeMap<String, String>,
}

/// # Errors
/// `INCONSISTENT_CLUSTER_ID` where another one is recorded; `FEATURE_UPDATE_FAILED` for a lower version.
pub fn set_cluster(image: &Image, command: &SetCluster) -> Result<Plan<()>, PlanError> {
    let mut records = Vec::new();
    match &image.cluster_id {
        Some(recorded) if *recorded != command.cluster_id => {
            let message = format!("The cluster id is {recorded}, not {}", command.cluster_id);
            return Err(PlanError::new(ErrorCode::InconsistentClusterId, message));
        }
        Some(_) => {}
        None if command.cluster_id.is_empty() => {
            return Err(PlanError::new(ErrorCode::InvalidRequest, "The cluster id is empty"));
        }
        None => {
            records.push(Record::Cluster {
                cluster_id: command.cluster_id.clone(),
            });
            for (name, value) in &command.broker_configs {
                let valid = topic_config::find_synonym(name)
                    .is_some_and(|known| known.effect == Effect::Cluster && known.kind.check(name, value).is_ok());
                if valid {
                    let (name, value) = (name.clone(), Some(value.trim().to_owned()));
                    records.push(Record::BrokerConfig {
                        node_id: None,
                        name,
                        value,
                    });
                }
            }
        }
    }
    if command.metadata_version < image.metadata_version {
        let message = format!(
            "metadata.version cannot go from {} to {}",
            image.metadata_version, command.metadata_version
        );
        return Err(PlanError::new(ErrorCode::FeatureUpdateFailed, message));
    }
    if command.metadata_version > image.metadata_version {
        records.push(Record::MetadataVersion {
            version: command.metadata_version,
        });
    }
    Ok(Plan { records, response: () })
}
