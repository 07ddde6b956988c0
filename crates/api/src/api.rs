use crate::connection::{self, Client};
use crate::connection_limits::ConnectionLimits;
use crate::{ApiSettings, MemoryBudget, Services};
use host::Incoming;
use std::rc::Rc;
use std::sync::Arc;

/// The surface of a node: what all its shards share.
#[derive(Debug)]
pub struct Api {
    pub settings: Arc<ApiSettings>,
    pub budget: Arc<MemoryBudget>,
    limits: Arc<ConnectionLimits>,
}

impl Api {
    #[must_use]
    pub fn new(settings: ApiSettings) -> Arc<Self> {
        let limits = ConnectionLimits::new(&settings);
        Arc::new(Self {
            settings: Arc::new(settings),
            budget: Arc::default(),
            limits,
        })
    }

    /// Serves a connection on the calling shard until it ends, and logs why it did. Runs inside the shard's
    /// `LocalSet`.
    pub async fn serve(&self, services: Rc<Services>, incoming: Box<dyn Incoming>) {
        let peer = incoming.peer_addr();
        let _place = match self.limits.enter(peer.ip()) {
            Ok(place) => place,
            Err(why) => {
                tracing::warn!(%peer, why, "connection refused");
                return;
            }
        };
        let stream = match incoming.attach() {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%peer, %error, "connection lost before it was served");
                return;
            }
        };
        let mut client = Client::default();
        let why = connection::serve(&services, stream, &mut client).await;
        tracing::info!(%peer, client_id = client.id.as_deref(), requests = client.requests, %why, "connection closed");
    }
}
