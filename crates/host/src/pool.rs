use std::future::Future;
use std::io;
use std::pin::Pin;

/// Threads for blocking work.
pub trait Pool: Send + Sync + 'static {
    /// Queues a job. Jobs of a pool with one thread run in order.
    fn submit(&self, job: Box<dyn FnOnce() + Send>);
}

/// Awaiting a job's result.
pub trait PoolExt {
    /// Runs `job` on the pool and resolves to its result, or to an error if the pool is gone. Dropping the
    /// future does not stop the job.
    fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;
}

impl<P: Pool + ?Sized> PoolExt for P {
    fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Pin<Box<dyn Future<Output = io::Result<T>> + Send>> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.submit(Box::new(move || {
            // The receiver may be gone: then nobody wants the result.
            let _ = sender.send(job());
        }));
        Box::pin(async move { receiver.await.map_err(|_| io::Error::other("the pool's thread ended")) })
    }
}
