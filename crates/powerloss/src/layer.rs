use crate::state::{State, Sync};
use crate::tree::{Owner, ROOT};
use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use std::ffi::OsStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// The kernel asks again each time: a power loss must not be hidden by what it remembers.
const TTL: Duration = Duration::ZERO;
/// Numbers are never used again.
const GENERATION: Generation = Generation(0);
/// What `statvfs` counts in.
const BLOCK_BYTES: u32 = 4096;

/// The FUSE side: requests of the kernel in, answers out. Writes come at once (no write-back cache), so what the layer has
/// not seen was not written. A file's handle is the life in which it was opened, a directory's its listing.
#[derive(Debug, Clone)]
pub struct Layer {
    state: Arc<Mutex<State>>,
}

/// Answers a request with what the closure says, or with its error.
macro_rules! answer {
    ($reply:ident, $result:expr, $value:pat => $ok:expr) => {
        match $result {
            Ok($value) => $ok,
            Err(errno) => $reply.error(errno),
        }
    };
}

impl Layer {
    #[must_use]
    pub fn new(state: State) -> Self {
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// A panic elsewhere must not hide what is on the disk.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The attributes of a file whose name the kernel learns with this answer.
    fn entry(state: &mut State, number: u64) -> Result<FileAttr, Errno> {
        let attr = state.tree.attr(number)?;
        state.tree.refer(number);
        Ok(attr)
    }

    fn make(
        &self,
        request: &Request,
        at: (INodeNo, &OsStr),
        mode: u32,
        directory: bool,
    ) -> Result<(FileAttr, u64), Errno> {
        let mut state = self.lock();
        state.before_make()?;
        let owner = Owner {
            mode: (mode & 0o7777) as u16,
            uid: request.uid(),
            gid: request.gid(),
        };
        let number = state.tree.make(at.0.0, at.1, owner, directory)?;
        Ok((Self::entry(&mut state, number)?, state.life))
    }

    /// Other requests go on while the disk is at work.
    fn sync(&self, begin: impl FnOnce(&mut State) -> Result<Sync, Errno>) -> Result<(), Errno> {
        let (sync, delay) = {
            let mut state = self.lock();
            (begin(&mut state)?, state.faults.sync_delay)
        };
        std::thread::sleep(delay);
        self.lock().sync_end(sync)
    }
}

impl Filesystem for Layer {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut state = self.lock();
        let found = state.tree.lookup(parent.0, name);
        answer!(reply, found.and_then(|number| Self::entry(&mut state, number)), attr => reply.entry(&TTL, &attr, GENERATION));
    }

    fn forget(&self, _: &Request, number: INodeNo, count: u64) {
        self.lock().tree.unrefer(number.0, count);
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        answer!(reply, self.lock().tree.attr(number.0), attr => reply.attr(&TTL, &attr));
    }

    #[allow(clippy::too_many_arguments)]
    fn setattr(
        &self,
        _: &Request,
        number: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut state = self.lock();
        let change = |state: &mut State| {
            if let Some(handle) = handle {
                state.check_life(handle.0)?;
            }
            if let Some(size) = size {
                state.set_len(number.0, size)?;
            }
            match mtime {
                Some(TimeOrNow::SpecificTime(time)) => state.tree.touch(number.0, time),
                Some(TimeOrNow::Now) => state.tree.touch(number.0, SystemTime::now()),
                None => {}
            }
            let owner = state.tree.owner(number.0)?;
            owner.mode = mode.map_or(owner.mode, |mode| (mode & 0o7777) as u16);
            owner.uid = uid.unwrap_or(owner.uid);
            owner.gid = gid.unwrap_or(owner.gid);
            state.tree.attr(number.0)
        };
        answer!(reply, change(&mut state), attr => reply.attr(&TTL, &attr));
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, _umask: u32, reply: ReplyEntry) {
        answer!(reply, self.make(request, (parent, name), mode, true), (attr, _) => reply.entry(&TTL, &attr, GENERATION));
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        answer!(reply, self.make(request, (parent, name), mode, false), (attr, life) =>
            reply.created(&TTL, &attr, GENERATION, FileHandle(life), FopenFlags::empty()));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer!(reply, self.lock().tree.unlink(parent.0, name, false), () => reply.ok());
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer!(reply, self.lock().tree.unlink(parent.0, name, true), () => reply.ok());
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !flags.is_empty() {
            return reply.error(Errno::EINVAL);
        }
        answer!(reply, self.lock().tree.rename((parent.0, name), (newparent.0, newname)), () => reply.ok());
    }

