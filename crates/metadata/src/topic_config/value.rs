use std::collections::BTreeSet;
use types::limits;

/// Bounds of a number, both inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub min: i64,
    pub max: i64,
}

/// Type of a value (Kafka's `ConfigDef.Type`) and what it may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    Boolean,
    Int(Range),
    Long(Range),
    /// From 0 to 1.
    Ratio,
    /// One of these.
    OneOf(&'static [&'static str]),
    /// A comma-separated list, each one of these; it may be empty (KIP-1161).
    ListOf(&'static [&'static str]),
    /// `*`, or a comma-separated list of `partition:broker`.
    ThrottledReplicas,
}

impl Kind {
    /// Kafka's number of the type in DescribeConfigs (KIP-569).
    #[must_use]
    pub fn code(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::OneOf(_) => 2,
            Self::Int(_) => 3,
            Self::Long(_) => 5,
            Self::Ratio => 6,
            Self::ListOf(_) | Self::ThrottledReplicas => 7,
        }
    }

    /// Whether AppendConfig and SubtractConfig work on it (KIP-339).
    #[must_use]
    pub fn is_list(self) -> bool {
        matches!(self, Self::ListOf(_) | Self::ThrottledReplicas)
    }

    /// The value as it is stored: without blanks around it, and a list without repetitions.
    pub(crate) fn stored(self, value: &str) -> String {
        match self {
            Self::ListOf(_) => entries(value).join(","),
            _ => value.trim().to_owned(),
        }
    }

    /// # Errors
    /// Kafka's message.
    pub(crate) fn check(self, name: &str, value: &str) -> Result<(), String> {
        check_length(value)?;
        let refuse = |value: &str, why: &str| Err(format!("Invalid value {value} for configuration {name}: {why}"));
        let wrong = |why: &str| refuse(value, why);
        let number = |range: Range, parsed: Option<i64>, kind: &str| match parsed {
            None => wrong(&format!("Not a number of type {kind}")),
            Some(number) if number < range.min => wrong(&format!("Value must be at least {}", range.min)),
            Some(number) if number > range.max => wrong(&format!("Value must be no more than {}", range.max)),
            Some(_) => Ok(()),
        };
        let value_trimmed = value.trim();
        match self {
            Self::Boolean => match value_trimmed.to_ascii_lowercase().as_str() {
                "true" | "false" => Ok(()),
                _ => wrong("Expected value to be either true or false"),
            },
            Self::Int(range) => number(range, value_trimmed.parse::<i32>().ok().map(i64::from), "INT"),
            Self::Long(range) => number(range, value_trimmed.parse().ok(), "LONG"),
            Self::Ratio => match value_trimmed.parse::<f64>() {
                Err(_) => wrong("Not a number of type DOUBLE"),
                Ok(number) if number.is_nan() || number < 0.0 => {
                    refuse(&format!("{number:?}"), "Value must be at least 0")
                }
                Ok(number) if number > 1.0 => refuse(&format!("{number:?}"), "Value must be no more than 1"),
                Ok(_) => Ok(()),
            },
            Self::OneOf(values) if values.contains(&value_trimmed) => Ok(()),
            Self::OneOf(values) => wrong(&format!("String must be one of: {}", values.join(", "))),
            Self::ListOf(values) => match entries(value).into_iter().find(|entry| !values.contains(entry)) {
                Some(entry) => refuse(entry, &format!("String must be one of: {}", values.join(", "))),
                None => Ok(()),
            },
            Self::ThrottledReplicas => {
                let pair = |entry: &str| {
                    entry.split_once(':').is_some_and(|(partition, broker)| {
                        partition.trim().parse::<u32>().is_ok() && broker.trim().parse::<u32>().is_ok()
                    })
                };
                if matches!(value_trimmed, "" | "*" | "none") || value_trimmed.split(',').all(pair) {
                    Ok(())
                } else {
                    let why = format!(
                        "{name} must be the literal '*' or a list of replicas in the following format: \
                         [partitionId]:[brokerId],[partitionId]:[brokerId],..."
                    );
                    refuse(&format!("[{}]", entries(value).join(", ")), &why)
                }
            }
        }
    }
}

/// The entries of a list, each once.
pub(crate) fn entries(list: &str) -> Vec<&str> {
    let mut seen = BTreeSet::new();
    let entries = list.split(',').map(str::trim);
    entries
        .filter(|entry| !entry.is_empty() && seen.insert(*entry))
        .collect()
}

/// # Errors
/// Kafka's message, for a value longer than [`limits::CONFIG_VALUE_MAX`].
pub(crate) fn check_length(value: &str) -> Result<(), String> {
    if value.len() > limits::CONFIG_VALUE_MAX {
        return Err(format!(
            "The configuration value cannot be added because it exceeds the maximum value size of {} bytes.",
            limits::CONFIG_VALUE_MAX
        ));
    }
    Ok(())
}
