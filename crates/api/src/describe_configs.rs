//! DescribeConfigs (key 32): topics and brokers.

use crate::config_resource::{BROKER, TOPIC, broker_id};
use crate::{Services, topic_name};
use metadata::topic_config::{self, Local, Setting, Source};
use metadata::{Image, broker_config};
use std::collections::BTreeSet;
use types::ErrorCode;
use wire::StrBytes;
use wire::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use wire::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};

/// `ConfigDef.Type.STRING` (KIP-569).
const STRING: i8 = 2;

pub(crate) fn answer(services: &Services, request: &DescribeConfigsRequest) -> DescribeConfigsResponse {
    let image = services.image();
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
            match configs(services, &image, resource, &Shown::of(request, resource)) {
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
    services: &Services,
    image: &Image,
    resource: &DescribeConfigsResource,
    shown: &Shown<'_>,
) -> Result<Vec<DescribeConfigsResourceResult>, (ErrorCode, String)> {
    let name = resource.resource_name.as_str();
    match resource.resource_type {
        TOPIC => of_topic(image, services.local(), name, shown),
        BROKER if name.is_empty() => Ok(of_all_brokers(image, services.local(), shown)),
        BROKER => match broker_id(name, services.node_id, " or empty string") {
            Ok(_) => Ok(of_broker(services, image, shown)),
            Err(message) => Err((ErrorCode::InvalidRequest, message)),
        },
        other => Err((ErrorCode::InvalidRequest, format!("Unsupported resource type: {other}"))),
    }
}

fn of_topic(
    image: &Image,
    local: Local<'_>,
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
    let lines = topic_config::describe(image, topic, local).into_iter();
    Ok(lines
        .filter(|line| shown.key(line.definition.name))
        .map(|line| {
            let synonyms = line.synonyms.into_iter().filter(|_| shown.synonyms);
            let synonyms = synonyms.map(|setting| synonym(setting, false));
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

fn synonym(setting: Setting, sensitive: bool) -> DescribeConfigsSynonym {
    DescribeConfigsSynonym::default()
        .with_name(setting.name.into())
        .with_value((!sensitive).then(|| setting.value.into()))
        .with_source(setting.source as i8)
}

/// What was set for all brokers.
fn of_all_brokers(image: &Image, local: Local<'_>, shown: &Shown<'_>) -> Vec<DescribeConfigsResourceResult> {
    let set = image.broker_configs.get(&None).into_iter().flatten();
    set.filter(|(name, _)| shown.key(name))
        .map(|(name, _)| {
            let mut settings = topic_config::broker_settings(image, local, name);
            settings.retain(|setting| setting.source == Source::DefaultBroker);
            broker_line(name, settings, shown)
        })
        .collect()
}

/// What was set for this broker, for all, in its properties, and the defaults.
fn of_broker(services: &Services, image: &Image, shown: &Shown<'_>) -> Vec<DescribeConfigsResourceResult> {
    let (me, settings) = (services.node_id, &services.settings);
    let mut names: BTreeSet<&str> = settings.properties.keys().map(String::as_str).collect();
    for owner in [Some(me), None] {
        names.extend(
            image
                .broker_configs
                .get(&owner)
                .into_iter()
                .flatten()
                .map(|(name, _)| name.as_str()),
        );
    }
    names.extend(topic_config::TABLE.iter().filter_map(|definition| definition.synonym));
    names.retain(|name| shown.key(name));
    let line = |name: &str| {
        let mut found = topic_config::broker_settings(image, services.local(), name);
        // In force by default, and with no default of its own among the synonyms of a topic config.
        if found.is_empty()
            && let Some(value) = settings.properties.get(name)
        {
            found.push(Setting {
                name: name.to_owned(),
                value: value.clone(),
                source: Source::Default,
            });
        }
        broker_line(name, found, shown)
    };
    names.into_iter().map(line).collect()
}

/// One line; `settings` in the order of precedence. Secrets are named and not shown.
fn broker_line(name: &str, settings: Vec<Setting>, shown: &Shown<'_>) -> DescribeConfigsResourceResult {
    let sensitive = name.contains("password") || name.contains("secret") || name.ends_with("jaas.config");
    let source = settings.first().map_or(Source::Default, |setting| setting.source);
    let value = settings
        .first()
        .filter(|_| !sensitive)
        .map(|setting| StrBytes::from(setting.value.clone()));
    let synonyms = settings.into_iter().filter(|_| shown.synonyms);
    let synonyms = synonyms.map(|setting| synonym(setting, sensitive)).collect();
    let dynamic = broker_config::kind(name);
    DescribeConfigsResourceResult::default()
        .with_name(name.to_owned().into())
        .with_value(value)
        .with_config_source(source as i8)
        .with_read_only(dynamic.is_none())
        .with_is_sensitive(sensitive)
        .with_config_type(dynamic.map_or(STRING, |kind| kind.code()))
        .with_synonyms(synonyms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ApiSettings;
    use crate::memory_budget::MemoryBudget;
    use crate::test_image::cluster;
    use crate::test_node::TestNode;

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
        let node = TestNode::with(cluster(), settings, MemoryBudget::default());
        answer(&node.services, &request).results.remove(0)
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
        let results = answer(&TestNode::new(cluster()).services, &request).results;
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
