use super::PlanError;
use crate::Image;
use std::collections::BTreeSet;
use types::{ErrorCode, NodeId};

/// Checks the replicas that a client chose for one partition of a topic with `factor` replicas each.
///
/// # Errors
/// `INVALID_REPLICA_ASSIGNMENT`, with Kafka's messages.
pub(super) fn check(image: &Image, partition: i32, replicas: &[NodeId], factor: usize) -> Result<(), PlanError> {
    check_brokers(image, replicas)?;
    if replicas.len() != factor {
        return invalid(format!(
            "The manual partition assignment includes a partition with {} replica(s), but this is not consistent with \
             previous partitions, which have {factor} replica(s).",
            replicas.len()
        ));
    }
    if !replicas.iter().any(|node| image.may_lead(*node)) {
        return invalid(format!(
            "All brokers specified in the manual partition assignment for partition {partition} are fenced or in \
             controlled shutdown."
        ));
    }
    Ok(())
}

/// Checks that replicas which a client chose are on brokers that there are.
///
/// # Errors
/// As [`check`].
pub(super) fn check_brokers(image: &Image, replicas: &[NodeId]) -> Result<(), PlanError> {
    if replicas.is_empty() {
        return invalid("The manual partition assignment includes an empty replica list.".into());
    }
    let mut sorted = replicas.to_vec();
    sorted.sort_unstable();
    let mut seen = BTreeSet::new();
    for node in sorted {
        if image.broker(node).is_none() {
            let message =
                format!("The manual partition assignment includes broker {node}, but no such broker is registered.");
            return invalid(message);
        }
        if !seen.insert(node) {
            return invalid(format!(
                "The manual partition assignment includes the broker {node} more than once."
            ));
        }
    }
    Ok(())
}

fn invalid(message: String) -> Result<(), PlanError> {
    Err(PlanError::new(ErrorCode::InvalidReplicaAssignment, message))
}
