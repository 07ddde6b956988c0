use crate::Counter;
use std::time::Duration;

/// Upper bounds of the buckets, in nanoseconds and as Prometheus shows them, in seconds; above the last there is one more.
pub(crate) const BOUNDS: [(u64, &str); 16] = [
    (100_000, "0.0001"),
    (250_000, "0.00025"),
    (500_000, "0.0005"),
    (1_000_000, "0.001"),
    (2_500_000, "0.0025"),
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (25_000_000, "0.025"),
    (50_000_000, "0.05"),
    (100_000_000, "0.1"),
    (250_000_000, "0.25"),
    (500_000_000, "0.5"),
    (1_000_000_000, "1"),
    (2_500_000_000, "2.5"),
    (5_000_000_000, "5"),
    (10_000_000_000, "10"),
];

const BUCKETS: usize = BOUNDS.len() + 1;

/// How long something took, in fixed buckets from 100 µs to 10 s. One writer, as [`Counter`].
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; BUCKETS],
    nanos: Counter,
}

/// What histograms held when they were read; those of several shards add up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub(crate) buckets: [u64; BUCKETS],
    pub(crate) nanos: u64,
}

impl Histogram {
    pub fn observe(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[BOUNDS.partition_point(|(bound, _)| *bound < nanos)].add(1);
        self.nanos.add(nanos);
    }
}

impl Tally {
    pub fn add(&mut self, histogram: &Histogram) {
        for (sum, bucket) in self.buckets.iter_mut().zip(&histogram.buckets) {
            *sum += bucket.get();
        }
        self.nanos = self.nanos.wrapping_add(histogram.nanos.get());
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

impl From<&Histogram> for Tally {
    fn from(histogram: &Histogram) -> Self {
        let mut tally = Self::default();
        tally.add(histogram);
        tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        // (nanoseconds, bucket)
        for (nanos, bucket) in [
            (0, 0),
            (100_000, 0),
            (100_001, 1),
            (1_000_000, 3),
            (10_000_000_000, 15),
            (10_000_000_001, 16),
            (u64::MAX, 16),
        ] {
            let histogram = Histogram::default();
            histogram.observe(Duration::from_nanos(nanos));
            let mut expected = [0; BUCKETS];
            expected[bucket] = 1;
            assert_eq!(Tally::from(&histogram).buckets, expected, "{nanos}");
        }
    }

    #[test]
    fn shards_add_up() {
        let shards = [Histogram::default(), Histogram::default()];
        shards[0].observe(Duration::from_micros(30));
        shards[1].observe(Duration::from_micros(20));
        shards[1].observe(Duration::from_secs(60));
        let mut tally = Tally::default();
        shards.iter().for_each(|shard| tally.add(shard));
        assert_eq!((tally.count(), tally.buckets[0], tally.buckets[16]), (3, 2, 1));
        assert_eq!(tally.nanos, 60_000_050_000);
    }
}
