//! Dependencies point down only.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Crate, floor, and the crates on its own floor that it may name.
pub const FLOORS: &[(&str, u8, &[&str])] = &[
    ("types", 0, &[]),
    ("records", 0, &["types"]),
    ("host", 0, &["types"]),
    ("metrics", 0, &[]),
    ("replica", 1, &[]),
    ("metadata", 1, &[]),
    ("security", 1, &[]),
    ("group", 1, &[]),
    ("history", 1, &[]),
    ("wire", 2, &[]),
    ("logstore", 2, &[]),
    ("raft", 2, &[]),
    ("broker", 3, &["controller"]),
    ("controller", 3, &[]),
    ("coordinator", 3, &["broker"]),
    ("api", 4, &[]),
    ("admin", 4, &[]),
    ("ottla", 5, &[]),
    ("xtask", 5, &[]),
    ("powerloss", 6, &[]),
    ("sim", 6, &[]),
    ("fuzz", 6, &[]),
];

/// What may not be named by a pure core: no runtime, no files, no clock.
const CORES: &[&str] = &["replica", "metadata", "group", "history"];
const NOT_IN_CORES: &[&str] = &["tokio", "host", "futures", "rand", "tracing"];

/// Every violation of the floors in the workspace at `root`, a line each.
///
/// # Errors
/// A manifest that cannot be read.
pub fn violations(root: &Path) -> std::io::Result<Vec<String>> {
    let floors: BTreeMap<&str, (u8, &[&str])> = FLOORS
        .iter()
        .map(|(name, floor, same)| (*name, (*floor, *same)))
        .collect();
    let mut found = Vec::new();
    for entry in fs::read_dir(root.join("crates"))? {
        let path = entry?.path();
        let manifest = path.join("Cargo.toml");
        if !manifest.exists() {
            continue;
        }
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let Some((floor, same)) = floors.get(name.as_str()) else {
            found.push(format!(
                "crates/{name} is not in the list of floors (crates/xtask/src/layers.rs)"
            ));
            continue;
        };
        for dependency in dependencies(&fs::read_to_string(&manifest)?) {
            if CORES.contains(&name.as_str()) && NOT_IN_CORES.contains(&dependency.as_str()) {
                found.push(format!("{name} is a pure core and must not depend on {dependency}"));
            }
            let Some((below, _)) = floors.get(dependency.as_str()) else {
                continue;
            };
            if below > floor || (below == floor && !same.contains(&dependency.as_str())) {
                found.push(format!(
                    "{name} (floor {floor}) must not depend on {dependency} (floor {below})"
                ));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Names in `[dependencies]` (tests and build scripts may look anywhere).
fn dependencies(manifest: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut inside = false;
    for line in manifest.lines() {
        let line = line.trim();
        if line.starts_with('[') {
            inside = line == "[dependencies]" || line.starts_with("[target.") && line.ends_with("dependencies]");
        } else if inside && let Some((name, _)) = line.split_once(['=', '.']) {
            names.push(name.trim().to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    #[test]
    fn dependencies_point_down() {
        let found = violations(&root()).unwrap();
        assert!(found.is_empty(), "{}", found.join("\n"));
    }

    #[test]
    fn a_dependency_upwards_is_found() {
        let names = dependencies(
            "[package]\nname = \"x\"\n[dependencies]\ntypes.workspace = true\nbroker = { path = \"\" }\n[dev-dependencies]\nsim = \"1\"\n",
        );
        assert_eq!(names, ["types", "broker"]);
    }
}
