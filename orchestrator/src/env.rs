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
}

/// A clock set back by more than this is worth a word.
const SET_BACK: i64 = 1_000;

impl DatabaseTime {
    pub(crate) fn new(env: Env) -> Self {
        Self { env, ahead: AtomicI64::new(0) }
    }

    /// The database said `now` in an answer that has just come: it is that late there, or later. So no timer is early.
    /// Answers how far that is from what it was thought to be.
    pub(crate) fn sampled(&self, now: Millis) -> Duration {
        let ahead = self.env.shows(now).0.saturating_sub(self.env.now().0);
        let before = self.ahead.swap(ahead, Ordering::Relaxed);
        if before != 0 && before - ahead > SET_BACK {
            tracing::warn!(
                milliseconds = before - ahead,
                "the database's clock was set back: what is timed waits so much longer"
            );
        }
        Duration::from_millis(before.abs_diff(ahead))
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
