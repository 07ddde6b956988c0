use std::time::Duration;
use types::{Monotonic, limits};

/// `max.connection.creation.rate`: connections a second, on average over [`limits::CONNECTION_RATE_WINDOW`], so that as many
/// as may come in that window may come at once. A connection above the rate is kept back, and with it all that come after:
/// they wait in the kernel's queue.
///
/// Source: KIP-612, `ConnectionQuotas` of Apache Kafka 4 (`quota.window.num` 11, `quota.window.size.seconds` 1).
#[derive(Debug, Default)]
pub(crate) struct CreationRate {
    /// When all that has come would have been due at the rate.
    due: Monotonic,
}

impl CreationRate {
    /// A connection has come: how long it is to be kept back, at most [`limits::CONNECTION_DELAY_MAX`].
    pub(crate) fn delay(&mut self, per_second: u32, now: Monotonic) -> Duration {
        let Some(each) = Duration::from_secs(1).checked_div(per_second) else {
            return limits::CONNECTION_DELAY_MAX;
        };
        self.due = self.due.max(now).plus(each);
        let ahead = self.due.since(now).saturating_sub(limits::CONNECTION_RATE_WINDOW);
        ahead.min(limits::CONNECTION_DELAY_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When each of these connections is handed over, in milliseconds, if they all wait at the port.
    fn handed_over(rate: &mut CreationRate, per_second: u32, from_ms: u64, count: usize) -> Vec<u128> {
        let start = Monotonic::from_millis(from_ms);
        let mut now = start;
        (0..count)
            .map(|_| {
                now = now.plus(rate.delay(per_second, now));
                now.since(start).as_millis()
            })
            .collect()
    }

    #[test]
    fn a_window_of_connections_may_come_at_once_and_then_one_at_a_time() {
        let mut rate = CreationRate::default();
        let first = handed_over(&mut rate, 5, 60_000, 53);
        assert_eq!(first[..50], [0; 50]);
        assert_eq!(first[50..], [200, 400, 600]);
        // Two seconds later ten more are due.
        let later = handed_over(&mut rate, 5, 62_600, 12);
        assert_eq!(later, [[0; 10].as_slice(), &[200, 400]].concat());
    }

    #[test]
    fn no_connection_waits_for_more_than_a_second_and_without_a_limit_for_nothing() {
        let mut rate = CreationRate::default();
        assert_eq!(handed_over(&mut rate, 0, 60_000, 3), [1_000, 2_000, 3_000]);
        assert_eq!(
            handed_over(&mut rate, i32::MAX.unsigned_abs(), 70_000, 100_000)[99_999],
            0
        );
        // A rate that was lowered asks for no more than that of what came before.
        assert_eq!(handed_over(&mut rate, 1_000, 80_000, 10_000)[9_999], 0);
        assert_eq!(handed_over(&mut rate, 1, 80_000, 2), [1_000, 2_000]);
    }
}
