use openraft_rt::{AsyncRuntime, OptionalSend};
use openraft_rt_tokio::{TokioInstant, TokioRuntime};
use rand::rand_core::{Infallible, TryRng};
use std::cell::Cell;
use std::future::Future;
use std::io;
use std::time::Duration;
use tokio::task::JoinHandle;

thread_local! {
    /// Set while this thread is inside [`simulated`]: the state of its randomness.
    static SCOPE: Cell<Option<u64>> = const { Cell::new(None) };
}

/// One step of SplitMix64 and its finaliser.
pub(crate) fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Runs `future` with local spawning and randomness from `seed`. Each poll enters the scope and leaves it, so
/// hosts that share a thread do not share a seed; tasks spawned inside carry a scope of their own.
pub async fn simulated<F: Future>(seed: u64, future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let mut state = seed;
    std::future::poll_fn(move |context| {
        let outer = SCOPE.replace(Some(state));
        let polled = future.as_mut().poll(context);
        state = SCOPE.replace(outer).unwrap_or(state);
        polled
    })
    .await
}

/// Spawns on the `LocalSet` inside a simulation, else on the multi-thread runtime.
pub(crate) fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    match SCOPE.get() {
        Some(_) => {
            let seed = SwitchRng.next();
            tokio::task::spawn_local(simulated(seed, future))
        }
        None => tokio::task::spawn(future),
    }
}

/// Seeded inside a simulation, else the thread's generator.
pub struct SwitchRng;

impl SwitchRng {
    fn next(&mut self) -> u64 {
        match SCOPE.get() {
            Some(state) => {
                let next = mix(state);
                SCOPE.set(Some(next));
                next
            }
            None => rand::random(),
        }
    }
}

impl TryRng for SwitchRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.next() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.next())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

/// Tokio's runtime, with [`spawn`] and [`SwitchRng`]: one binary for production and simulation.
#[derive(Debug)]
pub struct SwitchRuntime(TokioRuntime);

impl AsyncRuntime for SwitchRuntime {
    type JoinError = tokio::task::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = JoinHandle<T>;
    type Sleep = tokio::time::Sleep;
    type Instant = TokioInstant;
    type TimeoutError = tokio::time::error::Elapsed;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = tokio::time::Timeout<T>;
    type ThreadLocalRng = SwitchRng;
    type Mpsc = <TokioRuntime as AsyncRuntime>::Mpsc;
    type Watch = <TokioRuntime as AsyncRuntime>::Watch;
    type Oneshot = <TokioRuntime as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        TokioRuntime::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        TokioRuntime::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(duration: Duration, future: F) -> Self::Timeout<R, F> {
        TokioRuntime::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(deadline: Self::Instant, future: F) -> Self::Timeout<R, F> {
        TokioRuntime::timeout_at(deadline, future)
    }

    fn is_panic(error: &Self::JoinError) -> bool {
        error.is_panic()
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        SwitchRng
    }

    fn new(threads: usize) -> Self {
        Self(TokioRuntime::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }

    fn spawn_blocking<F, T>(work: F) -> impl Future<Output = Result<T, io::Error>> + Send
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        TokioRuntime::spawn_blocking(work)
    }
}
