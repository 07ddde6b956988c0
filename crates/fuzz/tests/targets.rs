//! Every target with its seeds, mutations of them, and the inputs that once failed.

use fuzz::{Kind, Mutator, Target, targets};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Mutated inputs for each target, and the time after which no more are tried; `make fuzz` takes longer.
const INPUTS: usize = 3_000;
const TIME: Duration = Duration::from_millis(1_500);

fn regressions(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("regressions")
        .join(&target.name)
}

/// Runs one input; a failure leaves the input behind where this test finds it again.
fn run(target: &Target, input: &[u8], what: &str) {
    if catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_err() {
        let directory = std::env::temp_dir().join("ottla-fuzz").join(&target.name);
        let path = directory.join(what);
        let written = fs::create_dir_all(&directory).and_then(|()| fs::write(&path, input));
        let path = written.map_or_else(|error| error.to_string(), |()| path.display().to_string());
        panic!(
            "{} fails on {what}; keep {path} as {}",
            target.name,
            regressions(target).display()
        );
    }
}

fn all_of(kind: Kind) {
    for target in targets().into_iter().filter(|target| target.kind == kind) {
        if let Ok(entries) = fs::read_dir(regressions(&target)) {
            for entry in entries {
                let path = entry.expect("a regression").path();
                run(&target, &fs::read(&path).expect("a regression"), "a-regression");
            }
        }
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{} has nothing to start from", target.name);
        for (index, seed) in seeds.iter().enumerate() {
            run(&target, seed, &format!("seed-{index}"));
        }
        let mut mutator = Mutator::new(1);
        let began = Instant::now();
        for index in 0..INPUTS {
            if began.elapsed() > TIME {
                break;
            }
            run(&target, &mutator.input(&seeds), &format!("input-{index}"));
        }
    }
}

#[test]
fn clients_do_no_harm() {
    all_of(Kind::Client);
}

#[test]
fn batches_do_no_harm() {
    all_of(Kind::Batch);
}

#[test]
fn files_do_no_harm() {
    all_of(Kind::Disk);
}

#[test]
fn peers_do_no_harm() {
    all_of(Kind::Peer);
}

/// Every API that is served has a target, and every regression belongs to one.
#[test]
fn nothing_is_left_out() {
    let names: Vec<String> = targets().into_iter().map(|target| target.name).collect();
    for range in wire::SERVED {
        let name = format!("request-{:?}", range.key).to_lowercase();
        assert!(names.contains(&name), "{name}");
    }
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    for entry in fs::read_dir(kept).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(names.contains(&name) || !entry.path().is_dir(), "{name} is no target");
    }
}
