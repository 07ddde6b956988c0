use crate::record::CommittedOffset;
use std::collections::BTreeMap;

/// What an offset takes beside its metadata.
const OVERHEAD: usize = 192;

/// What the groups of a coordinator have committed.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    groups: BTreeMap<String, Topics>,
    bytes: usize,
}

/// By topic and partition.
type Topics = BTreeMap<String, BTreeMap<i32, Entry>>;

#[derive(Debug, Default)]
struct Entry {
    committed: Option<CommittedOffset>,
    /// Records of it that are on their way into the log.
    in_flight: u32,
}

impl Offsets {
    /// The committed offset of a partition.
    pub(crate) fn get(&self, group_id: &str, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        self.groups
            .get(group_id)?
            .get(topic)?
            .get(&partition)?
            .committed
            .as_ref()
    }

    /// Everything that a group has committed.
    pub(crate) fn of(&self, group_id: &str) -> impl Iterator<Item = (&str, i32, &CommittedOffset)> {
        let topics = self.groups.get(group_id).into_iter().flatten();
        topics.flat_map(|(topic, partitions)| {
            let committed = partitions.iter();
            committed.filter_map(|(partition, entry)| Some((topic.as_str(), *partition, entry.committed.as_ref()?)))
        })
    }

    /// Whether the group has committed something, or is about to.
    pub(crate) fn has(&self, group_id: &str) -> bool {
        self.groups.contains_key(group_id)
    }

    /// Partitions that the group has committed an offset of, or is about to.
    pub(crate) fn keys(&self, group_id: &str) -> Vec<(String, i32)> {
        let topics = self.groups.get(group_id).into_iter().flatten();
        let keys =
            topics.flat_map(|(topic, partitions)| partitions.keys().map(|partition| (topic.clone(), *partition)));
        keys.collect()
    }

    /// [`Offsets::keys`] of one topic, in every group.
    pub(crate) fn keys_of_topic(&self, topic: &str) -> Vec<(String, i32)> {
        let groups = self.groups.iter();
        let keys = groups.flat_map(|(group_id, topics)| {
            let partitions = topics.get(topic).into_iter().flatten();
            partitions.map(|(partition, _)| (group_id.clone(), *partition))
        });
        keys.collect()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A record of it goes to the log.
    pub(crate) fn sent(&mut self, group_id: &str, topic: &str, partition: i32) {
        self.entry(group_id, topic, partition).in_flight += 1;
    }

    /// That record is not in the log.
    pub(crate) fn unsent(&mut self, group_id: &str, topic: &str, partition: i32) {
        let entry = self.entry(group_id, topic, partition);
        entry.in_flight = entry.in_flight.saturating_sub(1);
        self.forget_if_empty(group_id, topic, partition);
    }

    /// A record of it is in the log.
    pub(crate) fn apply(&mut self, group_id: &str, topic: &str, partition: i32, value: Option<CommittedOffset>) {
        let length = value.as_ref().map_or(0, |value| value.metadata.len());
        let entry = self.entry(group_id, topic, partition);
        let before = std::mem::replace(&mut entry.committed, value);
        self.bytes += length;
        self.bytes = self
            .bytes
            .saturating_sub(before.map_or(0, |before| before.metadata.len()));
        self.forget_if_empty(group_id, topic, partition);
    }

    fn entry(&mut self, group_id: &str, topic: &str, partition: i32) -> &mut Entry {
        let topics = self.groups.entry(group_id.to_owned()).or_default();
        let partitions = topics.entry(topic.to_owned()).or_default();
        partitions.entry(partition).or_insert_with(|| {
            self.bytes += OVERHEAD;
            Entry::default()
        })
    }

    fn forget_if_empty(&mut self, group_id: &str, topic: &str, partition: i32) {
        let Some(topics) = self.groups.get_mut(group_id) else {
            return;
        };
        let Some(partitions) = topics.get_mut(topic) else {
            return;
        };
        let empty = |entry: &Entry| entry.committed.is_none() && entry.in_flight == 0;
        if partitions.get(&partition).is_some_and(empty) {
            partitions.remove(&partition);
            self.bytes = self.bytes.saturating_sub(OVERHEAD);
        }
        if partitions.is_empty() {
            topics.remove(topic);
        }
        if topics.is_empty() {
            self.groups.remove(group_id);
        }
    }
}
