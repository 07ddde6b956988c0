use crate::convert::{decode, snapshot_from_pb, snapshot_meta_from_pb, snapshot_meta_to_pb};
use crate::pb;
use crate::store::{Change, RaftStore, Slot};
use crate::type_config::{Applied, LogId, Proposal, Snapshot, SnapshotMeta, StoredMembership, TypeConfig};
use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use metadata::Image;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use std::fmt::Display;
use std::io;
use std::sync::Arc;
use tokio::sync::{Mutex, watch};
use types::LogIndex;

/// The image, and how far the log made it. Everyone on the node reads it through a watch.
pub struct StateMachine {
    store: Arc<dyn RaftStore>,
    image: watch::Sender<Arc<Image>>,
    applied: Option<LogId>,
    membership: StoredMembership,
    kept: Kept,
}

/// Last log id of the snapshot in the store. An older one, built while a newer arrived from the leader, must
/// not take its place: the entries between them are gone.
type Kept = Arc<Mutex<Option<LogId>>>;

/// What a snapshot describes, taken at one moment.
pub struct SnapshotBuilder {
    store: Arc<dyn RaftStore>,
    image: Arc<Image>,
    applied: Option<LogId>,
    membership: StoredMembership,
    kept: Kept,
}

fn invalid(problem: &dyn Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem.to_string())
}

/// What a snapshot says.
///
/// # Errors
/// It says nothing that this version understands.
pub fn read_snapshot(snapshot: &pb::Snapshot) -> io::Result<(SnapshotMeta, Image)> {
    let meta = snapshot
        .meta
        .as_ref()
        .ok_or_else(|| invalid(&"a snapshot without metadata"))?;
    let meta = snapshot_meta_from_pb(meta)?;
    let records = metadata::decode_records(&snapshot.records).map_err(|error| invalid(&error))?;
    let image = Image::from_snapshot(LogIndex(snapshot.image_index), &records).map_err(|error| invalid(&error))?;
    Ok((meta, image))
}

async fn keep(store: &Arc<dyn RaftStore>, kept: &Kept, last: Option<LogId>, bytes: &[u8]) -> io::Result<()> {
    let mut kept = kept.lock().await;
    if kept.is_some() && *kept >= last {
        return Ok(());
    }
    let puts = vec![(Slot::Snapshot, bytes.to_vec())];
    store
        .write(Change {
            puts,
            ..Change::default()
        })
        .await?;
    *kept = last;
    Ok(())
}

impl StateMachine {
    /// Starts from the newest snapshot in the store; openraft applies the committed entries behind it.
    ///
    /// # Errors
    /// The snapshot cannot be read.
    pub fn load(store: Arc<dyn RaftStore>) -> io::Result<Self> {
        let (image, _) = watch::channel(Arc::new(Image::default()));
        let (mut applied, mut membership) = (None, StoredMembership::default());
        if let Some(bytes) = store.read(Slot::Snapshot)? {
            let (meta, restored) = read_snapshot(&decode::<pb::Snapshot>(&bytes)?)?;
            (applied, membership) = (meta.last_log_id, meta.last_membership);
            image.send_replace(Arc::new(restored));
        }
        let kept = Arc::new(Mutex::new(applied));
        Ok(Self {
            store,
            image,
            applied,
            membership,
            kept,
        })
    }

    pub fn image(&self) -> watch::Receiver<Arc<Image>> {
        self.image.subscribe()
    }
}

/// Applies one proposal to `image`: all of its records or none, decided alike on every node.
///
/// # Errors
/// The records cannot be read: a newer version wrote them. The node has to stop, for skipping them would make
/// its image differ from the others'.
fn apply(image: &mut Image, index: LogIndex, proposal: &Proposal) -> io::Result<Applied> {
    if image.index.0 != proposal.base {
        return Ok(Applied::Stale);
    }
    let records = metadata::decode_records(&proposal.records).map_err(|error| invalid(&error))?;
    Ok(match image.apply_all(index, &records) {
        Ok(()) => Applied::Records,
        Err(error) => Applied::Invalid(error.to_string()),
    })
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = Vec<u8>;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        let mut image: Option<Image> = None;
        let mut answers = Vec::new();
        while let Some((entry, responder)) = entries.try_next().await? {
            self.applied = Some(entry.log_id);
            let outcome = match entry.payload {
                EntryPayload::Blank => Applied::Nothing,
                EntryPayload::Normal(proposal) => {
                    let image = image.get_or_insert_with(|| (**self.image.borrow()).clone());
                    let outcome = apply(image, LogIndex(entry.log_id.index), &proposal)?;
                    if let Applied::Invalid(problem) = &outcome {
                        tracing::error!(
                            index = entry.log_id.index,
                            problem,
                            "metadata records do not fit the image; nothing was changed"
                        );
                    }
                    outcome
                }
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(entry.log_id), membership);
                    Applied::Nothing
                }
            };
            if let Some(responder) = responder {
                answers.push((responder, outcome));
            }
        }
        // Whoever is answered finds the change in the image.
        if let Some(image) = image {
            self.image.send_replace(Arc::new(image));
        }
        for (responder, outcome) in answers {
            responder.send(outcome);
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder {
            store: self.store.clone(),
            image: self.image.borrow().clone(),
            applied: self.applied,
            membership: self.membership.clone(),
            kept: self.kept.clone(),
        }
    }

    async fn install_snapshot(&mut self, _meta: &SnapshotMeta, snapshot: Vec<u8>) -> io::Result<()> {
        let (meta, image) = read_snapshot(&decode::<pb::Snapshot>(&snapshot)?)?;
        keep(&self.store, &self.kept, meta.last_log_id, &snapshot).await?;
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership;
        self.image.send_replace(Arc::new(image));
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        match self.store.read(Slot::Snapshot)? {
            Some(bytes) => Ok(Some(snapshot_from_pb(&decode::<pb::Snapshot>(&bytes)?)?)),
            None => Ok(None),
        }
    }
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = Vec<u8>;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let meta = SnapshotMeta {
            last_log_id: self.applied,
            last_membership: self.membership.clone(),
        };
        let snapshot = pb::Snapshot {
            meta: Some(snapshot_meta_to_pb(&meta)),
            image_index: self.image.index.0,
            records: Bytes::from(metadata::encode_records(&self.image.to_snapshot())),
        };
        let snapshot = snapshot_from_pb(&snapshot)?;
        keep(&self.store, &self.kept, self.applied, &snapshot.snapshot).await?;
        tracing::debug!(
            index = self.image.index.0,
            bytes = snapshot.snapshot.len(),
            "metadata snapshot"
        );
        Ok(snapshot)
    }
}
