use crate::control::Control;
use crate::data::Data;
use crate::fetch_session::FetchSessions;
use crate::listed_brokers::ListedBrokers;
use crate::memory_budget::MemoryBudget;
use crate::{ApiSettings, init_producer_id::ProducerIdBlock};
use host::HostRef;
use metadata::Image;
use metadata::topic_config::Local;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use types::NodeId;

/// What the handlers of one shard share.
pub struct Services {
    pub node_id: NodeId,
    pub host: HostRef,
    pub settings: Arc<ApiSettings>,
    pub data: Rc<dyn Data>,
    pub control: Rc<dyn Control>,
    pub budget: Arc<MemoryBudget>,
    pub(crate) sessions: RefCell<FetchSessions>,
    pub(crate) producer_ids: RefCell<ProducerIdBlock>,
    /// Topics whose automatic creation is under way.
    pub(crate) creating: RefCell<BTreeSet<String>>,
    pub(crate) listed: RefCell<ListedBrokers>,
}

impl Services {
    pub fn new(
        node_id: NodeId,
        host: HostRef,
        settings: Arc<ApiSettings>,
        budget: Arc<MemoryBudget>,
        data: Rc<dyn Data>,
        control: Rc<dyn Control>,
    ) -> Rc<Self> {
        let slots = settings.max_incremental_fetch_session_cache_slots;
        let mut listed = ListedBrokers::default();
        listed.look(&control.image(), host.now());
        Rc::new(Self {
            listed: RefCell::new(listed),
            node_id,
            host,
            settings,
            data,
            control,
            budget,
            sessions: RefCell::new(FetchSessions::new(slots)),
            producer_ids: RefCell::default(),
            creating: RefCell::default(),
        })
    }

    /// What this broker alone says about the defaults of topics.
    pub(crate) fn local(&self) -> Local<'_> {
        Local {
            node: self.node_id,
            properties: &self.settings.given,
        }
    }

    #[must_use]
    pub fn image(&self) -> Arc<Image> {
        self.control.image()
    }
}
