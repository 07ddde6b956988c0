use crate::LogDirError;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use host::Disk;
use std::path::Path;
use types::{DirectoryId, NodeId};
use uuid::Uuid;

/// `meta.properties` of a log directory, version 1 (KIP-631, KIP-858):
///
/// ```text
/// version=1
/// cluster.id=MkU3OEVBNTcwNTJENDM2Qg
/// node.id=1
/// directory.id=4hZ6bWq1QXW7bJrS4lHm7A
/// ```
///
/// A directory of a node that has not been founded or joined yet lacks `cluster.id` and `node.id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaProperties {
    pub cluster_id: Option<String>,
    pub node_id: Option<NodeId>,
    pub directory_id: DirectoryId,
}

pub(crate) const FILE_NAME: &str = "meta.properties";

/// An id as Kafka prints it: URL-safe base64 without padding.
pub(crate) fn print_uuid(id: Uuid) -> String {
    URL_SAFE_NO_PAD.encode(id.as_bytes())
}

pub(crate) fn parse_uuid(text: &str) -> Option<Uuid> {
    let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?;
    Uuid::from_slice(&bytes).ok()
}

impl MetaProperties {
    pub(crate) fn to_text(&self) -> String {
        let mut text = String::from("version=1\n");
        if let Some(cluster) = &self.cluster_id {
            text += &format!("cluster.id={cluster}\n");
        }
        if let Some(node) = self.node_id {
            text += &format!("node.id={node}\n");
        }
        text + &format!("directory.id={}\n", print_uuid(self.directory_id.0))
    }

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (mut version, mut cluster_id, mut node_id, mut directory_id) = (None, None, None, None);
        for line in text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            let Some((key, value)) = line.split_once('=') else {
                return Err(format!("no '=' in {line:?}"));
            };
            match key.trim() {
                "version" => version = Some(value.trim().to_owned()),
                "cluster.id" => cluster_id = Some(value.trim().to_owned()),
                "node.id" => {
                    let id = value
                        .trim()
                        .parse()
                        .map_err(|_| format!("node.id {value:?} is not a number"))?;
                    node_id = Some(NodeId(id));
                }
                "directory.id" => {
                    let id = parse_uuid(value.trim()).ok_or_else(|| format!("directory.id {value:?} is no id"))?;
                    directory_id = Some(DirectoryId(id));
                }
                // Kafka adds properties now and then.
                _ => {}
            }
        }
        if version.as_deref() != Some("1") {
            return Err(format!("version {version:?} is not supported"));
        }
        let directory_id = directory_id.ok_or("directory.id is missing")?;
        Ok(Self {
            cluster_id,
            node_id,
            directory_id,
        })
    }

    /// The file's content; `None` if there is no file.
    pub(crate) fn read(disk: &dyn Disk, directory: &Path) -> Result<Option<Self>, LogDirError> {
        let path = directory.join(FILE_NAME);
        if !disk.exists(&path) {
            return Ok(None);
        }
        let bytes = disk.read(&path).map_err(|error| LogDirError::Io {
            path: path.clone(),
            error,
        })?;
        match Self::parse(&String::from_utf8_lossy(&bytes)) {
            Ok(properties) => Ok(Some(properties)),
            Err(problem) => Err(LogDirError::MetaProperties { path, problem }),
        }
    }

    pub(crate) fn write(&self, disk: &dyn Disk, directory: &Path) -> Result<(), LogDirError> {
        let path = directory.join(FILE_NAME);
        disk.write_durably(&path, self.to_text().as_bytes())
            .map_err(|error| LogDirError::Io { path, error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_as_kafka_does() {
        let properties = MetaProperties {
            cluster_id: Some("MkU3OEVBNTcwNTJENDM2Qg".to_owned()),
            node_id: Some(NodeId(3)),
            directory_id: DirectoryId(Uuid::from_u128(0xffff_ffff_ffff_4fff_bfff_ffff_ffff_ffff)),
        };
        let text = properties.to_text();
        assert_eq!(
            text,
            "version=1\ncluster.id=MkU3OEVBNTcwNTJENDM2Qg\nnode.id=3\ndirectory.id=________T_-__________w\n"
        );
        assert_eq!(MetaProperties::parse(&text), Ok(properties));
        for bad in [
            "",
            "version=0\ndirectory.id=________T_-__________w",
            "version=1",
            "version=1\nx",
            "version=1\ndirectory.id=?",
        ] {
            assert!(MetaProperties::parse(bad).is_err(), "{bad:?}");
        }
    }
}
