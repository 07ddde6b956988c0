use crate::groups::GroupHistory;
use std::collections::BTreeMap;

/// What clients saw: which values were acknowledged where, and which values were read where.
#[derive(Debug, Default)]
pub struct History {
    /// partition → offset → value
    pub acknowledged: BTreeMap<i32, BTreeMap<i64, u64>>,
    pub read: BTreeMap<i32, BTreeMap<i64, u64>>,
    /// Values whose producer never got an answer: they may be there or not.
    pub unknown: u64,
    pub groups: GroupHistory,
    pub problems: Vec<String>,
}

impl History {
    pub fn acknowledge(&mut self, partition: i32, offset: i64, value: u64) {
        if let Some(other) = self.acknowledged.entry(partition).or_default().insert(offset, value) {
            self.problems.push(format!(
                "partition {partition} offset {offset}: acknowledged for {other} and for {value}"
            ));
        }
    }

    /// A consumer saw `value`; what was committed once never changes.
    pub fn see(&mut self, partition: i32, offset: i64, value: u64) {
        if let Some(other) = self.read.entry(partition).or_default().insert(offset, value)
            && other != value
        {
            self.problems.push(format!(
                "partition {partition} offset {offset}: read {other} and later {value}"
            ));
        }
    }

    /// Acknowledged records of all partitions.
    #[must_use]
    pub fn acknowledged_count(&self) -> usize {
        self.acknowledged.values().map(BTreeMap::len).sum()
    }

    /// Compares with the whole content of the partitions at the end, (offset, value) ascending.
    pub fn compare(&mut self, content: &BTreeMap<i32, Vec<(i64, u64)>>) {
        for (partition, records) in content {
            let by_offset: BTreeMap<i64, u64> = records.iter().copied().collect();
            for (name, seen) in [("acknowledged", &self.acknowledged), ("read", &self.read)] {
                for (offset, value) in seen.get(partition).into_iter().flatten() {
                    match by_offset.get(offset) {
                        Some(found) if found == value => {}
                        found => self.problems.push(format!(
                            "partition {partition} offset {offset}: {value} was {name}, at the end there is {found:?}"
                        )),
                    }
                }
            }
            let mut places: BTreeMap<u64, i64> = BTreeMap::new();
            for (offset, value) in records {
                if let Some(first) = places.insert(*value, *offset) {
                    self.problems.push(format!(
                        "partition {partition}: value {value} at offsets {first} and {offset}"
                    ));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean() -> (History, BTreeMap<i32, Vec<(i64, u64)>>) {
        let mut history = History::default();
        for offset in 0..5 {
            history.acknowledge(0, offset, 100 + offset.cast_unsigned());
            history.see(0, offset, 100 + offset.cast_unsigned());
        }
        (
            history,
            BTreeMap::from([(0, (0..5).map(|o: i64| (o, 100 + o.cast_unsigned())).collect())]),
        )
    }

    #[test]
    fn a_clean_history_has_no_problem() {
        let (mut history, content) = clean();
        history.compare(&content);
        assert_eq!(history.problems, Vec::<String>::new());
    }

    #[test]
    fn each_planted_anomaly_is_named() {
        let (mut history, mut content) = clean();
        content.get_mut(&0).unwrap().truncate(4);
        history.compare(&content);
        assert!(
            history.problems[0].contains("104 was acknowledged, at the end there is None"),
            "{:?}",
            history.problems
        );

        let (mut history, mut content) = clean();
        content.get_mut(&0).unwrap().push((5, 100));
        history.compare(&content);
        assert_eq!(history.problems, ["partition 0: value 100 at offsets 0 and 5"]);

        let (mut history, _) = clean();
        history.see(0, 2, 7);
        assert_eq!(history.problems, ["partition 0 offset 2: read 102 and later 7"]);

        let (mut history, _) = clean();
        history.acknowledge(0, 2, 8);
        assert_eq!(history.problems.len(), 1);
    }
}
