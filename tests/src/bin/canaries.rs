//! Breaks one rule after the other, each in a process of its own, and demands that the simulator sees it: `./tests/run canaries`.

use clap::Parser;
use std::process::{Command, ExitCode};
use tercet_tests::sim::{CANARIES, series};

/// Breaks rules on purpose and demands that each is caught.
#[derive(Parser)]
struct Arguments {
    /// How many seeds a rule may take to be caught.
    #[arg(long, default_value_t = 2_000)]
    seeds: u64,
    /// One rule alone.
    #[arg(long)]
    rule: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.rule {
        Some(rule) => one(&rule, arguments.seeds),
        None => all(arguments.seeds),
    }
}

fn one(rule: &str, seeds: u64) -> ExitCode {
    if !CANARIES.contains(&rule) {
        println!("error: no rule is called `{rule}`; there are: {}", CANARIES.join(", "));
        return ExitCode::from(2);
    }
    tercet_core::canary::break_rule(rule);
    match series(0, seeds).failed {
        Some(caught) => {
            println!("caught  {rule:<32} seed {:<5} {}", caught.seed, caught.violation.unwrap_or_default());
            ExitCode::SUCCESS
        }
        None => {
            println!("MISSED  {rule:<32} in {seeds} seeds");
            ExitCode::FAILURE
        }
    }
}

/// A rule stays broken for as long as its process lives, so each has one.
fn all(seeds: u64) -> ExitCode {
    let Ok(this) = std::env::current_exe() else {
        println!("error: this program cannot find itself");
        return ExitCode::FAILURE;
    };
    let is_missed = |rule: &&&str| {
        let status = Command::new(&this).args(["--rule", rule, "--seeds", &seeds.to_string()]).status();
        !status.is_ok_and(|status| status.success())
    };
    let missed: Vec<_> = CANARIES.iter().filter(is_missed).copied().collect();
    println!("{} of {} rules caught", CANARIES.len() - missed.len(), CANARIES.len());
    if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
