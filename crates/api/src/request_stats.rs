use metrics::{Counter, Histogram, Tally};
use tokio::time::Instant;
use wire::SERVED;

/// What one shard counts of the requests that it serves; it alone writes.
#[derive(Debug)]
pub(crate) struct RequestStats {
    /// In the order of [`SERVED`].
    apis: Vec<ApiStats>,
    pub received_bytes: Counter,
    pub sent_bytes: Counter,
}

/// Of one API.
#[derive(Debug, Default)]
struct ApiStats {
    requests: Counter,
    phases: [Histogram; Phase::ALL.len()],
}

/// Where the time of a request goes.
///
/// ```text
/// frame is here ── start ──► decoded, checked, handed over ── work ──► answer is there ── send ──► written to the socket
///       └───────────────────────────────────────── total ──────────────────────────────────────────────┘
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Start,
    Work,
    Send,
    Total,
}

impl Phase {
    pub const ALL: [Self; 4] = [Self::Start, Self::Work, Self::Send, Self::Total];

    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Work => "work",
            Self::Send => "send",
            Self::Total => "total",
        }
    }
}

/// The times of one request, until it is answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestClock {
    api_key: i16,
    arrived: Instant,
    started: Instant,
    done: Instant,
}

impl RequestClock {
    pub fn new(api_key: i16, arrived: Instant, started: Instant) -> Self {
        Self {
            api_key,
            arrived,
            started,
            done: started,
        }
    }

    /// Its answer is there.
    pub fn done(self) -> Self {
        Self {
            done: Instant::now(),
            ..self
        }
    }
}

impl Default for RequestStats {
    fn default() -> Self {
        Self {
            apis: SERVED.iter().map(|_| ApiStats::default()).collect(),
            received_bytes: Counter::default(),
            sent_bytes: Counter::default(),
        }
    }
}

impl RequestStats {
    /// A request's frame is here.
    pub fn request(&self, api_key: i16, bytes: usize) {
        self.received_bytes.add(bytes as u64);
        if let Some(api) = self.api(api_key) {
            api.requests.add(1);
        }
    }

    /// A request is answered: the answer is with the socket.
    pub fn answered(&self, clock: RequestClock, now: Instant) {
        let Some(api) = self.api(clock.api_key) else { return };
        let took = [
            clock.started - clock.arrived,
            clock.done - clock.started,
            now - clock.done,
            now - clock.arrived,
        ];
        for (phase, took) in api.phases.iter().zip(took) {
            phase.observe(took);
        }
    }

    /// Requests of the API at this place of [`SERVED`].
    pub fn requests(&self, place: usize) -> u64 {
        self.apis.get(place).map_or(0, |api| api.requests.get())
    }

    pub fn add_to(&self, place: usize, phase: Phase, tally: &mut Tally) {
        if let Some(api) = self.apis.get(place) {
            tally.add(&api.phases[phase as usize]);
        }
    }

    fn api(&self, api_key: i16) -> Option<&ApiStats> {
        let place = SERVED.iter().position(|range| range.key as i16 == api_key)?;
        self.apis.get(place)
    }
}
