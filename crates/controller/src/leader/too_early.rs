use raft::pb;

/// Why topics are not created yet; the caller asks again.
///
/// ◆ None is created before the metadata is on as many disks as the founders promise. None that coordinators keep their
/// state in is before there are as many brokers either: clients ask for it, with as many replicas as there are brokers, as
/// soon as the first is up.
pub(super) fn to_create(
    create: &pb::CreateTopicsRequest,
    voters: usize,
    brokers: usize,
    needed: usize,
) -> Option<&'static str> {
    let internal = create.topics.iter().any(|topic| metadata::is_internal(&topic.name));
    if create.validate_only {
        None
    } else if voters < needed {
        Some("the metadata quorum is not complete yet")
    } else if internal && brokers < needed {
        Some("not all founders have registered yet")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internal_topics_wait_for_brokers_and_all_for_voters() {
        let create = |name: &str, validate_only| pb::CreateTopicsRequest {
            topics: vec![pb::NewTopicMessage {
                name: name.to_owned(),
                ..Default::default()
            }],
            validate_only,
            ..Default::default()
        };
        let offsets = "__consumer_offsets";
        let table = [
            ("orders", false, 2, 3, Some("quorum")),
            ("orders", false, 3, 1, None),
            ("orders", true, 1, 1, None),
            (offsets, false, 2, 3, Some("quorum")),
            (offsets, false, 3, 2, Some("registered")),
            (offsets, false, 3, 3, None),
            (offsets, true, 3, 2, None),
        ];
        for (name, validate_only, voters, brokers, expected) in table {
            let why = to_create(&create(name, validate_only), voters, brokers, 3);
            let as_expected = match expected {
                Some(word) => why.is_some_and(|why| why.contains(word)),
                None => why.is_none(),
            };
            assert!(as_expected, "{name} with {voters} voters, {brokers} brokers: {why:?}");
        }
    }
}
