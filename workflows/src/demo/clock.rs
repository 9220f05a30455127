//! A clock in a hurry: the demo's minutes pass in a second, for the orchestrator, the participants and the third party alike, so that
//! what waits three minutes in a shop can be watched.

use std::time::Duration;
use tercet::{Environment, Machine, env::Task};
use tercet_core::Millis;
use tercet_shop::clock::{Clock, Waiting};

/// The machine's clock, running `times` as fast since `began`.
#[derive(Debug)]
pub(super) struct Hurried {
    machine: Machine,
    began: Millis,
    times: u32,
}

impl Hurried {
    /// A clock that showed the machine's time at `began`, and has hurried since: also when it is made anew after a crash.
    pub(super) fn new(times: u32, began: Millis) -> Self {
        Self { machine: Machine::new(), began, times: times.max(1) }
    }

    /// The machine's moment at which this clock shows `at`.
    fn really(&self, at: Millis) -> Millis {
        self.began.plus(at.since(self.began) / self.times)
    }
}

impl Environment for Hurried {
    fn now(&self) -> Millis {
        let really = self.machine.now().since(self.began);
        self.began.plus(really * self.times)
    }

    fn random(&self) -> u64 {
        self.machine.random()
    }

    fn sleep_until(&self, at: Millis) -> Task {
        self.machine.sleep_until(self.really(at).plus(Duration::from_millis(1)))
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
