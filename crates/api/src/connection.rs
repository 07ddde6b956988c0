//! One client's connection.
//!
//! ```text
//! input ─ peek ─ draw memory ─ frame ─ dispatch::start ─► queue (in order) ─ ready answers ─ one write
//! ```
//! Requests are answered in order. Consecutive Produce requests run side by side, up to a limit, because
//! their appends start in order; anything else waits until the queue is empty, and nothing is read beyond its
//! header while it runs (Kafka mutes the connection). While answers are written nothing is read either, so
//! what a slow reader can hold is one queue.

use crate::Services;
use crate::dispatch::{self, Outcome};
use crate::memory_budget::{Drawn, Fetched, MemoryBudget};
use crate::request_stats::{RequestClock, RequestStats};
use bytes::{BufMut, Bytes, BytesMut};
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use futures::stream::{FuturesOrdered, StreamExt};
use host::Gathered;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::{Instant, timeout, timeout_at};
use types::limits;
use wire::{ApiKey, FrameReader, WireError};

/// Small answers are copied together until they are this long; longer ones are written as they are.
const COALESCED_BYTES: usize = 64 * 1024;

/// Length prefix of a frame.
const PREFIX_BYTES: usize = 4;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum Closed {
    #[error("the client closed it")]
    ByClient,
    #[error("nothing came for connections.max.idle.ms")]
    Idle,
    #[error("a broker has gone silent: the client must ask anew who leads")]
    BrokerSilent,
    #[error("the client does not read its answers: {unread} bytes of one are left")]
    NotReading { unread: usize },
    #[error("the client does not read its answers, and unread ones take all the memory that they may")]
    UnreadMemory,
    #[error("the socket failed: {0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Request(#[from] WireError),
    #[error("a request of API key {api_key} announced {length} bytes; only a Produce may be above {max}")]
    TooLarge { api_key: i16, length: usize, max: usize },
    #[error("the body of a request did not arrive in time: {received} of {length} bytes are here")]
    SlowBody { length: usize, received: usize },
    #[error("{0}")]
    Refused(String),
}

impl Closed {
    /// Whether a person may want to know: not of what clients do every day.
    pub(crate) fn is_unusual(&self) -> bool {
        !matches!(
            self,
            Self::ByClient | Self::Idle | Self::BrokerSilent | Self::Io(_) | Self::Request(WireError::Io(_))
        )
    }

    /// Whether who caused this may still read answers, so that what was asked before is answered first.
    fn leaves_a_reader(&self) -> bool {
        match self {
            Self::Request(WireError::Io(_)) | Self::ByClient | Self::Idle | Self::Io(_) => false,
            // All of it is answered.
            Self::BrokerSilent => false,
            Self::NotReading { .. } | Self::UnreadMemory => false,
            // Its own place in the order has come already.
            Self::Refused(_) => false,
            Self::Request(_) | Self::TooLarge { .. } | Self::SlowBody { .. } => true,
        }
    }
}

/// Reading half: frames, each with the memory that it draws.
struct Input<S> {
    reader: FrameReader,
    stream: ReadHalf<S>,
    drawing: Option<LocalBoxFuture<'static, Drawn>>,
    body: Option<Body>,
}

