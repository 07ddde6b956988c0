use super::SeededNumbers;
use super::inode::Inode;
use crate::DirEntry;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};

/// What a name stands for, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Node {
    File(u64),
    Dir(u64),
}

/// A change of a directory's names since its last sync.
#[derive(Debug, Clone)]
enum NameChange {
    Link { name: String, node: Node },
    Unlink { name: String },
    Rename { from: String, to: String, node: Node },
}

#[derive(Debug, Default)]
struct Dir {
    synced: BTreeMap<String, Node>,
    current: BTreeMap<String, Node>,
    changes: Vec<NameChange>,
}

/// Directories and files.
#[derive(Debug)]
pub(crate) struct Tree {
    dirs: BTreeMap<u64, Dir>,
    files: BTreeMap<u64, Inode>,
    next: u64,
}

const ROOT: u64 = 0;

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, Node>) {
        match self {
            Self::Link { name, node } => {
                names.insert(name.clone(), *node);
            }
            Self::Unlink { name } => {
                names.remove(name);
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

impl Dir {
    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.current);
        self.changes.push(change);
    }

    /// Half of the crashes keep the changes up to some point (a journalling file system), the others any
    /// of them.
    fn crash(&mut self, numbers: &mut SeededNumbers) {
        let changes = std::mem::take(&mut self.changes);
        let ordered = numbers.below(2) == 0;
        let kept_until = numbers.below(changes.len() + 1);
        for (index, change) in changes.iter().enumerate() {
            let kept = if ordered {
                index < kept_until
            } else {
                numbers.below(2) == 0
            };
            if kept {
                change.apply(&mut self.synced);
            }
        }
        self.current.clone_from(&self.synced);
    }
}

impl Tree {
    pub(crate) fn new() -> Self {
        Self {
            dirs: BTreeMap::from([(ROOT, Dir::default())]),
            files: BTreeMap::new(),
            next: ROOT + 1,
        }
    }

    /// Of files that have a name or are open: a kernel gives the room of others back.
    pub(crate) fn used_bytes(&self, is_open: impl Fn(u64) -> bool) -> u64 {
        let (_, named) = self.reachable();
        let used = self.files.iter().filter(|(id, _)| named.contains(id) || is_open(**id));
        used.map(|(_, file)| file.held() as u64).sum()
    }

    pub(crate) fn used_by_file(&self) -> BTreeMap<PathBuf, u64> {
        let mut used = BTreeMap::new();
        let mut left = vec![(PathBuf::from("/"), ROOT)];
        while let Some((path, dir)) = left.pop() {
            for (name, node) in self.dirs.get(&dir).into_iter().flat_map(|dir| &dir.current) {
                match node {
                    Node::Dir(inner) => left.push((path.join(name), *inner)),
                    Node::File(file) => {
                        let held = self.files.get(file).map_or(0, |file| file.held() as u64);
                        used.insert(path.join(name), held);
                    }
                }
            }
        }
        used
    }

    pub(crate) fn inode(&mut self, id: u64) -> io::Result<&mut Inode> {
        self.files.get_mut(&id).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(crate) fn lookup(&self, path: &Path) -> io::Result<Node> {
        let mut node = Node::Dir(ROOT);
        for name in names(path)? {
            let Node::Dir(dir) = node else {
                return Err(io::ErrorKind::NotADirectory.into());
            };
            node = *self
                .dirs
                .get(&dir)
                .and_then(|dir| dir.current.get(&*name))
                .ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(node)
    }

    pub(crate) fn file_at(&self, path: &Path) -> io::Result<u64> {
        match self.lookup(path)? {
            Node::File(id) => Ok(id),
            Node::Dir(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn dir_at(&mut self, path: &Path) -> io::Result<&mut Dir> {
        match self.lookup(path)? {
            Node::Dir(id) => self.dirs.get_mut(&id).ok_or_else(|| io::ErrorKind::NotFound.into()),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    pub(crate) fn create_file(&mut self, path: &Path) -> io::Result<u64> {
        let (parent, name) = split(path)?;
        let id = self.next;
        self.dir_at(parent)?.change(NameChange::Link {
            name,
            node: Node::File(id),
        });
        self.next += 1;
        self.files.insert(id, Inode::default());
        Ok(id)
    }

    pub(crate) fn create_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let mut dir = ROOT;
        for name in names(path)? {
            let id = self.next;
            let parent = self.dirs.get_mut(&dir).ok_or(io::ErrorKind::NotFound)?;
            dir = match parent.current.get(&*name) {
                Some(Node::Dir(there)) => *there,
                Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => {
                    parent.change(NameChange::Link {
                        name: name.into_owned(),
                        node: Node::Dir(id),
                    });
                    self.next += 1;
                    self.dirs.insert(id, Dir::default());
                    id
                }
            };
        }
        Ok(())
    }

    pub(crate) fn read_dir(&mut self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let names: Vec<_> = self
            .dir_at(path)?
            .current
            .iter()
            .map(|(name, node)| (name.clone(), *node))
            .collect();
        Ok(names
            .into_iter()
            .map(|(name, node)| match node {
                Node::Dir(_) => DirEntry {
                    name,
                    is_dir: true,
                    len: 0,
                },
                Node::File(id) => DirEntry {
                    name,
                    is_dir: false,
                    len: self.files.get(&id).map_or(0, |file| file.len() as u64),
                },
            })
            .collect())
    }

    pub(crate) fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        self.file_at(path)?;
        let (parent, name) = split(path)?;
        self.dir_at(parent)?.change(NameChange::Unlink { name });
        Ok(())
    }

    pub(crate) fn remove_dir_all(&mut self, path: &Path) -> io::Result<()> {
        for entry in self.read_dir(path)? {
            let inner = path.join(&entry.name);
            if entry.is_dir {
                self.remove_dir_all(&inner)?
            } else {
                self.remove_file(&inner)?
            }
        }
        let (parent, name) = split(path)?;
        self.dir_at(parent)?.change(NameChange::Unlink { name });
        Ok(())
    }

    /// Within one directory, which is all that the project does.
    pub(crate) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.lookup(from)?;
        let ((from_dir, from), (to_dir, to)) = (split(from)?, split(to)?);
        if from_dir != to_dir {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        let dir = self.dir_at(from_dir)?;
        if let (Node::Dir(_), Some(_)) = (node, dir.current.get(&to)) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        dir.change(NameChange::Rename { from, to, node });
        Ok(())
    }

    pub(crate) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let dir = self.dir_at(path)?;
        dir.changes.clear();
        dir.synced.clone_from(&dir.current);
        Ok(())
    }

    pub(crate) fn forget_unsynced(&mut self) {
        for dir in self.dirs.values_mut() {
            dir.changes.clear();
            dir.current.clone_from(&dir.synced);
        }
        self.files.values_mut().for_each(Inode::forget_unsynced);
        self.drop_unreachable();
    }

    pub(crate) fn crash(&mut self, numbers: &mut SeededNumbers) {
        for dir in self.dirs.values_mut() {
            dir.crash(numbers);
        }
        for file in self.files.values_mut() {
            file.crash(numbers);
        }
        self.drop_unreachable();
    }

    fn drop_unreachable(&mut self) {
        let (dirs, files) = self.reachable();
        self.dirs.retain(|id, _| dirs.contains(id));
        self.files.retain(|id, _| files.contains(id));
    }

    /// Directories and files that have a name now.
    fn reachable(&self) -> (BTreeSet<u64>, BTreeSet<u64>) {
        let (mut dirs, mut files) = (BTreeSet::from([ROOT]), BTreeSet::new());
        let mut open = vec![ROOT];
        while let Some(id) = open.pop() {
            for node in self.dirs.get(&id).into_iter().flat_map(|dir| dir.current.values()) {
                match node {
                    Node::File(id) => {
                        files.insert(*id);
                    }
                    Node::Dir(id) => {
                        if dirs.insert(*id) {
                            open.push(*id);
                        }
                    }
                }
            }
        }
        (dirs, files)
    }
}

/// Components below the root; relative paths start there too.
fn names(path: &Path) -> io::Result<Vec<Cow<'_, str>>> {
    path.components()
        .filter_map(|component| match component {
            Component::RootDir | Component::CurDir => None,
            Component::Normal(name) => Some(Ok(name.to_string_lossy())),
            Component::ParentDir | Component::Prefix(_) => Some(Err(io::ErrorKind::InvalidInput.into())),
        })
        .collect()
}

fn split(path: &Path) -> io::Result<(&Path, String)> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok((parent, name.to_string_lossy().into_owned())),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}
