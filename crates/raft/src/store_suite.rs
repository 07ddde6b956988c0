//! openraft's own suite, on both stores.

use crate::log_storage::LogStorage;
use crate::state_machine::StateMachine;
use crate::store::RaftStore;
use crate::type_config::TypeConfig;
use crate::{RocksStore, SimStore};
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use std::sync::Arc;
use tempfile::TempDir;

struct Rocks;
struct Sim;

fn halves(store: Arc<dyn RaftStore>) -> (LogStorage, StateMachine) {
    let machine = StateMachine::load(store.clone()).unwrap();
    (LogStorage(store), machine)
}

impl StoreBuilder<TypeConfig, LogStorage, StateMachine, TempDir> for Rocks {
    async fn build(&self) -> Result<(TempDir, LogStorage, StateMachine), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let (log, machine) = halves(RocksStore::open(dir.path()).unwrap());
        Ok((dir, log, machine))
    }
}

impl StoreBuilder<TypeConfig, LogStorage, StateMachine, ()> for Sim {
    async fn build(&self) -> Result<((), LogStorage, StateMachine), StorageError<TypeConfig>> {
        let (log, machine) = halves(SimStore::new(1).reopen());
        Ok(((), log, machine))
    }
}

#[tokio::test]
async fn rocks_store_passes_openrafts_suite() {
    Suite::test_all(Rocks).await.unwrap();
}

#[tokio::test]
async fn sim_store_passes_openrafts_suite() {
    Suite::test_all(Sim).await.unwrap();
}
