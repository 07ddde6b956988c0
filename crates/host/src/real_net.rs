use crate::net::poll_copy_file;
use crate::real_disk::leaves_handles;
use crate::{File, Incoming, Listener, Net, Stream};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// The operating system's TCP.
#[derive(Debug, Default)]
pub struct RealNet;

/// Connections that the kernel may hold for us before we accept them.
const BACKLOG: i32 = 4096;

struct RealListener(TcpListener);

struct RealIncoming {
    stream: std::net::TcpStream,
    peer: SocketAddr,
}

struct RealStream {
    stream: TcpStream,
    peer: SocketAddr,
    local: SocketAddr,
}

#[async_trait::async_trait]
impl Net for RealNet {
    async fn listen(&self, host: &str, port: u16) -> io::Result<Box<dyn Listener>> {
        let address = tokio::net::lookup_host((host, port))
            .await?
            .next()
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address")))?;
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(address),
            socket2::Type::STREAM,
            Some(socket2::Protocol::TCP),
        )?;
        // A restarted node must get its port back while old connections are in TIME_WAIT.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(Box::new(RealListener(TcpListener::from_std(socket.into())?)))
    }

    async fn dial(&self, host: &str, port: u16) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(RealStream {
            peer: stream.peer_addr()?,
            local: stream.local_addr()?,
            stream,
        }))
    }

    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let found = tokio::net::lookup_host((host, 0)).await?;
        Ok(found.map(|address| address.ip()).collect())
    }
}

#[async_trait::async_trait]
impl Listener for RealListener {
    async fn accept(&mut self) -> io::Result<Box<dyn Incoming>> {
        let (stream, peer) = self.0.accept().await?;
        Ok(Box::new(RealIncoming {
            stream: stream.into_std()?,
            peer,
        }))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Incoming for RealIncoming {
    fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    fn takes_last_handles(&self) -> bool {
        !leaves_handles(self.stream.as_raw_fd())
    }

    fn attach(self: Box<Self>) -> io::Result<Box<dyn Stream>> {
        self.stream.set_nonblocking(true)?;
        let stream = TcpStream::from_std(self.stream)?;
        stream.set_nodelay(true)?;
        Ok(Box::new(RealStream {
            local: stream.local_addr()?,
            peer: self.peer,
            stream,
        }))
    }
}

impl AsyncRead for RealStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for RealStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Stream for RealStream {
    fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn detach(self: Box<Self>) -> io::Result<Box<dyn Incoming>> {
        Ok(Box::new(RealIncoming {
            stream: self.stream.into_std()?,
            peer: self.peer,
        }))
    }

    fn poll_send_file(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        file: &Arc<dyn File>,
        position: u64,
        len: usize,
    ) -> Poll<io::Result<usize>> {
        let Some(fd) = file.raw_fd() else {
            return poll_copy_file(Pin::new(&mut self.stream), cx, file, position, len);
        };
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            let socket = self.stream.as_raw_fd();
            let sent = self.stream.try_io(Interest::WRITABLE, || {
                let mut offset = i64::try_from(position).map_err(io::Error::other)?;
                // SAFETY: both descriptors are open for the length of the call (`file` and `self.stream`
                // are borrowed), and `offset` is a local that the kernel writes an off_t into.
                let sent = unsafe { libc::sendfile(socket, fd, &raw mut offset, len) };
                if sent < 0 {
                    Err(io::Error::last_os_error())
                } else {
                    Ok(sent.cast_unsigned())
                }
            });
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) if len > 0 => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                other => return Poll::Ready(other),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Disk, OpenMode, RealDisk};
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn a_file_goes_out_over_a_socket() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealDisk.open(&dir.path().join("f"), OpenMode::Create).unwrap();
        let content: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8).collect();
        file.write_all_at(&content, 0).unwrap();
        let mut listener = RealNet.listen("127.0.0.1", 0).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let dialled = tokio::spawn(async move { RealNet.dial("127.0.0.1", port).await.unwrap() });
        let mut server = listener.accept().await.unwrap().attach().unwrap();
        let mut client = dialled.await.unwrap();
        let reader = tokio::spawn(async move {
            let mut got = vec![0; 299_900];
            client.read_exact(&mut got).await.unwrap();
            got
        });
        let (mut position, end) = (100u64, 300_000u64);
        while position < end {
            let len = usize::try_from(end - position).unwrap();
            position += std::future::poll_fn(|cx| Pin::new(&mut *server).poll_send_file(cx, &file, position, len))
                .await
                .unwrap() as u64;
        }
        assert_eq!(reader.await.unwrap(), content[100..]);
    }
}
