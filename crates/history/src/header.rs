use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of the format that this crate writes and reads.
const VERSION: u32 = 1;

/// The first line of a history: what run it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Of the format.
    #[serde(rename = "history")]
    pub version: u32,
    /// Nobody deletes records of these topics and no retention reaches them.
    #[serde(default)]
    pub keeps: bool,
    /// Each worker's sends to a partition keep the order of their invocations, however many are in flight.
    #[serde(default)]
    pub ordered: bool,
    /// Seed, settings, versions: repeated in the report.
    #[serde(flatten)]
    pub about: BTreeMap<String, serde_json::Value>,
}

impl Default for Header {
    fn default() -> Self {
        Self {
            version: VERSION,
            keeps: false,
            ordered: false,
            about: BTreeMap::new(),
        }
    }
}

impl Header {
    /// Whether this crate reads what follows.
    #[must_use]
    pub(crate) fn is_known(&self) -> bool {
        self.version == VERSION
    }

    /// The first line of a file.
    ///
    /// # Errors
    /// The writer's.
    pub fn write(&self, to: &mut impl std::io::Write) -> std::io::Result<()> {
        serde_json::to_writer(&mut *to, self)?;
        to.write_all(b"\n")
    }
}