/// A request whose header is here and whose body is still to come.
struct Body {
    /// `None` while more is drawn.
    drawn: Option<Drawn>,
    length: usize,
    /// What memory is drawn for, of the frame with its prefix.
    drawn_for: usize,
    /// When more must have come than there was when the window began, see [`limits::REQUEST_BODY_WINDOW`].
    window_ends: Instant,
    received_before: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Input<S> {
    /// Length and API key of the next request, before its body is read. Cancel safe.
    async fn peek(&mut self) -> Result<Option<(usize, i16)>, Closed> {
        let peeked = self.reader.peek(&mut self.stream).await?;
        let max = limits::CONTROL_REQUEST_BYTES_MAX;
        match peeked {
            Some((length, api_key)) if length > max && api_key != ApiKey::Produce as i16 => {
                Err(Closed::TooLarge { api_key, length, max })
            }
            peeked => Ok(peeked),
        }
    }

    /// The next frame. Memory is drawn for a part of its body, then that is read, and so on: what was only announced holds
    /// none. Cancel safe: a turn in the queue for memory is kept, and so is the time that the body had.
    async fn next(&mut self, services: &Services) -> Result<Option<(Bytes, Drawn)>, Closed> {
        if self.body.is_none() {
            let Some((length, key)) = self.peek().await? else {
                return Ok(None);
            };
            self.body = Some(Body {
                drawn: Some(services.budget.request(key)),
                length,
                drawn_for: 0,
                window_ends: Instant::now() + limits::REQUEST_BODY_WINDOW,
                received_before: self.reader.buffered_bytes(),
            });
        }
        while let Some(body) = &mut self.body {
            let whole = PREFIX_BYTES + body.length;
            let received = self.reader.buffered_bytes().min(whole);
            if body.drawn_for < whole && received >= body.drawn_for {
                let step = received.clamp(limits::REQUEST_STEP_BYTES_MIN, limits::REQUEST_STEP_BYTES_MAX);
                let wanted = whole.min(received + step);
                if let Some(drawn) = body.drawn.take() {
                    self.drawing = Some(drawn.grow(wanted).boxed_local());
                }
                if let Some(drawing) = &mut self.drawing {
                    body.drawn = Some(drawing.await);
                    self.drawing = None;
                    body.window_ends = Instant::now() + limits::REQUEST_BODY_WINDOW;
                    body.received_before = self.reader.buffered_bytes();
                }
                body.drawn_for = wanted;
            }
            if received == whole {
                let frame = self.reader.buffered()?;
                return Ok(frame.zip(self.body.take().and_then(|body| body.drawn)));
            }
            match timeout_at(body.window_ends, self.reader.fill(&mut self.stream, body.drawn_for)).await {
                Ok(filled) => filled?,
                Err(_) => {
                    let received = self.reader.buffered_bytes();
                    if received < body.received_before + limits::REQUEST_BODY_BYTES_PER_WINDOW_MIN {
                        return Err(Closed::SlowBody {
                            length: body.length,
                            received,
                        });
                    }
                    body.received_before = received;
                    body.window_ends += limits::REQUEST_BODY_WINDOW;
                }
            }
        }
        Ok(None)
    }
}

/// A client id for the log, cut where it is no name any more.
fn shown(id: &str) -> String {
    id[..id.floor_char_boundary(limits::LOGGED_CLIENT_ID_MAX)].to_owned()
}

/// What is known of who is at the other end.
#[derive(Debug, Default)]
pub(crate) struct Client {
    pub(crate) address: Option<IpAddr>,
    pub(crate) id: Option<String>,
    pub(crate) requests: u64,
    /// API key and correlation id of the last request.
    pub(crate) last: Option<(i16, i32)>,
}

/// Serves a connection until it ends; never returns without a reason.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    services: &Rc<Services>,
    stream: S,
    client: &mut Client,
) -> Closed {
    let (read, write) = tokio::io::split(stream);
    let mut input = Input {
        reader: FrameReader::new(services.settings.socket_request_max_bytes),
        stream: read,
        drawing: None,
        body: None,
    };
    let mut output = Output {
        stream: write,
        buffer: BytesMut::new(),
        held: Vec::new(),
        answered: Vec::new(),
        budget: Arc::clone(&services.budget),
        stats: Arc::clone(&services.stats),
    };
    let mut queue = Queue::new();
    match run(services, &mut input, &mut output, &mut queue, client).await {
        Ok(never) => match never {},
        Err(closed) => {
            if closed.leaves_a_reader() {
                output.drain(queue).await;
            }
            if matches!(closed, Closed::BrokerSilent) {
                output.farewell(&mut input.stream).await;
            }
            closed
        }
    }
}

/// Requests under way, in order, with the memory that they drew.
type Queue = FuturesOrdered<LocalBoxFuture<'static, Ended>>;

/// What came of a request, when, and what it held.
struct Ended {
    outcome: Outcome,
    clock: RequestClock,
    _drawn: Option<Drawn>,
}

