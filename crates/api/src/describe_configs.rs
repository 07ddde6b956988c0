//! DescribeConfigs (key 32): topics and brokers.

use crate::{ApiSettings, topic_name};
use metadata::Image;
use metadata::topic_config::{self, Source};
use std::collections::{BTreeMap, BTreeSet};
use types::{ErrorCode, NodeId};
use wire::StrBytes;
use wire::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use wire::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
/// `ConfigDef.Type.STRING` (KIP-569).
const STRING: i8 = 2;

pub(crate) fn answer(
    image: &Image,
    settings: &ApiSettings,
    me: NodeId,
    request: &DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let mut seen = BTreeSet::new();
    let results = request
        .resources
        .iter()
        // Each once: its name is short and its answer is not.
        .filter(|resource| seen.insert((resource.resource_type, resource.resource_name.as_str())))
        .map(|resource| {
            let result = DescribeConfigsResult::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone());
            match configs(image, settings, me, resource, &Shown::of(request, resource)) {
                Ok(configs) => result.with_configs(configs),
                Err((code, message)) => result
                    .with_error_code(code.code())
                    .with_error_message(Some(message.into())),
            }
        });
    DescribeConfigsResponse::default().with_results(results.collect())
}

/// What of a resource was asked for; nothing else is built.
struct Shown<'a> {
    /// `None`: every config. So says null, and an empty list too.
    keys: Option<BTreeSet<&'a str>>,
    synonyms: bool,
    documentation: bool,
}

impl<'a> Shown<'a> {
    fn of(request: &DescribeConfigsRequest, resource: &'a DescribeConfigsResource) -> Self {
        let keys = resource.configuration_keys.as_ref().filter(|keys| !keys.is_empty());
        Self {
            keys: keys.map(|keys| keys.iter().map(StrBytes::as_str).collect()),
            synonyms: request.include_synonyms,
            documentation: request.include_documentation,
        }
    }

    fn key(&self, name: &str) -> bool {
        self.keys.as_ref().is_none_or(|keys| keys.contains(name))
    }
}

fn configs(
    image: &Image,
    settings: &ApiSettings,
    me: NodeId,
    resource: &DescribeConfigsResource,
    shown: &Shown<'_>,
) -> Result<Vec<DescribeConfigsResourceResult>, (ErrorCode, String)> {
    let name = resource.resource_name.as_str();
    match resource.resource_type {
        TOPIC => of_topic(image, settings, name, shown),
        BROKER if name.is_empty() => Ok(of_all_brokers(image, shown)),
        BROKER if name == me.to_string() => Ok(of_broker(image, settings, me, shown)),
        BROKER => Err((
            ErrorCode::InvalidRequest,
            format!("Unexpected broker id, expected {me} or empty string, but received {name}"),
        )),
        other => Err((ErrorCode::InvalidRequest, format!("Unsupported resource type: {other}"))),
    }
}

fn of_topic(
    image: &Image,
    settings: &ApiSettings,
    name: &str,
    shown: &Shown<'_>,
) -> Result<Vec<DescribeConfigsResourceResult>, (ErrorCode, String)> {
    if let Some(problem) = topic_name::problem(name) {
        return Err((ErrorCode::InvalidTopicException, problem));
    }
    let Some(topic) = image.topic(name) else {
        let message = "This server does not host this topic-partition.";
        return Err((ErrorCode::UnknownTopicOrPartition, message.to_owned()));
    };
    let lines = topic_config::describe(image, topic, &settings.properties).into_iter();
    Ok(lines
        .filter(|line| shown.key(line.definition.name))
        .map(|line| {
            let synonyms = line.synonyms.into_iter().filter(|_| shown.synonyms);
            let synonyms = synonyms.map(|(name, value, source)| synonym(name, value, source));
            let doc = shown
                .documentation
                .then(|| StrBytes::from_static_str(line.definition.doc));
            DescribeConfigsResourceResult::default()
                .with_name(StrBytes::from_static_str(line.definition.name))
                .with_value(Some(line.value.into()))
                .with_config_source(line.source as i8)
                .with_config_type(line.definition.kind.code())
                .with_documentation(doc)
                .with_synonyms(synonyms.collect())
        })
        .collect())
}

fn synonym(name: &str, value: String, source: Source) -> DescribeConfigsSynonym {
    DescribeConfigsSynonym::default()
        .with_name(name.to_owned().into())
        .with_value(Some(value.into()))
        .with_source(source as i8)
}

/// What was set for all brokers.
fn of_all_brokers(image: &Image, shown: &Shown<'_>) -> Vec<DescribeConfigsResourceResult> {
    let set = image.broker_configs.get(&None).into_iter().flatten();
    set.filter(|(name, _)| shown.key(name))
        .map(|(name, value)| broker_line(name, vec![(value.clone(), Source::DefaultBroker)], shown))
        .collect()
}

