use super::Common;
use crate::client::Cluster;
use crate::secret;
use crate::settings::host_port;
use anyhow::{Context, bail};
use controller::{ClusterStatus, Diagnosis};
use metadata::Endpoint;
use raft::pb;
use raft::pb::controller_reply::Reply;
use raft::pb::controller_request::Request;
use raft::pb::diagnose_request::Subject;
use raft::{CallError, TonicTransport, Transport};
use std::time::Duration;
use types::Timings;
use wire::ApiKey;
use wire::StrBytes;
use wire::messages::describe_configs_request::DescribeConfigsResource;
use wire::messages::{DescribeConfigsRequest, RequestKind, ResponseKind};

/// `ConfigResource.Type.BROKER`.
const BROKER: i8 = 4;
const CONTROL: &str = "control.advertised.listener";
const PATIENCE: Duration = Duration::from_secs(5);
/// Hints followed from one node to the next.
const HOPS: usize = 3;

/// Asks the controller. Kafka's protocol says which brokers there are and, as a broker config, where their control planes
/// listen; the rest goes over gRPC.
pub struct ControlClient {
    cluster: Cluster,
    transport: TonicTransport,
    /// Empty until a node has said it. What changes something names its cluster.
    cluster_id: String,
}

impl ControlClient {
    /// # Errors
    /// The secret cannot be read.
    pub fn new(common: &Common) -> anyhow::Result<Self> {
        let secret = common.cluster_secret.as_deref().map(secret::read).transpose()?;
        Ok(Self {
            cluster: Cluster::new(&common.bootstrap),
            transport: TonicTransport::new(Timings::LAN, secret),
            cluster_id: String::new(),
        })
    }

    /// What the controller sees, or any other node where there is none.
    ///
    /// # Errors
    /// No node answers.
    pub async fn status(&mut self) -> anyhow::Result<ClusterStatus> {
        let ask = |local| Request::ClusterStatus(pb::ClusterStatusRequest { local });
        let reply = match self.send(ask(false)).await? {
            Reply::NotController(_) => self.send(ask(true)).await?,
            reply => reply,
        };
        match reply {
            Reply::ClusterStatus(reply) => {
                self.cluster_id.clone_from(&reply.cluster_id);
                Ok(ClusterStatus::from_message(reply))
            }
            _ => bail!("a wrong answer"),
        }
    }

    /// Why something is as it is, as the controller knows, or any other node where there is none.
    ///
    /// # Errors
    /// No node answers, or it is too old to know.
    pub async fn diagnose(&mut self, subject: Subject) -> anyhow::Result<Diagnosis> {
        let ask = |local| {
            Request::Diagnose(pb::DiagnoseRequest {
                local,
                subject: Some(subject.clone()),
            })
        };
        let reply = match self.call(ask(false)).await? {
            Reply::NotController(_) => self.call(ask(true)).await?,
            reply => reply,
        };
        match reply {
            Reply::Diagnose(reply) => Ok(Diagnosis::from_message(reply)),
            _ => bail!("the node that answered does not know how to look for causes: it is older than this command"),
        }
    }

    /// What the node behind a control address says by itself.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn status_of(&mut self, at: &Endpoint) -> anyhow::Result<ClusterStatus> {
        let request = Request::ClusterStatus(pb::ClusterStatusRequest { local: true });
        match self.ask_at(at, &request).await? {
            Reply::ClusterStatus(reply) => Ok(ClusterStatus::from_message(reply)),
            _ => bail!("a wrong answer"),
        }
    }

    /// One call to the controller, by way of any node that answers. [`Reply::NotController`] where there is none now.
    ///
    /// # Errors
    /// No node answers.
    pub async fn call(&mut self, request: Request) -> anyhow::Result<Reply> {
        if self.cluster_id.is_empty() {
            self.status().await?;
        }
        self.send(request).await
    }

    async fn send(&mut self, request: Request) -> anyhow::Result<Reply> {
        self.cluster.topics(Some(&[]), false).await?;
        let brokers: Vec<i32> = self.cluster.brokers().keys().copied().collect();
        let mut last = anyhow::anyhow!("no broker is alive");
        for broker in brokers {
            match self.ask(broker, &request).await {
                Ok(reply) => return Ok(reply),
                Err(error) => last = error.context(format!("node {broker}")),
            }
        }
        Err(last)
    }

    async fn ask(&mut self, broker: i32, request: &Request) -> anyhow::Result<Reply> {
        let mut at = self.control_of(broker).await?;
        let mut hops = 0;
        loop {
            let reply = self.ask_at(&at, request).await?;
            // The controller knows most; any other node says who that is.
            let leader = match &reply {
                Reply::NotController(other) if hops < HOPS => other.leader.clone(),
                _ => None,
            };
            let Some(leader) = leader else { return Ok(reply) };
            hops += 1;
            at = Endpoint {
                host: leader.host,
                port: u16::try_from(leader.port).unwrap_or(0),
            };
        }
    }

    async fn ask_at(&mut self, at: &Endpoint, request: &Request) -> anyhow::Result<Reply> {
        let call = pb::CallRequest {
            envelope: Some(pb::Envelope {
                cluster_id: self.cluster_id.clone(),
                ..pb::Envelope::default()
            }),
            call: Some(pb::call_request::Call::Controller(pb::ControllerRequest {
                request: Some(request.clone()),
            })),
        };
        let reply = match self.transport.call(at, call, PATIENCE).await {
            Ok(reply) => reply,
            Err(error @ CallError::Unreachable(_)) => bail!(
                "its control plane at {at}: {error}. Where nodes have a cluster.secret, commands want it too: --cluster-secret FILE"
            ),
            Err(error) => bail!("its control plane at {at}: {error}"),
        };
        match reply.reply {
            Some(pb::call_reply::Reply::Controller(pb::ControllerReply { reply: Some(reply) })) => Ok(reply),
            _ => bail!("a wrong answer"),
        }
    }

    async fn control_of(&mut self, broker: i32) -> anyhow::Result<Endpoint> {
        let resource = DescribeConfigsResource::default()
            .with_resource_type(BROKER)
            .with_resource_name(StrBytes::from_string(broker.to_string()))
            .with_configuration_keys(Some(vec![StrBytes::from_static_str(CONTROL)]));
        let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
        let request = RequestKind::DescribeConfigs(request);
        let answer = self
            .cluster
            .call_node(broker, ApiKey::DescribeConfigs, 4, request)
            .await?;
        let ResponseKind::DescribeConfigs(answer) = answer else {
            bail!("a wrong answer")
        };
        let control = answer
            .results
            .iter()
            .flat_map(|result| &result.configs)
            .find(|config| &*config.name == CONTROL)
            .and_then(|config| config.value.as_ref())
            .context("it does not say where its control plane listens")?;
        let (host, port) = host_port(control).with_context(|| format!("{CONTROL}={control} is not host:port"))?;
        Ok(Endpoint { host, port })
    }
}
