use super::Log;
use crate::LogError;
use crate::checkpoint::{EPOCHS, epoch_checkpoint, export};
use crate::directory::lock;
use crate::marks::Entry;
use crate::meta_properties::print_uuid;
use crate::segment::Segment;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use types::{Offset, TopicId};
use uuid::Uuid;

/// What `partition.metadata` says (KIP-516).
pub(crate) fn partition_metadata(topic: TopicId) -> String {
    format!("version: 0\ntopic_id: {}\n", print_uuid(topic.0))
}

/// Kafka's name of a directory under deletion: at most 255 bytes, the topic is cut to fit.
pub(crate) fn deleted_path(directory: &Path, topic: &str, partition: i32, id: Uuid) -> PathBuf {
    let suffix = format!("-{partition}.{}-delete", id.as_simple());
    let kept = topic.len().min(255 - suffix.len());
    let name = topic.get(..kept).unwrap_or("topic");
    directory.join(format!("{name}{suffix}"))
}

impl Log {
    /// Makes directory, metadata and first segment, durably. The journal's create entry came before.
    pub(crate) fn create_files(&mut self) -> io::Result<()> {
        let disk = &self.dir.disk;
        disk.create_dir_all(&self.path)?;
        let metadata = partition_metadata(self.key.tp.topic);
        disk.write_durably(&self.path.join("partition.metadata"), metadata.as_bytes())?;
        if self.segments.is_empty() {
            self.segments
                .push(Segment::create(&self.dir, &self.path, self.log_start, &self.config)?);
        }
        disk.sync_dir(&self.path)?;
        disk.sync_dir(&self.dir.path)
    }

    /// Base offset and size of each segment, for retention.
    #[must_use]
    pub fn segment_sizes(&self) -> Vec<(Offset, u64)> {
        self.segments
            .iter()
            .map(|segment| (segment.base, segment.size))
            .collect()
    }

    /// Clean close: writes the active segment's index and the exports. Nothing is lost without it.
    ///
    /// # Errors
    /// The first failure of the disk.
    pub fn close(&mut self) -> io::Result<()> {
        if self.dir.is_offline() || self.corrupt.is_some() {
            return Ok(());
        }
        if let Some(active) = self.segments.last_mut()
            && let Some(index) = &mut active.index
        {
            index.finish();
            active.write_index(&self.dir)?;
        }
        self.export_epochs()
    }

    /// Writes `leader-epoch-checkpoint` for Kafka's tools.
    ///
    /// # Errors
    /// The first failure of the disk.
    pub fn export_epochs(&self) -> io::Result<()> {
        let path = self.path.join(EPOCHS);
        export(
            &*self.dir.disk,
            &path,
            &epoch_checkpoint(&self.epochs[..self.epochs_durable]),
        )
    }

    /// Removes the replica: durable when this returns; the files go after `file.delete.delay.ms`. The same topic partition may be
    /// created again at once, with another incarnation.
    ///
    /// # Errors
    /// [`LogError::Offline`].
    pub fn delete(self) -> Result<(), LogError> {
        let key = self.key;
        self.dir.journal(&[Entry::Delete { key }])?;
        lock(&self.dir.high_watermarks).remove(&(self.name.clone(), key.tp.partition));
        // Unique among all replicas that ever had this name, and known without asking for randomness.
        let id = Uuid::from_u64_pair(key.tp.topic.0.as_u64_pair().0, key.incarnation.0);
        let away = deleted_path(&self.dir.path, &self.name, key.tp.partition, id);
        let dir = self.dir.clone();
        dir.forget_files_below(&self.path);
        // Synced before anything of this name may be created again.
        dir.write("delete", || {
            if dir.disk.exists(&away) {
                dir.disk.remove_dir_all(&away)?;
            }
            dir.disk.rename(&self.path, &away)?;
            dir.disk.sync_dir(&dir.path)
        })?;
        dir.journal(&[Entry::Removed { key }])?;
        dir.remove_later([away], Duration::from_millis(self.config.file_delete_delay_ms));
        Ok(())
    }
}
