//! `make sim`: many seeds, or one with its trace.

use clap::Parser;
use sim::{Plan, run};
use std::process::ExitCode;
use std::time::Instant;

#[derive(Parser)]
#[command(
    about = "Runs simulated clusters",
    after_help = "Example: sim --seeds 200\nExample: sim --seed 7 --trace"
)]
struct Arguments {
    /// One seed
    #[arg(long)]
    seed: Option<u64>,
    /// This many seeds, from --from on
    #[arg(long, default_value_t = 20)]
    seeds: u64,
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Simulated seconds of each
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Print the trace
    #[arg(long)]
    trace: bool,
    /// What the trace holds
    #[arg(long, default_value = "info")]
    filter: String,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seeds = arguments
        .seed
        .map_or(arguments.from..arguments.from + arguments.seeds, |seed| seed..seed + 1);
    let mut failed = 0u64;
    let mut passed = 0u64;
    for seed in seeds {
        let started = Instant::now();
        let mut plan = Plan::new(seed, arguments.seconds);
        plan.filter.clone_from(&arguments.filter);
        let outcome = run(&plan);
        if arguments.trace {
            println!("{}", outcome.trace);
        }
        println!("{} in {:.1} s", outcome.summary(seed), started.elapsed().as_secs_f64());
        for problem in &outcome.problems {
            println!("  seed {seed}: {problem}");
        }
        if outcome.problems.is_empty() {
            passed += 1
        } else {
            failed += 1
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
