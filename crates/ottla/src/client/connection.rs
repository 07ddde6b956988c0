use super::ClientError;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::net::TcpStream;
use wire::messages::{ApiVersionsRequest, RequestKind, ResponseKind};
use wire::{ApiKey, FrameReader};

/// Time for a connection to be made.
const CONNECT: Duration = Duration::from_secs(3);
/// Time for one answer; the server's own limits are shorter.
const ANSWER: Duration = Duration::from_secs(40);
/// The same where it waits for all members of a group: as long as they may take, and that is Kafka's default
/// (`max.poll.interval.ms`) for the most patient.
const JOINED: Duration = Duration::from_secs(320);
/// Largest answer accepted.
const ANSWER_BYTES_MAX: usize = 128 * 1024 * 1024;

/// One connection to one node, one request at a time.
pub struct Connection {
    address: String,
    stream: TcpStream,
    reader: FrameReader,
    correlation: i32,
    versions: BTreeMap<i16, (i16, i16)>,
}

impl Connection {
    /// Connects and asks for the versions that the node serves.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`].
    pub async fn open(address: &str) -> Result<Self, ClientError> {
        let unreachable = |error: &dyn std::fmt::Display| ClientError::Unreachable(format!("{address}: {error}"));
        let stream = tokio::time::timeout(CONNECT, TcpStream::connect(address))
            .await
            .map_err(|_| unreachable(&"timed out"))?
            .map_err(|error| unreachable(&error))?;
        stream.set_nodelay(true).map_err(|error| unreachable(&error))?;
        let mut connection = Self {
            address: address.to_owned(),
            stream,
            reader: FrameReader::new(ANSWER_BYTES_MAX),
            correlation: 0,
            versions: BTreeMap::new(),
        };
        let answer = connection
            .exchange(
                ApiKey::ApiVersions,
                0,
                &RequestKind::ApiVersions(ApiVersionsRequest::default()),
            )
            .await?;
        if let ResponseKind::ApiVersions(answer) = answer {
            connection.versions = answer
                .api_keys
                .iter()
                .map(|k| (k.api_key, (k.min_version, k.max_version)))
                .collect();
        }
        Ok(connection)
    }

    /// Sends `request` in the newest version up to `max` that both sides speak and waits for the answer.
    ///
    /// # Errors
    /// [`ClientError::Broken`] after which the connection is of no more use; [`ClientError::Version`].
    pub async fn call(&mut self, key: ApiKey, max: i16, request: RequestKind) -> Result<ResponseKind, ClientError> {
        let version = match self.versions.get(&(key as i16)) {
            Some((low, high)) if *low <= max => max.min(*high),
            _ => return Err(ClientError::Version(self.address.clone(), key)),
        };
        self.exchange(key, version, &request).await
    }

    async fn exchange(
        &mut self,
        key: ApiKey,
        version: i16,
        request: &RequestKind,
    ) -> Result<ResponseKind, ClientError> {
        use tokio::io::AsyncWriteExt;
        let address = self.address.clone();
        let broken = |error: String| ClientError::Broken(address.clone(), error);
        self.correlation = self.correlation.wrapping_add(1);
        let frame = wire::client::encode_request(key, version, self.correlation, "ottla", request)
            .map_err(|error| broken(error.to_string()))?;
        self.stream
            .write_all(&frame)
            .await
            .map_err(|error| broken(error.to_string()))?;
        let patience = if key == ApiKey::JoinGroup { JOINED } else { ANSWER };
        let frame = tokio::time::timeout(patience, self.reader.next(&mut self.stream))
            .await
            .map_err(|_| broken("no answer".into()))?
            .map_err(|error| broken(error.to_string()))?
            .ok_or_else(|| broken("closed by the node".into()))?;
        let (correlation, response) =
            wire::client::decode_response(key, version, frame).map_err(|error| broken(error.to_string()))?;
        if correlation != self.correlation {
            return Err(broken("the answer belongs to another request".into()));
        }
        Ok(response)
    }
}
