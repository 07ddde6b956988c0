use async_trait::async_trait;
use host::{File, Incoming, Listener, Net, Stream, poll_copy_file};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::{TcpListener, TcpStream};

/// Sockets between simulated hosts. Names are the hosts' names in the simulation; every listener listens on all of
/// its host's addresses.
#[derive(Debug, Default)]
pub struct SimNet;

struct SimListener(TcpListener);
struct SimIncoming(SimStream);
struct SimStream {
    stream: TcpStream,
    peer: SocketAddr,
    local: SocketAddr,
}

impl SimStream {
    fn new(stream: TcpStream) -> io::Result<Self> {
        Ok(Self {
            peer: stream.peer_addr()?,
            local: stream.local_addr()?,
            stream,
        })
    }
}

#[async_trait]
impl Net for SimNet {
    async fn listen(&self, _host: &str, port: u16) -> io::Result<Box<dyn Listener>> {
        Ok(Box::new(SimListener(
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?,
        )))
    }

    async fn dial(&self, host: &str, port: u16) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(SimStream::new(TcpStream::connect((host, port)).await?)?))
    }

    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok(vec![turmoil::lookup(host)])
    }
}

#[async_trait]
impl Listener for SimListener {
    async fn accept(&mut self) -> io::Result<Box<dyn Incoming>> {
        let (stream, _) = self.0.accept().await?;
        Ok(Box::new(SimIncoming(SimStream::new(stream)?)))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Incoming for SimIncoming {
    fn peer_addr(&self) -> SocketAddr {
        self.0.peer
    }

    fn attach(self: Box<Self>) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(self.0))
    }
}

impl AsyncRead for SimStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Stream for SimStream {
    fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn detach(self: Box<Self>) -> io::Result<Box<dyn Incoming>> {
        Ok(Box::new(SimIncoming(*self)))
    }

    fn poll_send_file(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        file: &Arc<dyn File>,
        position: u64,
        len: usize,
    ) -> Poll<io::Result<usize>> {
        poll_copy_file(Pin::new(&mut self.stream), cx, file, position, len)
    }
}
