use crate::connection::{self, Client};
use crate::connection_limits::ConnectionLimits;
use crate::request_stats::RequestStats;
use crate::{ApiSettings, MemoryBudget, Services};
use host::Incoming;
use metadata::{Image, broker_config};
use security::Complaints;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use types::{Monotonic, NodeId, limits};

/// The surface of a node: what all its shards share.
#[derive(Debug)]
pub struct Api {
    pub settings: Arc<ApiSettings>,
    pub budget: Arc<MemoryBudget>,
    pub(crate) limits: Arc<ConnectionLimits>,
    /// Of each shard that has served a connection.
    stats: Mutex<Vec<Arc<RequestStats>>>,
    complaints: Complaints,
}

impl Api {
    #[must_use]
    pub fn new(settings: ApiSettings) -> Arc<Self> {
        let places = ConnectionLimits::new(&settings);
        Arc::new(Self {
            budget: Arc::new(MemoryBudget::new(
                settings.queued_max_request_bytes,
                limits::CONTROL_MEMORY_BYTES,
                limits::FETCH_MEMORY_BYTES,
            )),
            settings: Arc::new(settings),
            limits: places,
            stats: Mutex::default(),
            complaints: Complaints::default(),
        })
    }

    /// What this shard counts belongs to the node.
    pub(crate) fn count(&self, shard: Arc<RequestStats>) {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner).push(shard);
    }

    pub(crate) fn stats(&self) -> Vec<Arc<RequestStats>> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How long whoever has accepted a connection keeps it, and accepts no other, before it is served: what is set for the
    /// broker, for all, or in its properties, of the broker and of its one listener.
    ///
    /// Source: KIP-612.
    #[must_use]
    pub fn creation_delay(&self, image: &Image, me: NodeId, now: Monotonic) -> Duration {
        let rate = |name: &str| {
            broker_config::number(image, me, name).or_else(|| self.settings.properties.get(name)?.trim().parse().ok())
        };
        let rates = broker_config::CREATION_RATES.into_iter().filter_map(rate);
        let rate = rates.min().unwrap_or(u64::MAX);
        self.limits.delay(u32::try_from(rate).unwrap_or(u32::MAX), now)
    }

    /// Serves a connection on the calling shard until it ends. Who was refused or cut off is told in the log, and why, as
    /// far as [`Complaints`] lets it. Runs inside the shard's
    /// `LocalSet`.
    pub async fn serve(&self, services: Rc<Services>, incoming: Box<dyn Incoming>) {
        let peer = incoming.peer_addr();
        let ip = peer.ip().to_canonical();
        let _place = match self.limits.enter(ip) {
            Ok(place) => place,
            Err(why) => {
                if let Some(kept_back) = self.complaints.tell(ip, services.host.now()) {
                    tracing::warn!(%peer, why, kept_back, "connection refused");
                }
                return;
            }
        };
        let stream = match incoming.attach() {
            Ok(stream) => stream,
            Err(error) => {
                tracing::debug!(%peer, %error, "connection lost before it was served");
                return;
            }
        };
        let mut client = Client {
            address: Some(ip),
            ..Client::default()
        };
        let why = connection::serve(&services, stream, &mut client).await;
        let (client_id, requests) = (client.id.as_deref(), client.requests);
        let (api_key, correlation_id) = client.last.unzip();
        if !why.is_unusual() {
            tracing::debug!(%peer, client_id, requests, api_key, correlation_id, %why, "connection closed");
        } else if let Some(kept_back) = self.complaints.tell(ip, services.host.now()) {
            tracing::warn!(%peer, client_id, requests, api_key, correlation_id, %why, kept_back, "connection closed");
        }
    }
}
