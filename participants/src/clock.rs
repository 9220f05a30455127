//! Time as the shop's programs see it: the machine's clock, or one that tests move by hand.

use std::{
    future::Future,
    pin::Pin,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tercet_core::Millis;
use tokio::sync::watch;

/// A wait to come.
pub type Waiting<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Where a program reads the time and waits.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Millis;
    /// Comes back once `wait` has passed on this clock.
    fn sleep(&self, wait: Duration) -> Waiting<'_>;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn sleep(&self, wait: Duration) -> Waiting<'_> {
        Box::pin(tokio::time::sleep(wait))
    }
}

/// How fast a clock runs: so many times as fast as the machine's, since a moment at which both showed the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    began: Millis,
    times: u32,
}

impl Pace {
    /// So many times as fast since `began`.
    #[must_use]
    pub fn since(began: Millis, times: u32) -> Self {
        Self { began, times: times.max(1) }
    }

    /// So many times as fast since the first of January 2020: programs that are told the same number show the same time, whenever
    /// and wherever each was started.
    #[must_use]
    pub fn of(times: u32) -> Self {
        Self::since(Millis(1_577_836_800_000), times)
    }

    /// What the clock shows while the machine's shows `really`.
    #[must_use]
    pub fn shows(&self, really: Millis) -> Millis {
        self.began.plus(really.since(self.began) * self.times)
    }

    /// What the machine's clock shows while this one shows `at`, or the millisecond before.
    #[must_use]
    pub fn really(&self, at: Millis) -> Millis {
        self.began.plus(at.since(self.began) / self.times)
    }

    /// How much time passes on the machine's clock while `wait` passes on this one.
    #[must_use]
    pub fn really_for(&self, wait: Duration) -> Duration {
        wait / self.times
    }
}

/// The machine's clock in a hurry, so that what takes hours in a shop can be watched.
#[derive(Clone, Copy, Debug)]
pub struct HurriedClock(pub Pace);

impl Clock for HurriedClock {
    fn now(&self) -> Millis {
        self.0.shows(SystemClock.now())
    }

    fn sleep(&self, wait: Duration) -> Waiting<'_> {
        SystemClock.sleep(self.0.really_for(wait))
    }
}

/// A clock that stands until it is moved; who sleeps on it wakes when it has moved far enough.
#[derive(Debug)]
pub struct HandClock {
    now: watch::Sender<Millis>,
}

impl HandClock {
    /// A clock that stands at `now`.
    #[must_use]
    pub fn new(now: Millis) -> Self {
        Self { now: watch::Sender::new(now) }
    }

    /// How many wait on it now.
    #[must_use]
    pub fn sleepers(&self) -> usize {
        self.now.receiver_count()
    }

    /// Moves it on.
    pub fn advance(&self, by: Duration) {
        self.now.send_modify(|now| *now = now.plus(by));
    }
}

impl Clock for HandClock {
    fn now(&self) -> Millis {
        *self.now.borrow()
    }

    fn sleep(&self, wait: Duration) -> Waiting<'_> {
        let until = self.now().plus(wait);
        let mut moved = self.now.subscribe();
        Box::pin(async move {
            // The sender lives as long as `self`, so the wait cannot end in an error.
            let _ = moved.wait_for(|now| *now >= until).await;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;
    use std::time::Duration;
    use tercet_core::Millis;

    #[test]
    fn a_pace_is_kept_both_ways() {
        let pace = Pace::since(Millis(1_000), 60);
        assert_eq!(pace.shows(Millis(1_000)), Millis(1_000));
        assert_eq!(pace.shows(Millis(4_000)), Millis(181_000));
        assert_eq!(pace.really(Millis(181_000)), Millis(4_000));
        assert_eq!(pace.really_for(Duration::from_secs(180)), Duration::from_secs(3));
        let other = Pace::of(20);
        assert_eq!(other, Pace::of(20));
        assert_eq!(other.really(other.shows(Millis(1_800_000_000_123))), Millis(1_800_000_000_123));
    }
}
