use broker::Broker;
use controller::ControlHandle;
use metrics::Source;
use std::sync::Arc;
use tokio::sync::watch;

/// What there is of a node, told by whoever starts and stops it. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct NodeState(Arc<watch::Sender<Parts>>);

/// The parts of a node that are there.
#[derive(Clone, Default)]
pub(crate) struct Parts {
    /// What it is doing while it starts or stops, in words.
    pub doing: String,
    /// Orderly, and for good.
    pub stopping: bool,
    pub control: Option<ControlHandle>,
    pub broker: Option<Broker>,
    pub sources: Vec<Arc<dyn Source>>,
}

impl NodeState {
    /// A node of which nothing has started.
    #[must_use]
    pub fn new() -> Self {
        let doing = "starting".to_owned();
        Self(Arc::new(watch::Sender::new(Parts {
            doing,
            ..Parts::default()
        })))
    }

    /// What the node is doing now, as the end of "the node is …".
    pub fn doing(&self, what: &str) {
        self.0.send_modify(|parts| what.clone_into(&mut parts.doing));
    }

    /// The logs are recovered, and the control plane runs.
    pub fn started(&self, control: ControlHandle) {
        self.0.send_modify(|parts| parts.control = Some(control));
    }

    /// Clients are served.
    pub fn serves(&self, broker: &Broker) {
        self.0.send_modify(|parts| {
            parts.broker = Some(broker.clone());
            parts.sources.push(Arc::new(broker.clone()));
        });
    }

    /// More numbers for the page.
    pub fn add_source(&self, source: Arc<dyn Source>) {
        self.0.send_modify(|parts| parts.sources.push(source));
    }

    /// An orderly stop has begun.
    pub fn stopping(&self) {
        self.0.send_modify(|parts| {
            parts.stopping = true;
            "stopping: its leaders move to other nodes".clone_into(&mut parts.doing);
        });
    }

    pub(crate) fn parts(&self) -> watch::Receiver<Parts> {
        self.0.subscribe()
    }
}

impl Default for NodeState {
    fn default() -> Self {
        Self::new()
    }
}
