//! What both programs do: this crate's own, which mutates, and `/fuzz`, which has libFuzzer besides.

use crate::{Mutator, Target, targets};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// An input that takes longer is a failure.
const INPUT_TIME_MAX: Duration = Duration::from_secs(20);
/// Failures of one target after which there is enough to look at.
const FAILURES_MAX: usize = 3;

const USAGE: &str = "\
list                               names of all targets
seeds TARGET DIRECTORY             writes the inputs that the target starts from
replay TARGET FILE…                runs inputs once each; the first that fails panics
mutate TARGET SECONDS DIRECTORY    mutates the seeds; failures go to the directory (SEED=… repeats a run)
fuzz TARGET                        libFuzzer, where it is built in; its arguments come in BOLERO_LIBFUZZER_ARGS";

/// Runs the command line. `engine` fuzzes one target and does not return.
pub fn run(engine: Option<fn(Target)>) -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["list"] => {
            targets().iter().for_each(|target| println!("{}", target.name));
            Ok(())
        }
        ["seeds", name, directory] => find(name).and_then(|target| write_seeds(&target, directory)),
        ["replay", name, ref files @ ..] => find(name).and_then(|target| replay(&target, files)),
        ["mutate", name, seconds, directory] => find(name).and_then(|target| mutate(target, seconds, directory)),
        ["fuzz", name] => find(name).and_then(|target| match engine {
            Some(engine) => {
                engine(target);
                Ok(())
            }
            None => Err("this program has no fuzzer: see tests/fuzz/run.sh".to_owned()),
        }),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
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
        write(&Path::new(directory).join(format!("seed-{index}")), &seed)?;
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    fs::write(path, bytes).map_err(|error| format!("{}: {error}", path.display()))
}

fn replay(target: &Target, files: &[&str]) -> Result<(), String> {
    for file in files {
        let input = fs::read(file).map_err(|error| format!("{file}: {error}"))?;
        (target.run)(&input);
        println!("{file}: passes");
    }
    Ok(())
}

/// What is being tried, for the watchdog.
type Current = Arc<Mutex<(Instant, Vec<u8>)>>;

fn mutate(target: Target, seconds: &str, directory: &str) -> Result<(), String> {
    let seconds: u64 = seconds.parse().map_err(|_| format!("{seconds} is no number"))?;
    let seed = match std::env::var("SEED") {
        Ok(seed) => seed.parse().map_err(|_| format!("SEED={seed} is no number"))?,
        Err(_) => rand::random::<u64>(),
    };
    println!("{}: SEED={seed}", target.name);
    let directory = PathBuf::from(directory);
    let current: Current = Arc::new(Mutex::new((Instant::now(), Vec::new())));
    watch(current.clone(), directory.clone());
    let seeds = (target.seeds)();
    let mut mutator = Mutator::new(seed);
    let ends = Instant::now() + Duration::from_secs(seconds);
    let (mut executions, mut failures) = (0u64, 0);
    while Instant::now() < ends && failures < FAILURES_MAX {
        let input = mutator.input(&seeds);
        *current.lock().unwrap_or_else(PoisonError::into_inner) = (Instant::now(), input.clone());
        executions += 1;
        if catch_unwind(AssertUnwindSafe(|| (target.run)(&input))).is_err() {
            failures += 1;
            write(&directory.join(format!("mutation-{seed}-{executions}")), &input)?;
        }
    }
    // As libFuzzer says it.
    println!("stat::number_of_executed_units: {executions}");
    match failures {
        0 => Ok(()),
        _ => Err(format!("{failures} inputs failed")),
    }
}

/// Ends the process on an input that takes too long, and keeps it.
fn watch(current: Current, directory: PathBuf) {
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_secs(1));
            let (began, input) = current.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if began.elapsed() > INPUT_TIME_MAX {
                let kept = write(&directory.join("timeout"), &input);
                eprintln!("panicked: an input takes more than {INPUT_TIME_MAX:?} ({kept:?})");
                std::process::exit(1);
            }
        }
    });
}
