//! Kafka's checkpoint files: text, a version, a count, then one line per entry.
//!
//! ```text
//! 0                 0
//! 2                 1
//! orders 0 4711     3 815          topic partition offset    |    epoch start
//! orders 1 99
//! ```

use host::Disk;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::path::Path;
use types::{LeaderEpoch, Offset};

/// The file of a log's epochs.
pub(crate) const EPOCHS: &str = "leader-epoch-checkpoint";

/// `replication-offset-checkpoint` and `log-start-offset-checkpoint`.
pub(crate) fn offset_checkpoint(offsets: &BTreeMap<(String, i32), Offset>) -> String {
    let mut text = format!("0\n{}\n", offsets.len());
    for ((topic, partition), offset) in offsets {
        let _ = writeln!(text, "{topic} {partition} {offset}");
    }
    text
}

/// `leader-epoch-checkpoint`.
pub(crate) fn epoch_checkpoint(epochs: &[(LeaderEpoch, Offset)]) -> String {
    let mut text = format!("0\n{}\n", epochs.len());
    for (epoch, start) in epochs {
        let _ = writeln!(text, "{epoch} {start}");
    }
    text
}

/// Lines after a correct head; `None` if the file is not whole.
fn lines(text: &str) -> Option<Vec<&str>> {
    let mut lines = text.lines();
    if lines.next()?.trim() != "0" {
        return None;
    }
    let count: usize = lines.next()?.trim().parse().ok()?;
    let rest: Vec<_> = lines.collect();
    (rest.len() == count).then_some(rest)
}

/// Reads an offset checkpoint; `None` if anything in it is wrong (it is an export: nothing depends on it).
#[must_use]
pub fn parse_offset_checkpoint(text: &str) -> Option<BTreeMap<(String, i32), Offset>> {
    lines(text)?
        .into_iter()
        .map(|line| {
            let mut words = line.split_whitespace();
            let (topic, partition) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
            let offset = words.next()?.parse().ok().filter(|offset| *offset >= 0)?;
            Some(((topic, partition), Offset(offset)))
        })
        .collect()
}

/// Reads an epoch checkpoint; `None` if anything in it is wrong.
#[must_use]
pub fn parse_epoch_checkpoint(text: &str) -> Option<Vec<(LeaderEpoch, Offset)>> {
    lines(text)?
        .into_iter()
        .map(|line| {
            let (epoch, start) = line.split_once(' ')?;
            Some((LeaderEpoch(epoch.parse().ok()?), Offset(start.parse().ok()?)))
        })
        .collect()
}

/// Replaces a file atomically but not durably: enough for an export.
pub(crate) fn export(disk: &dyn Disk, path: &Path, text: &str) -> io::Result<()> {
    export_bytes(disk, path, text.as_bytes())
}

/// See [`export`].
pub(crate) fn export_bytes(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let file = disk.open(&temporary, host::OpenMode::Create)?;
    file.set_len(0)?;
    file.write_all_at(bytes, 0)?;
    drop(file);
    disk.rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_have_kafkas_layout() {
        let offsets = BTreeMap::from([
            (("orders".to_owned(), 0), Offset(4711)),
            (("orders".to_owned(), 1), Offset(99)),
        ]);
        assert_eq!(offset_checkpoint(&offsets), "0\n2\norders 0 4711\norders 1 99\n");
        assert_eq!(parse_offset_checkpoint(&offset_checkpoint(&offsets)), Some(offsets));
        let epochs = [(LeaderEpoch(3), Offset(815)), (LeaderEpoch(5), Offset(900))];
        assert_eq!(epoch_checkpoint(&epochs), "0\n2\n3 815\n5 900\n");
        assert_eq!(
            parse_epoch_checkpoint(&epoch_checkpoint(&epochs)),
            Some(epochs.to_vec())
        );
        for bad in [
            "",
            "1\n0\n",
            "0\n2\norders 0 1\n",
            "0\n1\norders x 1\n",
            "0\n1\norders 0 -1\n",
        ] {
            assert_eq!(parse_offset_checkpoint(bad), None, "{bad:?}");
        }
    }
}
