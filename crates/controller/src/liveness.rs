use std::collections::BTreeMap;
use std::time::Duration;
use types::{BrokerEpoch, LogIndex, Monotonic, NodeId, Timings};

/// Names one broker session; a later one of the same broker has a higher number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// What the controller hears of brokers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The image has this registration. `unfence_at`: the metadata index that the broker must have applied
    /// before it is unfenced.
    Registered {
        node: NodeId,
        broker_epoch: BrokerEpoch,
        fenced: bool,
        unfence_at: LogIndex,
    },
    /// The image has no registration of this broker any more.
    Unregistered {
        node: NodeId,
    },
    SessionOpened {
        node: NodeId,
        broker_epoch: BrokerEpoch,
        session: SessionId,
    },
    Heartbeat {
        node: NodeId,
        session: SessionId,
        applied: LogIndex,
    },
    /// What the broker serves hangs, as it says itself: others should lead.
    Hangs {
        node: NodeId,
        session: SessionId,
    },
    SessionBroken {
        node: NodeId,
        session: SessionId,
    },
    /// The outcome of [`Action::Dial`].
    Dialled {
        node: NodeId,
        dial: u64,
        outcome: DialOutcome,
    },
    /// This controller hears no majority: that others are silent says nothing of them.
    Isolated,
    /// A fence or unfence was not written (the leader re-planned, or the write's outcome was open): decide again.
    Undecided {
        node: NodeId,
    },
    Tick,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialOutcome {
    /// The machine said that nobody listens.
    Refused,
    /// Somebody listens.
    Accepted,
    /// Timed out, unreachable, or the address is not known to be the broker's: no evidence of anything.
    Unclear,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Dial the broker's control port at the address that its session came from, or, where it has had none
    /// with this controller, at the registered one.
    Dial {
        node: NodeId,
        dial: u64,
    },
    Fence {
        node: NodeId,
        broker_epoch: BrokerEpoch,
        why: Why,
    },
    Unfence {
        node: NodeId,
        broker_epoch: BrokerEpoch,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Nothing heard for the session timeout.
    Silence,
    /// Two refusals.
    Evidence,
    /// It said that it hangs; its clients hear nothing from it.
    Hangs,
}

/// Decides who lives. Pure: events and `now` in, actions out.
///
/// ```text
///            session breaks, or no session within the reconnect grace of a new controller
///   Connected ────────────────────────────────────────────────► Suspected: dial
///       ▲                                                         │ refused, and refused again
///       │ a session opens                                         │ at least refusal_gap later
///       └─────────────────────────────────────────────────────────┤
///   silence for the session timeout, in either state ──► fence ◄──┘
/// ```
///
/// A broker that says itself that it hangs is fenced at once. Nothing but two refusals in a row counts as evidence; everything else waits for silence. The own
/// controller's pauses (a stopped process) do not count as a broker's silence, nor does silence before it led, but that
/// of the controller before it.
pub struct Liveness {
    brokers: BTreeMap<NodeId, Broker>,
    session_timeout: Duration,
    refusal_gap: Duration,
    reconnect_grace: Duration,
    redial_max: Duration,
    /// Longest time between two events that is not taken for a pause of this controller.
    pause: Duration,
    last_event: Monotonic,
    dials: u64,
    /// The controller before this one, and when it was last heard as such.
    before: Option<(NodeId, Monotonic)>,
    /// Nobody is fenced for silence before.
    earliest: Monotonic,
}

#[derive(Debug)]
struct Broker {
    epoch: BrokerEpoch,
    fenced: bool,
    unfence_at: LogIndex,
    last_heard: Monotonic,
    session: Option<SessionId>,
    suspicion: Option<Suspicion>,
    /// A fence or unfence is on its way.
    deciding: bool,
}

#[derive(Debug)]
struct Suspicion {
    next_dial: Monotonic,
    /// The dial that is out.
    dial: Option<u64>,
    refused_at: Option<Monotonic>,
    backoff: Duration,
}

impl Broker {
    fn silent_at(&self, session_timeout: Duration, earliest: Monotonic) -> Monotonic {
        self.last_heard.plus(session_timeout).max(earliest)
    }
}

impl Suspicion {
    fn starting(at: Monotonic, gap: Duration) -> Self {
        Self {
            next_dial: at,
            dial: None,
            refused_at: None,
            backoff: gap,
        }
    }
}

impl Liveness {
    /// Knows nobody; registrations are fed in as events. `now` is when this controller began to lead. `before`: the
    /// controller before it and when this node last heard of that, since the silence that made an election is that
    /// broker's silence too. It has [`Timings::dial_timeout`] to show that it lives all the same.
    #[must_use]
    pub fn new(timings: &Timings, now: Monotonic, before: Option<(NodeId, Monotonic)>) -> Self {
        Self {
            brokers: BTreeMap::new(),
            session_timeout: timings.broker_session,
            refusal_gap: timings.refusal_gap,
            reconnect_grace: timings.reconnect_grace,
            redial_max: timings.dial_backoff_max,
            pause: timings.broker_heartbeat * 2,
            last_event: now,
            dials: 0,
            before,
            earliest: now.plus(timings.dial_timeout),
        }
    }

    /// Takes one event; returns what to do now. Call with [`Event::Tick`] at [`Liveness::deadline`].
    pub fn on(&mut self, event: Event, now: Monotonic) -> Vec<Action> {
        self.forgive_pause(now);
        let mut actions = Vec::new();
        match event {
            Event::Registered {
                node,
                broker_epoch,
                fenced,
                unfence_at,
            } => {
                self.on_registered(node, broker_epoch, fenced, unfence_at, now);
            }
            Event::Unregistered { node } => {
                self.brokers.remove(&node);
            }
            Event::SessionOpened {
                node,
                broker_epoch,
                session,
            } => {
                if let Some(broker) = self.brokers.get_mut(&node)
                    && broker.epoch == broker_epoch
                {
                    broker.session = Some(session);
                    broker.suspicion = None;
                    broker.last_heard = now;
                }
            }
            Event::Heartbeat { node, session, applied } => {
                if let Some(broker) = self.brokers.get_mut(&node)
                    && broker.session == Some(session)
                {
                    broker.last_heard = now;
                    if broker.fenced && !broker.deciding && applied >= broker.unfence_at {
                        broker.deciding = true;
                        actions.push(Action::Unfence {
                            node,
                            broker_epoch: broker.epoch,
                        });
                    }
                }
            }
            Event::Hangs { node, session } => {
                if let Some(broker) = self.brokers.get_mut(&node)
                    && broker.session == Some(session)
                    && !broker.fenced
                    && !broker.deciding
                {
                    broker.deciding = true;
                    actions.push(Action::Fence {
                        node,
                        broker_epoch: broker.epoch,
                        why: Why::Hangs,
                    });
                }
            }
            Event::SessionBroken { node, session } => {
                if let Some(broker) = self.brokers.get_mut(&node)
                    && broker.session == Some(session)
                {
                    broker.session = None;
                    if !broker.fenced {
                        broker.suspicion = Some(Suspicion::starting(now, self.refusal_gap));
                    }
                }
            }
            Event::Dialled { node, dial, outcome } => actions.extend(self.on_dialled(node, dial, outcome, now)),
            Event::Isolated => {
                for broker in self.brokers.values_mut() {
                    broker.last_heard = now;
                }
            }
            Event::Undecided { node } => {
                if let Some(broker) = self.brokers.get_mut(&node) {
                    broker.deciding = false;
                }
            }
            Event::Tick => {}
        }
        actions.extend(self.due(now));
        actions
    }

    /// When [`Event::Tick`] is due, if nothing comes before.
    #[must_use]
    pub fn deadline(&self) -> Option<Monotonic> {
        self.brokers
            .values()
            .filter(|broker| !broker.fenced && !broker.deciding)
            .flat_map(|broker| {
                let dial = broker
                    .suspicion
                    .as_ref()
                    .filter(|s| s.dial.is_none())
                    .map(|s| s.next_dial);
                [Some(broker.silent_at(self.session_timeout, self.earliest)), dial]
            })
            .flatten()
            .min()
    }

    /// Whether the broker has a session here now. ◆ And speaks on it: that of a machine that lost its power may never end.
    #[must_use]
    pub fn connected(&self, node: NodeId, now: Monotonic) -> bool {
        let speaks = |broker: &Broker| now < broker.last_heard.plus(self.session_timeout);
        let broker = self.brokers.get(&node);
        broker.is_some_and(|broker| broker.session.is_some() && speaks(broker))
    }

    fn on_registered(&mut self, node: NodeId, epoch: BrokerEpoch, fenced: bool, unfence_at: LogIndex, now: Monotonic) {
        match self.brokers.get_mut(&node) {
            Some(broker) if broker.epoch == epoch => {
                if broker.fenced != fenced {
                    broker.deciding = false;
                    broker.unfence_at = unfence_at;
                    broker.suspicion = None;
                }
                broker.fenced = fenced;
            }
            _ => {
                // A registration is a sign of life; a broker found in the image by a new controller has its
                // grace to come back.
                let suspicion =
                    (!fenced).then(|| Suspicion::starting(now.plus(self.reconnect_grace), self.refusal_gap));
                let before = self.before.take_if(|(controller, _)| *controller == node);
                let broker = Broker {
                    epoch,
                    fenced,
                    unfence_at,
                    last_heard: before.map_or(now, |(_, heard)| heard.min(now)),
                    session: None,
                    suspicion,
                    deciding: false,
                };
                self.brokers.insert(node, broker);
            }
        }
    }

    fn on_dialled(&mut self, node: NodeId, dial: u64, outcome: DialOutcome, now: Monotonic) -> Option<Action> {
        let broker = self.brokers.get_mut(&node)?;
        let suspicion = broker
            .suspicion
            .as_mut()
            .filter(|suspicion| suspicion.dial == Some(dial))?;
        suspicion.dial = None;
        match outcome {
            DialOutcome::Refused => {
                let first = *suspicion.refused_at.get_or_insert(now);
                suspicion.backoff = self.refusal_gap;
                suspicion.next_dial = now.plus(self.refusal_gap);
                if now.since(first) >= self.refusal_gap && !broker.deciding && !broker.fenced {
                    broker.deciding = true;
                    return Some(Action::Fence {
                        node,
                        broker_epoch: broker.epoch,
                        why: Why::Evidence,
                    });
                }
            }
            DialOutcome::Accepted | DialOutcome::Unclear => {
                // A dying process may lose its streams before its listener: look again, ever more seldom.
                suspicion.refused_at = None;
                suspicion.next_dial = now.plus(suspicion.backoff);
                suspicion.backoff = (suspicion.backoff * 2).min(self.redial_max);
            }
        }
        None
    }

    fn due(&mut self, now: Monotonic) -> Vec<Action> {
        let mut actions = Vec::new();
        for (node, broker) in &mut self.brokers {
            if broker.fenced || broker.deciding {
                continue;
            }
            if now >= broker.silent_at(self.session_timeout, self.earliest) {
                broker.deciding = true;
                actions.push(Action::Fence {
                    node: *node,
                    broker_epoch: broker.epoch,
                    why: Why::Silence,
                });
                continue;
            }
            if let Some(suspicion) = &mut broker.suspicion
                && suspicion.dial.is_none()
                && suspicion.next_dial <= now
            {
                self.dials += 1;
                suspicion.dial = Some(self.dials);
                actions.push(Action::Dial {
                    node: *node,
                    dial: self.dials,
                });
            }
        }
        actions
    }

    /// Heartbeats that could not be read while this process was stopped are nobody's silence.
    fn forgive_pause(&mut self, now: Monotonic) {
        let expected = self.last_event.plus(self.pause);
        let excess = now.since(expected);
        self.last_event = now;
        if !excess.is_zero() {
            for broker in self.brokers.values_mut() {
                broker.last_heard = broker.last_heard.plus(excess).min(now);
            }
        }
    }
}

#[cfg(test)]
mod tests;
