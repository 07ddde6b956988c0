use crate::marks::LogKey;
use std::collections::BTreeMap;
use std::ops::Range;
use types::{Offset, limits};

/// Log, its generation, and base offset of the segment.
pub(crate) type SegmentKey = (LogKey, u64, Offset);

/// Which stretches of segments were read around the system's page cache, so that who reads one again is told from who reads on:
/// the doorkeeper of TinyLFU (Einziger, Friedman, Manes 2017), by ranges. A hint, of bounded size: what is forgotten counts as
/// never read.
#[derive(Default)]
pub(crate) struct ReadOnce {
    /// Each with the number of its last use.
    segments: BTreeMap<SegmentKey, (u64, Stretches)>,
    by_use: BTreeMap<u64, SegmentKey>,
    uses: u64,
}

/// Bytes from each key up to its value.
type Stretches = BTreeMap<u64, u64>;

impl ReadOnce {
    /// Whether the range begins where nobody has read; it counts as read then.
    pub(crate) fn is_first(&mut self, segment: SegmentKey, range: Range<u64>) -> bool {
        self.uses += 1;
        let (last_use, stretches) = self.segments.entry(segment).or_default();
        self.by_use.remove(last_use);
        *last_use = self.uses;
        self.by_use.insert(self.uses, segment);
        let first = add(stretches, range);
        while self.segments.len() > limits::DIRECT_SEGMENTS_REMEMBERED
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.segments.remove(&oldest);
        }
        first
    }
}

fn add(stretches: &mut Stretches, range: Range<u64>) -> bool {
    let before = stretches
        .range(..=range.start)
        .next_back()
        .map(|(start, end)| (*start, *end));
    if before.is_some_and(|(_, end)| range.start < end) {
        return false;
    }
    // Readers read on: what touches is one stretch.
    let start = before
        .filter(|(_, end)| *end == range.start)
        .map_or(range.start, |(start, _)| start);
    let mut end = range.end;
    while let Some((next, its_end)) = stretches
        .range(range.start + 1..)
        .next()
        .map(|(next, end)| (*next, *end))
        && next <= end
    {
        stretches.remove(&next);
        end = end.max(its_end);
    }
    stretches.insert(start, end);
    while stretches.len() > limits::DIRECT_STRETCHES_REMEMBERED {
        stretches.pop_first();
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::ReplicaIncarnation;

    fn segment(base: i64) -> SegmentKey {
        let tp = crate::conformance::partition(0);
        let incarnation = ReplicaIncarnation(1);
        (LogKey { tp, incarnation }, 0, Offset(base))
    }

    /// Fails if who reads on counts as who reads again, or the other way round.
    #[test]
    fn who_reads_on_reads_nothing_again() {
        let mut once = ReadOnce::default();
        for start in (0..10_000).step_by(100) {
            assert!(once.is_first(segment(0), start..start + 100), "{start}");
        }
        assert_eq!(once.segments[&segment(0)].1, Stretches::from([(0, 10_000)]));
        assert!(once.is_first(segment(7), 0..100));
        for start in [0, 50, 9_999] {
            assert!(!once.is_first(segment(0), start..start + 100), "{start}");
        }
        // From below into what was read, which is met with the next range only.
        assert!(once.is_first(segment(0), 10_200..10_300));
        assert!(once.is_first(segment(0), 10_100..10_250));
        assert!(!once.is_first(segment(0), 10_250..10_350));
        assert!(once.is_first(segment(0), 10_000..10_100));
        assert_eq!(once.segments[&segment(0)].1, Stretches::from([(0, 10_300)]));
    }

    /// Fails if it grows without end, or if it forgets what was used last.
    #[test]
    fn it_remembers_so_many() {
        let mut once = ReadOnce::default();
        for start in 0..1_000 {
            assert!(once.is_first(segment(0), start * 10..start * 10 + 5));
        }
        assert_eq!(once.segments[&segment(0)].1.len(), limits::DIRECT_STRETCHES_REMEMBERED);
        for base in 1..1_000 {
            assert!(once.is_first(segment(base), 0..5));
            assert!(!once.is_first(segment(0), 9_990..9_995));
        }
        assert_eq!(once.segments.len(), limits::DIRECT_SEGMENTS_REMEMBERED);
        assert_eq!(once.by_use.len(), once.segments.len());
    }
}
