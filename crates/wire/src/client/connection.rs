//! One connection to a broker.

use super::{decode_response, encode_request};
use crate::messages::{ApiVersionsRequest, RequestKind, ResponseKind};
use crate::{ApiKey, FrameReader, StrBytes, WireError, grammar::request_shape};
use std::collections::BTreeMap;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, ToSocketAddrs};
use types::ErrorCode;
use types::limits::SOCKET_REQUEST_BYTES_MAX;

/// Highest ApiVersions that is asked for first.
const API_VERSIONS_FIRST: i16 = 3;

/// What can go wrong in a request over a [`Connection`]. It is of no more use afterwards, except after
/// [`ConnectionError::NoCommonVersion`].
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The broker and this client have no version of the API in common.
    #[error("the broker has no version of {0:?} that this client knows")]
    NoCommonVersion(ApiKey),
    /// The broker closed the connection instead of answering.
    #[error("the broker closed the connection")]
    Closed,
    /// The answer belongs to another request, or is of another kind.
    #[error("the broker answered out of turn")]
    OutOfTurn,
    /// ApiVersions was refused.
    #[error("ApiVersions failed: {0}")]
    ApiVersions(ErrorCode),
    /// Bytes that do not fit the protocol, or the socket.
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// A connection that knows the broker's versions; one request at a time.
#[derive(Debug)]
pub struct Connection<S = TcpStream> {
    stream: S,
    reader: FrameReader,
    client_id: String,
    next_correlation: i32,
    versions: BTreeMap<i16, (i16, i16)>,
}

impl Connection<TcpStream> {
    /// Connects and asks for the broker's versions.
    ///
    /// # Errors
    /// See [`ConnectionError`].
    pub async fn connect(address: impl ToSocketAddrs, client_id: &str) -> Result<Self, ConnectionError> {
        let stream = TcpStream::connect(address).await.map_err(WireError::Io)?;
        stream.set_nodelay(true).map_err(WireError::Io)?;
        Self::over(stream, client_id).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Takes an open stream and asks for the broker's versions: first in version 3, and in version 0 if the
    /// broker is older (KIP-511).
    ///
    /// # Errors
    /// See [`ConnectionError`].
    pub async fn over(stream: S, client_id: &str) -> Result<Self, ConnectionError> {
        let reader = FrameReader::new(SOCKET_REQUEST_BYTES_MAX);
        let mut connection = Self {
            stream,
            reader,
            client_id: client_id.to_owned(),
            next_correlation: 0,
            versions: BTreeMap::new(),
        };
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("ottla"))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let mut answer = connection.api_versions(API_VERSIONS_FIRST, request).await?;
        if answer.error_code == ErrorCode::UnsupportedVersion.code() {
            answer = connection.api_versions(0, ApiVersionsRequest::default()).await?;
        }
        if answer.error_code != 0 {
            return Err(ConnectionError::ApiVersions(ErrorCode::from_code(answer.error_code)));
        }
        connection.versions = answer
            .api_keys
            .iter()
            .map(|k| (k.api_key, (k.min_version, k.max_version)))
            .collect();
        Ok(connection)
    }

    /// Highest version that both sides know.
    ///
    /// # Errors
    /// [`ConnectionError::NoCommonVersion`].
    pub fn version(&self, key: ApiKey) -> Result<i16, ConnectionError> {
        let ours = key.valid_versions();
        let common = self
            .versions
            .get(&(key as i16))
            .map(|(min, max)| (ours.min.max(*min), ours.max.min(*max)));
        match common {
            Some((min, max)) if min <= max && request_shape(key).is_some() => Ok(max),
            _ => Err(ConnectionError::NoCommonVersion(key)),
        }
    }

    /// Sends in the highest common version and waits for the answer. A Produce with `acks=0` has no answer and
    /// must not be sent this way.
    ///
    /// # Errors
    /// See [`ConnectionError`].
    pub async fn send(&mut self, key: ApiKey, request: &RequestKind) -> Result<ResponseKind, ConnectionError> {
        let version = self.version(key)?;
        self.send_version(key, version, request).await
    }

    /// As [`Connection::send`], in this version.
    ///
    /// # Errors
    /// See [`ConnectionError`].
    pub async fn send_version(
        &mut self,
        key: ApiKey,
        version: i16,
        request: &RequestKind,
    ) -> Result<ResponseKind, ConnectionError> {
        let frame = self.exchange(key, version, request).await?;
        self.answer(key, version, frame)
    }

    async fn exchange(
        &mut self,
        key: ApiKey,
        version: i16,
        request: &RequestKind,
    ) -> Result<bytes::Bytes, ConnectionError> {
        self.next_correlation = self.next_correlation.wrapping_add(1);
        let bytes = encode_request(key, version, self.next_correlation, &self.client_id, request)?;
        self.stream.write_all(&bytes).await.map_err(WireError::Io)?;
        self.stream.flush().await.map_err(WireError::Io)?;
        self.reader.next(&mut self.stream).await?.ok_or(ConnectionError::Closed)
    }

    fn answer(&self, key: ApiKey, version: i16, frame: bytes::Bytes) -> Result<ResponseKind, ConnectionError> {
        let (correlation, response) = decode_response(key, version, frame)?;
        if correlation != self.next_correlation {
            return Err(ConnectionError::OutOfTurn);
        }
        Ok(response)
    }

    /// A broker that does not know the version answers in version 0, whatever was asked.
    async fn api_versions(
        &mut self,
        version: i16,
        request: ApiVersionsRequest,
    ) -> Result<crate::messages::ApiVersionsResponse, ConnectionError> {
        let request = RequestKind::ApiVersions(request);
        let frame = self.exchange(ApiKey::ApiVersions, version, &request).await?;
        // The error code is the first field after the correlation id in every version.
        let unsupported = frame.get(4..6) == Some(&ErrorCode::UnsupportedVersion.code().to_be_bytes());
        match self.answer(ApiKey::ApiVersions, if unsupported { 0 } else { version }, frame)? {
            ResponseKind::ApiVersions(answer) => Ok(answer),
            _ => Err(ConnectionError::OutOfTurn),
        }
    }
}
