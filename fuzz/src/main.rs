//! `fuzz-runner list` · `seeds TARGET DIRECTORY` · `replay TARGET FILE…` · `fuzz TARGET` (built by `run.sh`, whose
//! arguments for libFuzzer come in `BOLERO_LIBFUZZER_ARGS`).

use fuzz::{Target, targets};
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["list"] => {
            targets().iter().for_each(|target| println!("{}", target.name));
            Ok(())
        }
        ["seeds", name, directory] => find(name).and_then(|target| write_seeds(&target, directory)),
        ["replay", name, ref files @ ..] => find(name).and_then(|target| replay(&target, files)),
        ["fuzz", name] => find(name).and_then(fuzz),
        _ => Err("list | seeds TARGET DIRECTORY | replay TARGET FILE… | fuzz TARGET".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("fuzz-runner: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn find(name: &str) -> Result<Target, String> {
    let found = targets().into_iter().find(|target| target.name == name);
    found.ok_or_else(|| format!("no target {name}"))
}

fn write_seeds(target: &Target, directory: &str) -> Result<(), String> {
    for (index, seed) in (target.seeds)().into_iter().enumerate() {
        let path = format!("{directory}/seed-{index}");
        std::fs::write(&path, seed).map_err(|error| format!("{path}: {error}"))?;
    }
    Ok(())
}

/// Runs inputs once each; the first that fails panics.
fn replay(target: &Target, files: &[&str]) -> Result<(), String> {
    for file in files {
        let input = std::fs::read(file).map_err(|error| format!("{file}: {error}"))?;
        (target.run)(&input);
        println!("{file}: passes");
    }
    Ok(())
}

#[cfg(fuzzing_libfuzzer)]
#[allow(unreachable_code)]
fn fuzz(target: Target) -> Result<(), String> {
    let run = std::panic::AssertUnwindSafe(target.run);
    let check = |input: &[u8]| {
        let run = &run;
        (run.0)(input);
    };
    checked(check);
    Ok(())
}

/// Never returns: libFuzzer ends the process.
#[cfg(fuzzing_libfuzzer)]
fn checked(check: impl Fn(&[u8]) + std::panic::RefUnwindSafe) {
    bolero::check!()
        .with_shrink_time(std::time::Duration::ZERO)
        .with_max_len(1 << 20)
        .for_each(check);
}

#[cfg(not(fuzzing_libfuzzer))]
fn fuzz(_: Target) -> Result<(), String> {
    Err("this build has no fuzzer: see run.sh".to_owned())
}
