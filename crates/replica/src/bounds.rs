use types::Offset;

/// The offsets that bound a replica's log. All exclusive but `log_start`.
///
/// ```text
///        log_start ≤ last stable offset ≤ high_watermark ≤ log_end
///   ─────────┼───────────────────┼──────────────┼────────────┼─────▶
///   deleted  │   committed       │ in open      │ not yet    │
///            │                   │ transactions │ committed  │
/// ```
///
/// `durable` lies at or below `log_end`: on a follower, and on any replica of a relaxed topic, it may be below
/// the high watermark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogBounds {
    pub log_start: Offset,
    pub high_watermark: Offset,
    pub durable: Offset,
    pub log_end: Offset,
}

impl LogBounds {
    /// Bounds of a log after a restart. ◆ The high watermark is the checkpoint, never above the log end or
    /// the durable mark (what the crash took was perhaps never committed), never below the log start
    /// (KAFKA-9491).
    #[must_use]
    pub fn recovered(log_start: Offset, checkpoint: Offset, durable: Offset, log_end: Offset) -> Self {
        let durable = durable.min(log_end).max(log_start);
        let bounds = Self {
            log_start,
            high_watermark: checkpoint.min(durable).max(log_start),
            durable,
            log_end,
        };
        bounds.validate();
        bounds
    }

    /// Records below it are visible to `read_committed`. Until transactions are served nothing stays open,
    /// and it is the high watermark.
    #[must_use]
    pub fn last_stable_offset(&self) -> Offset {
        self.high_watermark
    }

    /// `log_start ≤ last stable offset ≤ high_watermark ≤ log_end`, and `durable ≤ log_end`.
    ///
    /// # Panics
    /// If not so: an invariant of ours is broken and this partition must stop.
    pub fn validate(&self) {
        let stable = self.last_stable_offset();
        assert!(
            self.log_start <= stable && stable <= self.high_watermark && self.high_watermark <= self.log_end,
            "log_start <= last_stable_offset <= high_watermark <= log_end is broken: {self:?}"
        );
        assert!(self.durable <= self.log_end, "durable <= log_end is broken: {self:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ◆ HW never above log end or durable mark after a restart. Fails if `recovered` takes the checkpoint.
    #[test]
    fn a_recovered_high_watermark_is_within_what_is_left() {
        let hw = |start, checkpoint, durable, end| {
            LogBounds::recovered(Offset(start), Offset(checkpoint), Offset(durable), Offset(end))
                .high_watermark
                .0
        };
        assert_eq!(hw(0, 50, 100, 100), 50);
        assert_eq!(hw(0, 90, 80, 100), 80);
        assert_eq!(hw(0, 90, 80, 70), 70);
        assert_eq!(hw(60, 50, 80, 100), 60);
        assert_eq!(hw(60, 50, 0, 60), 60);
    }

    #[test]
    #[should_panic(expected = "is broken")]
    fn bounds_out_of_order_stop_the_partition() {
        let (low, high) = (Offset(1), Offset(2));
        LogBounds {
            log_start: low,
            high_watermark: high,
            durable: low,
            log_end: low,
        }
        .validate();
    }
}
