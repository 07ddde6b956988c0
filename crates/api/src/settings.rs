use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;
use types::limits;

/// What the surface needs of the configuration. The fields bear Kafka's property names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiSettings {
    /// `auto.create.topics.enable`
    pub auto_create_topics_enable: bool,
    /// `delete.topic.enable`
    pub delete_topic_enable: bool,
    /// `socket.request.max.bytes`
    pub socket_request_max_bytes: usize,
    /// `queued.max.request.bytes`: memory for Produce requests that are being served.
    pub queued_max_request_bytes: usize,
    /// `connections.max.idle.ms`
    pub connections_max_idle: Duration,
    /// `max.connections`, of the whole node.
    pub max_connections: usize,
    /// `max.connections.per.ip`
    pub max_connections_per_ip: usize,
    /// `max.connections.per.ip.overrides`
    pub max_connections_per_ip_overrides: BTreeMap<IpAddr, usize>,
    /// `fetch.max.bytes`
    pub fetch_max_bytes: usize,
    /// `max.incremental.fetch.session.cache.slots`, per shard here.
    pub max_incremental_fetch_session_cache_slots: usize,
    /// `max.request.partition.size.limit`: partitions in one DescribeTopicPartitions answer (KIP-966).
    pub max_request_partition_size_limit: usize,
    /// `offsets.topic.num.partitions`
    pub offsets_topic_num_partitions: i32,
    /// `offsets.topic.replication.factor`
    pub offsets_topic_replication_factor: i16,
    /// `offsets.topic.segment.bytes`
    pub offsets_topic_segment_bytes: i32,
    /// Every property as it stands, defaults included, for DescribeConfigs.
    pub properties: BTreeMap<String, String>,
    /// Those of them that were set: they count as defaults of topics.
    pub given: BTreeMap<String, String>,
}

/// A property whose value is no number of the right size, or no boolean.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{property}: {value:?} is not {expected}")]
pub struct InvalidSetting {
    pub property: &'static str,
    pub value: String,
    pub expected: &'static str,
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            auto_create_topics_enable: true,
            delete_topic_enable: true,
            socket_request_max_bytes: limits::SOCKET_REQUEST_BYTES_MAX,
            queued_max_request_bytes: limits::PRODUCE_MEMORY_BYTES,
            connections_max_idle: Duration::from_secs(600),
            max_connections: limits::CONNECTIONS_MAX,
            max_connections_per_ip: usize::MAX,
            max_connections_per_ip_overrides: BTreeMap::new(),
            fetch_max_bytes: limits::FETCH_BYTES_MAX,
            max_incremental_fetch_session_cache_slots: limits::FETCH_SESSIONS_MAX,
            max_request_partition_size_limit: 2_000,
            offsets_topic_num_partitions: 50,
            offsets_topic_replication_factor: 3,
            offsets_topic_segment_bytes: 104_857_600,
            properties: BTreeMap::new(),
            given: BTreeMap::new(),
        }
    }
}

