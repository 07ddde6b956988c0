//! For sentences.

use std::time::Duration;
use types::NodeId;

/// `120 ms`, `14 s`, `3 min`, `5 h`.
pub(super) fn duration(duration: Duration) -> String {
    match duration.as_secs() {
        0 => format!("{} ms", duration.as_millis()),
        seconds @ 1..=119 => format!("{seconds} s"),
        seconds @ 120..=7_199 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3_600),
    }
}

/// `node 2`, `nodes 1 and 2`, `nodes 1, 2 and 3`; `no node`.
pub(super) fn nodes(nodes: &[NodeId]) -> String {
    match nodes {
        [] => "no node".to_owned(),
        [one] => format!("node {one}"),
        [first @ .., last] => {
            let first: Vec<String> = first.iter().map(ToString::to_string).collect();
            format!("nodes {} and {last}", first.join(", "))
        }
    }
}

/// `1, 2, 3`; `none`.
pub(super) fn list(nodes: &[NodeId]) -> String {
    if nodes.is_empty() {
        return "none".to_owned();
    }
    nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// `1 partition`, `2 partitions`.
pub(super) fn count(count: usize, what: &str) -> String {
    if count == 1 {
        format!("1 {what}")
    } else {
        format!("{count} {what}s")
    }
}

/// The first few of many, with how many there are more.
pub(super) fn first(names: &[String], most: usize) -> String {
    let shown = names.iter().take(most).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(most) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_rounded_down() {
        for (millis, text) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (14_900, "14 s"),
            (119_000, "119 s"),
            (120_000, "2 min"),
            (7_200_000, "2 h"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn lists_are_sentences() {
        let ids = [1, 2, 3].map(NodeId);
        assert_eq!(nodes(&ids), "nodes 1, 2 and 3");
        assert_eq!(
            (nodes(&ids[..2]), nodes(&ids[..1])),
            ("nodes 1 and 2".into(), "node 1".into())
        );
        let names: Vec<String> = ["a", "b", "c"].map(String::from).to_vec();
        assert_eq!(
            (first(&names, 3), first(&names, 1)),
            ("a, b, c".into(), "a and 2 more".into())
        );
    }
}
