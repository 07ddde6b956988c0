use crate::effect::Ticket;
use crate::record::MemberMetadata;
use crate::request::{JoinGroup, Protocol};
use bytes::Bytes;
use std::time::Duration;
use types::{Monotonic, limits};

/// What a member takes beside its strings and bytes.
const OVERHEAD: usize = 512;

/// A member of a classic group.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_timeout: Duration,
    pub(crate) rebalance_timeout: Duration,
    pub(crate) protocols: Vec<Protocol>,
    pub(crate) assignment: Bytes,
    pub(crate) awaiting_join: Option<Ticket>,
    pub(crate) awaiting_sync: Option<Ticket>,
    /// Its first join is not answered yet: it does not know its id and cannot send heartbeats.
    pub(crate) is_new: bool,
    /// End of its session.
    pub(crate) expires: Monotonic,
}

impl Member {
    /// A member that joins.
    pub(crate) fn new(request: &JoinGroup, id: String) -> Self {
        Self {
            id,
            instance_id: request.group_instance_id.clone(),
            client_id: request.client_id.clone(),
            client_host: request.client_host.clone(),
            session_timeout: millis(request.session_timeout_ms),
            rebalance_timeout: millis(request.rebalance_timeout_ms),
            protocols: request.protocols.clone(),
            assignment: Bytes::new(),
            awaiting_join: None,
            awaiting_sync: None,
            is_new: true,
            expires: Monotonic::default(),
        }
    }

    /// A member of a generation that was read from the log.
    pub(crate) fn loaded(record: MemberMetadata, protocol: Option<&str>) -> Self {
        let protocol = Protocol {
            name: protocol.unwrap_or_default().to_owned(),
            metadata: record.subscription,
        };
        Self {
            id: record.member_id,
            instance_id: record.group_instance_id,
            client_id: record.client_id,
            client_host: record.client_host,
            session_timeout: millis(record.session_timeout),
            rebalance_timeout: millis(record.rebalance_timeout),
            protocols: vec![protocol],
            assignment: record.assignment,
            awaiting_join: None,
            awaiting_sync: None,
            is_new: false,
            expires: Monotonic::default(),
        }
    }

    /// What a record says of it.
    pub(crate) fn record(&self, protocol: Option<&str>, assignment: Bytes) -> MemberMetadata {
        let timeout = |duration: Duration| i32::try_from(duration.as_millis()).unwrap_or(i32::MAX);
        MemberMetadata {
            member_id: self.id.clone(),
            group_instance_id: self.instance_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            rebalance_timeout: timeout(self.rebalance_timeout),
            session_timeout: timeout(self.session_timeout),
            subscription: self.metadata(protocol),
            assignment,
        }
    }

    /// What it said of a protocol; empty if it does not support it.
    pub(crate) fn metadata(&self, protocol: Option<&str>) -> Bytes {
        let known = self
            .protocols
            .iter()
            .find(|known| Some(known.name.as_str()) == protocol);
        known.map(|known| known.metadata.clone()).unwrap_or_default()
    }

    /// Bytes of memory that it takes.
    pub(crate) fn bytes(&self) -> usize {
        let protocols: usize = self.protocols.iter().map(protocol_bytes).sum();
        let names = self.id.len() + self.instance_id.as_ref().map_or(0, String::len);
        OVERHEAD + protocols + names + self.client_id.len() + self.client_host.len() + self.assignment.len()
    }
}

fn protocol_bytes(protocol: &Protocol) -> usize {
    protocol.name.len() + protocol.metadata.len() + size_of::<Protocol>()
}

/// Negative counts as none.
pub(crate) fn millis(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

impl JoinGroup {
    /// Bytes of memory that its member will take.
    pub(crate) fn bytes(&self) -> usize {
        let protocols: usize = self.protocols.iter().map(protocol_bytes).sum();
        let names = 2 * self.client_id.len() + 2 * self.group_instance_id.as_ref().map_or(0, String::len);
        OVERHEAD + protocols + names + self.client_host.len()
    }

    /// Whether every name fits into a record, and there are no more protocols than a member may have.
    pub(crate) fn fits(&self) -> bool {
        let short = |name: &str| name.len() <= i16::MAX as usize;
        let instance_id = self.group_instance_id.as_deref().unwrap_or_default();
        instance_id.len() <= limits::GROUP_INSTANCE_ID_BYTES_MAX
            && short(&self.member_id)
            && short(&self.protocol_type)
            && self.protocols.len() <= limits::GROUP_PROTOCOLS_MAX
            && self.protocols.iter().all(|protocol| short(&protocol.name))
    }
}
