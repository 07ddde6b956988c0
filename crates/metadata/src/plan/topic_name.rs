use super::PlanError;
use crate::Image;
use std::collections::BTreeSet;
use types::{ErrorCode, limits};

/// Kafka's rules for topic names.
pub(crate) fn check(name: &str) -> Result<(), PlanError> {
    let legal = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
    let why = if name.is_empty() {
        "the empty string is not allowed".to_owned()
    } else if name == "." || name == ".." {
        format!("'{name}' is not allowed")
    } else if name.len() > limits::TOPIC_NAME_MAX {
        format!(
            "the length of '{name}' is longer than the max allowed length {}",
            limits::TOPIC_NAME_MAX
        )
    } else if !name.chars().all(legal) {
        format!("'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'")
    } else {
        return Ok(());
    };
    Err(PlanError::new(
        ErrorCode::InvalidTopicException,
        format!("Topic name is invalid: {why}"),
    ))
}

/// Names that differ only in `.` and `_` would share the names of their metrics in Kafka, which refuses them.
pub(crate) struct Collisions {
    /// (collision key, name)
    names: BTreeSet<(String, String)>,
}

impl Collisions {
    pub(crate) fn of(image: &Image) -> Self {
        let ambiguous = image.names.keys().filter(|name| name.contains(['.', '_']));
        Self {
            names: ambiguous.map(|name| (key(name), name.clone())).collect(),
        }
    }

    /// Remembers `name` if it collides with none.
    pub(crate) fn add(&mut self, name: &str) -> Result<(), PlanError> {
        if !name.contains(['.', '_']) {
            return Ok(());
        }
        let key = key(name);
        let mut same = self
            .names
            .range((key.clone(), String::new())..)
            .take_while(|(other, _)| *other == key);
        if let Some((_, other)) = same.next() {
            let message = format!("Topic '{name}' collides with existing topic: {other}");
            return Err(PlanError::new(ErrorCode::InvalidTopicException, message));
        }
        self.names.insert((key, name.to_owned()));
        Ok(())
    }
}

fn key(name: &str) -> String {
    name.replace('.', "_")
}
