//! A log directory that has failed takes its own replicas offline and nothing else: the controller is told.

use crate::shard::ShardRef;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use types::DirectoryId;

/// What a shard knows of directories that cannot be used.
#[derive(Default)]
pub(crate) struct Offline {
    /// The controller is being told: one report at a time.
    telling: Rc<Cell<bool>>,
    /// Directories of replicas that are not here, of which the log has told.
    missing: RefCell<BTreeSet<DirectoryId>>,
    /// Directories that had no room for a new replica.
    full: RefCell<BTreeSet<DirectoryId>>,
}

/// Tells the controller which directories have failed, again until the image has it: its answer may have been lost, and a
/// new registration of this broker knows nothing of it.
pub(crate) fn report_failed_directories(shard: &ShardRef) {
    let image = shard.image();
    let Some(registered) = image.broker(shard.links().node_id) else {
        return;
    };
    let telling = shard.offline().telling.clone();
    if telling.get() || shard.broker_epoch().is_none() {
        return;
    }
    let known = |id: &DirectoryId| {
        registered
            .directories
            .iter()
            .any(|report| report.id == *id && report.is_usable())
    };
    let failed: Vec<DirectoryId> = shard.broker().offline_directories().into_iter().filter(known).collect();
    if failed.is_empty() {
        return;
    }
    tracing::error!(directories = ?failed,
        "log directories have failed: telling the controller, so that other replicas lead. What was acknowledged is safe there; the node serves its other directories, \
         and these after a restart with sound disks");
    telling.set(true);
    let told = shard.broker().control_plane().offline_directories(failed);
    tokio::task::spawn_local(async move {
        if let Err(code) = told.await {
            tracing::warn!(
                ?code,
                "the controller did not take the report of failed log directories: told again"
            );
        }
        telling.set(false);
    });
}

/// ◆ A replica whose directory is not here is never made anew elsewhere (KIP-858): that would be a replica that forgot what
/// it acknowledged. Said once for each directory.
pub(crate) fn say_missing(shard: &ShardRef, directory: DirectoryId) {
    if shard.offline().missing.borrow_mut().insert(directory) {
        tracing::error!(%directory, "a log directory that holds replicas of this node is not here: they stay offline, and their other replicas lead. \
            Nothing is made anew elsewhere; bring the directory back and start the node again");
    }
}

/// A new replica found no room in its directory: it is made when there is some.
pub(crate) fn wait_for_room(shard: &ShardRef, directory: DirectoryId) {
    if shard.offline().full.borrow_mut().insert(directory) {
        tracing::warn!(%directory, "new replicas find no room in their log directory: they are made when there is some");
    }
}

/// Looks at the image again once there is room where a new replica found none.
pub(crate) fn make_where_there_is_room(shard: &ShardRef) {
    let mut full = shard.offline().full.borrow_mut();
    let waiting = full.len();
    full.retain(|id| shard.broker().directory(*id).is_some_and(|dir| dir.is_full()));
    if full.len() < waiting {
        shard.look_again();
    }
}