/// What was set for this broker, for all, in its properties, and the defaults of topic configs.
fn of_broker(
    image: &Image,
    settings: &ApiSettings,
    me: NodeId,
    shown: &Shown<'_>,
) -> Vec<DescribeConfigsResourceResult> {
    let mut lines: BTreeMap<String, Vec<(String, Source)>> = BTreeMap::new();
    let mut add = |name: &str, value: &str, source| {
        if shown.key(name) {
            let line = lines.entry(name.to_owned()).or_default();
            line.push((value.to_owned(), source));
        }
    };
    for (owner, source) in [(Some(me), Source::Broker), (None, Source::DefaultBroker)] {
        for (name, value) in image.broker_configs.get(&owner).into_iter().flatten() {
            add(name, value, source);
        }
    }
    for (name, value) in &settings.properties {
        add(name, value, Source::StaticBroker);
    }
    for definition in topic_config::TABLE {
        if let Some(name) = definition.synonym {
            add(name, definition.default, Source::Default);
        }
    }
    lines
        .into_iter()
        .map(|(name, values)| broker_line(&name, values, shown))
        .collect()
}

/// One line; `values` in the order of precedence. Secrets are named and not shown.
fn broker_line(name: &str, values: Vec<(String, Source)>, shown: &Shown<'_>) -> DescribeConfigsResourceResult {
    let sensitive = name.contains("password") || name.contains("secret") || name.ends_with("jaas.config");
    let source = values.first().map_or(Source::Default, |(_, source)| *source);
    let value = values
        .first()
        .filter(|_| !sensitive)
        .map(|(value, _)| StrBytes::from(value.clone()));
    let told = |value: String| if sensitive { None } else { Some(StrBytes::from(value)) };
    let synonyms = values.into_iter().filter(|_| shown.synonyms).map(|(value, source)| {
        DescribeConfigsSynonym::default()
            .with_name(name.to_owned().into())
            .with_value(told(value))
            .with_source(source as i8)
    });
    let known = topic_config::find_synonym(name);
    DescribeConfigsResourceResult::default()
        .with_name(name.to_owned().into())
        .with_value(value)
        .with_config_source(source as i8)
        // Only the defaults of topic configs can be altered while the broker runs.
        .with_read_only(known.is_none())
        .with_is_sensitive(sensitive)
        .with_config_type(known.map_or(STRING, |definition| definition.kind.code()))
        .with_synonyms(synonyms.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_image::cluster;

    fn ask(kind: i8, name: &'static str, keys: Option<Vec<&'static str>>) -> DescribeConfigsResult {
        let resource = DescribeConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(StrBytes::from_static_str(name))
            .with_configuration_keys(keys.map(|k| k.into_iter().map(StrBytes::from_static_str).collect()));
        let request = DescribeConfigsRequest::default()
            .with_resources(vec![resource])
            .with_include_synonyms(true);
        let mut settings = ApiSettings::default();
        settings.properties.insert("cluster.secret".into(), "hidden".into());
        answer(&cluster(), &settings, NodeId(1), &request).results.remove(0)
    }

    #[test]
    fn errors_by_resource() {
        let table = [
            (TOPIC, "orders", 0),
            (TOPIC, "none", 3),
            (TOPIC, "a b", 17),
            (BROKER, "1", 0),
            (BROKER, "", 0),
            (BROKER, "2", 42),
            (16, "x", 42),
        ];
        for (kind, name, code) in table {
            assert_eq!(ask(kind, name, None).error_code, code, "{kind} {name}");
        }
    }

    #[test]
    fn a_resource_is_told_once_and_only_what_was_asked() {
        let resource = |name: &'static str, keys: Option<Vec<StrBytes>>| {
            DescribeConfigsResource::default()
                .with_resource_type(TOPIC)
                .with_resource_name(StrBytes::from_static_str(name))
                .with_configuration_keys(keys)
        };
        let all = topic_config::TABLE.len();
        let key = || vec![StrBytes::from_static_str("retention.ms")];
        let request = DescribeConfigsRequest::default().with_resources(vec![
            resource("orders", Some(key())),
            resource("payments", None),
            resource("orders", None),
            resource("none", Some(vec![])),
            resource("payments", Some(key())),
        ]);
        let results = answer(&cluster(), &ApiSettings::default(), NodeId(1), &request).results;
        let told: Vec<_> = results
            .iter()
            .map(|r| (r.resource_name.as_str(), r.configs.len()))
            .collect();
        assert_eq!(told, [("orders", 1), ("payments", all), ("none", 0)]);
        let lines = || results.iter().flat_map(|r| &r.configs);
        assert!(lines().all(|c| c.synonyms.is_empty() && c.documentation.is_none()));
        assert_eq!(
            ask(TOPIC, "orders", Some(vec![])).configs.len(),
            all,
            "an empty list is all"
        );
        assert_eq!(ask(BROKER, "1", Some(vec!["cluster.secret"])).configs.len(), 1);
    }

    #[test]
    fn sources_and_secrets() {
        let own = ask(TOPIC, "orders", Some(vec!["retention.ms"])).configs;
        assert_eq!(
            (own.len(), own[0].config_source, own[0].value.as_deref()),
            (1, 1, Some("1000"))
        );
        assert_eq!(own[0].synonyms.first().map(|s| s.source), Some(1));
        let secret = &ask(BROKER, "1", Some(vec!["cluster.secret"])).configs[0];
        assert!(secret.is_sensitive && secret.value.is_none() && secret.synonyms[0].value.is_none());
    }
}
