//! The door to the world: network, files, clock, randomness, threads. Everything above asks a [`Host`]
//! and nothing else, so that the simulator can be one. Real means threads and file descriptors
//! ([`RealHost`]); simulated means tasks, a simulated network and a disk that forgets what was not synced
//! ([`sim_disk::SimDisk`], and the network in the `sim` crate).
//!
//! Time: `tokio::time` is used for sleeps and timeouts by everyone (the simulator drives tokio's clock);
//! [`Host::now`] reads the same clock.

mod background_pool;
mod disk;
mod gathered;
mod huge_pages;
mod net;
mod pool;
mod process_usage;
mod real_disk;
mod real_host;
mod real_net;
pub mod sim_disk;

pub use disk::{DIRECT_ALIGNMENT, DirEntry, Disk, DiskSpace, File, OpenMode, is_out_of_handles};
pub use gathered::Gathered;
pub use huge_pages::disable_huge_pages;
pub use net::{Incoming, Listener, Net, Stream, poll_copy_file};
pub use pool::{Pool, PoolExt};
pub use process_usage::ProcessUsage;
pub use real_disk::RealDisk;
pub use real_host::RealHost;
pub use real_net::RealNet;

use futures::future::LocalBoxFuture;
use std::sync::Arc;
use types::Monotonic;

/// What a thread of its own runs: a future that may hold `!Send` state, on a current-thread runtime with a
/// `LocalSet`, so that `tokio::task::spawn_local` works inside.
pub type ThreadBody = Box<dyn FnOnce() -> LocalBoxFuture<'static, ()> + Send>;

/// One machine, real or simulated.
pub trait Host: Send + Sync + 'static {
    /// Monotonic time since this host started.
    fn now(&self) -> Monotonic;

    /// Wall clock, milliseconds since the Unix epoch. For timestamps that people and clients see; never for
    /// a decision about who leads.
    fn wall_ms(&self) -> i64;

    /// Random bits: from the operating system, or from the seed.
    fn random_u64(&self) -> u64;

    /// Files.
    fn disk(&self) -> Arc<dyn Disk>;

    /// Sockets.
    fn net(&self) -> Arc<dyn Net>;

    /// Runs `body` on a thread of its own (real) or as a local task (simulated). Returns at once; the
    /// receiver resolves when the body has ended, with an error if it panicked.
    fn spawn_thread(&self, name: &str, body: ThreadBody) -> tokio::sync::oneshot::Receiver<()>;

    /// Threads for blocking work (fsync, cold reads, deletion). Real: `threads` OS threads and a queue.
    /// Simulated: each job runs after a simulated delay.
    fn pool(&self, name: &str, threads: usize) -> Arc<dyn Pool>;

    /// A pool for what takes long: whoever else wants the processor interrupts its threads at once, and they get their share after.
    fn patient_pool(&self, name: &str, threads: usize) -> Arc<dyn Pool> {
        self.pool(name, threads)
    }

    /// A pool whose threads take only what nobody else of the machine wants: for work that somebody else's input makes, as
    /// much of it as they like. What has waited for [`types::limits::BACKGROUND_PATIENCE`] on a busy machine is done by one more
    /// thread, at a tenth of the speed of any other.
    fn background_pool(&self, name: &str, threads: usize) -> Arc<dyn Pool> {
        self.pool(name, threads)
    }

    /// The same without the one more thread: on a busy machine it comes to a stop. While jobs wait, each is followed by a rest of
    /// [`types::limits::IDLE_POOL_RESTS`] times its length.
    fn idle_pool(&self, name: &str, threads: usize) -> Arc<dyn Pool> {
        self.background_pool(name, threads)
    }

    /// What this process takes of its machine, where there is one. Does not wait for a disk.
    fn process_usage(&self) -> Option<ProcessUsage> {
        None
    }

    /// A version 4 UUID from [`Host::random_u64`], as a number.
    fn random_uuid(&self) -> u128 {
        let bits = (u128::from(self.random_u64()) << 64) | u128::from(self.random_u64());
        (bits & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62)
    }
}

/// Handle to a host, cheap to clone.
pub type HostRef = Arc<dyn Host>;
