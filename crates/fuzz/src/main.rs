//! Mutates the seeds of a target, without coverage: quick to build beside the programs.

fn main() -> std::process::ExitCode {
    fuzz::commands::run(None)
}
