//! An error in the protocol's words.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use serde_json::{Value, json};

/// What a request was answered with instead of a result.
pub enum Refusal {
    Error { code: String, detail: String },
    Cannot(&'static str),
}

impl Refusal {
    pub fn answer(&self) -> Value {
        match self {
            Self::Error { code, detail } => json!({"error": code, "detail": detail}),
            Self::Cannot(why) => json!({"cannot": why}),
        }
    }
}

impl From<RDKafkaErrorCode> for Refusal {
    fn from(code: RDKafkaErrorCode) -> Self {
        Self::Error {
            code: name(code),
            detail: code.to_string(),
        }
    }
}

impl From<KafkaError> for Refusal {
    fn from(error: KafkaError) -> Self {
        let code = error.rdkafka_error_code().map_or_else(|| "client".to_owned(), name);
        Self::Error {
            code,
            detail: error.to_string(),
        }
    }
}

/// `MessageSizeTooLarge` as `MESSAGE_SIZE_TOO_LARGE`.
fn name(code: RDKafkaErrorCode) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.extend(letter.to_uppercase());
    }
    name
}
