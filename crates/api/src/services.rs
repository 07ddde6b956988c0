use crate::control::Control;
use crate::data::Data;
use crate::fetch_session::FetchSessions;
use crate::groups::Groups;
use crate::listed_brokers::ListedBrokers;
use crate::memory_budget::MemoryBudget;
use crate::produce::KnownRules;
use crate::request_stats::RequestStats;
use crate::silence::Silence;
use crate::{ApiSettings, init_producer_id::ProducerIdBlock};
use host::{HostRef, Pool};
use metadata::Image;
use metadata::topic_config::Local;
use std::cell::{OnceCell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use types::{NodeId, limits};

/// What the handlers of one shard share.
pub struct Services {
    pub node_id: NodeId,
    pub host: HostRef,
    pub settings: Arc<ApiSettings>,
    pub data: Rc<dyn Data>,
    pub control: Rc<dyn Control>,
    pub groups: Rc<dyn Groups>,
    pub budget: Arc<MemoryBudget>,
    pub(crate) stats: Arc<RequestStats>,
    pub(crate) sessions: RefCell<FetchSessions>,
    pub(crate) producer_ids: RefCell<ProducerIdBlock>,
    /// Topics whose automatic creation is under way.
    pub(crate) creating: RefCell<BTreeSet<String>>,
    pub(crate) listed: RefCell<ListedBrokers>,
    pub(crate) rules: RefCell<KnownRules>,
    pub(crate) silence: Silence,
    batch_pool: OnceCell<Arc<dyn Pool>>,
    pub(crate) outsized_pool: OnceCell<Arc<dyn Pool>>,
}

impl Services {
    pub fn new(
        node_id: NodeId,
        host: HostRef,
        settings: Arc<ApiSettings>,
        budget: Arc<MemoryBudget>,
        data: Rc<dyn Data>,
        control: Rc<dyn Control>,
        groups: Rc<dyn Groups>,
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
            groups,
            budget,
            stats: Arc::default(),
            sessions: RefCell::new(FetchSessions::new(slots)),
            producer_ids: RefCell::default(),
            creating: RefCell::default(),
            rules: RefCell::default(),
            silence: Silence::default(),
            batch_pool: OnceCell::new(),
            outsized_pool: OnceCell::new(),
        })
    }

    /// What this broker alone says about the defaults of topics.
    pub(crate) fn local(&self) -> Local<'_> {
        Local {
            node: self.node_id,
            properties: &self.settings.given,
        }
    }

    /// Where batches go that are too much work for a shard; its threads start with the first of them.
    pub(crate) fn batch_pool(&self) -> &Arc<dyn Pool> {
        self.batch_pool
            .get_or_init(|| self.host.background_pool("batch-check", limits::BATCH_POOL_THREADS))
    }

    /// Where of these the ones go that decompress to more than [`limits::DECOMPRESSED_BYTES_ON_POOL`]: one at a time, while
    /// nothing else is to do.
    pub(crate) fn outsized_pool(&self) -> &Arc<dyn Pool> {
        self.outsized_pool
            .get_or_init(|| self.host.idle_pool("outsized-batch", 1))
    }

    #[must_use]
    pub fn image(&self) -> Arc<Image> {
        self.control.image()
    }
}
