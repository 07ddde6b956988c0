use super::{ClientError, Cluster};
use std::time::Duration;
use tokio::time::Instant;
use types::ErrorCode;
use wire::messages::{FindCoordinatorRequest, RequestKind, ResponseKind};
use wire::{ApiKey, StrBytes};

/// How long a group without a coordinator is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
const BACKOFF: Duration = Duration::from_millis(100);

/// The node that keeps a group, looked for again when it moves.
pub struct Coordinator {
    group_id: String,
    node: Option<i32>,
}

impl Coordinator {
    #[must_use]
    pub fn new(group_id: &str) -> Self {
        Self {
            group_id: group_id.to_owned(),
            node: None,
        }
    }

    #[must_use]
    pub fn group_id(&self) -> &str {
        &self.group_id
    }

    /// As of the last call.
    #[must_use]
    pub fn node(&self) -> Option<i32> {
        self.node
    }

    /// Asks the coordinator, with patience while there is none. An answer may have any other error of Kafka's in it.
    ///
    /// # Errors
    /// [`ClientError`]; that there is no coordinator is one.
    pub async fn call(
        &mut self,
        cluster: &mut Cluster,
        key: ApiKey,
        max: i16,
        request: RequestKind,
    ) -> Result<ResponseKind, ClientError> {
        let started = Instant::now();
        loop {
            let outcome = self.once(cluster, key, max, request.clone()).await;
            match outcome {
                Err(error) if error.is_retriable() && started.elapsed() < PATIENCE => {}
                outcome => return outcome,
            }
            self.node = None;
            tokio::time::sleep(BACKOFF).await;
        }
    }

    async fn once(
        &mut self,
        cluster: &mut Cluster,
        key: ApiKey,
        max: i16,
        request: RequestKind,
    ) -> Result<ResponseKind, ClientError> {
        let node = match self.node {
            Some(node) => node,
            None => self.find(cluster).await?,
        };
        self.node = Some(node);
        let answer = cluster.call_node(node, key, max, request).await?;
        let error = error_of(&answer);
        match error {
            ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable | ErrorCode::CoordinatorLoadInProgress => {
                Err(self.failed(error))
            }
            _ => Ok(answer),
        }
    }

    async fn find(&self, cluster: &mut Cluster) -> Result<i32, ClientError> {
        let request = FindCoordinatorRequest::default().with_key(StrBytes::from_string(self.group_id.clone()));
        let answer = cluster
            .call(ApiKey::FindCoordinator, 3, RequestKind::FindCoordinator(request))
            .await?;
        let ResponseKind::FindCoordinator(answer) = answer else {
            return Err(ClientError::Other("a wrong answer".into()));
        };
        let error = ErrorCode::from_code(answer.error_code);
        if !error.is_none() {
            return Err(self.failed(error));
        }
        cluster.know(answer.node_id.0, format!("{}:{}", answer.host, answer.port));
        Ok(answer.node_id.0)
    }

    fn failed(&self, error: ErrorCode) -> ClientError {
        ClientError::Kafka {
            what: format!("group {}", self.group_id),
            error,
            message: None,
        }
    }
}

/// The first error in an answer about one group.
fn error_of(answer: &ResponseKind) -> ErrorCode {
    let code = match answer {
        ResponseKind::JoinGroup(answer) => answer.error_code,
        ResponseKind::SyncGroup(answer) => answer.error_code,
        ResponseKind::Heartbeat(answer) => answer.error_code,
        ResponseKind::LeaveGroup(answer) => answer.error_code,
        ResponseKind::OffsetFetch(answer) => answer.error_code,
        ResponseKind::OffsetDelete(answer) => answer.error_code,
        ResponseKind::DescribeGroups(answer) => answer.groups.first().map_or(0, |group| group.error_code),
        ResponseKind::DeleteGroups(answer) => answer.results.first().map_or(0, |group| group.error_code),
        ResponseKind::OffsetCommit(answer) => {
            let mut codes = answer
                .topics
                .iter()
                .flat_map(|topic| &topic.partitions)
                .map(|p| p.error_code);
            codes.find(|code| *code != 0).unwrap_or(0)
        }
        _ => 0,
    };
    ErrorCode::from_code(code)
}