async fn run<S: AsyncRead + AsyncWrite + Unpin>(
    services: &Rc<Services>,
    input: &mut Input<S>,
    output: &mut Output<S>,
    queue: &mut Queue,
    client: &mut Client,
) -> Result<std::convert::Infallible, Closed> {
    let idle = services.settings.connections_max_idle;
    // Whether what runs is not a Produce, and so alone.
    let mut alone = false;
    // A request that is read and must wait for the queue to drain is left in the buffer; its key is known.
    let mut next_key: Option<i16> = None;
    // Why nothing more is read.
    let mut ended: Option<Closed> = None;
    let mut silence = services.silence.subscribe();
    // A client that comes again and asks nothing may still wait for the silent broker's answer.
    let turn = silence.borrow_and_update().and_then(|turns| turns.next(Instant::now()));
    let mut leaves_at = turn.map(|turn| spread(services, turn));
    let mut deadline = Instant::now() + idle;
    loop {
        // Everything that is ready, before anything is written.
        while let Some(Some(ended)) = queue.next().now_or_never() {
            output.take(ended).await?;
        }
        if queue.is_empty() {
            alone = false;
        }
        let may_start = match next_key {
            None => false,
            Some(key) if key == ApiKey::Produce as i16 => !alone && queue.len() < limits::PIPELINED_PRODUCE_MAX,
            Some(_) => queue.is_empty(),
        };
        // Try once without waiting; if nothing is ready, write what there is, and wait after.
        let ready = read_step(input, services, ended.is_some(), next_key, may_start).now_or_never();
        let step = match ready {
            Some(step) => step?,
            None => {
                output.flush().await?;
                if queue.is_empty()
                    && let Some(why) = ended.take()
                {
                    return Err(why);
                }
                let reading = read_step(input, services, ended.is_some(), next_key, may_start);
                tokio::select! {
                    biased;
                    Some(ended) = queue.next(), if !queue.is_empty() => {
                        deadline = Instant::now() + idle;
                        output.take(ended).await?;
                        continue;
                    }
                    step = reading => step?,
                    () = tokio::time::sleep_until(deadline), if queue.is_empty() || ended.is_some() => return Err(Closed::Idle),
                    Ok(()) = silence.changed(), if leaves_at.is_none() => {
                        leaves_at = silence.borrow_and_update().map(|turns| spread(services, turns.first));
                        continue;
                    }
                    () = tokio::time::sleep_until(leaves_at.unwrap_or(deadline)), if leaves_at.is_some() && ended.is_none() => {
                        ended = Some(Closed::BrokerSilent);
                        continue;
                    }
                }
            }
        };
        match step {
            // Nobody is left who could use the answer, which may be minutes away.
            Step::Key(None) if !queue.is_empty() && client.last.is_some_and(|(key, _)| waits_for_others(key)) => {
                return Err(Closed::ByClient);
            }
            Step::Key(None) | Step::Frame(None) => ended = Some(Closed::ByClient),
            Step::Key(Some(key)) => next_key = Some(key),
            Step::Frame(Some((bytes, drawn))) => {
                let arrived = Instant::now();
                deadline = arrived + idle;
                next_key = None;
                let received = bytes.len();
                let frame = wire::parse_frame(bytes)?;
                services.stats.request(frame.api_key, received);
                client.id = frame.client_id.as_deref().map(shown);
                client.requests += 1;
                client.last = Some((frame.api_key, frame.correlation_id));
                alone = frame.api_key != ApiKey::Produce as i16;
                if asks_who_leads(frame.api_key) {
                    leaves_at = None;
                }
                let started = output
                    .starting(dispatch::start(services, &frame, client.address), queue)
                    .await?;
                let clock = RequestClock::new(frame.api_key, arrived, Instant::now());
                // A Fetch may wait for minutes, and keeps next to nothing of its frame; so does whoever waits for other
                // members of its group, and what it keeps it has copied.
                let waits = waits_for_others(frame.api_key)
                    || frame.api_key == ApiKey::Fetch as i16 && frame.size <= limits::FETCH_UNHELD_BYTES;
                let drawn = (!waits).then_some(drawn);
                queue.push_back(Box::pin(async move {
                    let outcome = started.await;
                    Ended {
                        outcome,
                        clock: clock.done(),
                        _drawn: drawn,
                    }
                }));
                // One request a turn, as with Kafka's: others too have sent something. A pipeline of Produce is short.
                if alone {
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}

/// Whether the answer waits for other clients.
fn waits_for_others(api_key: i16) -> bool {
    api_key == ApiKey::JoinGroup as i16 || api_key == ApiKey::SyncGroup as i16
}

/// When one connection ends in a turn for all of them.
fn spread(services: &Services, turn: Instant) -> Instant {
    turn + limits::SILENCE_SPREAD.mul_f64(fraction(services))
}

fn asks_who_leads(api_key: i16) -> bool {
    [ApiKey::Metadata, ApiKey::DescribeTopicPartitions]
        .iter()
        .any(|key| *key as i16 == api_key)
}

/// Random, from 0 to 1.
fn fraction(services: &Services) -> f64 {
    f64::from((services.host.random_u64() >> 32) as u32) / f64::from(u32::MAX)
}

/// Reads the next key, or the frame behind a key that may start; otherwise waits for ever.
async fn read_step<S: AsyncRead + AsyncWrite + Unpin>(
    input: &mut Input<S>,
    services: &Services,
    ended: bool,
    next_key: Option<i16>,
    may_start: bool,
) -> Result<Step, Closed> {
    match next_key {
        _ if ended => std::future::pending().await,
        None => Ok(Step::Key(input.peek().await?.map(|(_, key)| key))),
        Some(_) if may_start => Ok(Step::Frame(input.next(services).await?)),
        Some(_) => std::future::pending().await,
    }
}

enum Step {
    Key(Option<i16>),
    Frame(Option<(Bytes, Drawn)>),
}

/// Writing half.
struct Output<S> {
    stream: WriteHalf<S>,
    buffer: BytesMut,
    /// Memory of what is in the buffer.
    held: Vec<Fetched>,
    /// Requests whose answers are on their way to the socket.
    answered: Vec<RequestClock>,
    budget: Arc<MemoryBudget>,
    stats: Arc<RequestStats>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Output<S> {
    /// Takes an answer; it goes out with the next [`Output::flush`], or at once if much has gathered.
    async fn take(&mut self, ended: Ended) -> Result<(), Closed> {
        let Ended { outcome, clock, _drawn } = ended;
        match outcome {
            Outcome::Silent => {
                self.stats.answered(clock, Instant::now());
                Ok(())
            }
            Outcome::Close(why) => {
                self.flush().await?;
                Err(Closed::Refused(why))
            }
            Outcome::Answer(answer, held) if answer.len() + self.buffer.len() <= COALESCED_BYTES => {
                self.buffer.put(answer);
                self.held.extend(held);
                self.answered.push(clock);
                Ok(())
            }
            Outcome::Answer(answer, held) => {
                self.flush().await?;
                self.answered.push(clock);
                self.write(answer, held.is_some()).await
            }
        }
    }

    /// Waits until a request has started, and goes on answering those before it.
    async fn starting(
        &mut self,
        start: impl Future<Output = Result<LocalBoxFuture<'static, Outcome>, WireError>>,
        queue: &mut Queue,
    ) -> Result<LocalBoxFuture<'static, Outcome>, Closed> {
        let mut start = std::pin::pin!(start);
        if let Poll::Ready(started) = futures::poll!(&mut start) {
            return Ok(started?);
        }
        loop {
            self.flush().await?;
            tokio::select! {
                biased;
                started = &mut start => return Ok(started?),
                Some(ended) = queue.next(), if !queue.is_empty() => self.take(ended).await?,
            }
        }
    }

    /// Answers what is in the queue, as far as the client takes it: the connection ends in any case.
    async fn drain(&mut self, mut queue: Queue) {
        while let Some(ended) = queue.next().await {
            if self.take(ended).await.is_err() {
                return;
            }
        }
        let _ = self.flush().await;
    }

    /// Ends this half and reads what still comes, unseen: to close a socket with unread bytes would reset it, and take
    /// answers on their way with it. Requests that are not read were never begun, so the client may send them elsewhere.
    async fn farewell(&mut self, input: &mut ReadHalf<S>) {
        let mut unread = vec![0; COALESCED_BYTES];
        let ends = async {
            self.stream.shutdown().await?;
            while input.read(&mut unread).await? > 0 {}
            Ok::<(), std::io::Error>(())
        };
        // The connection ends in any case.
        let _ = timeout(limits::FAREWELL_WINDOW, ends).await;
    }

    async fn flush(&mut self) -> Result<(), Closed> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let answers = self.buffer.split().freeze();
        let written = self.write(answers.into(), !self.held.is_empty()).await;
        self.held.clear();
        written
    }

    /// Writes all of it. What the client does not take at once holds memory: it must keep taking
    /// ([`limits::ANSWER_WINDOW`]), and unless the memory is `accounted` already, there must be some left.
    async fn write(&mut self, mut unread: Gathered, accounted: bool) -> Result<(), Closed> {
        let len = unread.len();
        let mut unsent = None;
        let mut window_ends = Instant::now() + limits::ANSWER_WINDOW;
        let mut unread_before = unread.len();
        while !unread.is_empty() {
            let written = {
                let mut writing = std::pin::pin!(self.stream.write_buf(&mut unread));
                match futures::poll!(&mut writing) {
                    Poll::Ready(written) => Ok(written),
                    Poll::Pending => {
                        if !accounted && unsent.is_none() {
                            unsent = Some(self.budget.unsent(len).ok_or(Closed::UnreadMemory)?);
                        }
                        timeout_at(window_ends, writing).await
                    }
                }
            };
            match written {
                Ok(written) => {
                    if written? == 0 {
                        return Err(std::io::Error::from(std::io::ErrorKind::WriteZero).into());
                    }
                }
                Err(_) if unread_before - unread.len() < limits::ANSWER_BYTES_PER_WINDOW_MIN => {
                    return Err(Closed::NotReading { unread: unread.len() });
                }
                Err(_) => {
                    unread_before = unread.len();
                    window_ends += limits::ANSWER_WINDOW;
                }
            }
        }
        self.stream.flush().await?;
        self.stats.sent_bytes.add(len as u64);
        let now = Instant::now();
        for clock in self.answered.drain(..) {
            self.stats.answered(clock, now);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
