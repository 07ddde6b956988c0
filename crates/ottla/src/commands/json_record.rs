use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};

/// A record as `ottla consume --format json` prints it and `ottla produce --input-format json` reads it, one object
/// a line:
///
/// ```json
/// {"partition":0,"offset":7,"timestamp":1700000000000,"key":"k","value":"v","headers":[["name","value"]]}
/// ```
///
/// Bytes that are not UTF-8 are `{"base64":"…"}`; null stays null. `offset` is ignored when reading.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JsonRecord {
    pub partition: Option<i32>,
    pub timestamp: Option<i64>,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<(String, Option<Bytes>)>,
}

impl JsonRecord {
    /// # Errors
    /// What is wrong with the line, as a sentence.
    pub fn parse(line: &str) -> Result<Self, String> {
        let object: Map<String, Value> =
            serde_json::from_str(line).map_err(|error| format!("not a JSON object: {error}"))?;
        let mut record = Self::default();
        for (name, value) in &object {
            match name.as_str() {
                "key" => record.key = bytes_of("key", value)?,
                "value" => record.value = bytes_of("value", value)?,
                "timestamp" if value.is_null() => {}
                "timestamp" => {
                    record.timestamp = Some(value.as_i64().ok_or("timestamp: wants milliseconds since 1970")?)
                }
                "partition" if value.is_null() => {}
                "partition" => {
                    let number = value.as_i64().and_then(|n| i32::try_from(n).ok()).filter(|n| *n >= 0);
                    record.partition = Some(number.ok_or("partition: wants a number from 0")?);
                }
                "headers" => record.headers = headers_of(value)?,
                "offset" | "topic" | "leader_epoch" => {}
                other => {
                    return Err(format!(
                        "unknown field \"{other}\"; known: key, value, headers, timestamp, partition"
                    ));
                }
            }
        }
        Ok(record)
    }

    /// The object, with the place where the record was found.
    #[must_use]
    pub fn to_json(&self, topic: &str, partition: i32, offset: i64) -> Value {
        let headers: Vec<Value> = self
            .headers
            .iter()
            .map(|(name, value)| json!([name, json_of(value.as_ref())]))
            .collect();
        json!({"topic": topic, "partition": partition, "offset": offset, "timestamp": self.timestamp,
               "key": json_of(self.key.as_ref()), "value": json_of(self.value.as_ref()), "headers": headers})
    }
}

fn bytes_of(name: &str, value: &Value) -> Result<Option<Bytes>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(Bytes::from(text.clone()))),
        Value::Object(object) if object.len() == 1 && object.contains_key("base64") => {
            match object["base64"].as_str() {
                Some(text) => STANDARD
                    .decode(text)
                    .map(|b| Some(Bytes::from(b)))
                    .map_err(|e| format!("{name}: not base64: {e}")),
                None => Err(format!("{name}: {{\"base64\": …}} wants a string")),
            }
        }
        // Anything else is kept as its JSON text: {"value": {"a": 1}} writes {"a":1}.
        other => Ok(Some(Bytes::from(other.to_string()))),
    }
}

fn headers_of(value: &Value) -> Result<Vec<(String, Option<Bytes>)>, String> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Object(object) => object
            .iter()
            .map(|(name, value)| Ok((name.clone(), bytes_of(name, value)?)))
            .collect(),
        Value::Array(pairs) => pairs
            .iter()
            .map(|pair| match pair.as_array().map(Vec::as_slice) {
                Some([Value::String(name), value]) => Ok((name.clone(), bytes_of(name, value)?)),
                _ => Err("headers: wants [[\"name\", \"value\"], …] or an object".to_owned()),
            })
            .collect(),
        _ => Err("headers: wants [[\"name\", \"value\"], …] or an object".to_owned()),
    }
}

fn json_of(bytes: Option<&Bytes>) -> Value {
    match bytes {
        None => Value::Null,
        Some(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Value::String(text.to_owned()),
            Err(_) => json!({"base64": STANDARD.encode(bytes)}),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips() {
        let record = JsonRecord {
            partition: Some(2),
            timestamp: Some(1_700_000_000_000),
            key: Some(Bytes::from_static(&[0xff, 0])),
            value: None,
            headers: vec![("a".into(), Some(Bytes::from_static(b"1"))), ("a".into(), None)],
        };
        let line = record.to_json("t", 2, 9).to_string();
        assert_eq!(JsonRecord::parse(&line).unwrap(), record);
    }

    #[test]
    fn mistakes_are_named() {
        for (line, part) in [
            ("[]", "not a JSON object"),
            ("{\"vaule\":1}", "unknown field \"vaule\""),
            ("{\"partition\":-1}", "partition"),
            ("{\"headers\":3}", "headers"),
            ("{\"key\":{\"base64\":\"!\"}}", "not base64"),
            ("{\"key\":{\"base64\":1}}", "wants a string"),
        ] {
            let error = JsonRecord::parse(line).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
        assert_eq!(
            JsonRecord::parse("{\"value\":{\"a\":1}}").unwrap().value.unwrap(),
            "{\"a\":1}"
        );
    }
}
