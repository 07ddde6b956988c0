//! `ottla group list`.

use crate::client::{ClientError, Cluster};
use crate::commands::Format;
use crate::commands::table::table;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;
use wire::messages::list_groups_response::ListedGroup;
use wire::messages::{ListGroupsRequest, RequestKind, ResponseKind};
use wire::{ApiKey, StrBytes};

/// How long a node is waited for that still reads what groups it has.
const PATIENCE: Duration = Duration::from_secs(20);
const BACKOFF: Duration = Duration::from_millis(100);

/// Every node knows the groups that it coordinates.
pub(super) async fn list(cluster: &mut Cluster, format: Format, state: Option<String>) -> anyhow::Result<()> {
    cluster.topics(Some(&[]), false).await?;
    let nodes: Vec<i32> = cluster.brokers().keys().copied().collect();
    let mut groups = BTreeMap::new();
    for node in nodes {
        let listed = of_node(cluster, node, state.as_ref()).await?;
        groups.extend(listed.into_iter().map(|group| (group.group_id.to_string(), group)));
    }
    match format {
        Format::Text => {
            let row = |(id, group): (&String, &ListedGroup)| {
                vec![
                    id.clone(),
                    group.group_state.to_string(),
                    group.protocol_type.to_string(),
                ]
            };
            let rows: Vec<Vec<String>> = groups.iter().map(row).collect();
            print!("{}", table(&["GROUP", "STATE", "PROTOCOL"], &rows));
        }
        Format::Json => {
            let one = |(id, group): (&String, &ListedGroup)| json!({"group": id, "state": group.group_state.as_str(), "protocol_type": group.protocol_type.as_str()});
            let list: Vec<_> = groups.iter().map(one).collect();
            println!("{}", serde_json::to_string_pretty(&list)?);
        }
    }
    Ok(())
}

async fn of_node(cluster: &mut Cluster, node: i32, state: Option<&String>) -> Result<Vec<ListedGroup>, ClientError> {
    let states = state
        .map(|state| StrBytes::from_string(state.clone()))
        .into_iter()
        .collect();
    let request = RequestKind::ListGroups(ListGroupsRequest::default().with_states_filter(states));
    let started = Instant::now();
    loop {
        let answer = match cluster.call_node(node, ApiKey::ListGroups, 4, request.clone()).await? {
            ResponseKind::ListGroups(answer) => answer,
            _ => return Err(ClientError::Other("a wrong answer".into())),
        };
        match ClientError::check(format!("groups of node {node}"), answer.error_code, None) {
            Err(error) if error.is_retriable() && started.elapsed() < PATIENCE => tokio::time::sleep(BACKOFF).await,
            checked => return checked.map(|()| answer.groups),
        }
    }
}