    fn link(&self, _: &Request, number: INodeNo, newparent: INodeNo, newname: &OsStr, reply: ReplyEntry) {
        let mut state = self.lock();
        let made = state
            .before_make()
            .and_then(|()| state.tree.link(number.0, newparent.0, newname));
        answer!(reply, made.and_then(|()| Self::entry(&mut state, number.0)), attr => reply.entry(&TTL, &attr, GENERATION));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(self.lock().life), FopenFlags::empty());
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut state = self.lock();
        let read = |state: &mut State| {
            state.check_life(handle.0)?;
            Ok(state.tree.file(number.0)?.read(offset, size as usize)?)
        };
        answer!(reply, read(&mut state), bytes => reply.data(&bytes));
    }

    fn write(
        &self,
        _: &Request,
        number: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut state = self.lock();
        let written = state
            .check_life(handle.0)
            .and_then(|()| state.write(number.0, offset, data));
        answer!(reply, written, () => reply.written(data.len() as u32));
    }

    /// Closing a file syncs nothing.
    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    /// `fdatasync` too: both cover the size.
    fn fsync(&self, _: &Request, number: INodeNo, handle: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        let begin = |state: &mut State| {
            state.check_life(handle.0)?;
            state.sync_begin(number.0, false)
        };
        answer!(reply, self.sync(begin), () => reply.ok());
    }

    fn opendir(&self, _: &Request, number: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        answer!(reply, self.lock().open_listing(number.0), handle => reply.opened(FileHandle(handle), FopenFlags::empty()));
    }

    fn readdir(&self, _: &Request, number: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let state = self.lock();
        let listing = match state.listing(handle.0) {
            Ok(listing) => listing,
            Err(errno) => return reply.error(errno),
        };
        let here = [(OsStr::new("."), number.0, true), (OsStr::new(".."), ROOT, true)];
        let names = listing
            .iter()
            .map(|(name, node, directory)| (name.as_os_str(), *node, *directory));
        for (index, (name, node, directory)) in here.into_iter().chain(names).enumerate().skip(offset as usize) {
            let kind = if directory {
                FileType::Directory
            } else {
                FileType::RegularFile
            };
            if reply.add(INodeNo(node), index as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(&self, _: &Request, _: INodeNo, handle: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.lock().close_listing(handle.0);
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, number: INodeNo, handle: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        let begin = |state: &mut State| {
            state.listing(handle.0)?;
            state.sync_begin(number.0, true)
        };
        answer!(reply, self.sync(begin), () => reply.ok());
    }

    fn fallocate(
        &self,
        _: &Request,
        number: INodeNo,
        handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let mut state = self.lock();
        let allocated = state
            .check_life(handle.0)
            .and_then(|()| state.allocate(number.0, offset.saturating_add(length), mode));
        answer!(reply, allocated, () => reply.ok());
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let state = self.lock();
        match rustix::fs::statvfs(state.tree.backing()) {
            Ok(stat) => {
                let blocks = |count: u64| count.saturating_mul(stat.f_frsize) / u64::from(BLOCK_BYTES);
                let free = if state.faults.full { 0 } else { blocks(stat.f_bavail) };
                let files = (stat.f_files, stat.f_ffree);
                reply.statfs(
                    blocks(stat.f_blocks),
                    free,
                    free,
                    files.0,
                    files.1,
                    BLOCK_BYTES,
                    255,
                    BLOCK_BYTES,
                );
            }
            Err(errno) => reply.error(Errno::from_i32(errno.raw_os_error())),
        }
    }
}
