use std::time::Duration;

/// Every timing that two nodes must agree on in spirit, in one place, with the LAN and the WAN profile
/// side by side. `docs/timings.md` has the same table for operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timings {
    /// A broker tells the controller that it lives this often (`broker.heartbeat.interval.ms`).
    pub broker_heartbeat: Duration,
    /// Silence after which the controller fences a broker (`broker.session.timeout.ms`).
    pub broker_session: Duration,
    /// A follower that has not caught up for this long leaves the ISR (`replica.lag.time.max.ms`).
    pub replica_lag: Duration,
    /// A leader whose flush takes longer resigns (`log.flush.stall.ms`).
    pub flush_stall: Duration,
    /// Retention is looked at this often (`log.retention.check.interval.ms`).
    pub retention_check: Duration,
    /// Interval of Raft heartbeats (`controller.quorum.heartbeat.ms`).
    pub raft_heartbeat: Duration,
    /// Bounds of the randomised Raft election timeout.
    pub raft_election_min: Duration,
    pub raft_election_max: Duration,
    /// A voter that was silent for longer is replaced by another node, where racks allow it
    /// (`voter.replacement.timeout.ms`).
    pub voter_replacement: Duration,
    /// A single connection attempt to a peer.
    pub dial_timeout: Duration,
    /// Pause before a refused peer is dialled again: first, and at most.
    pub dial_backoff_min: Duration,
    pub dial_backoff_max: Duration,
    /// Refusals that fence a broker must be at least this far apart.
    pub refusal_gap: Duration,
    /// A new controller dials every broker that has not reconnected within this time.
    pub reconnect_grace: Duration,
    /// A peer call that has not been answered by then has failed.
    pub call_timeout: Duration,
    /// An idle replica stream carries a keep-alive this often.
    pub stream_keep_alive: Duration,
    /// A replica stream without a frame for this long is dropped and dialled again.
    pub stream_silence: Duration,
}

impl Timings {
    /// A node that is told for so long that another one is alive under its number is not the one that has just died.
    #[must_use]
    pub fn duplicate_after(&self) -> Duration {
        self.broker_session * 2
    }

    /// One datacenter, round trips of about a millisecond.
    pub const LAN: Self = Self {
        broker_heartbeat: Duration::from_millis(250),
        broker_session: Duration::from_secs(3),
        replica_lag: Duration::from_secs(10),
        flush_stall: Duration::from_secs(5),
        retention_check: Duration::from_secs(300),
        raft_heartbeat: Duration::from_millis(100),
        raft_election_min: Duration::from_millis(250),
        raft_election_max: Duration::from_millis(500),
        voter_replacement: Duration::from_secs(600),
        dial_timeout: Duration::from_millis(500),
        dial_backoff_min: Duration::from_millis(10),
        dial_backoff_max: Duration::from_millis(250),
        refusal_gap: Duration::from_millis(20),
        reconnect_grace: Duration::from_millis(50),
        call_timeout: Duration::from_secs(2),
        stream_keep_alive: Duration::from_millis(500),
        stream_silence: Duration::from_millis(2500),
    };

    /// Datacenters up to 150 ms apart.
    pub const WAN: Self = Self {
        broker_heartbeat: Duration::from_millis(500),
        broker_session: Duration::from_secs(9),
        replica_lag: Duration::from_secs(30),
        flush_stall: Duration::from_secs(5),
        retention_check: Duration::from_secs(300),
        raft_heartbeat: Duration::from_millis(250),
        raft_election_min: Duration::from_millis(1000),
        raft_election_max: Duration::from_millis(2000),
        voter_replacement: Duration::from_secs(600),
        dial_timeout: Duration::from_secs(2),
        dial_backoff_min: Duration::from_millis(50),
        dial_backoff_max: Duration::from_secs(1),
        refusal_gap: Duration::from_millis(200),
        reconnect_grace: Duration::from_millis(600),
        call_timeout: Duration::from_secs(10),
        stream_keep_alive: Duration::from_secs(1),
        stream_silence: Duration::from_secs(6),
    };
}
