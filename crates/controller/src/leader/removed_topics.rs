use crate::messages::topic_id;
use metadata::{Image, Record};
use raft::pb;
use std::collections::{BTreeSet, VecDeque};
use types::{LogIndex, TopicId};

/// More are forgotten, the oldest first.
const REMEMBERED: usize = 4_096;

/// Ids of the topics that this controller deleted, so that none is given to a topic again.
///
/// A node asks again where no answer came, with the ids that it chose at first: what its first attempt created may have
/// been deleted in between, and a late copy of a request may arrive after its topic was deleted. A second topic of the
/// same id would be taken for the first by replicas, clients and checkpoints that know no other name for it.
#[derive(Debug, Default)]
pub(super) struct RemovedTopics {
    /// Whatever was deleted by later entries is remembered. `None` until the next plan: entries of an earlier controller may
    /// still come.
    since: Option<LogIndex>,
    ids: BTreeSet<TopicId>,
    order: VecDeque<TopicId>,
}

impl RemovedTopics {
    /// What is planned next is planned on the image at `index`.
    pub fn plan_on(&mut self, index: LogIndex) {
        self.since.get_or_insert(index);
        while self.order.len() > REMEMBERED {
            if let Some(oldest) = self.order.pop_front() {
                self.ids.remove(&oldest);
            }
            self.since = Some(index);
        }
    }

    /// Another's entries came after the image that was planned on.
    pub fn missed_some(&mut self) {
        self.since = None;
    }

    /// Whether these are committed does not matter: a topic that is there is found by its name.
    pub fn planned(&mut self, records: &[Record]) {
        for record in records {
            if let Record::TopicRemoved { id } = record
                && self.ids.insert(*id)
            {
                self.order.push_back(*id);
            }
        }
    }

    /// Where one of the ids to be given may have been a topic's: the index at which new ones are to be chosen.
    pub fn again_after(&self, image: &Image, create: &pb::CreateTopicsRequest) -> Option<LogIndex> {
        let since = self.since.unwrap_or(image.index);
        let forgotten = create.known_index != 0 && create.known_index < since.0;
        let mut ids = create.topics.iter().map(|topic| topic_id(&topic.topic_id));
        let used = |id: TopicId| !image.topics.contains_key(&id) && (forgotten || self.ids.contains(&id));
        (!create.validate_only && ids.any(used)).then_some(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::bytes_of;
    use uuid::Uuid;

    fn id(number: u128) -> TopicId {
        TopicId(Uuid::from_u128(number))
    }

    fn create(number: u128, known_index: u64) -> pb::CreateTopicsRequest {
        pb::CreateTopicsRequest {
            topics: vec![pb::NewTopicMessage {
                name: "orders".to_owned(),
                topic_id: bytes_of(id(number).0),
                ..Default::default()
            }],
            known_index,
            ..Default::default()
        }
    }

    fn remove(topics: &mut RemovedTopics, ids: impl Iterator<Item = u128>) {
        let records: Vec<_> = ids.map(|number| Record::TopicRemoved { id: id(number) }).collect();
        topics.planned(&records);
    }

    #[test]
    fn the_id_of_a_deleted_topic_is_refused_and_any_that_was_chosen_before_this_controller_knew() {
        let (image, mut topics) = (Image::default(), RemovedTopics::default());
        topics.plan_on(LogIndex(7));
        assert_eq!(topics.again_after(&image, &create(1, 7)), None);
        assert_eq!(
            topics.again_after(&image, &create(1, 6)),
            Some(LogIndex(7)),
            "chosen before"
        );
        assert_eq!(topics.again_after(&image, &create(1, 0)), None, "it does not say when");
        remove(&mut topics, 1..2);
        for known in [0, 7, 9] {
            assert_eq!(topics.again_after(&image, &create(1, known)), Some(LogIndex(7)));
        }
        assert_eq!(topics.again_after(&image, &create(2, 9)), None);
        topics.missed_some();
        topics.plan_on(LogIndex(9));
        assert_eq!(
            topics.again_after(&image, &create(2, 8)),
            Some(LogIndex(9)),
            "entries of another came"
        );
    }

    #[test]
    fn what_is_forgotten_counts_as_deleted() {
        let (image, mut topics) = (Image::default(), RemovedTopics::default());
        topics.plan_on(LogIndex(7));
        remove(&mut topics, 1..REMEMBERED as u128 + 3);
        topics.plan_on(LogIndex(8));
        assert_eq!(topics.order.len(), REMEMBERED);
        assert_eq!(topics.ids.len(), REMEMBERED);
        assert_eq!(topics.again_after(&image, &create(1, 7)), Some(LogIndex(8)));
        assert_eq!(
            topics.again_after(&image, &create(3, 9)),
            Some(LogIndex(8)),
            "not forgotten"
        );
        assert_eq!(
            topics.again_after(&image, &create(1, 8)),
            None,
            "chosen after it was deleted"
        );
    }
}
