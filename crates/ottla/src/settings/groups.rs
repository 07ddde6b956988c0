use super::{Reader, SettingsError};
use group::GroupConfig;
use std::time::Duration;
use types::limits;

/// Reads what coordinators of groups need. That each is a number was checked, but not what they are together.
pub(super) fn read(read: &Reader<'_>) -> Result<GroupConfig, SettingsError> {
    let default = GroupConfig::default();
    let number = |name: &str, default: i64| match read.properties.get(name) {
        Some(text) => read.parse::<i64>(name, text, "a number", |_| true),
        None => Ok(default),
    };
    let int = |name: &str, default: i32| Ok(i32::try_from(number(name, i64::from(default))?).unwrap_or(i32::MAX));
    let size = |name: &str, default: usize| {
        let default = i64::try_from(default).unwrap_or(i64::MAX);
        Ok(usize::try_from(number(name, default)?).unwrap_or(0))
    };
    let millis = |name: &str, default: Duration| {
        let default = i64::try_from(default.as_millis()).unwrap_or(i64::MAX);
        Ok(Duration::from_millis(
            u64::try_from(number(name, default)?).unwrap_or(0),
        ))
    };
    let (least, most) = ("group.min.session.timeout.ms", "group.max.session.timeout.ms");
    let config = GroupConfig {
        group_min_session_timeout_ms: int(least, default.group_min_session_timeout_ms)?,
        group_max_session_timeout_ms: int(most, default.group_max_session_timeout_ms)?,
        group_initial_rebalance_delay: millis(
            "group.initial.rebalance.delay.ms",
            default.group_initial_rebalance_delay,
        )?,
        group_max_size: size("group.max.size", default.group_max_size)?.min(limits::GROUP_SIZE_MAX),
        offset_metadata_max_bytes: size("offset.metadata.max.bytes", default.offset_metadata_max_bytes)?,
        offsets_retention: millis("offsets.retention.minutes", default.offsets_retention / 60_000)? * 60_000,
        offsets_retention_check_interval: millis(
            "offsets.retention.check.interval.ms",
            default.offsets_retention_check_interval,
        )?,
    };
    if config.group_min_session_timeout_ms > config.group_max_session_timeout_ms {
        let problem = format!("must not be above {most}={}", config.group_max_session_timeout_ms);
        return Err(read.wrong(least, &config.group_min_session_timeout_ms.to_string(), &problem));
    }
    Ok(config)
}
