//! A clock in a hurry: minutes pass in a second, for the orchestrator, the participants and the third party alike, so that what waits
//! three minutes in a shop can be watched.

use std::{sync::Arc, time::Duration};
use tercet::{
    Environment, Machine,
    config::{Own, Setting},
    env::Task,
};
use tercet_core::Millis;
use tercet_shop::clock::{Clock, Pace, Waiting};

const TIMES: &str = "clock.times";

/// The setting: how many times as fast as the machine's clock a node's runs. `tercet-shop --times` is its other half.
#[must_use]
pub fn declared() -> Setting {
    Setting::number(TIMES, "1", 1..=1_000, "a number, 1 to 1000: how many times as fast as the machine's clock")
}

/// The clock of a program that was told so; the machine's, unless it is to hurry.
#[must_use]
pub fn of(told: &Own) -> Option<Arc<Hurried>> {
    let times = told.number(TIMES).and_then(|times| u32::try_from(times).ok()).filter(|times| *times > 1)?;
    Some(Arc::new(Hurried::new(Pace::of(times))))
}

/// The machine's clock, running at a pace.
#[derive(Debug)]
pub struct Hurried {
    machine: Machine,
    pace: Pace,
}

impl Hurried {
    /// At that pace: the same pace shows the same time also when the clock is made anew after a crash.
    #[must_use]
    pub fn new(pace: Pace) -> Self {
        Self { machine: Machine::new(), pace }
    }
}

impl Environment for Hurried {
    fn now(&self) -> Millis {
        self.pace.shows(self.machine.now())
    }

    fn random(&self) -> u64 {
        self.machine.random()
    }

    fn shows(&self, at: Millis) -> Millis {
        self.pace.shows(at)
    }

    fn sleep_until(&self, at: Millis) -> Task {
        self.machine.sleep_until(self.pace.really(at).plus(Duration::from_millis(1)))
    }

    fn spawn(&self, task: Task) {
        self.machine.spawn(task);
    }
}

impl Clock for Hurried {
    fn now(&self) -> Millis {
        Environment::now(self)
    }

    fn sleep(&self, wait: Duration) -> Waiting<'_> {
        self.sleep_until(Environment::now(self).plus(wait))
    }
}
