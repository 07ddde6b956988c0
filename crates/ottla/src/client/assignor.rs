use super::consumer_protocol::Assignment;
use std::collections::{BTreeMap, BTreeSet};

/// How the leader of a group gives its partitions to the members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assignor {
    /// Of each topic a range to each member.
    Range,
    /// All partitions of all topics in turn.
    RoundRobin,
}

impl Assignor {
    /// In the order of preference.
    pub const ALL: [Self; 2] = [Self::Range, Self::RoundRobin];

    /// As members call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::RoundRobin => "roundrobin",
        }
    }

    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|assignor| assignor.name() == name)
    }

    /// What each member gets, as Kafka's own assignors do it; `subscriptions` by member, `topics` with their numbers of
    /// partitions.
    #[must_use]
    pub fn assign(
        self,
        subscriptions: &BTreeMap<String, Vec<String>>,
        topics: &BTreeMap<String, i32>,
    ) -> BTreeMap<String, Assignment> {
        let mut assigned: BTreeMap<&str, BTreeMap<&str, Vec<i32>>> = BTreeMap::new();
        let mut give = |member: &'_ str, topic, partition| {
            // Every member is a key of `subscriptions`.
            if let Some((member, _)) = subscriptions.get_key_value(member) {
                assigned
                    .entry(member)
                    .or_default()
                    .entry(topic)
                    .or_default()
                    .push(partition);
            }
        };
        match self {
            Self::Range => {
                for (topic, partitions) in topics {
                    let members = subscribers(subscriptions, topic);
                    for (partition, member) in range(&members, *partitions) {
                        give(member, topic, partition);
                    }
                }
            }
            Self::RoundRobin => {
                let members: Vec<&str> = subscriptions.keys().map(String::as_str).collect();
                let mut turn = 0;
                for (topic, partitions) in topics {
                    let of_topic: BTreeSet<&str> = subscribers(subscriptions, topic).into_iter().collect();
                    for partition in (0..*partitions).take_while(|_| !of_topic.is_empty()) {
                        while !of_topic.contains(members[turn % members.len()]) {
                            turn += 1;
                        }
                        give(members[turn % members.len()], topic, partition);
                        turn += 1;
                    }
                }
            }
        }
        let named =
            |topics: BTreeMap<&str, Vec<i32>>| topics.into_iter().map(|(name, of)| (name.to_owned(), of)).collect();
        let of = |member: &String| {
            (
                member.clone(),
                assigned.remove(member.as_str()).map(named).unwrap_or_default(),
            )
        };
        subscriptions.keys().map(of).collect()
    }
}

fn subscribers<'a>(subscriptions: &'a BTreeMap<String, Vec<String>>, topic: &str) -> Vec<&'a str> {
    let wants = |topics: &[String]| topics.iter().any(|name| name == topic);
    let members = subscriptions.iter().filter(|(_, topics)| wants(topics));
    members.map(|(member, _)| member.as_str()).collect()
}

/// The first members get one partition more where it does not come out even.
fn range<'a>(members: &[&'a str], partitions: i32) -> Vec<(i32, &'a str)> {
    let count = i32::try_from(members.len()).unwrap_or(i32::MAX);
    let (Some(each), Some(more)) = (partitions.checked_div(count), partitions.checked_rem(count)) else {
        return Vec::new();
    };
    let mut next = 0;
    let mut given = Vec::new();
    for (member, at) in members.iter().zip(0..) {
        let until = next + each + i32::from(at < more);
        given.extend((next..until).map(|partition| (partition, *member)));
        next = until;
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(assignor: Assignor, members: &[(&str, &[&str])], topics: &[(&str, i32)]) -> Vec<String> {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let members = members
            .iter()
            .map(|(member, of)| ((*member).to_owned(), names(of)))
            .collect();
        let topics = topics
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect();
        let line = |(member, topics): (String, Assignment)| {
            let topic = |(name, of): &(String, Vec<i32>)| format!(" {name}{of:?}");
            format!("{member}{}", topics.iter().map(topic).collect::<String>())
        };
        assignor.assign(&members, &topics).into_iter().map(line).collect()
    }

    /// The examples of Kafka's `RangeAssignor` and `RoundRobinAssignor`.
    #[test]
    fn as_kafkas_own() {
        let both: [(&str, &[&str]); 2] = [("C0", &["t0", "t1"]), ("C1", &["t0", "t1"])];
        let topics = [("t0", 3), ("t1", 3)];
        assert_eq!(
            shown(Assignor::Range, &both, &topics),
            ["C0 t0[0, 1] t1[0, 1]", "C1 t0[2] t1[2]"]
        );
        assert_eq!(
            shown(Assignor::RoundRobin, &both, &topics),
            ["C0 t0[0, 2] t1[1]", "C1 t0[1] t1[0, 2]"]
        );
        let each: [(&str, &[&str]); 3] = [("C0", &["t0"]), ("C1", &["t0", "t1"]), ("C2", &["t0", "t1", "t2"])];
        let topics = [("t0", 1), ("t1", 2), ("t2", 3)];
        assert_eq!(
            shown(Assignor::RoundRobin, &each, &topics),
            ["C0 t0[0]", "C1 t1[0]", "C2 t1[1] t2[0, 1, 2]"]
        );
        assert_eq!(
            shown(Assignor::Range, &each, &topics),
            ["C0 t0[0]", "C1 t1[0]", "C2 t1[1] t2[0, 1, 2]"]
        );
    }

    #[test]
    fn members_without_partitions_and_topics_without_members() {
        let members: [(&str, &[&str]); 2] = [("C0", &["t0"]), ("C1", &["t0"])];
        for assignor in Assignor::ALL {
            assert_eq!(shown(assignor, &members, &[("t0", 1), ("t1", 4)]), ["C0 t0[0]", "C1"]);
            assert!(shown(assignor, &[], &[("t0", 1)]).is_empty());
        }
    }
}
