//! Runs seeds of the simulator, one world for each core, and says what came of them: `./tests/run sim --help`.

use clap::Parser;
use std::{
    collections::BTreeMap,
    process::ExitCode,
    time::{Duration, Instant},
};
use tercet_tests::sim::{Outcome, attempt, must_happen, series};

/// Seeds from which on every fault must have happened.
const ENOUGH: u64 = 1_000;

/// Simulates towns of sagas in every weather, each from a seed.
#[derive(Parser)]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 5_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// One seed alone.
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// Prints the timeline, of a single seed.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Of the timeline, only lines with this text: a saga's id, say.
    #[arg(long, requires = "trace")]
    only: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.seed {
        Some(seed) => one(seed, arguments.trace, arguments.only.as_deref()),
        None => many(arguments.from, arguments.seeds),
    }
}

fn one(seed: u64, traces: bool, only: Option<&str>) -> ExitCode {
    let outcome = attempt(seed, traces);
    print_timeline(&outcome, only);
    println!("seed {seed}: {} steps, {}, hash {:016x}", outcome.steps, hours(outcome.lived), outcome.hash);
    print_counts(&outcome.counts);
    match outcome.violation {
        Some(violation) => fail(seed, &violation),
        None => ExitCode::SUCCESS,
    }
}

fn many(from: u64, seeds: u64) -> ExitCode {
    let begun = Instant::now();
    let all = series(from, seeds);
    let took = begun.elapsed().as_secs_f64();
    println!("{} seeds from {from} in {took:.1} s: {} steps, {}", all.ran, all.steps, hours(all.lived));
    print_counts(&all.counts);
    if let Some(failed) = all.failed {
        let violation = failed.violation.unwrap_or_default();
        // The same seed again, with its timeline: of the saga that the violation names, if it names one.
        let again = attempt(failed.seed, true);
        let saga = violation.split([' ', ',', '/']).find(|word| word.len() == 36 && word.matches('-').count() == 4);
        print_timeline(&again, saga);
        return fail(failed.seed, &violation);
    }
    let never: Vec<_> = must_happen().filter(|what| !all.counts.contains_key(what)).collect();
    if never.is_empty() || seeds < ENOUGH {
        return ExitCode::SUCCESS;
    }
    println!("FAILED: these never happened, so nothing is known of them: {}", never.join(", "));
    ExitCode::FAILURE
}

fn hours(time: Duration) -> String {
    format!("{:.1} h of their own time", time.as_secs_f64() / 3_600.0)
}

fn print_counts(counts: &BTreeMap<&'static str, u64>) {
    for (what, times) in counts {
        println!("{times:>10}  {what}");
    }
}

fn print_timeline(outcome: &Outcome, only: Option<&str>) {
    for (at, line) in outcome.timeline.iter().filter(|(_, line)| only.is_none_or(|only| line.contains(only))) {
        println!("{:>10}.{:03}  {line}", at / 1_000, at % 1_000);
    }
}

fn fail(seed: u64, violation: &str) -> ExitCode {
    println!("FAILED at seed {seed}: {violation}");
    println!("Replay it: ./tests/run sim --seed {seed} --trace");
    ExitCode::FAILURE
}
