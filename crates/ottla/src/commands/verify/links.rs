//! Proxies between the nodes, so that one can be cut off from the others without root: a node is told an address of a proxy
//! for each of its peers, and the proxy knows by the other end's process whose connection it carries.

use anyhow::Context;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const CHUNK_BYTES: usize = 64 * 1024;

/// What the proxies of all nodes share.
struct Shared {
    /// Nodes that are cut off from all others, by index.
    cut: watch::Sender<BTreeSet<usize>>,
    /// Process ids of the nodes.
    pids: RefCell<Vec<u32>>,
}

/// One port of one node, and the port at which its peers find it.
#[derive(Debug, Clone, Copy)]
pub struct Port {
    pub node: usize,
    pub told: u16,
    pub real: u16,
}

pub struct Links {
    shared: Rc<Shared>,
    ports: Vec<Port>,
    /// By port: none while its node is down, so that whoever dials is refused as by the node itself.
    listening: Vec<Option<JoinHandle<()>>>,
}

impl Links {
    /// # Errors
    /// A port is taken.
    pub async fn new(nodes: usize, ports: Vec<Port>) -> anyhow::Result<Self> {
        let mut links = Self {
            shared: Rc::new(Shared {
                cut: watch::Sender::new(BTreeSet::new()),
                pids: RefCell::new(vec![0; nodes]),
            }),
            listening: ports.iter().map(|_| None).collect(),
            ports,
        };
        for node in 0..nodes {
            links.up(node).await?;
        }
        Ok(links)
    }

    /// The node's process.
    pub fn set_pid(&self, node: usize, pid: u32) {
        if let Some(known) = self.shared.pids.borrow_mut().get_mut(node) {
            *known = pid;
        }
    }

    /// # Errors
    /// A port is taken.
    pub async fn up(&mut self, node: usize) -> anyhow::Result<()> {
        for (port, listening) in self.ports.iter().zip(&mut self.listening) {
            if port.node == node && listening.is_none() {
                let listener = TcpListener::bind(("127.0.0.1", port.told)).await;
                let listener = listener.with_context(|| format!("cannot listen at port {}", port.told))?;
                *listening = Some(tokio::task::spawn_local(accept(self.shared.clone(), *port, listener)));
            }
        }
        Ok(())
    }

    /// The node is gone: whoever dials it is refused.
    pub fn down(&mut self, node: usize) {
        for (port, listening) in self.ports.iter().zip(&mut self.listening) {
            if port.node == node
                && let Some(listening) = listening.take()
            {
                listening.abort();
            }
        }
    }

    /// Nothing passes between this node and the others, in neither direction, and nothing says so.
    pub fn cut(&self, node: usize) {
        self.shared.cut.send_modify(|cut| {
            cut.insert(node);
        });
    }

    pub fn heal(&self, node: usize) {
        self.shared.cut.send_modify(|cut| {
            cut.remove(&node);
        });
    }
}

async fn accept(shared: Rc<Shared>, port: Port, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let from = owner(&shared.pids.borrow(), peer.port(), port.told);
                tokio::task::spawn_local(carry(shared.clone(), from, port, stream));
            }
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
        }
    }
}

/// Until one end closes. An error ends a connection as it would without a proxy, so nobody is told.
async fn carry(shared: Rc<Shared>, from: Option<usize>, port: Port, near: TcpStream) {
    let ends = [from, Some(port.node)];
    passable(&shared, ends).await;
    let Ok(far) = TcpStream::connect(("127.0.0.1", port.real)).await else {
        return;
    };
    // Small frames must not wait for each other.
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
    tokio::select! {
        () = copy(&shared, ends, near_read, far_write) => {}
        () = copy(&shared, ends, far_read, near_write) => {}
    }
}

async fn copy(shared: &Shared, ends: [Option<usize>; 2], mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let Ok(length @ 1..) = from.read(&mut chunk).await else {
            return;
        };
        passable(shared, ends).await;
        if to.write_all(&chunk[..length]).await.is_err() {
            return;
        }
    }
}

/// Waits while one of the ends is cut off. What comes from no node (a command) passes always.
async fn passable(shared: &Shared, ends: [Option<usize>; 2]) {
    let [Some(from), Some(to)] = ends else { return };
    let mut cut = shared.cut.subscribe();
    // The sender lives as long as `shared`.
    let _ = cut.wait_for(|cut| !cut.contains(&from) && !cut.contains(&to)).await;
}

/// Which of the processes holds the local socket that is bound to `port` and connected to `peer`.
fn owner(pids: &[u32], port: u16, peer: u16) -> Option<usize> {
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    let inode = socket_inode(&table, port, peer)?;
    let wanted = format!("socket:[{inode}]");
    let holds = |pid: &u32| {
        let Ok(files) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
            return false;
        };
        let targets = files.flatten().filter_map(|file| std::fs::read_link(file.path()).ok());
        targets.into_iter().any(|target| target.as_os_str() == wanted.as_str())
    };
    pids.iter().position(holds)
}

/// From the text of `/proc/net/tcp`: `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode`.
fn socket_inode(table: &str, port: u16, peer: u16) -> Option<&str> {
    table.lines().skip(1).find_map(|line| {
        let mut words = line.split_whitespace();
        let hex = |word: &str| u16::from_str_radix(word.split_once(':')?.1, 16).ok();
        let (local, remote) = (hex(words.nth(1)?)?, hex(words.next()?)?);
        (local == port && remote == peer).then(|| words.nth(6))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn a_connection_is_known_by_the_process_at_its_other_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let from = client.local_addr().unwrap().port();
        assert_eq!(owner(&[1, std::process::id()], from, port), Some(1));
        assert_eq!(owner(&[1], from, port), None);
        assert_eq!(owner(&[std::process::id()], from, from), None);
    }

    async fn said(stream: &mut TcpStream, text: &str) -> bool {
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut echo = vec![0; text.len()];
        let answer = tokio::time::timeout(Duration::from_millis(300), stream.read_exact(&mut echo)).await;
        answer.is_ok_and(|answer| answer.is_ok() && echo == text.as_bytes())
    }

    #[test]
    fn nothing_passes_while_a_node_is_cut_off_and_everything_afterwards() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let echo = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let real = echo.local_addr().unwrap().port();
            tokio::task::spawn_local(async move {
                while let Ok((mut stream, _)) = echo.accept().await {
                    tokio::task::spawn_local(async move {
                        let (mut from, mut to) = stream.split();
                        let _ = tokio::io::copy(&mut from, &mut to).await;
                    });
                }
            });
            let told = TcpListener::bind("127.0.0.1:0")
                .await
                .unwrap()
                .local_addr()
                .unwrap()
                .port();
            let mut links = Links::new(2, vec![Port { node: 0, told, real }]).await.unwrap();
            // This process is node 1, which speaks to node 0.
            links.set_pid(1, std::process::id());
            let mut stream = TcpStream::connect(("127.0.0.1", told)).await.unwrap();
            assert!(said(&mut stream, "before").await);
            links.cut(1);
            assert!(!said(&mut stream, "meanwhile").await);
            links.heal(1);
            let mut late = [0; 9];
            stream.read_exact(&mut late).await.unwrap();
            assert_eq!(&late, b"meanwhile");
            assert!(said(&mut stream, "after").await);
            links.down(0);
            tokio::task::yield_now().await;
            assert!(TcpStream::connect(("127.0.0.1", told)).await.is_err());
            links.up(0).await.unwrap();
            let mut stream = TcpStream::connect(("127.0.0.1", told)).await.unwrap();
            assert!(said(&mut stream, "again").await);
        });
    }
}
