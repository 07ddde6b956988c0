use crate::convert::{
    FORMAT, decode, encode, snapshot_from_pb, snapshot_meta_from_pb, snapshot_meta_to_pb,
};
use crate::pb;
use crate::store::{RaftStore, Slot, Write};
use crate::type_config::{Applied, LogId, Proposal, Snapshot, SnapshotMeta, StoredMembership, TypeConfig};
use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use metadata::Image;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use std::io;
use std::sync::Arc;
use tokio::sync::watch;
use types::LogIndex;

/// The image, and how far the log made it. Everyone on the node reads it through a watch.
#[derive(Clone)]
pub struct StateMachine {
    store: Arc<dyn RaftStore>,
    image: watch::Sender<Arc<Image>>,
    applied: Option<LogId>,
    membership: StoredMembership,
}

impl StateMachine {
    /// Starts from the newest snapshot in the store; openraft applies the committed entries behind it.
    ///
    /// # Errors
    /// The snapshot cannot be read.
    pub fn load(store: Arc<dyn RaftStore>) -> io::Result<Self> {
        let (image, _) = watch::channel(Arc::new(Image::default()));
        let mut machine = Self { store, image, applied: None, membership: StoredMembership::default() };
        if let Some(bytes) = machine.store.get(Slot::Snapshot)? {
            machine.restore(&decode::<pb::Snapshot>(&bytes)?)?;
        }
        Ok(machine)
    }

    pub fn image(&self) -> watch::Receiver<Arc<Image>> {
        self.image.subscribe()
    }

    fn restore(&mut self, snapshot: &pb::Snapshot) -> io::Result<()> {
        let bad = |error: &dyn std::fmt::Display| io::Error::new(io::ErrorKind::InvalidData, error.to_string());
        let meta = snapshot.meta.as_ref().ok_or_else(|| bad(&"a snapshot without metadata"))?;
        let meta = snapshot_meta_from_pb(meta)?;
        let records = metadata::decode_records(&snapshot.records).map_err(|error| bad(&error))?;
        let image = Image::from_snapshot(LogIndex(snapshot.image_index), &records).map_err(|error| bad(&error))?;
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership;
        self.image.send_replace(Arc::new(image));
        Ok(())
    }

    fn snapshot(&self) -> pb::Snapshot {
        let image = self.image.borrow().clone();
        let meta = SnapshotMeta { last_log_id: self.applied, last_membership: self.membership.clone() };
        pb::Snapshot {
            meta: Some(snapshot_meta_to_pb(&meta)),
            image_index: image.index.0,
            records: Bytes::from(metadata::encode_records(&image.to_snapshot())),
        }
    }

    async fn keep(&self, snapshot: &pb::Snapshot) -> io::Result<()> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let write = Write::Set(Slot::Snapshot, encode(snapshot));
        self.store.write(
            vec![write],
            Box::new(move |outcome| {
                // Whoever waited may have been dropped with the node.
                let _ = sender.send(outcome);
            }),
        )?;
        receiver.await.map_err(|_| io::Error::other("the store has ended"))?
    }
}

/// Applies one proposal to `image`: all of its records or none, decided alike on every node.
fn apply(image: &mut Image, index: LogIndex, proposal: &Proposal) -> Applied {
    if image.index.0 != proposal.base {
        return Applied::Stale;
    }
    let records = match metadata::decode_records(&proposal.records) {
        Ok(records) => records,
        Err(error) => return Applied::Invalid(error.to_string()),
    };
    match image.apply_all(index, &records) {
        Ok(()) => Applied::Records,
        Err(error) => Applied::Invalid(error.to_string()),
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = Vec<u8>;
    type SnapshotBuilder = Self;

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
                    let outcome = apply(image, LogIndex(entry.log_id.index), &proposal);
                    if let Applied::Invalid(problem) = &outcome {
                        tracing::error!(index = entry.log_id.index, problem, "metadata records do not fit the image; nothing was changed");
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

    async fn get_snapshot_builder(&mut self) -> Self::SnapshotBuilder {
        self.clone()
    }

    async fn install_snapshot(&mut self, _meta: &SnapshotMeta, snapshot: Vec<u8>) -> io::Result<()> {
        let snapshot = decode::<pb::Snapshot>(&snapshot)?;
        self.keep(&snapshot).await?;
        self.restore(&snapshot)
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        match self.store.get(Slot::Snapshot)? {
            Some(bytes) => Ok(Some(snapshot_from_pb(&decode::<pb::Snapshot>(&bytes)?)?)),
            None => Ok(None),
        }
    }
}

impl RaftSnapshotBuilder<TypeConfig> for StateMachine {
    type SnapshotData = Vec<u8>;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let snapshot = self.snapshot();
        self.keep(&snapshot).await?;
        tracing::debug!(index = snapshot.image_index, format = FORMAT, "metadata snapshot");
        snapshot_from_pb(&snapshot)
    }
}
