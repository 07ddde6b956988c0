use super::link::{self, Frame, Receiver, Sender};
use super::pace::Pace;
use super::progress::Progress;
use super::report::{Report, Times};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, mpsc};
use types::ErrorCode;

/// How long what is in flight at the end may take.
pub(super) const LAST_ANSWERS: Duration = Duration::from_secs(30);

/// The time that counts: what was to be sent in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub from: Instant,
    pub until: Instant,
}

impl Window {
    pub fn new(warmup: Duration, duration: Duration) -> Self {
        let from = Instant::now() + warmup;
        Self {
            from,
            until: from + duration,
        }
    }

    pub fn holds(&self, at: Instant) -> bool {
        at >= self.from && at < self.until
    }

    pub fn length(&self) -> Duration {
        self.until - self.from
    }
}

/// What was acknowledged within the window, and how long that took from when it was to be sent.
#[derive(Debug)]
pub(super) struct Tally {
    pub window: Window,
    pub times: Times,
    /// Acknowledged of those that were to be sent in the window.
    pub sent: u64,
    pub records: u64,
    pub bytes: u64,
    /// How many of each.
    pub errors: BTreeMap<String, u64>,
}

impl Tally {
    pub fn new(window: Window) -> Self {
        Self {
            window,
            times: Times::new(),
            sent: 0,
            records: 0,
            bytes: 0,
            errors: BTreeMap::new(),
        }
    }

    /// Throughput counts what was acknowledged in the window, latency what was to be sent in it.
    pub fn acknowledge(&mut self, due: Instant, now: Instant, records: u64, bytes: u64) {
        if self.window.holds(now) {
            self.records += records;
            self.bytes += bytes;
        }
        if self.window.holds(due) {
            self.times.add(now - due);
            self.sent += records;
        }
    }

    pub fn fail(&mut self, error: String) {
        *self.errors.entry(error).or_default() += 1;
    }

    pub fn report(&self, what: &'static str) -> Report {
        Report {
            latency: self.times.latency(),
            errors: self.errors.clone(),
            ..Report::new(what, self.records, self.bytes, self.window.length())
        }
    }
}

/// Threads count each for themselves.
#[cfg(feature = "librdkafka")]
impl Tally {
    pub fn join(&mut self, more: Self) {
        self.times.join(&more.times);
        self.sent += more.sent;
        self.records += more.records;
        self.bytes += more.bytes;
        self.fail_with(more.errors);
    }

    pub fn fail_with(&mut self, errors: BTreeMap<String, u64>) {
        for (error, count) in errors {
            *self.errors.entry(error).or_default() += count;
        }
    }
}

/// What is to be sent, and when it was to be.
pub(super) struct Job {
    pub due: Instant,
    pub frame: Frame,
}

/// One connection to one leader. Requests go out while there are permits, answers give them back.
pub(super) struct Lane {
    sender: Sender,
    receiver: Receiver,
    permits: Arc<Semaphore>,
    tally: Rc<RefCell<Tally>>,
    progress: Progress,
}

/// Requests without an answer yet: when each was to be sent, records, bytes.
type Flying = Rc<RefCell<VecDeque<(Instant, u64, u64)>>>;

impl Lane {
    pub async fn open(
        address: &str,
        permits: Arc<Semaphore>,
        tally: Rc<RefCell<Tally>>,
        progress: Progress,
    ) -> anyhow::Result<Self> {
        let (sender, receiver) = link::open(address).await?;
        Ok(Self {
            sender,
            receiver,
            permits,
            tally,
            progress,
        })
    }

    /// A closed loop: the next as soon as one is acknowledged.
    pub async fn close_loop(self, frames: Vec<Frame>) {
        let until = self.tally.borrow().window.until;
        let mut frames = frames.into_iter().cycle();
        let next = move || {
            let now = Instant::now();
            let frame = frames.next().filter(|_| now < until);
            std::future::ready(frame.map(|frame| Job { due: now, frame }))
        };
        self.run(next).await;
    }

    /// An open loop: what comes, whatever is still in flight.
    pub async fn open_loop(self, jobs: mpsc::UnboundedReceiver<Job>) {
        let jobs = Rc::new(tokio::sync::Mutex::new(jobs));
        self.run(move || {
            let jobs = jobs.clone();
            async move { jobs.lock().await.recv().await }
        })
        .await;
    }

    async fn run<F: Future<Output = Option<Job>>>(self, next: impl FnMut() -> F) {
        let Self {
            mut sender,
            receiver,
            permits,
            tally,
            progress,
        } = self;
        let flying = Flying::default();
        let sending = send_all(&mut sender, next, &permits, &flying, &tally);
        let receiving = receive_all(receiver, &permits, &flying, &tally, &progress);
        let last = async {
            sending.await;
            let answered = async {
                while !flying.borrow().is_empty() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            let _ = tokio::time::timeout(LAST_ANSWERS, answered).await;
        };
        tokio::select! {
            () = last => {}
            () = receiving => {}
        }
    }
}

async fn send_all<F: Future<Output = Option<Job>>>(
    sender: &mut Sender,
    mut next: impl FnMut() -> F,
    permits: &Semaphore,
    flying: &Flying,
    tally: &RefCell<Tally>,
) {
    loop {
        // A closed loop says when it sends only once it may.
        let Ok(permit) = permits.acquire().await else { return };
        let Some(Job { due, frame }) = next().await else { return };
        permit.forget();
        flying.borrow_mut().push_back((due, frame.records, frame.bytes));
        if let Err(error) = sender.send(&frame).await {
            tally.borrow_mut().fail(error.to_string());
            return;
        }
    }
}

async fn receive_all(
    mut receiver: Receiver,
    permits: &Semaphore,
    flying: &Flying,
    tally: &RefCell<Tally>,
    progress: &Progress,
) {
    loop {
        let answer = receiver.answer().await;
        let now = Instant::now();
        let sent = flying.borrow_mut().pop_front();
        permits.add_permits(1);
        let mut tally = tally.borrow_mut();
        match (answer, sent) {
            (Ok(ErrorCode::None), Some((due, records, bytes))) => {
                progress.add(records, bytes);
                tally.acknowledge(due, now, records, bytes);
            }
            (Ok(error), _) => tally.fail(format!("{error:?}")),
            (Err(error), _) => {
                tally.fail(format!("{error:#}"));
                return;
            }
        }
    }
}

/// Gives each tick's frame to the lane that is next.
pub(super) async fn drive(mut pace: Pace, mut lanes: Vec<(mpsc::UnboundedSender<Job>, Vec<Frame>)>, until: Instant) {
    let turns: Vec<(usize, usize)> = {
        let count = lanes.iter().map(|(_, frames)| frames.len()).max().unwrap_or(0);
        let at = |frame| (0..lanes.len()).map(move |lane| (lane, frame));
        let all = (0..count).flat_map(at);
        all.filter(|(lane, frame)| *frame < lanes[*lane].1.len()).collect()
    };
    for (lane, frame) in turns.into_iter().cycle() {
        let Some(due) = pace.next().await.filter(|due| *due < until) else {
            lanes.clear();
            return;
        };
        let (sender, frames) = &lanes[lane];
        let frame = frames[frame].clone();
        if sender.send(Job { due, frame }).is_err() {
            return;
        }
    }
}
