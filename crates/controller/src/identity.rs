use crate::boot_stamp::{BootStamp, OldCopies};
use crate::options::LogDirectory;
use host::{Disk, OpenMode};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use types::{DirectoryId, NodeId, RaftId};
use uuid::Uuid;

const FILE: &str = "identity.properties";
const VERSION: u32 = 1;
/// A longer file is not ours.
const BYTES_MAX: usize = 64 * 1024;

/// Who this node is, as its metadata directory remembers it. Durable before it is used: a Raft id that was
/// forgotten must never vote again, so a node without this file is a new member, whatever its `node.id`.
///
/// ```text
/// version=1
/// node.id=0
/// directory.id=<uuid>     the metadata directory; another one after a wipe
/// lineage=<u32>           random, one per life of the directory
/// boots=<u32>             starts of this directory; durable before each registration
/// stamped=<u32>           the last of them that every log directory knows of; 0 if absent
/// journal.<uuid>=<u64>    rounds that were seen durable in the journal of this log directory
/// cluster.id=…            absent: in no cluster
/// raft.id=…
/// founder=true|false      founded the cluster
/// initialized=true|false  the founder has written the first membership: never again
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub node_id: NodeId,
    pub directory_id: DirectoryId,
    pub lineage: u32,
    pub boots: u32,
    pub stamped: u32,
    pub journals: BTreeMap<DirectoryId, u64>,
    pub membership: Option<Membership>,
}

/// The cluster that the node belongs to and its number there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    pub cluster_id: String,
    pub raft_id: RaftId,
    pub founder: bool,
    pub initialized: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("{path}: {error}")]
    Io { path: PathBuf, error: io::Error },
    #[error(
        "the log directory {path} was read and cannot be written to: {error}. Check its disk; started again the node does without \
         it, as long as that is so"
    )]
    Stamp { path: PathBuf, error: io::Error },
    #[error(
        "{path} cannot be read: {problem}. It was damaged or written by something else; the node will not guess who it is. \
         Restore the file, or move its directory away: the node then joins as a new member and is sent the metadata"
    )]
    Malformed { path: PathBuf, problem: String },
    #[error(
        "{path} belongs to node.id={found}, and this node is configured with node.id={configured}. Give the node its own \
         metadata.log.dir, or its own number"
    )]
    OtherNode {
        path: PathBuf,
        found: NodeId,
        configured: NodeId,
    },
}

/// The identity and the file it lives in. Calls block for a sync of a small file.
pub struct IdentityFile {
    path: PathBuf,
    disk: std::sync::Arc<dyn Disk>,
    identity: Identity,
}

impl IdentityFile {
    /// Reads the identity in `directory`, or makes a new one, counts this start and makes that durable.
    ///
    /// # Errors
    /// [`IdentityError`]: the disk, a damaged file, a directory of another node.
    pub fn open(host: &host::HostRef, directory: &Path, node_id: NodeId) -> Result<Self, IdentityError> {
        let disk = host.disk();
        let path = directory.join(FILE);
        let io = |error| IdentityError::Io {
            path: path.clone(),
            error,
        };
        disk.create_dir_durably(directory).map_err(io)?;
        let identity = match Identity::read(&*disk, directory, node_id)? {
            Some(known) => Identity {
                boots: known.boots.saturating_add(1),
                ..known
            },
            None => Identity {
                node_id,
                directory_id: DirectoryId(Uuid::from_u128(host.random_uuid())),
                lineage: (host.random_u64() >> 32) as u32,
                boots: 1,
                stamped: 0,
                journals: BTreeMap::new(),
                membership: None,
            },
        };
        let mut file = Self { path, disk, identity };
        file.write(file.identity.clone())?;
        Ok(file)
    }

    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Writes this start into the log directories, then remembers that they know of it. Returns those that do not
    /// know of the last start that was remembered so, or whose journal is shorter than it was: old copies. To be called
    /// before the registration.
    ///
    /// # Errors
    /// [`IdentityError::Stamp`]: a log directory that failed since it was recovered. [`IdentityError::Io`].
    pub(crate) fn stamp(&mut self, directories: &[LogDirectory]) -> Result<OldCopies, IdentityError> {
        let disk = self.disk.clone();
        let known = |directory: &LogDirectory| self.identity.journals.get(&directory.report.id).copied();
        let shortened = |directory: &&LogDirectory| known(directory).is_some_and(|known| directory.sequence < known);
        let shortened = directories.iter().filter(shortened);
        let shortened = shortened.map(|directory| directory.report.id).collect();
        let old = self
            .boot_stamp()
            .stamp(&*disk, directories, self.identity.stamped, &shortened)?;
        let mut journals = self.identity.journals.clone();
        journals.retain(|id, _| directories.iter().any(|directory| directory.report.id == *id));
        self.write(Identity {
            stamped: self.identity.boots,
            journals,
            ..self.identity.clone()
        })?;
        Ok(old)
    }

