use crate::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};

/// Listening and dialling.
#[async_trait::async_trait]
pub trait Net: Send + Sync + 'static {
    /// Listens on `host:port`; port 0 picks one.
    ///
    /// # Errors
    /// [`io::ErrorKind::AddrInUse`] and whatever else the system says.
    async fn listen(&self, host: &str, port: u16) -> io::Result<Box<dyn Listener>>;

    /// Dials, resolving the name anew. The stream belongs to the calling thread's runtime. No time limit of
    /// its own: wrap it in `tokio::time::timeout`.
    ///
    /// # Errors
    /// [`io::ErrorKind::ConnectionRefused`] means that the machine is there and nobody listens.
    async fn dial(&self, host: &str, port: u16) -> io::Result<Box<dyn Stream>>;

    /// All addresses that the name has now; an address is its own name. No time limit of its own.
    ///
    /// # Errors
    /// The name is unknown, or whoever knows it is not reached.
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// A listening socket.
#[async_trait::async_trait]
pub trait Listener: Send {
    /// The next connection, not yet registered with any runtime.
    async fn accept(&mut self) -> io::Result<Box<dyn Incoming>>;
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// A connection that can be handed to another thread before a runtime knows it.
pub trait Incoming: Send {
    fn peer_addr(&self) -> SocketAddr;
    /// Whether it took one of the last handles of the process, which are for others than clients: better closed at once.
    fn takes_last_handles(&self) -> bool {
        false
    }
    /// Registers with the calling thread's runtime.
    fn attach(self: Box<Self>) -> io::Result<Box<dyn Stream>>;
}

/// A connection, `TCP_NODELAY` on.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {
    fn peer_addr(&self) -> SocketAddr;
    fn local_addr(&self) -> SocketAddr;

    /// Takes the connection off this runtime so that another thread can attach it. Nothing may be buffered.
    fn detach(self: Box<Self>) -> io::Result<Box<dyn Incoming>>;

    /// Sends bytes of a file (`sendfile(2)` where there is one); returns how many went out, which may be
    /// fewer than `len`.
    fn poll_send_file(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        file: &Arc<dyn File>,
        position: u64,
        len: usize,
    ) -> Poll<io::Result<usize>>;
}

/// Copies at most 64 KiB of a file through memory: `poll_send_file` where the system has no `sendfile`.
pub fn poll_copy_file<S: AsyncWrite + Unpin + ?Sized>(
    stream: Pin<&mut S>,
    cx: &mut Context<'_>,
    file: &Arc<dyn File>,
    position: u64,
    len: usize,
) -> Poll<io::Result<usize>> {
    let mut buffer = vec![0; len.min(64 * 1024)];
    let read = file.read_at(&mut buffer, position)?;
    if read == 0 {
        return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
    }
    stream.poll_write(cx, &buffer[..read])
}
