/// Durations in buckets of a sixteenth of their power of two: what it says is at most 6.25 % too long.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

const STEPS: u32 = 16;

impl Histogram {
    pub(crate) fn new() -> Self {
        Self {
            counts: vec![0; ((64 - 3) * STEPS) as usize],
            total: 0,
            max: 0,
        }
    }

    pub(crate) fn add(&mut self, value: u64) {
        self.counts[bucket(value)] += 1;
        self.total += 1;
        self.max = self.max.max(value);
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    pub(crate) fn max(&self) -> u64 {
        self.max
    }

    /// The value that this many per mille are not above.
    pub(crate) fn quantile(&self, per_mille: u64) -> u64 {
        let wanted = (self.total * per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return upper(index).min(self.max);
            }
        }
        self.max
    }
}

/// Below 16 a bucket a value, above it sixteen a power of two.
fn bucket(value: u64) -> usize {
    if value < u64::from(STEPS) {
        return usize::try_from(value).unwrap_or(0);
    }
    let shift = value.ilog2() - STEPS.ilog2();
    let index = shift * STEPS + u32::try_from(value >> shift).unwrap_or(0);
    index as usize
}

/// The largest value of a bucket.
fn upper(index: usize) -> u64 {
    let (steps, index) = (u64::from(STEPS), index as u64);
    if index < 2 * steps {
        return index;
    }
    let shift = index / steps - 1;
    let base = index % steps + steps;
    ((base + 1) << shift).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_lies_in_its_bucket_and_close_to_its_end() {
        for value in (0..200)
            .chain((0..64).map(|power| 1u64 << power))
            .chain([u64::MAX, 999_999_999])
        {
            let (index, end) = (bucket(value), upper(bucket(value)));
            assert!(
                end >= value && end - value <= value / 16,
                "{value}: bucket {index} ends at {end}"
            );
            assert!(index == 0 || upper(index - 1) < value, "{value}");
        }
    }

    #[test]
    fn quantiles() {
        let mut histogram = Histogram::new();
        (1..=1000).for_each(|value| histogram.add(value));
        assert_eq!(
            (histogram.total(), histogram.max(), histogram.quantile(1000)),
            (1000, 1000, 1000)
        );
        let median = histogram.quantile(500);
        assert!((500..=532).contains(&median), "{median}");
    }
}
