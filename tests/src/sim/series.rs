//! A series of seeds, one world for each thread, until one of them fails.

use super::run::{Outcome, run};
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// What came of a series.
#[derive(Debug, Default)]
pub struct Series {
    /// Seeds that ran.
    pub ran: u64,
    /// What happened in them all together.
    pub counts: BTreeMap<&'static str, u64>,
    /// Steps of their executors.
    pub steps: u64,
    /// How long their towns lived, in their own time.
    pub lived: Duration,
    /// The lowest seed that failed.
    pub failed: Option<Outcome>,
}

impl Series {
    fn add(&mut self, outcome: Outcome) {
        self.ran += 1;
        self.steps += outcome.steps;
        self.lived += outcome.lived;
        for (what, times) in &outcome.counts {
            *self.counts.entry(what).or_default() += times;
        }
        let lowest = self.failed.as_ref().is_none_or(|first| first.seed > outcome.seed);
        if outcome.violation.is_some() && lowest {
            self.failed = Some(outcome);
        }
    }
}

/// One seed. A panic in it is a failure of the seed.
#[must_use]
pub fn attempt(seed: u64, traces: bool) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| run(seed, traces))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Outcome::panicked(seed, &text.unwrap_or_else(|| "a panic without a text".to_owned()))
    })
}

/// Runs `seeds` seeds from `from` on, on every core, and begins no further one after one has failed.
#[must_use]
pub fn series(from: u64, seeds: u64) -> Series {
    let (next, stop) = (AtomicU64::new(from), AtomicBool::new(false));
    let all = Mutex::new(Series::default());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from.saturating_add(seeds) {
                        return;
                    }
                    let outcome = attempt(seed, false);
                    stop.fetch_or(outcome.violation.is_some(), Ordering::Relaxed);
                    all.lock().unwrap_or_else(PoisonError::into_inner).add(outcome);
                }
            });
        }
    });
    all.into_inner().unwrap_or_else(PoisonError::into_inner)
}
