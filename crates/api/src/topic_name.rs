use types::limits;

/// What is wrong with a topic name, in Kafka's words (`Topic.validate`).
pub(crate) fn problem(name: &str) -> Option<String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() {
        Some("Topic name is invalid: the empty string is not allowed".to_owned())
    } else if name == "." || name == ".." {
        Some(format!("Topic name is invalid: '{name}' is not allowed"))
    } else if name.len() > limits::TOPIC_NAME_MAX {
        Some(format!(
            "Topic name is invalid: the length of the name is longer than {} characters",
            limits::TOPIC_NAME_MAX
        ))
    } else if !name.chars().all(legal) {
        Some(format!(
            "Topic name is invalid: '{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
        ))
    } else {
        None
    }
}

/// Name of the metadata log, which nobody may create as a topic.
pub(crate) const CLUSTER_METADATA: &str = "__cluster_metadata";

/// Where groups live.
pub(crate) const CONSUMER_OFFSETS: &str = "__consumer_offsets";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_in_kafka() {
        let long = "a".repeat(250);
        for bad in ["", ".", "..", "a b", "ü", "a/b", &long] {
            assert!(problem(bad).is_some(), "{bad:?}");
        }
        for good in ["a", "a.b_c-9", "...", &long[1..]] {
            assert_eq!(problem(good), None, "{good:?}");
        }
    }
}
