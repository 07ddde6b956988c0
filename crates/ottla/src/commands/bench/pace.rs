use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// When the next thing is to be sent, told on a thread of its own: the runtime's timer is a millisecond coarse, and an open
/// loop must not wait for answers.
pub(super) struct Pace {
    /// The first is due an interval later.
    pub began: Instant,
    ticks: mpsc::UnboundedReceiver<Instant>,
}

impl Pace {
    /// From now on for as long as it is held.
    pub fn every(interval: Duration) -> Self {
        let (sender, ticks) = mpsc::unbounded_channel();
        let began = Instant::now();
        std::thread::spawn(move || {
            let mut due = began;
            loop {
                due += interval;
                let left = due.saturating_duration_since(Instant::now());
                if !left.is_zero() {
                    std::thread::sleep(left);
                }
                if sender.send(due).is_err() {
                    return;
                }
            }
        });
        Self { began, ticks }
    }

    /// When the next was due: it may be a while ago.
    pub async fn next(&mut self) -> Option<Instant> {
        self.ticks.recv().await
    }
}
