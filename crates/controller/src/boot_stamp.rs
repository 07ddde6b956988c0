use crate::identity::IdentityError;
use crate::options::LogDirectory;
use host::{Disk, OpenMode};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use types::DirectoryId;

const FILE: &str = ".ottla_boot";
const VERSION: u32 = 1;
/// A longer file is not ours.
const BYTES_MAX: u64 = 4 * 1024;

/// The last start of the node that a log directory knows of.
///
/// ```text
/// version=1
/// lineage=<u32>   of the metadata directory (see `Identity`)
/// boots=<u32>
/// ```
///
/// It is durable in every log directory before `Identity::stamped` says so, and that before the node registers. So
/// a directory with an older stamp than the identity remembers is not the one that this node last wrote to: an
/// old copy was put in its place, and what it acknowledged since may be missing, however sound it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BootStamp {
    pub lineage: u32,
    pub boots: u32,
}

/// Log directories that turned out to be old copies. ◆ They keep their old stamps until a registration that
/// tells so is applied: a node that dies before that finds them out again.
#[derive(Debug, Clone, Default)]
pub(crate) struct OldCopies {
    paths: BTreeMap<DirectoryId, PathBuf>,
}

impl BootStamp {
    /// Stamps the directories, but for those whose stamp is older than start `stamped` of this lineage, or that are older
    /// for another reason (`shortened`).
    ///
    /// # Errors
    /// [`IdentityError::Stamp`].
    pub fn stamp(
        self,
        disk: &dyn Disk,
        directories: &[LogDirectory],
        stamped: u32,
        shortened: &BTreeSet<DirectoryId>,
    ) -> Result<OldCopies, IdentityError> {
        let mut old = OldCopies::default();
        // What has failed is left alone; when it is back it counts as an old copy.
        for directory in directories.iter().filter(|directory| directory.report.is_usable()) {
            let failed = |error| IdentityError::Stamp {
                path: directory.path.clone(),
                error,
            };
            let known = Self::read(disk, &directory.path)
                .map_err(failed)?
                .filter(|stamp| stamp.lineage == self.lineage)
                .map_or(0, |stamp| stamp.boots);
            let is_old = known < stamped || shortened.contains(&directory.report.id);
            if is_old && !directory.new {
                old.paths.insert(directory.report.id, directory.path.clone());
            } else {
                self.write(disk, &directory.path).map_err(failed)?;
            }
        }
        Ok(old)
    }

    pub(crate) fn read(disk: &dyn Disk, directory: &Path) -> io::Result<Option<Self>> {
        let path = directory.join(FILE);
        if !disk.exists(&path) || disk.open(&path, OpenMode::Read)?.len()? > BYTES_MAX {
            return Ok(None);
        }
        let bytes = disk.read(&path)?;
        let text = String::from_utf8_lossy(&bytes);
        let number = |name: &str| -> Option<u32> {
            let mut lines = text.lines().filter_map(|line| line.split_once('='));
            lines.find(|(key, _)| *key == name)?.1.parse().ok()
        };
        if number("version") != Some(VERSION) {
            return Ok(None);
        }
        Ok(number("lineage")
            .zip(number("boots"))
            .map(|(lineage, boots)| Self { lineage, boots }))
    }

    fn write(self, disk: &dyn Disk, directory: &Path) -> io::Result<()> {
        let text = format!("version={VERSION}\nlineage={}\nboots={}\n", self.lineage, self.boots);
        disk.write_durably(&directory.join(FILE), text.as_bytes())
    }
}

impl OldCopies {
    pub fn contains(&self, directory: DirectoryId) -> bool {
        self.paths.contains_key(&directory)
    }

    pub fn ids(&self) -> impl Iterator<Item = DirectoryId> + '_ {
        self.paths.keys().copied()
    }

    /// Their replicas are out of ISR and ELR: from here on they are this node's again.
    ///
    /// # Errors
    /// [`IdentityError::Stamp`].
    pub fn take_back(&mut self, disk: &dyn Disk, stamp: BootStamp) -> Result<(), IdentityError> {
        for path in self.paths.values() {
            stamp.write(disk, path).map_err(|error| IdentityError::Stamp {
                path: path.clone(),
                error,
            })?;
        }
        self.paths.clear();
        Ok(())
    }
}
