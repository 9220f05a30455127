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
