use crate::{Content, Directory, Loss, Numbers};
use fuser::{Errno, FileAttr, FileType, INodeNo};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

/// The root's number, by FUSE.
pub const ROOT: u64 = 1;
/// What nobody can reach any more is cleared away after so many names were taken off.
const SWEEP_AFTER: u64 = 64;

#[derive(Debug)]
enum Kind {
    File(Content),
    Directory(Directory),
}

/// Who a file belongs to and who may use it. Not part of what a power loss takes.
#[derive(Debug, Clone, Copy)]
pub struct Owner {
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
}

#[derive(Debug)]
struct Node {
    kind: Kind,
    owner: Owner,
    modified: SystemTime,
    /// References that the kernel holds: an open file without a name lives on.
    lookups: u64,
    /// The directory and the name that it got last.
    at: (u64, OsString),
}

/// All files and directories, by number. Numbers are never used again.
#[derive(Debug)]
pub struct Tree {
    backing: PathBuf,
    nodes: BTreeMap<u64, Node>,
    next: u64,
    /// Names taken off since the last sweep.
    unlinked: u64,
}

impl Tree {
    /// An empty tree whose files' bytes are kept in `backing`, which is made or emptied.
    ///
    /// # Errors
    /// Those of the backing file system.
    pub fn create(backing: PathBuf, owner: Owner) -> io::Result<Self> {
        for name in ["current", "durable"] {
            let path = backing.join(name);
            if path.exists() {
                fs::remove_dir_all(&path)?;
            }
            fs::create_dir_all(&path)?;
        }
        let root = Node::new(Kind::Directory(Directory::default()), owner, (ROOT, OsString::new()));
        Ok(Self {
            backing,
            nodes: BTreeMap::from([(ROOT, root)]),
            next: ROOT + 1,
            unlinked: 0,
        })
    }

    #[must_use]
    pub fn backing(&self) -> &Path {
        &self.backing
    }

