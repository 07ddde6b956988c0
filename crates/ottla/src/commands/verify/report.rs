use super::Format;
use anyhow::Context;
use history::{Demands, Report, Verdict};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// Reads and checks a history.
///
/// # Errors
/// It cannot be read; a damaged line is named.
pub fn check(file: &Path) -> anyhow::Result<Report> {
    let reader = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    let history = history::read(BufReader::with_capacity(1 << 20, reader));
    let history = history.with_context(|| format!("{} is no history", file.display()))?;
    Ok(history.check(&Demands::default()))
}

/// `--history`.
///
/// # Errors
/// As [`check`]; the report cannot be written.
pub fn check_file(file: &Path, format: Format, directory: Option<&Path>) -> anyhow::Result<Verdict> {
    let report = check(file)?;
    if let Some(directory) = directory {
        std::fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
        keep(&report, directory)?;
    }
    print(&report, format)?;
    Ok(report.verdict)
}

/// Writes the report for people and for programs.
///
/// # Errors
/// A file cannot be written.
pub fn keep(report: &Report, directory: &Path) -> anyhow::Result<()> {
    let write = |name: &str, text: String| {
        let path = directory.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    write("report.md", format!("# What clients saw\n\n{report}"))?;
    write("report.json", serde_json::to_string_pretty(report)? + "\n")
}

/// # Errors
/// None that can happen: numbers and text become JSON.
pub fn print(report: &Report, format: Format) -> anyhow::Result<()> {
    match format {
        Format::Text => print!("{report}"),
        Format::Json => println!("{}", serde_json::to_string_pretty(report)?),
    }
    Ok(())
}
