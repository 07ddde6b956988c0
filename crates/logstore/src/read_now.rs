use host::File;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;

/// A file for whoever may not wait for the disk: reads fail with [`io::ErrorKind::WouldBlock`] instead.
pub(crate) struct ReadNow(Arc<dyn File>);

impl ReadNow {
    pub(crate) fn of(file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(Self(file))
    }
}

impl File for ReadNow {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.0.read_now_at(buffer, position)
    }

    fn read_now_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.0.read_now_at(buffer, position)
    }

    fn read_direct_at(&self, _buffer: &mut [u8], _position: u64) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn write_all_at(&self, _bytes: &[u8], _position: u64) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn allocate(&self, _position: u64, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn is_cached(&self, position: u64, len: u64) -> bool {
        self.0.is_cached(position, len)
    }

    fn raw_fd(&self) -> Option<RawFd> {
        None
    }
}
