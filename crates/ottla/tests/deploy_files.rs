//! What operators copy: the settings are valid, and alerts, metrics and what to do belong together.

use ottla::settings::Settings;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_settings_of_three_hosts_make_one_cluster() {
    let nodes = ["a", "b", "c"].map(|host| {
        let path = format!("deploy/properties/kafka-{host}.properties");
        Settings::read(Some((&path, &read(&path))), std::iter::empty(), &[]).unwrap()
    });
    for (index, node) in nodes.iter().enumerate() {
        assert!(node.warnings.is_empty(), "{:?}", node.warnings);
        assert_eq!(usize::try_from(node.node_id.0).unwrap(), index);
        assert_eq!(node.join, nodes[0].join);
        let founder = &node.join[index];
        assert_eq!(
            (&founder.0, founder.1),
            (&node.control.advertised_host, node.control.advertised_port)
        );
        assert!(node.cluster_secret.is_some() && !node.found_alone());
        assert!(node.admin.is_loopback());
    }
}

#[test]
fn the_container_sets_properties_that_exist() {
    let text = read("deploy/container/Containerfile");
    let variables: Vec<(String, String)> = text
        .lines()
        .skip_while(|line| !line.starts_with("ENV "))
        .take_while(|line| !line.starts_with("VOLUME"))
        .flat_map(str::split_whitespace)
        .filter_map(|word| word.split_once('='))
        .filter(|(name, _)| name.starts_with("OTTLA_"))
        .filter(|(_, value)| !value.ends_with(','))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    assert_eq!(variables.len(), 7, "{variables:?}");
    let names = variables.len();
    let node = [("OTTLA_NODE_ID".to_owned(), "0".to_owned())];
    let settings = Settings::read(None, variables.into_iter().chain(node), &[]).unwrap();
    assert_eq!(settings.given.len(), names + 1, "{:?}", settings.given);
}

#[test]
fn every_alert_names_known_metrics_and_has_its_page() {
    let (alerts, operations, metrics) = (
        read("deploy/prometheus/alerts.yaml"),
        read("docs/operations.md"),
        read("docs/metrics.md"),
    );
    let named = |line: &str, before: &str| line.trim().strip_prefix(before).map(str::to_owned);
    let alerts_named: BTreeSet<String> = alerts.lines().filter_map(|line| named(line, "- alert: ")).collect();
    let pages: BTreeSet<String> = operations.lines().filter_map(|line| named(line, "### ")).collect();
    assert!(alerts_named.len() > 20);
    assert_eq!(alerts_named, pages);
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    for text in [&alerts, &operations] {
        for word in text.split(|letter| !is_name(letter)) {
            if !word.starts_with("ottla_") && !word.starts_with("process_") {
                continue;
            }
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| word.strip_suffix(suffix))
                .unwrap_or(word);
            assert!(metrics.contains(&format!("| `{family}` |")), "{word} is no metric");
        }
    }
}
