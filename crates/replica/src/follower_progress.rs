use crate::{Durability, FollowerAck, FollowerHello};
use types::{Broken, BrokerEpoch, Monotonic, NodeId, Offset, StreamGeneration, broken};

/// Positions that a follower stated in its current stream generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Positions {
    pub log_start: Offset,
    pub log_end: Offset,
    pub durable: Offset,
}

/// What a leader knows of one follower.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FollowerProgress {
    pub node: NodeId,
    /// Broker epoch and generation of the last hello.
    pub stream: Option<(BrokerEpoch, StreamGeneration)>,
    /// Whether the stream of that hello still stands.
    pub connected: bool,
    /// `None` until a hello whose log agrees with ours.
    pub positions: Option<Positions>,
    /// The follower had all that the leader had at this time.
    pub caught_up_at: Monotonic,
    /// The leader's log end at some time: reaching it proves that the follower was caught up then.
    ///
    /// Kafka compares with the log end at the previous fetch. Here several frames are in flight, so that
    /// under steady load an ack never covers the log end of the previous ack; one mark at a time does.
    mark: Option<(Offset, Monotonic)>,
    /// As `caught_up_at`, but said in the current stream: `None` until it was.
    pub keeps_up_at: Option<Monotonic>,
}

impl FollowerProgress {
    pub fn new(node: NodeId, now: Monotonic) -> Self {
        Self {
            node,
            stream: None,
            connected: false,
            positions: None,
            caught_up_at: now,
            mark: None,
            keeps_up_at: None,
        }
    }

    /// What the follower's acknowledgement is worth.
    pub fn acked(&self, durability: Durability) -> Option<Offset> {
        let positions = self.positions?;
        Some(durability.acked(positions.durable, positions.log_end))
    }

    /// A hello opens a stream and voids what was known.
    pub fn open(&mut self, hello: &FollowerHello) {
        self.stream = Some((hello.broker_epoch, hello.generation));
        self.connected = true;
        if !broken(Broken::KeepAcksOverHello) {
            self.positions = None;
        }
        self.mark = None;
        self.keeps_up_at = None;
    }

    /// Takes stated positions over.
    pub fn state(&mut self, positions: Positions, durability: Durability, leader_end: Offset, now: Monotonic) {
        self.positions = Some(positions);
        let acked = self.acked(durability).unwrap_or_default();
        if acked >= leader_end {
            self.caught_up(now);
            self.mark = None;
            return;
        }
        match self.mark {
            Some((end, _)) if acked < end => {}
            reached => {
                if let Some((_, at)) = reached {
                    self.caught_up(self.caught_up_at.max(at));
                }
                self.mark = Some((leader_end, now));
            }
        }
    }

    fn caught_up(&mut self, at: Monotonic) {
        self.caught_up_at = at;
        self.keeps_up_at = Some(at);
    }

    /// The leader's log is about to grow from `leader_end`. A follower that has it all was caught up until
    /// now: an idle partition sends no acknowledgements that would say so.
    pub fn before_append(&mut self, durability: Durability, leader_end: Offset, now: Monotonic) {
        if self.connected && self.acked(durability).is_some_and(|acked| acked >= leader_end) {
            self.caught_up(now);
            self.mark = Some((leader_end, now));
        }
    }

    /// The stream broke. What was acknowledged stays acknowledged, but nothing more comes.
    pub fn close(&mut self, durability: Durability, leader_end: Offset, now: Monotonic) {
        if self.connected && self.acked(durability).is_some_and(|acked| acked >= leader_end) {
            self.caught_up_at = now;
        }
        self.connected = false;
    }

    /// Whether an ack is of the current stream.
    pub fn is_current(&self, ack: &FollowerAck) -> bool {
        let any = broken(Broken::IgnoreGenerations) && self.stream.is_some();
        any || (self.connected && self.stream.is_some_and(|(_, generation)| generation == ack.generation))
    }
}
