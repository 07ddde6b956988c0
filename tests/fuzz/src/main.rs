//! The targets of `crates/fuzz` under libFuzzer: built and run by `run.sh`.

use fuzz::Target;
use std::process::ExitCode;

fn main() -> ExitCode {
    fuzz::commands::run(Some(engine))
}

/// Never returns: libFuzzer ends the process.
#[cfg(fuzzing_libfuzzer)]
fn engine(target: Target) {
    let run = std::panic::AssertUnwindSafe(target.run);
    let check = move |input: &[u8]| {
        let run = &run;
        (run.0)(input);
    };
    bolero::check!()
        .with_shrink_time(std::time::Duration::ZERO)
        .with_max_len(1 << 20)
        .for_each(check);
}

#[cfg(not(fuzzing_libfuzzer))]
fn engine(target: Target) {
    panic!("{}: built without libFuzzer, see run.sh", target.name);
}
