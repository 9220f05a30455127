//! Runs seeds of the simulator, two at a time on two cores, and says what came of them: `./tests/run sim --help`.

use clap::Parser;
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tercet_tests::sim::{Outcome, must_happen, run};

/// Simulates towns of sagas in every weather, each from a seed.
#[derive(Parser)]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 2_000)]
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
    /// Of the timeline, only lines with this text.
    #[arg(long, requires = "trace")]
    only: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(seed) = arguments.seed {
        let outcome = attempt(seed, arguments.trace);
        print_timeline(&outcome, arguments.only.as_deref());
        println!(
            "seed {seed}: {} steps, {} of its own time, hash {:016x}",
            outcome.steps,
            hours(outcome.lived),
            outcome.hash
        );
        print_counts(&outcome.counts);
        return match outcome.violation {
            Some(violation) => fail(seed, &violation),
            None => ExitCode::SUCCESS,
        };
    }
    many(arguments.from, arguments.seeds)
}

/// A panic in a run is a failure of its seed.
fn attempt(seed: u64, traces: bool) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| run(seed, traces))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Outcome::panicked(seed, &text.unwrap_or_else(|| "a panic without a text".to_owned()))
    })
}

fn many(from: u64, seeds: u64) -> ExitCode {
    let begun = Instant::now();
    let (next, stop) = (AtomicU64::new(from), AtomicBool::new(false));
    let all = Mutex::new((BTreeMap::<&'static str, u64>::new(), 0_u64, Duration::ZERO, None::<Outcome>, 0_u64));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + seeds {
                        return;
                    }
                    let outcome = attempt(seed, false);
                    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                    for (what, times) in &outcome.counts {
                        *all.0.entry(what).or_default() += times;
                    }
                    all.1 += outcome.steps;
                    all.2 += outcome.lived;
                    all.4 += 1;
                    if outcome.violation.is_some() {
                        stop.store(true, Ordering::Relaxed);
                        if all.3.as_ref().is_none_or(|first| first.seed > seed) {
                            all.3 = Some(outcome);
                        }
                    }
                }
            });
        }
    });
    let (counts, steps, lived, failed, ran) = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    let took = begun.elapsed().as_secs_f64();
    println!("{ran} seeds from {from} in {took:.1} s: {steps} steps, {} of their own time", hours(lived));
    print_counts(&counts);
    if let Some(failed) = failed {
        let violation = failed.violation.unwrap_or_default();
        let outcome = attempt(failed.seed, true);
        let saga = violation.split([' ', ',', '/']).find(|word| word.len() == 36 && word.matches('-').count() == 4);
        print_timeline(&outcome, saga);
        return fail(failed.seed, &violation);
    }
    let never: Vec<_> = must_happen().filter(|what| counts.get(what).is_none_or(|times| *times == 0)).collect();
    if never.is_empty() || seeds < 500 {
        return ExitCode::SUCCESS;
    }
    println!("FAILED: these never happened, so nothing is known of them: {}", never.join(", "));
    ExitCode::FAILURE
}

fn hours(time: Duration) -> String {
    format!("{:.1} h", time.as_secs_f64() / 3_600.0)
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
