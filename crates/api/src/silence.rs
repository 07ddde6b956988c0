use metadata::Image;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use types::{NodeId, limits};

/// Tells a shard's connections that a broker has been fenced for its silence.
///
/// Its clients are told nothing by their own connection to it, and wait for it until their request timeouts, 30 s and
/// more, although others lead now. All clients ask for metadata again when a connection ends, so the other brokers end
/// theirs, between two requests. They take turns: a client that loses all its other connections at once asks the silent
/// broker (seen with librdkafka 2.16).
///
/// Even so it may ask the silent broker, and then asks nobody else while it waits: librdkafka chooses by chance among the
/// brokers that it has sent anything to within the last second, and to the silent one it still sends. So there are
/// several rounds, but who has asked since is left alone.
#[derive(Debug)]
pub(crate) struct Silence {
    silent: RefCell<BTreeSet<NodeId>>,
    /// Sent each time that a broker has gone silent.
    turns: watch::Sender<Option<Turns>>,
}

/// When this broker ends its clients' connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turns {
    pub first: Instant,
    every: Duration,
}

impl Turns {
    /// The next one; `None` when there is none any more.
    pub fn next(self, now: Instant) -> Option<Instant> {
        let turn = |round| self.first + self.every * round;
        (0..limits::SILENCE_ROUNDS).map(turn).find(|at| *at >= now)
    }
}

impl Default for Silence {
    fn default() -> Self {
        Self {
            silent: RefCell::default(),
            turns: watch::channel(None).0,
        }
    }
}

impl Silence {
    /// Looks at the image, as the broker `me`: what it is told of itself, its clients see.
    pub fn look(&self, image: &Image, me: NodeId, now: Instant) {
        let silent: BTreeSet<NodeId> = image
            .brokers
            .values()
            .filter(|broker| broker.fenced && broker.silent && broker.node_id != me)
            .map(|broker| broker.node_id)
            .collect();
        let before = self.silent.replace(silent.clone());
        if !silent.is_subset(&before) {
            let alive = |below: NodeId| {
                let those = image
                    .brokers
                    .keys()
                    .filter(|node| **node < below && image.alive(**node));
                u32::try_from(those.count()).unwrap_or(u32::MAX)
            };
            let all = alive(NodeId(i32::MAX)).clamp(1, limits::SILENCE_TURNS);
            self.turns.send_replace(Some(Turns {
                first: now + limits::SILENCE_STAGGER * (alive(me) % all),
                every: limits::SILENCE_STAGGER * all,
            }));
        }
    }

    /// Changes when a broker goes silent from now on.
    pub fn subscribe(&self) -> watch::Receiver<Option<Turns>> {
        self.turns.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_image::cluster;
    use std::sync::Arc;

    #[test]
    fn a_silence_is_told_once_when_it_begins() {
        let silence = Silence::default();
        let mut told = silence.subscribe();
        // (fenced, for silence) of broker 2, as broker 1 sees it and as itself does.
        for ((fenced, silent), me, expected) in [
            ((false, false), 1, false),
            ((true, false), 1, false),
            ((true, true), 2, false),
            ((true, true), 1, true),
            ((true, true), 1, false),
            ((false, false), 1, false),
            ((true, true), 1, true),
        ] {
            let mut image = cluster();
            let broker = Arc::make_mut(image.brokers.get_mut(&NodeId(2)).unwrap());
            (broker.fenced, broker.silent) = (fenced, silent);
            silence.look(&image, NodeId(me), Instant::now());
            assert_eq!(told.has_changed().unwrap(), expected, "{fenced} {silent} {me}");
            told.mark_unchanged();
        }
    }

    /// Broker 2 of three is silent.
    #[test]
    fn brokers_take_turns_in_rounds() {
        let at = |millis| Duration::from_millis(millis);
        for (me, turns) in [(1, [0, 800, 1600, 2400]), (3, [400, 1200, 2000, 2800])] {
            let silence = Silence::default();
            let told = silence.subscribe();
            let mut image = cluster();
            Arc::make_mut(image.brokers.get_mut(&NodeId(3)).unwrap()).fenced = false;
            let broker = Arc::make_mut(image.brokers.get_mut(&NodeId(2)).unwrap());
            (broker.fenced, broker.silent) = (true, true);
            let now = Instant::now();
            silence.look(&image, NodeId(me), now);
            let found = told.borrow().unwrap();
            let mut from = now;
            for turn in turns.map(at) {
                assert_eq!(found.next(from), Some(now + turn), "broker {me}");
                from = now + turn + at(1);
            }
            assert_eq!(found.next(from), None, "broker {me}");
        }
    }
}
