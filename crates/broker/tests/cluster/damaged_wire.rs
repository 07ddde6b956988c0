use crate::support::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Bits to flip, one in about so many bytes from the leader.
const EVERY: u64 = 9_000;
const FLIPS: u64 = 25;

/// Forwards `port`, flipping bits of what comes from there.
async fn proxy(port: u16, flipped: Arc<AtomicU64>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let through = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let seen = Arc::new(AtomicU64::new(0));
        while let Ok((follower, _)) = listener.accept().await {
            let Ok(leader) = TcpStream::connect(("127.0.0.1", port)).await else {
                continue;
            };
            let (mut from_follower, mut to_follower) = follower.into_split();
            let (mut from_leader, mut to_leader) = leader.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_follower, &mut to_leader).await });
            let (flipped, seen) = (flipped.clone(), seen.clone());
            tokio::spawn(async move {
                let mut buffer = vec![0; 3000];
                while let Ok(count @ 1..) = from_leader.read(&mut buffer).await {
                    let before = seen.fetch_add(count as u64, Ordering::SeqCst);
                    if before / EVERY != (before + count as u64) / EVERY && flipped.load(Ordering::SeqCst) < FLIPS {
                        let flip = flipped.fetch_add(1, Ordering::SeqCst);
                        let at = (flip as usize * 7919) % count;
                        buffer[at] ^= 1 << (flip % 8);
                    }
                    if to_follower.write_all(&buffer[..count]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    through
}

/// ◆ Base offset and leader epoch lie outside a batch's CRC, the frame's head outside every batch: whatever bit is
/// flipped on the way, it never reaches a log.
#[tokio::test(flavor = "multi_thread")]
async fn flipped_bits_never_reach_a_log() {
    let cluster = Cluster::new(1, &[("flush.messages", "1000")]);
    let flipped = Arc::new(AtomicU64::new(0));
    let counter = flipped.clone();
    let first = cluster
        .start_through(NODES[0], |port| Box::pin(proxy(port, counter)))
        .await;
    let second = cluster.start(NODES[1]).await;
    let third = cluster.start(NODES[2]).await;
    eventually_leads(&first).await;
    let value = "v".repeat(1500);
    for index in 0..400 {
        first.produce(batch(&format!("{index} {value}")), 1).await.unwrap();
    }
    let leader = first.read_to(400).await;
    assert_eq!(second.read_to(400).await, leader);
    assert_eq!(third.read_to(400).await, leader);
    assert_eq!(flipped.load(Ordering::SeqCst), FLIPS, "the proxy did its worst");
}
