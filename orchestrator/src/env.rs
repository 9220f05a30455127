//! The environment: clock, random numbers and spawning, which nothing in the engine reads behind its back.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};
use tercet_core::Millis;

/// A task or a wait, boxed.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What an engine runs in: [`Machine`], or a simulation.
pub trait Environment: Send + Sync + 'static {
    /// The time. Never goes back (but for a database's clock that is set back).
    fn now(&self) -> Millis;

    /// A random number, evenly spread.
    fn random(&self) -> u64;

    /// What this clock shows while one that does not hurry, a database's, shows `at`.
    fn shows(&self, at: Millis) -> Millis {
        at
    }

    /// Done at `at`, or at once if that is past.
    fn sleep_until(&self, at: Millis) -> Task;

    /// Runs `task` beside the caller.
    fn spawn(&self, task: Task);

    /// Runs `task` beside the caller, who may take its first step: what a task hands over first is then on its way at once.
    fn begin(&self, task: Task) {
        self.spawn(task);
    }
}

/// A shared environment.
pub type Env = Arc<dyn Environment>;

/// The machine's clock and randomness, and tokio. The clock is read once and then carried on by the monotonic one, so that a clock
/// set back in between stalls nothing.
#[derive(Debug)]
pub struct Machine {
    started: Millis,
    since: tokio::time::Instant,
}

impl Machine {
    /// The environment of this process. Make one, and share it.
    #[must_use]
    pub fn new() -> Self {
        let started = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let started = Millis(i64::try_from(started.as_millis()).unwrap_or(i64::MAX));
        Self { started, since: tokio::time::Instant::now() }
    }
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

impl Environment for Machine {
    fn now(&self) -> Millis {
        self.started.plus(self.since.elapsed())
    }

    fn random(&self) -> u64 {
        rand::random()
    }

    fn sleep_until(&self, at: Millis) -> Task {
        // One millisecond more: a sleep may end a fraction before the whole millisecond that was asked for.
        let until = self.since + at.since(self.started) + Duration::from_millis(1);
        Box::pin(tokio::time::sleep_until(until))
    }

    fn spawn(&self, task: Task) {
        tokio::spawn(task);
    }

    fn begin(&self, mut task: Task) {
        // It is polled again where it is spawned, which is when somebody waits for what wakes it.
        if task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            tokio::spawn(task);
        }
    }
}

/// An environment whose clock is a database's: sampled now and then, carried on by the environment's own in between.
pub(crate) struct DatabaseTime {
    env: Env,
    /// Milliseconds that the database's clock is ahead.
    ahead: AtomicI64,
    /// What it showed last.
    showed: AtomicI64,
}

/// A clock set back by more than this is worth a word.
const SET_BACK: i64 = 1_000;

impl DatabaseTime {
    pub(crate) fn new(env: Env) -> Self {
        Self { env, ahead: AtomicI64::new(0), showed: AtomicI64::new(i64::MIN) }
    }

    /// The database said `now` in an answer that has just come: it is that late there, or later. So no timer is early.
    /// Answers how far that is from what it was thought to be.
    pub(crate) fn sampled(&self, now: Millis) -> Duration {
        let (off, set_back) = self.compare(now);
        if let Some(milliseconds) = set_back {
            tracing::warn!(milliseconds, "the database's clock was set back: what is timed waits so much longer");
        }
        off
    }

    /// How far it is from what it was thought to be, and how far it was set back: where it shows less than before, since this process's own
    /// clock may hurry, and an answer may be late.
    fn compare(&self, now: Millis) -> (Duration, Option<i64>) {
        let ahead = self.env.shows(now).0.saturating_sub(self.env.now().0);
        let before = self.ahead.swap(ahead, Ordering::Relaxed);
        let went_back = now.0 < self.showed.swap(now.0, Ordering::Relaxed);
        let set_back = (went_back && before - ahead > SET_BACK).then_some(before - ahead);
        (Duration::from_millis(before.abs_diff(ahead)), set_back)
    }
}

impl Environment for DatabaseTime {
    fn now(&self) -> Millis {
        Millis(self.env.now().0.saturating_add(self.ahead.load(Ordering::Relaxed)))
    }

    fn random(&self) -> u64 {
        self.env.random()
    }

    fn sleep_until(&self, at: Millis) -> Task {
        self.env.sleep_until(Millis(at.0.saturating_sub(self.ahead.load(Ordering::Relaxed))))
    }

    fn spawn(&self, task: Task) {
        self.env.spawn(task);
    }

    fn begin(&self, task: Task) {
        self.env.begin(task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock that a test sets.
    struct Set(AtomicI64);

    impl Environment for Set {
        fn now(&self) -> Millis {
            Millis(self.0.load(Ordering::Relaxed))
        }

        fn random(&self) -> u64 {
            0
        }

        fn sleep_until(&self, _: Millis) -> Task {
            Box::pin(std::future::ready(()))
        }

        fn spawn(&self, _: Task) {}
    }

    /// Each sample: what this process's clock shows, what the database's shows, and by how much that is said to be set back.
    #[track_caller]
    fn check(samples: &[(i64, i64, Option<i64>)]) {
        let own = Arc::new(Set(AtomicI64::new(0)));
        let time = DatabaseTime::new(own.clone());
        for &(here, there, set_back) in samples {
            own.0.store(here, Ordering::Relaxed);
            assert_eq!(time.compare(Millis(there)).1, set_back, "at {here}");
            assert_eq!(time.now(), Millis(there));
        }
    }

    #[test]
    fn a_database_s_clock_is_said_to_be_set_back_only_where_it_was() {
        check(&[
            (1_000, 500_000, None),
            (4_000, 503_000, None),
            (7_000, 446_000, Some(60_000)),
            (9_000, 448_000, None),
        ]);
    }

    #[test]
    fn a_clock_that_hurries_and_an_answer_that_is_late_set_nothing_back() {
        check(&[(1_000, 500_000, None), (61_000, 503_000, None), (70_000, 504_000, None)]);
    }
}
