//! What Kubernetes asks: startup (is it past what takes long?), liveness (would a restart help?), readiness.

use crate::node_state::Parts;
use std::time::Duration;
use types::limits;

/// A line for the answer; an error: the answer is 503.
pub(crate) type Health = Result<&'static str, String>;

/// Past the recovery of its logs. What may come after it, waiting for other nodes, is nothing that a restart would end.
pub(crate) fn startup(parts: &Parts) -> Health {
    match parts.control {
        Some(_) => Ok("started"),
        None => Err(format!("not started: the node is {}", parts.doing)),
    }
}

/// ◆ Only what a restart of the process mends: neither a slow disk nor a lost quorum, nor waiting for others.
pub(crate) fn liveness(silence: Option<Duration>) -> Health {
    match silence {
        Some(silence) if silence > limits::SHARD_SILENCE_MAX => Err(format!(
            "a shard hangs: nothing has moved on it for {} s, and nothing on it waits for a disk or another node",
            silence.as_secs()
        )),
        _ => Ok("alive"),
    }
}

/// `readiness` is that of the newest image.
pub(crate) fn ready(parts: &Parts, readiness: &Result<(), String>) -> Health {
    let not_ready = |why: &str| Err(format!("not ready: {why}"));
    if parts.stopping || parts.control.is_none() || parts.broker.is_none() {
        return not_ready(&format!("the node is {}", parts.doing));
    }
    match readiness {
        Ok(()) => Ok("ready"),
        Err(why) => not_ready(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_that_hangs_for_a_minute_is_dead() {
        for (silence, alive) in [(None, true), (Some(59), true), (Some(60), true), (Some(61), false)] {
            assert_eq!(liveness(silence.map(Duration::from_secs)).is_ok(), alive, "{silence:?}");
        }
    }

    #[test]
    fn a_node_that_starts_says_what_it_is_doing() {
        let parts = Parts {
            doing: "recovering logs in /data".to_owned(),
            ..Parts::default()
        };
        let why = "the node is recovering logs in /data";
        assert_eq!(startup(&parts), Err(format!("not started: {why}")));
        assert_eq!(ready(&parts, &Ok(())), Err(format!("not ready: {why}")));
    }
}