    fn node(&mut self, number: u64) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&number).ok_or(Errno::ENOENT)
    }

    /// # Errors
    /// ENOENT, EISDIR.
    pub fn file(&mut self, number: u64) -> Result<&mut Content, Errno> {
        match &mut self.node(number)?.kind {
            Kind::File(content) => Ok(content),
            Kind::Directory(_) => Err(Errno::EISDIR),
        }
    }

    /// # Errors
    /// ENOENT, ENOTDIR.
    pub fn directory(&mut self, number: u64) -> Result<&mut Directory, Errno> {
        match &mut self.node(number)?.kind {
            Kind::Directory(directory) => Ok(directory),
            Kind::File(_) => Err(Errno::ENOTDIR),
        }
    }

    /// # Errors
    /// ENOENT.
    pub fn attr(&mut self, number: u64) -> Result<FileAttr, Errno> {
        let node = self.node(number)?;
        let (kind, size) = match &node.kind {
            Kind::File(content) => (FileType::RegularFile, content.len()),
            Kind::Directory(_) => (FileType::Directory, 0),
        };
        Ok(FileAttr {
            ino: INodeNo(number),
            size,
            blocks: size.div_ceil(512),
            atime: node.modified,
            mtime: node.modified,
            ctime: node.modified,
            crtime: node.modified,
            kind,
            perm: node.owner.mode,
            nlink: 1,
            uid: node.owner.uid,
            gid: node.owner.gid,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    /// # Errors
    /// ENOENT.
    pub fn owner(&mut self, number: u64) -> Result<&mut Owner, Errno> {
        Ok(&mut self.node(number)?.owner)
    }

    /// Says when the file was written to last.
    pub fn touch(&mut self, number: u64, at: SystemTime) {
        if let Some(node) = self.nodes.get_mut(&number) {
            node.modified = at;
        }
    }

    /// # Errors
    /// ENOENT, ENOTDIR.
    pub fn lookup(&mut self, parent: u64, name: &OsStr) -> Result<u64, Errno> {
        self.directory(parent)?.get(name).ok_or(Errno::ENOENT)
    }

    /// The kernel knows one name more of this file.
    pub fn refer(&mut self, number: u64) {
        if let Some(node) = self.nodes.get_mut(&number) {
            node.lookups += 1;
        }
    }

    pub fn unrefer(&mut self, number: u64, count: u64) {
        if let Some(node) = self.nodes.get_mut(&number) {
            node.lookups = node.lookups.saturating_sub(count);
        }
    }

    /// The path within the mount, as far as it has one.
    #[must_use]
    pub fn path(&self, number: u64) -> String {
        let mut names = Vec::new();
        let mut at = number;
        while at != ROOT
            && let Some(node) = self.nodes.get(&at)
        {
            names.push(node.at.1.to_string_lossy());
            at = node.at.0;
        }
        names.iter().rev().fold(String::new(), |path, name| path + "/" + name)
    }

    /// # Errors
    /// ENOENT, ENOTDIR; EINVAL for a path with `..`.
    pub fn resolve(&mut self, path: &Path) -> Result<u64, Errno> {
        let mut at = ROOT;
        for component in path.components() {
            at = match component {
                Component::RootDir | Component::CurDir => at,
                Component::Normal(name) => self.lookup(at, name)?,
                Component::ParentDir | Component::Prefix(_) => return Err(Errno::EINVAL),
            };
        }
        Ok(at)
    }

    /// A new file, or a new directory.
    ///
    /// # Errors
    /// EEXIST, ENOENT, ENOTDIR; those of the backing file system.
    pub fn make(&mut self, parent: u64, name: &OsStr, owner: Owner, directory: bool) -> Result<u64, Errno> {
        if self.directory(parent)?.get(name).is_some() {
            return Err(Errno::EEXIST);
        }
        let number = self.next;
        let kind = if directory {
            Kind::Directory(Directory::default())
        } else {
            Kind::File(Content::create(&self.backing, number)?)
        };
        self.next += 1;
        self.nodes
            .insert(number, Node::new(kind, owner, (parent, name.to_owned())));
        self.directory(parent)?.link(name.to_owned(), number);
        Ok(number)
    }

    /// Takes a name off: of a directory, which must be empty, or of something else.
    ///
    /// # Errors
    /// ENOENT, ENOTDIR, EISDIR, ENOTEMPTY.
    pub fn unlink(&mut self, parent: u64, name: &OsStr, directory: bool) -> Result<(), Errno> {
        let number = self.lookup(parent, name)?;
        match (&self.node(number)?.kind, directory) {
            (Kind::File(_), true) => return Err(Errno::ENOTDIR),
            (Kind::Directory(_), false) => return Err(Errno::EISDIR),
            (Kind::Directory(inner), true) if !inner.is_empty() => return Err(Errno::ENOTEMPTY),
            _ => {}
        }
        self.directory(parent)?.unlink(name.to_owned(), number);
        self.unlinked += 1;
        if self.unlinked >= SWEEP_AFTER {
            self.sweep();
        }
        Ok(())
    }

    /// Within one directory: what a rename across two leaves behind differs between file systems, and nothing under test
    /// needs it.
    ///
    /// # Errors
    /// ENOENT, EXDEV, ENOTDIR, EISDIR, ENOTEMPTY.
    pub fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr)) -> Result<(), Errno> {
        if from.0 != to.0 {
            return Err(Errno::EXDEV);
        }
        let number = self.lookup(from.0, from.1)?;
        if let Some(replaced) = self.directory(to.0)?.get(to.1) {
            if replaced == number {
                return Ok(());
            }
            let moves_directory = matches!(self.node(number)?.kind, Kind::Directory(_));
            match (&self.node(replaced)?.kind, moves_directory) {
                (Kind::File(_), true) => return Err(Errno::ENOTDIR),
                (Kind::Directory(_), false) => return Err(Errno::EISDIR),
                (Kind::Directory(inner), true) if !inner.is_empty() => return Err(Errno::ENOTEMPTY),
                _ => {}
            }
            self.unlinked += 1;
        }
        self.directory(from.0)?
            .rename(from.1.to_owned(), to.1.to_owned(), number);
        self.node(number)?.at = (to.0, to.1.to_owned());
        Ok(())
    }

    /// One name more for a file.
    ///
    /// # Errors
    /// ENOENT, EEXIST; EPERM for a directory.
    pub fn link(&mut self, number: u64, parent: u64, name: &OsStr) -> Result<(), Errno> {
        self.file(number).map_err(|_| Errno::EPERM)?;
        if self.directory(parent)?.get(name).is_some() {
            return Err(Errno::EEXIST);
        }
        self.directory(parent)?.link(name.to_owned(), number);
        self.node(number)?.at = (parent, name.to_owned());
        Ok(())
    }

    /// What a directory lists: name, number, whether it is a directory.
    ///
    /// # Errors
    /// ENOENT, ENOTDIR.
    pub fn list(&mut self, number: u64) -> Result<Vec<(OsString, u64, bool)>, Errno> {
        let names: Vec<_> = self
            .directory(number)?
            .names()
            .map(|(name, node)| (name.clone(), node))
            .collect();
        Ok(names
            .into_iter()
            .filter_map(|(name, node)| {
                let directory = matches!(self.nodes.get(&node)?.kind, Kind::Directory(_));
                Some((name, node, directory))
            })
            .collect())
    }

    /// All numbers that the kernel may hold pages of.
    #[must_use]
    pub fn numbers(&self) -> Vec<u64> {
        self.nodes.keys().copied().collect()
    }

    /// Power loss. With numbers, each unsynced page and name is kept, lost or torn as they say; without, all are lost.
    ///
    /// # Errors
    /// Those of the backing file system: then the layer is of no use any more.
    pub fn lose(&mut self, mut numbers: Option<&mut Numbers>) -> io::Result<Loss> {
        let mut loss = Loss::default();
        for node in self.nodes.values_mut() {
            match (&mut node.kind, &mut numbers) {
                (Kind::File(content), Some(numbers)) => content.lose(numbers, &mut loss)?,
                (Kind::File(content), None) => content.forget(&mut loss)?,
                (Kind::Directory(directory), Some(numbers)) => directory.lose(numbers, &mut loss),
                (Kind::Directory(directory), None) => directory.forget(&mut loss),
            }
        }
        self.sweep();
        let mut places = Vec::new();
        for (parent, node) in &self.nodes {
            if let Kind::Directory(directory) = &node.kind {
                places.extend(directory.names().map(|(name, child)| (child, (*parent, name.clone()))));
            }
        }
        for (child, at) in places {
            if let Some(node) = self.nodes.get_mut(&child) {
                node.at = at;
            }
        }
        Ok(loss)
    }

    /// Clears away what no name stands for, on disk or in memory, and no process has open.
    fn sweep(&mut self) {
        let mut reached = BTreeSet::from([ROOT]);
        let mut open = vec![ROOT];
        open.extend(
            self.nodes
                .iter()
                .filter(|(_, node)| node.lookups > 0)
                .map(|(number, _)| *number),
        );
        while let Some(number) = open.pop() {
            reached.insert(number);
            if let Some(Node {
                kind: Kind::Directory(directory),
                ..
            }) = self.nodes.get(&number)
            {
                open.extend(directory.held().filter(|number| !reached.contains(number)));
            }
        }
        self.nodes.retain(|number, node| {
            let kept = reached.contains(number);
            if let (Kind::File(content), false) = (&node.kind, kept) {
                content.remove();
            }
            kept
        });
        self.unlinked = 0;
    }
}

impl Node {
    fn new(kind: Kind, owner: Owner, at: (u64, OsString)) -> Self {
        Self {
            kind,
            owner,
            modified: SystemTime::now(),
            lookups: 0,
            at,
        }
    }
}
