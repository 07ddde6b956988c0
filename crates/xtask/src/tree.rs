//! Files that a reader would trip over.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A file longer than this, its tests included, is two files.
pub const LINES_MAX: usize = 1_000;

/// File names that say nothing about what is inside.
const NAMELESS: &[&str] = &[
    "utils.rs",
    "util.rs",
    "helpers.rs",
    "helper.rs",
    "misc.rs",
    "common.rs",
    "impls.rs",
    "impl.rs",
];

/// Too long files and rooms without a name of their own, a line each.
///
/// # Errors
/// A directory that cannot be read.
pub fn violations(root: &Path) -> io::Result<Vec<String>> {
    let mut files = Vec::new();
    collect(&root.join("crates"), &mut files)?;
    let mut found = Vec::new();
    for file in files {
        let shown = file.strip_prefix(root).unwrap_or(&file).display().to_string();
        let name = file
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        if NAMELESS.contains(&name.as_str()) {
            found.push(format!("{shown}: name the file after what is in it"));
        }
        let lines = fs::read_to_string(&file)?.lines().count();
        if lines > LINES_MAX {
            found.push(format!("{shown}: {lines} lines, at most {LINES_MAX}"));
        }
    }
    Ok(found)
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                collect(&path, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn files_are_short_and_named() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let found = super::violations(&root).unwrap();
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}
