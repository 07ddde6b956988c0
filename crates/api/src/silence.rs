use metadata::Image;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::watch;
use types::{NodeId, limits};

/// Tells a shard's connections that a broker has been fenced for its silence.
///
/// Its clients are told nothing by their own connection to it, and wait for it until their request timeouts, 30 s and
/// more, although others lead now. All clients ask for metadata again when a connection ends, so the other brokers end
/// theirs, between two requests. They take turns: a client that loses all its other connections at once asks the silent
/// broker (seen with librdkafka 2.16).
#[derive(Debug)]
pub(crate) struct Silence {
    silent: RefCell<BTreeSet<NodeId>>,
    /// How long connections wait for this broker's turn, sent each time that a broker has gone silent.
    turn: watch::Sender<Duration>,
}

impl Default for Silence {
    fn default() -> Self {
        Self {
            silent: RefCell::default(),
            turn: watch::channel(Duration::ZERO).0,
        }
    }
}

impl Silence {
    /// Looks at the image, as the broker `me`: what it is told of itself, its clients see.
    pub fn look(&self, image: &Image, me: NodeId) {
        let silent: BTreeSet<NodeId> = image
            .brokers
            .values()
            .filter(|broker| broker.fenced && broker.silent && broker.node_id != me)
            .map(|broker| broker.node_id)
            .collect();
        let before = self.silent.replace(silent.clone());
        if !silent.is_subset(&before) {
            let before_me = image.brokers.keys().filter(|node| **node < me && image.alive(**node));
            let turn = u32::try_from(before_me.count()).unwrap_or(u32::MAX) % limits::SILENCE_TURNS;
            self.turn.send_replace(limits::SILENCE_STAGGER * turn);
        }
    }

    /// Changes when a broker goes silent from now on, to the time until this broker's turn.
    pub fn subscribe(&self) -> watch::Receiver<Duration> {
        self.turn.subscribe()
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
            silence.look(&image, NodeId(me));
            assert_eq!(told.has_changed().unwrap(), expected, "{fenced} {silent} {me}");
            told.mark_unchanged();
        }
    }

    #[test]
    fn brokers_take_turns() {
        for (me, turn) in [(1, 0), (3, 1)] {
            let silence = Silence::default();
            let told = silence.subscribe();
            let mut image = cluster();
            let broker = Arc::make_mut(image.brokers.get_mut(&NodeId(2)).unwrap());
            (broker.fenced, broker.silent) = (true, true);
            silence.look(&image, NodeId(me));
            assert_eq!(*told.borrow(), limits::SILENCE_STAGGER * turn, "broker {me}");
        }
    }
}
