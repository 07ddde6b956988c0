use crate::{Loss, Numbers};
use std::collections::{BTreeMap, VecDeque};
use std::ffi::{OsStr, OsString};

/// A change of a directory's names since its last sync.
#[derive(Debug, Clone)]
enum Change {
    Link { name: OsString, node: u64 },
    Unlink { name: OsString, node: u64 },
    Rename { from: OsString, to: OsString, node: u64 },
}

/// The names in one directory: those on disk, those that programs see, and the changes between the two.
#[derive(Debug, Default)]
pub struct Directory {
    durable: BTreeMap<OsString, u64>,
    current: BTreeMap<OsString, u64>,
    changes: VecDeque<Change>,
    /// Number of the first of the changes.
    first: u64,
}

impl Change {
    fn node(&self) -> u64 {
        match self {
            Self::Link { node, .. } | Self::Unlink { node, .. } | Self::Rename { node, .. } => *node,
        }
    }

    fn apply(&self, names: &mut BTreeMap<OsString, u64>) {
        match self {
            Self::Link { name, node } => {
                names.insert(name.clone(), *node);
            }
            Self::Unlink { name, node } => {
                if names.get(name) == Some(node) {
                    names.remove(name);
                }
            }
            Self::Rename { from, to, node } => {
                if names.get(from) == Some(node) {
                    names.remove(from);
                }
                names.insert(to.clone(), *node);
            }
        }
    }
}

impl Directory {
    #[must_use]
    pub fn get(&self, name: &OsStr) -> Option<u64> {
        self.current.get(name).copied()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.current.is_empty()
    }

    pub fn names(&self) -> impl Iterator<Item = (&OsString, u64)> {
        self.current.iter().map(|(name, node)| (name, *node))
    }

    /// Everything that a name here stands for or may stand for after a power loss.
    pub(crate) fn held(&self) -> impl Iterator<Item = u64> {
        let changed = self.changes.iter().map(Change::node);
        self.durable
            .values()
            .chain(self.current.values())
            .copied()
            .chain(changed)
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.current);
        self.changes.push_back(change);
    }

    pub fn link(&mut self, name: OsString, node: u64) {
        self.change(Change::Link { name, node });
    }

    pub fn unlink(&mut self, name: OsString, node: u64) {
        self.change(Change::Unlink { name, node });
    }

    /// Replaces what is at `to`, in one: a power loss leaves the old or the new.
    pub fn rename(&mut self, from: OsString, to: OsString, node: u64) {
        self.change(Change::Rename { from, to, node });
    }

    /// Where a sync that begins now will reach: later changes are not its.
    #[must_use]
    pub fn sync_begin(&self) -> u64 {
        self.first + self.changes.len() as u64
    }

    pub fn sync_end(&mut self, reach: u64) {
        while self.first < reach
            && let Some(change) = self.changes.pop_front()
        {
            change.apply(&mut self.durable);
            self.first += 1;
        }
    }

    /// Nothing unsynced was written.
    pub fn forget(&mut self, loss: &mut Loss) {
        loss.names_lost += self.changes.len() as u64;
        self.first += self.changes.len() as u64;
        self.changes.clear();
        self.current.clone_from(&self.durable);
    }

    /// Half of the losses keep the changes up to some point, as a journal would. The others keep, of each file's changes,
    /// those up to a point of its own: no rename is undone by halves, and nothing else is in order.
    pub fn lose(&mut self, numbers: &mut Numbers, loss: &mut Loss) {
        let changes = std::mem::take(&mut self.changes);
        self.first += changes.len() as u64;
        let ordered = numbers.below(2) == 0;
        let until = numbers.below(changes.len() as u64 + 1) as usize;
        let mut ended = std::collections::BTreeSet::new();
        for (index, change) in changes.iter().enumerate() {
            let kept = if ordered {
                index < until
            } else {
                !ended.contains(&change.node()) && numbers.below(2) == 0
            };
            if kept {
                change.apply(&mut self.durable);
                loss.names_kept += 1;
            } else {
                ended.insert(change.node());
                loss.names_lost += 1;
            }
        }
        self.current.clone_from(&self.durable);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Directory) -> Vec<(String, u64)> {
        directory
            .names()
            .map(|(name, node)| (name.to_string_lossy().into_owned(), node))
            .collect()
    }

    #[test]
    fn a_synced_name_stays_and_a_later_one_goes() {
        let mut directory = Directory::default();
        directory.link("a".into(), 1);
        let reach = directory.sync_begin();
        directory.link("b".into(), 2);
        directory.sync_end(reach);
        directory.forget(&mut Loss::default());
        assert_eq!(names(&directory), [("a".to_owned(), 1)]);
    }

    #[test]
    fn a_rename_over_a_name_leaves_the_old_or_the_new_and_each_at_times() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..100 {
            let mut directory = Directory::default();
            directory.link("a".into(), 1);
            directory.sync_end(directory.sync_begin());
            directory.link("a.tmp".into(), 2);
            directory.rename("a.tmp".into(), "a".into(), 2);
            directory.lose(&mut Numbers::new(seed), &mut Loss::default());
            let node = directory.get("a".as_ref()).unwrap();
            assert!(
                node == 1 || directory.get("a.tmp".as_ref()).is_none(),
                "the rename was done by halves"
            );
            seen.insert((node, directory.get("a.tmp".as_ref())));
        }
        assert_eq!(
            seen.into_iter().collect::<Vec<_>>(),
            [(1, None), (1, Some(2)), (2, None)]
        );
    }

    #[test]
    fn unsynced_names_of_different_files_are_kept_in_any_order() {
        let later_only = (0..100).any(|seed| {
            let mut directory = Directory::default();
            directory.link("first".into(), 1);
            directory.link("second".into(), 2);
            directory.lose(&mut Numbers::new(seed), &mut Loss::default());
            names(&directory) == [("second".to_owned(), 2)]
        });
        assert!(later_only);
    }
}