    /// Remembers how far the journals of log directories have come; nothing is written where that is known. ◆ Not before a
    /// registration that tells of old copies is applied: their journals are shorter than what is remembered.
    ///
    /// # Errors
    /// [`IdentityError::Io`]; what was remembered stays.
    pub(crate) fn remember(&mut self, sequences: &BTreeMap<DirectoryId, u64>) -> Result<(), IdentityError> {
        let mut journals = self.identity.journals.clone();
        journals.extend(sequences);
        if journals == self.identity.journals {
            return Ok(());
        }
        self.write(Identity {
            journals,
            ..self.identity.clone()
        })
    }

    pub(crate) fn boot_stamp(&self) -> BootStamp {
        BootStamp {
            lineage: self.identity.lineage,
            boots: self.identity.boots,
        }
    }

    /// Makes the membership durable, then remembers it.
    ///
    /// # Errors
    /// [`IdentityError::Io`]; nothing is remembered then, and the caller must not go on.
    pub fn set_membership(&mut self, membership: Membership) -> Result<(), IdentityError> {
        self.write(Identity {
            membership: Some(membership),
            ..self.identity.clone()
        })
    }

    fn write(&mut self, identity: Identity) -> Result<(), IdentityError> {
        self.disk
            .write_durably(&self.path, identity.to_text().as_bytes())
            .map_err(|error| IdentityError::Io {
                path: self.path.clone(),
                error,
            })?;
        self.identity = identity;
        Ok(())
    }
}

impl Identity {
    /// The number of one start of this directory: `lineage (32) | boots (32) | random (64)`.
    #[must_use]
    pub fn incarnation(&self, random: u64) -> u128 {
        (u128::from(self.lineage) << 96) | (u128::from(self.boots) << 64) | u128::from(random)
    }

    /// What the metadata directory remembers, changing nothing; `None` if it has never been that of a node.
    ///
    /// # Errors
    /// [`IdentityError`]: the disk, a damaged file, a directory of another node.
    pub fn read(disk: &dyn Disk, directory: &Path, node_id: NodeId) -> Result<Option<Self>, IdentityError> {
        let path = directory.join(FILE);
        if !disk.exists(&path) {
            return Ok(None);
        }
        let io = |error| IdentityError::Io {
            path: path.clone(),
            error,
        };
        let malformed = |problem| IdentityError::Malformed {
            path: path.clone(),
            problem,
        };
        let file = disk.open(&path, OpenMode::Read).map_err(io)?;
        if file.len().map_err(io)? > BYTES_MAX as u64 {
            return Err(malformed("it is too long".into()));
        }
        let bytes = disk.read(&path).map_err(io)?;
        let identity = Self::parse(&String::from_utf8_lossy(&bytes)).map_err(malformed)?;
        if identity.node_id != node_id {
            return Err(IdentityError::OtherNode {
                path,
                found: identity.node_id,
                configured: node_id,
            });
        }
        Ok(Some(identity))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let get = |name: &str| {
            text.lines()
                .filter_map(|line| line.split_once('='))
                .find(|(key, _)| key.trim() == name)
                .map(|(_, value)| value.trim().to_owned())
        };
        fn number<T: std::str::FromStr>(name: &str, value: Option<String>) -> Result<T, String> {
            value
                .ok_or_else(|| format!("{name} is missing"))?
                .parse()
                .map_err(|_| format!("{name} is no number"))
        }
        let version: u32 = number("version", get("version"))?;
        if version != VERSION {
            return Err(format!("its version is {version}, and this program knows {VERSION}"));
        }
        let directory: Uuid = number("directory.id", get("directory.id"))?;
        let membership = match get("cluster.id") {
            None => None,
            Some(cluster_id) if cluster_id.is_empty() => return Err("cluster.id is empty".into()),
            Some(cluster_id) => Some(Membership {
                cluster_id,
                raft_id: RaftId(number("raft.id", get("raft.id"))?),
                founder: number("founder", get("founder"))?,
                initialized: number("initialized", get("initialized"))?,
            }),
        };
        Ok(Self {
            node_id: NodeId(number("node.id", get("node.id"))?),
            directory_id: DirectoryId(directory),
            lineage: number("lineage", get("lineage"))?,
            boots: number("boots", get("boots"))?,
            stamped: match get("stamped") {
                None => 0,
                stamped => number("stamped", stamped)?,
            },
            journals: Self::parse_journals(text)?,
            membership,
        })
    }

