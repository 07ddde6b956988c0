//! ApiVersions (key 18).

use metadata::Image;
use types::ErrorCode;
use wire::StrBytes;
use wire::messages::ApiVersionsResponse;
use wire::messages::api_versions_request::ApiVersionsRequest;
use wire::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use wire::{ApiKey, ApiRange, SERVED};

/// Name, lowest and highest level supported, level in force. `metadata.version` in Kafka's numbers: 7 is
/// 3.3-IV3, the lowest of Kafka 4, 25 is 4.0-IV3, whose client-visible behaviour is all here. ELR (KIP-966)
/// is always on. Features of coordinators appear with the coordinators.
const FEATURES: [(&str, i16, i16, i16); 2] = [
    ("metadata.version", 7, 25, 25),
    ("eligible.leader.replicas.version", 0, 1, 1),
];

pub(crate) fn answer(image: &Image, request: &ApiVersionsRequest, version: i16) -> ApiVersionsResponse {
    let named = |text: &StrBytes| is_software_name(text);
    if version >= 3 && !(named(&request.client_software_name) && named(&request.client_software_version)) {
        return ApiVersionsResponse::default().with_error_code(ErrorCode::InvalidRequest.code());
    }
    let supported = FEATURES.iter().map(|(name, min, max, _)| {
        SupportedFeatureKey::default()
            .with_name(StrBytes::from_static_str(name))
            .with_min_version(*min)
            .with_max_version(*max)
    });
    let finalized = FEATURES.iter().map(|(name, _, _, level)| {
        FinalizedFeatureKey::default()
            .with_name(StrBytes::from_static_str(name))
            .with_min_version_level(*level)
            .with_max_version_level(*level)
    });
    let response = ApiVersionsResponse::default()
        .with_api_keys(SERVED.iter().map(api_version).collect())
        .with_supported_features(supported.collect());
    // Before the cluster is founded nothing is in force.
    if image.cluster_id.is_none() {
        return response;
    }
    response
        .with_finalized_features_epoch(i64::try_from(image.index.0).unwrap_or(i64::MAX))
        .with_finalized_features(finalized.collect())
}

/// The answer to a version nobody knows: in version 0, with the range to choose from (KIP-511).
pub(crate) fn unsupported() -> ApiVersionsResponse {
    let own = SERVED.iter().filter(|range| range.key == ApiKey::ApiVersions);
    ApiVersionsResponse::default()
        .with_error_code(ErrorCode::UnsupportedVersion.code())
        .with_api_keys(own.map(api_version).collect())
}

fn api_version(range: &ApiRange) -> ApiVersion {
    ApiVersion::default()
        .with_api_key(range.key as i16)
        .with_min_version(range.min)
        .with_max_version(range.max)
}

/// Kafka's `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?`.
fn is_software_name(text: &str) -> bool {
    let outer = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(outer) && text.ends_with(outer) && text.chars().all(|c| outer(c) || matches!(c, '-' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names() {
        for (text, good) in [
            ("apache-kafka-java", true),
            ("4.3.1", true),
            ("a", true),
            ("", false),
            ("-a", false),
            ("a.", false),
            ("a b", false),
        ] {
            assert_eq!(is_software_name(text), good, "{text:?}");
        }
    }

    #[test]
    fn unnamed_software_is_refused_from_version_3() {
        let nameless = ApiVersionsRequest::default();
        let image = Image::default();
        assert_eq!(answer(&image, &nameless, 2).error_code, 0);
        assert_eq!(answer(&image, &nameless, 3).error_code, 42);
        assert_eq!(answer(&image, &nameless, 2).api_keys.len(), SERVED.len());
    }

    #[test]
    fn unknown_version_lists_its_own_range() {
        let response = unsupported();
        assert_eq!(
            (
                response.error_code,
                response.api_keys.len(),
                response.api_keys[0].api_key
            ),
            (35, 1, 18)
        );
    }
}
