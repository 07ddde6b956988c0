//! An operator who takes votes away and gives them back.

use crate::client::Client;
use crate::machine::{FOUNDERS, KAFKA_PORT, name};
use crate::sim_host::SimHost;
use crate::workload::STRICT;
use host::sim_disk::SimDisk;
use metadata::Endpoint;
use raft::pb::controller_request::Request;
use raft::{FramedTransport, Transport, pb};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::sync::Arc;
use std::time::Duration;

const ANSWER: Duration = Duration::from_secs(2);
const CONTROL_PORT: u16 = KAFKA_PORT + 10_000;

struct Operator {
    client: Client,
    transport: FramedTransport,
    cluster_id: String,
}

pub async fn change(client: Client, seed: u64, until: Duration) {
    let mut random = SmallRng::seed_from_u64(seed);
    let host = SimHost::new(seed, SimDisk::new().handle(), Arc::default());
    let mut operator = Operator {
        client,
        transport: FramedTransport::new(Arc::new(host)),
        cluster_id: String::new(),
    };
    let now = || turmoil::sim_elapsed().unwrap_or_default();
    while now() < until {
        tokio::time::sleep(Duration::from_millis(random.random_range(2_000..12_000))).await;
        let node = random.random_range(0..FOUNDERS);
        // One at a time, so that a majority is left.
        operator.withhold(&mut random, node, true).await;
        tokio::time::sleep(Duration::from_millis(random.random_range(500..4_000))).await;
        while !operator.withhold(&mut random, node, false).await && now() < until + Duration::from_secs(15) {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

impl Operator {
    /// Whether it is noted.
    async fn withhold(&mut self, random: &mut SmallRng, node: usize, withheld: bool) -> bool {
        let asked = random.random_range(0..self.client.nodes());
        if self.cluster_id.is_empty() {
            self.cluster_id = self.client.cluster_id(asked, STRICT).await.unwrap_or_default();
        }
        let vote = pb::WithholdVoteRequest {
            node_id: i32::try_from(node).unwrap_or(-1),
            withheld,
        };
        let call = pb::CallRequest {
            envelope: Some(pb::Envelope {
                cluster_id: self.cluster_id.clone(),
                ..pb::Envelope::default()
            }),
            call: Some(pb::call_request::Call::Controller(pb::ControllerRequest {
                request: Some(Request::WithholdVote(vote)),
            })),
        };
        let at = Endpoint {
            host: name(asked),
            port: CONTROL_PORT,
        };
        let reply = self
            .transport
            .call(&at, call, ANSWER)
            .await
            .ok()
            .and_then(|reply| reply.reply);
        let Some(pb::call_reply::Reply::Controller(reply)) = reply else {
            return false;
        };
        matches!(reply.reply, Some(pb::controller_reply::Reply::WithholdVote(_)))
    }
}