impl ApiSettings {
    /// Reads the properties by Kafka's names; what is not there has its default. Sizes above the node's own
    /// limits are cut to them. Which of them were set is not known here: see [`Self::given`].
    ///
    /// # Errors
    /// [`InvalidSetting`] for a value of the wrong type.
    pub fn from_properties(properties: &BTreeMap<String, String>) -> Result<Self, InvalidSetting> {
        let default = Self::default();
        let flag = |property: &'static str, default: bool| match properties.get(property).map(|v| v.trim()) {
            None => Ok(default),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(value) => Err(InvalidSetting {
                property,
                value: value.to_owned(),
                expected: "true or false",
            }),
        };
        let number = |property: &'static str, default: usize| match properties.get(property) {
            None => Ok(default),
            Some(value) => value.trim().parse::<usize>().map_err(|_| InvalidSetting {
                property,
                value: value.clone(),
                expected: "a number of at least 0",
            }),
        };
        let positive = |property: &'static str, default: i32| match properties.get(property) {
            None => Ok(default),
            Some(value) => value
                .trim()
                .parse::<i32>()
                .ok()
                .filter(|number| *number > 0)
                .ok_or(InvalidSetting {
                    property,
                    value: value.clone(),
                    expected: "a number of at least 1",
                }),
        };
        let slots = "max.incremental.fetch.session.cache.slots";
        let idle = number("connections.max.idle.ms", 600_000)?;
        Ok(Self {
            auto_create_topics_enable: flag("auto.create.topics.enable", default.auto_create_topics_enable)?,
            delete_topic_enable: flag("delete.topic.enable", default.delete_topic_enable)?,
            socket_request_max_bytes: number("socket.request.max.bytes", default.socket_request_max_bytes)?,
            queued_max_request_bytes: number("queued.max.request.bytes", default.queued_max_request_bytes)?,
            connections_max_idle: Duration::from_millis(u64::try_from(idle).unwrap_or(u64::MAX)),
            max_connections: number("max.connections", default.max_connections)?.min(limits::CONNECTIONS_MAX),
            max_connections_per_ip: number("max.connections.per.ip", default.max_connections_per_ip)?,
            max_connections_per_ip_overrides: overrides(properties)?,
            fetch_max_bytes: number("fetch.max.bytes", default.fetch_max_bytes)?,
            max_incremental_fetch_session_cache_slots: number(slots, limits::FETCH_SESSIONS_MAX)?
                .min(limits::FETCH_SESSIONS_MAX),
            max_request_partition_size_limit: number(
                "max.request.partition.size.limit",
                default.max_request_partition_size_limit,
            )?
            .max(1),
            offsets_topic_num_partitions: positive(
                "offsets.topic.num.partitions",
                default.offsets_topic_num_partitions,
            )?,
            offsets_topic_replication_factor: i16::try_from(positive("offsets.topic.replication.factor", 3)?)
                .unwrap_or(i16::MAX),
            offsets_topic_segment_bytes: positive("offsets.topic.segment.bytes", default.offsets_topic_segment_bytes)?,
            properties: properties.clone(),
            given: BTreeMap::new(),
        })
    }
}

/// `address:count,address:count`; names are not resolved, for their addresses may change.
fn overrides(properties: &BTreeMap<String, String>) -> Result<BTreeMap<IpAddr, usize>, InvalidSetting> {
    let property = "max.connections.per.ip.overrides";
    let text = properties.get(property).map(String::as_str).unwrap_or_default();
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let pair = |part: &str| {
        let (address, count) = part.rsplit_once(':')?;
        let address = address.trim().trim_start_matches('[').trim_end_matches(']');
        Some((
            address.parse::<IpAddr>().ok()?.to_canonical(),
            count.trim().parse().ok()?,
        ))
    };
    let wrong = |part: &str| InvalidSetting {
        property,
        value: part.to_owned(),
        expected: "an IP address, a colon and a number",
    };
    parts.map(|part| pair(part).ok_or_else(|| wrong(part))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_read_by_kafkas_names() {
        let mut properties = BTreeMap::from([
            ("auto.create.topics.enable".to_owned(), "false".to_owned()),
            ("connections.max.idle.ms".to_owned(), "5000".to_owned()),
            ("max.connections".to_owned(), "99999999".to_owned()),
        ]);
        let settings = ApiSettings::from_properties(&properties).unwrap();
        assert!(!settings.auto_create_topics_enable && settings.delete_topic_enable);
        assert_eq!(settings.connections_max_idle, Duration::from_secs(5));
        assert_eq!(settings.max_connections, limits::CONNECTIONS_MAX);
        properties.insert("delete.topic.enable".into(), "yes".into());
        assert_eq!(
            ApiSettings::from_properties(&properties).unwrap_err().property,
            "delete.topic.enable"
        );
    }

    #[test]
    fn overrides_are_addresses_with_counts() {
        let read = |text: &str| {
            let name = "max.connections.per.ip.overrides".to_owned();
            let settings = ApiSettings::from_properties(&BTreeMap::from([(name, text.to_owned())]))?;
            Ok::<_, InvalidSetting>(settings.max_connections_per_ip_overrides)
        };
        let expected = [("127.0.0.1", 200), ("::1", 3)].map(|(ip, count)| (ip.parse().unwrap(), count));
        assert_eq!(read("127.0.0.1:200, [::1]:3"), Ok(expected.into()));
        assert_eq!(read("::ffff:127.0.0.1:200,::1:3"), Ok(expected.into()));
        assert_eq!(read(""), Ok(BTreeMap::new()));
        for wrong in ["127.0.0.1", "localhost:3", "127.0.0.1:-1", "127.0.0.1:x"] {
            assert_eq!(read(wrong).unwrap_err().value, wrong);
        }
    }
}
