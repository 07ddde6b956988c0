//! Parsers and planning by themselves, for the fuzz targets.

use crate::boot_stamp::BootStamp;
use crate::identity::IdentityFile;
use crate::options::ControlOptions;
use crate::planning::{Context, plan};
use metadata::{Endpoint, Image, Record};
use raft::pb;
use std::collections::BTreeMap;
use std::path::Path;
use types::{NodeId, Timings};

/// The records that the controller would propose for a request on this image.
#[must_use]
pub fn records(image: &Image, request: &pb::controller_request::Request) -> Vec<Record> {
    let nowhere = Endpoint::default();
    let options = ControlOptions {
        node_id: NodeId(1),
        rack: None,
        kafka_advertised: nowhere.clone(),
        replica: nowhere.clone(),
        control_listen: nowhere.clone(),
        control_advertised: nowhere,
        founders: Vec::new(),
        found_alone: false,
        directories: Vec::new(),
        cluster_id: None,
        shards: 1,
        metadata_dir: "/".into(),
        timings: Timings::LAN,
        defaults: BTreeMap::new(),
        leader_balance: None,
    };
    let context = Context {
        options: &options,
        random: 7,
        session_alive: &|_| false,
    };
    plan(image, request, &context).records
}

/// Opens the identity of node 1 in `directory` twice: what the first opening accepted, it wrote, and the second must
/// accept. Reads the boot stamp there too.
///
/// # Panics
/// If it does not.
pub fn open_identity(host: &host::HostRef, directory: &Path) {
    let _ = BootStamp::read(&*host.disk(), directory);
    if IdentityFile::open(host, directory, NodeId(1)).is_ok() {
        let again = IdentityFile::open(host, directory, NodeId(1));
        assert!(again.is_ok(), "{:?}", again.err());
    }
}
