use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

/// Collects the log lines of all simulated nodes with simulated time: the trace of a run.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    lines: Arc<Mutex<Vec<u8>>>,
    clock: Clock,
}

/// Between two steps of the simulation, where machines crash and tasks are dropped, its clock would be the real one.
#[derive(Debug, Clone, Default)]
struct Clock(Arc<AtomicU64>);

/// The simulation runs: its own clock tells.
const RUNNING: u64 = u64::MAX;

impl Trace {
    /// Everything so far.
    #[must_use]
    pub fn text(&self) -> String {
        without_instants(&String::from_utf8_lossy(
            &self.lines.lock().unwrap_or_else(PoisonError::into_inner),
        ))
    }

    /// Runs `step` with the simulation's own clock.
    pub fn stepping<T>(&self, step: impl FnOnce() -> T) -> T {
        self.clock.0.store(RUNNING, Ordering::Relaxed);
        step()
    }

    /// The clock stands at `now` until the next step.
    pub fn stand(&self, now: Duration) {
        let micros = u64::try_from(now.as_micros()).unwrap_or(RUNNING - 1);
        self.clock.0.store(micros, Ordering::Relaxed);
    }

    /// Makes this thread's log lines go here until the guard is dropped.
    #[must_use]
    pub fn collect(&self, filter: &str) -> tracing::subscriber::DefaultGuard {
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
            .with_writer(self.clone())
            .with_timer(self.clock.clone())
            .with_ansi(false)
            .finish();
        tracing::subscriber::set_default(subscriber)
    }
}

/// Simulated instants count from a real one, the start of the process, and openraft prints them with it: as
/// `Instant { tv_sec: 1, tv_nsec: 2 }` and as `10:48:22.197458`.
fn without_instants(text: &str) -> String {
    const BEGIN: &str = "Instant { tv_sec: ";
    const TIME: &[u8] = b"00:00:00.000000";
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.find([':', 'I']) {
        if rest[next..].starts_with(BEGIN) {
            clean.push_str(&rest[..next]);
            clean.push_str("Instant {");
            rest = rest[next..].find(" }").map_or("", |end| &rest[next + end..]);
            continue;
        }
        // A time of day begins two digits before its first colon.
        let begin = next.saturating_sub(2);
        let is_time = rest.as_bytes().get(begin..begin + TIME.len()).is_some_and(|found| {
            found
                .iter()
                .zip(TIME)
                .all(|(byte, pattern)| byte == pattern || (*pattern == b'0' && byte.is_ascii_digit()))
        });
        if is_time {
            clean.push_str(&rest[..begin]);
            clean.push_str("TIME");
            rest = &rest[begin + TIME.len()..];
        } else {
            clean.push_str(&rest[..=next]);
            rest = &rest[next + 1..];
        }
    }
    clean.push_str(rest);
    clean
}

impl io::Write for Trace {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Trace {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl FormatTime for Clock {
    fn format_time(&self, w: &mut Writer<'_>) -> std::fmt::Result {
        let elapsed = match self.0.load(Ordering::Relaxed) {
            RUNNING => turmoil::sim_elapsed().unwrap_or_default(),
            standing => Duration::from_micros(standing),
        };
        write!(w, "{}.{:06}", elapsed.as_secs(), elapsed.subsec_micros())
    }
}

#[cfg(test)]
mod tests {
    use super::without_instants;

    #[test]
    fn instants_are_left_out() {
        let text = "a Instant { tv_sec: 1, tv_nsec: 2 } b TokioInstant(Instant { tv_sec: 3, tv_nsec: 4 }), c";
        assert_eq!(without_instants(text), "a Instant { } b TokioInstant(Instant { }), c");
        let text = "<T1-N1:->@10:48:22.197458, now: 10:48:22.197458, me@host:9092 I: 1:2";
        assert_eq!(without_instants(text), "<T1-N1:->@TIME, now: TIME, me@host:9092 I: 1:2");
    }
}