    fn parse_journals(text: &str) -> Result<BTreeMap<DirectoryId, u64>, String> {
        let lines = text.lines().filter_map(|line| line.trim().strip_prefix("journal."));
        let journal = |line: &str| {
            let (id, sequence) = line.split_once('=')?;
            Some((DirectoryId(id.trim().parse().ok()?), sequence.trim().parse().ok()?))
        };
        lines
            .map(|line| journal(line).ok_or_else(|| format!("journal.{line} is no id and number")))
            .collect()
    }

    fn to_text(&self) -> String {
        let mut text = format!(
            "version={VERSION}\nnode.id={}\ndirectory.id={}\nlineage={}\nboots={}\nstamped={}\n",
            self.node_id, self.directory_id, self.lineage, self.boots, self.stamped
        );
        for (id, sequence) in &self.journals {
            text.push_str(&format!("journal.{}={sequence}\n", id.0));
        }
        if let Some(membership) = &self.membership {
            text.push_str(&format!(
                "cluster.id={}\nraft.id={}\nfounder={}\ninitialized={}\n",
                membership.cluster_id, membership.raft_id, membership.founder, membership.initialized
            ));
        }
        text
    }
}

/// Whether the registration on record is an earlier start of the directory that registers now, with no
/// start between them that the directory has forgotten. A restored disk image has forgotten some, and
/// counts as wiped; so does another lineage.
#[must_use]
pub fn remembers(recorded: u128, now: u128) -> bool {
    let lineage = |incarnation: u128| incarnation >> 96;
    let boots = |incarnation: u128| (incarnation >> 64) & 0xffff_ffff;
    recorded == now || (lineage(recorded) == lineage(now) && boots(recorded) < boots(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::RealHost;
    use std::sync::Arc;

    #[test]
    fn an_identity_survives_and_counts_its_starts() {
        let directory = tempfile::tempdir().unwrap();
        let host: host::HostRef = Arc::new(RealHost::new());
        let mut file = IdentityFile::open(&host, directory.path(), NodeId(3)).unwrap();
        assert_eq!((file.identity().boots, &file.identity().membership), (1, &None));
        let membership = Membership {
            cluster_id: "abc".into(),
            raft_id: RaftId(7),
            founder: false,
            initialized: false,
        };
        file.set_membership(membership.clone()).unwrap();
        let first = file.identity().clone();
        drop(file);

        let again = IdentityFile::open(&host, directory.path(), NodeId(3)).unwrap();
        assert_eq!(
            again.identity(),
            &Identity {
                boots: 2,
                membership: Some(membership),
                ..first
            }
        );
        assert!(matches!(
            IdentityFile::open(&host, directory.path(), NodeId(4)),
            Err(IdentityError::OtherNode { found: NodeId(3), .. })
        ));
    }

    #[test]
    fn a_damaged_identity_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let host: host::HostRef = Arc::new(RealHost::new());
        let good = IdentityFile::open(&host, directory.path(), NodeId(3))
            .unwrap()
            .identity()
            .to_text();
        let cases = [
            String::new(),
            good.replace("version=1", "version=9"),
            good.replace("lineage=", "lineage=x"),
            good.lines()
                .filter(|line| !line.starts_with("boots"))
                .collect::<Vec<_>>()
                .join("\n"),
            format!("{good}cluster.id=\n"),
            format!("{good}cluster.id=a\nraft.id=1\n"),
            "x".repeat(BYTES_MAX + 1),
        ];
        for case in cases {
            std::fs::write(directory.path().join(FILE), &case).unwrap();
            let opened = IdentityFile::open(&host, directory.path(), NodeId(3));
            assert!(matches!(opened, Err(IdentityError::Malformed { .. })), "{case}");
        }
    }

    #[test]
    fn a_restored_directory_does_not_remember() {
        let start = |lineage, boots, random| {
            Identity {
                node_id: NodeId(1),
                directory_id: DirectoryId::ZERO,
                lineage,
                boots,
                stamped: 0,
                journals: BTreeMap::new(),
                membership: None,
            }
            .incarnation(random)
        };
        // (recorded, now, remembers)
        let cases = [
            (start(1, 5, 9), start(1, 6, 2), true),
            (start(1, 5, 9), start(1, 9, 2), true),
            (start(1, 5, 9), start(1, 5, 9), true),
            (start(1, 5, 9), start(1, 5, 8), false),
            (start(1, 6, 9), start(1, 5, 8), false),
            (start(2, 5, 9), start(1, 6, 9), false),
        ];
        for (recorded, now, expected) in cases {
            assert_eq!(remembers(recorded, now), expected, "{recorded:x} {now:x}");
        }
    }

    /// ◆ An old copy of a log directory is found out, also if the node dies before it could tell anybody, and
    /// nothing else is taken for one. Fails if the old copy is stamped at once.
    #[test]
    fn an_old_copy_of_a_log_directory_is_found_out() {
        let root = tempfile::tempdir().unwrap();
        let host: host::HostRef = Arc::new(RealHost::new());
        let log_directory = |number: u128, new| {
            let path = root.path().join(format!("data-{number}"));
            std::fs::create_dir_all(&path).unwrap();
            let report = metadata::DirectoryReport {
                id: DirectoryId(Uuid::from_u128(number)),
                ..Default::default()
            };
            LogDirectory {
                path,
                new,
                sequence: 0,
                report,
                damaged: Vec::new(),
            }
        };
        let start = |directories: &[LogDirectory]| {
            let mut identity = IdentityFile::open(&host, &root.path().join("raft"), NodeId(1)).unwrap();
            let old = identity.stamp(directories).unwrap();
            (old, identity.boot_stamp())
        };
        let ids = |old: &OldCopies| old.ids().map(|id| id.0.as_u128()).collect::<Vec<_>>();
        let stamp_file = root.path().join("data-1/.ottla_boot");
        assert_eq!(ids(&start(&[log_directory(1, true)]).0), [0u128; 0]);
        let copy = std::fs::read(&stamp_file).unwrap();
        let both = [log_directory(1, false), log_directory(2, true)];
        assert_eq!(ids(&start(&both).0), [0u128; 0]);
        let both = [log_directory(1, false), log_directory(2, false)];
        assert_eq!(ids(&start(&both).0), [0u128; 0]);

        std::fs::write(&stamp_file, &copy).unwrap();
        assert_eq!(ids(&start(&both).0), [1]);
        let (mut old, stamp) = start(&both);
        assert_eq!(ids(&old), [1], "it died before it registered");
        old.take_back(&*host.disk(), stamp).unwrap();
        assert!(old.ids().next().is_none());
        assert_eq!(ids(&start(&both).0), [0u128; 0]);
        // No stamp at all, or none that can be read: not what was written last.
        std::fs::remove_file(&stamp_file).unwrap();
        assert_eq!(ids(&start(&both).0), [1]);
        std::fs::write(&stamp_file, "version=1\nlineage=x\nboots=99\n").unwrap();
        assert_eq!(ids(&start(&both).0), [1]);
        // A new metadata directory knows of nothing; the controller finds that out (`remembers`).
        std::fs::remove_dir_all(root.path().join("raft")).unwrap();
        assert_eq!(ids(&start(&both).0), [0u128; 0]);
    }

    /// ◆ An image of the same start is found out by its journal, also if the node dies before it could tell anybody. What is
    /// remembered of a directory that is no longer configured goes.
    #[test]
    fn an_old_copy_from_the_same_start_is_found_out() {
        let root = tempfile::tempdir().unwrap();
        let host: host::HostRef = Arc::new(RealHost::new());
        let id = |number: u128| DirectoryId(Uuid::from_u128(number));
        let log_directory = |number: u128, sequence| {
            let path = root.path().join(format!("data-{number}"));
            std::fs::create_dir_all(&path).unwrap();
            LogDirectory {
                path,
                new: sequence == 0,
                sequence,
                report: metadata::DirectoryReport {
                    id: id(number),
                    ..Default::default()
                },
                damaged: Vec::new(),
            }
        };
        let start = |directories: &[LogDirectory]| {
            let mut identity = IdentityFile::open(&host, &root.path().join("raft"), NodeId(1)).unwrap();
            let old = identity.stamp(directories).unwrap();
            (old, identity)
        };
        let ids = |old: &OldCopies| old.ids().map(|id| id.0.as_u128()).collect::<Vec<_>>();
        let (old, mut identity) = start(&[log_directory(1, 0), log_directory(2, 0)]);
        assert_eq!(ids(&old), [0u128; 0]);
        identity.remember(&BTreeMap::from([(id(1), 7), (id(2), 9)])).unwrap();

        assert_eq!(ids(&start(&[log_directory(1, 7), log_directory(2, 12)]).0), [0u128; 0]);
        assert_eq!(ids(&start(&[log_directory(1, 6), log_directory(2, 12)]).0), [1]);
        // It wrote rounds of its own in the start that died before it registered.
        let (mut old, mut identity) = start(&[log_directory(1, 8), log_directory(2, 12)]);
        assert_eq!(ids(&old), [1], "it died before it registered");
        old.take_back(&*host.disk(), identity.boot_stamp()).unwrap();
        identity.remember(&BTreeMap::from([(id(1), 3)])).unwrap();
        assert_eq!(ids(&start(&[log_directory(1, 4), log_directory(2, 12)]).0), [0u128; 0]);

        let (_, identity) = start(&[log_directory(2, 12)]);
        assert_eq!(identity.identity().journals, BTreeMap::from([(id(2), 9)]));
        let read = Identity::read(&*host.disk(), &root.path().join("raft"), NodeId(1))
            .unwrap()
            .unwrap();
        assert_eq!(&read, identity.identity());
        assert!(Identity::parse(&read.to_text().replace("=9", "=x")).is_err());
    }

    /// A log directory that failed after it was recovered is named, not the metadata directory, which is sound. Nothing is
    /// remembered of a start that it does not know of.
    #[test]
    fn a_log_directory_that_cannot_be_stamped_is_named() {
        let root = tempfile::tempdir().unwrap();
        let host: host::HostRef = Arc::new(RealHost::new());
        let path = root.path().join("data-1");
        let directory = LogDirectory {
            path: path.clone(),
            new: true,
            sequence: 0,
            report: metadata::DirectoryReport {
                id: DirectoryId(Uuid::from_u128(1)),
                ..Default::default()
            },
            damaged: Vec::new(),
        };
        let mut identity = IdentityFile::open(&host, &root.path().join("raft"), NodeId(1)).unwrap();
        let failed = identity.stamp(std::slice::from_ref(&directory)).map(drop);
        assert!(matches!(failed, Err(IdentityError::Stamp { path: named, .. }) if named == path));
        assert_eq!(identity.identity().stamped, 0);
        std::fs::create_dir(&path).unwrap();
        assert!(identity.stamp(&[directory]).unwrap().ids().next().is_none());
        assert_eq!(identity.identity().stamped, 1);
    }
}
