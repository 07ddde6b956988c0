//! `make sim`: many seeds, or one with its trace.

use clap::Parser;
use sim::{Outcome, Plan, run_many};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// A tenth of a run is allocation.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(
    about = "Runs simulated clusters",
    after_help = "Example: sim --seeds 200\nExample: sim --seed 7 --trace\nExample: sim --broken all --seeds 500"
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
    /// Seeds that run at the same time; 0 for as many as there are cores
    #[arg(long, default_value_t = 0)]
    jobs: usize,
    /// Print the trace
    #[arg(long)]
    trace: bool,
    /// What the trace holds
    #[arg(long, default_value = "info")]
    filter: String,
    /// Say nothing of seeds that pass
    #[arg(long)]
    quiet: bool,
    /// Leave out a rule of DESIGN, or each in turn with `all`, and say within how many seeds that is noticed. Needs the
    /// feature `broken`
    #[arg(long)]
    broken: Option<String>,
}

impl Arguments {
    fn jobs(&self) -> usize {
        match self.jobs {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            jobs => jobs,
        }
    }

    fn plan(&self, seed: u64) -> Plan {
        let mut plan = Plan::new(seed, self.seconds);
        plan.filter.clone_from(&self.filter);
        plan
    }

    fn seeds(&self) -> std::ops::Range<u64> {
        self.seed
            .map_or(self.from..self.from + self.seeds, |seed| seed..seed + 1)
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let succeeded = match &arguments.broken {
        None => run_intact(&arguments),
        Some(name) => run_broken(&arguments, name),
    };
    if succeeded {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn tell(arguments: &Arguments, seed: u64, outcome: &Outcome, took: Duration) {
    if arguments.trace {
        println!("{}", outcome.trace);
    }
    if !arguments.quiet || !outcome.problems.is_empty() {
        println!("{} in {:.1} s", outcome.summary(seed), took.as_secs_f64());
    }
    for problem in &outcome.problems {
        println!("  seed {seed}: {problem}");
    }
}

fn run_intact(arguments: &Arguments) -> bool {
    let (mut passed, mut failed, mut faults, mut simulated) = (0u64, 0u64, 0usize, Duration::ZERO);
    let started = Instant::now();
    run_many(
        arguments.seeds(),
        arguments.jobs(),
        |seed| arguments.plan(seed),
        |seed, outcome, took| {
            tell(arguments, seed, &outcome, took);
            faults += outcome.faults;
            simulated += outcome.simulated;
            match outcome.problems.is_empty() {
                true => passed += 1,
                false => failed += 1,
            }
            true
        },
    );
    let real = started.elapsed().as_secs_f64();
    println!(
        "{passed} passed, {failed} failed: {faults} faults in {:.1} simulated hours, {:.3} of them per real second",
        simulated.as_secs_f64() / 3_600.0,
        simulated.as_secs_f64() / 3_600.0 / real
    );
    failed == 0
}

#[cfg(feature = "broken")]
fn run_broken(arguments: &Arguments, name: &str) -> bool {
    let chosen: Vec<_> = types::SWITCHES
        .iter()
        .filter(|(_, known, _)| name == "all" || name == *known)
        .collect();
    if chosen.is_empty() {
        let known: Vec<&str> = types::SWITCHES.iter().map(|(_, name, _)| *name).collect();
        eprintln!("there is no rule {name}; known: all, {}", known.join(", "));
        return false;
    }
    let mut all_found = true;
    for (broken, name, what) in chosen {
        let (mut found, mut runs, started) = (None::<(u64, Outcome)>, 0u64, Instant::now());
        let plan = |seed| Plan {
            broken: Some(*broken),
            ..arguments.plan(seed)
        };
        run_many(arguments.seeds(), arguments.jobs(), plan, |seed, outcome, took| {
            runs += 1;
            if arguments.trace {
                tell(arguments, seed, &outcome, took);
            }
            if !outcome.problems.is_empty() && found.as_ref().is_none_or(|(known, _)| seed < *known) {
                found = Some((seed, outcome));
            }
            found.is_none()
        });
        let took = started.elapsed().as_secs_f64();
        match found {
            Some((seed, outcome)) => {
                println!("{name}: noticed with seed {seed} after {runs} in {took:.1} s ({what})");
                for problem in outcome.problems.iter().take(2) {
                    println!("    {problem}");
                }
            }
            None => {
                all_found = false;
                println!("{name}: NOT NOTICED in {runs} seeds and {took:.1} s ({what})");
            }
        }
    }
    all_found
}

#[cfg(not(feature = "broken"))]
fn run_broken(_arguments: &Arguments, _name: &str) -> bool {
    eprintln!("this build leaves nothing out: cargo run --profile sim -p sim --features broken -- --broken NAME");
    false
}
