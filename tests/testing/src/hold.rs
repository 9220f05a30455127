//! Timers and their neighbours: something that comes while a timer is armed is held back until just before, or just after, it is due.

use std::fmt;
use tercet_core::{Millis, Timer};

/// Just before a timer is due, or just after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Edge {
    /// A millisecond before: what is held back comes first.
    Before,
    /// A millisecond after: the timer comes first.
    After,
}

impl Edge {
    /// The moment, for a timer that is due then.
    pub(crate) fn of(self, due: Millis) -> Millis {
        match self {
            Self::Before => Millis(due.0 - 1),
            Self::After => Millis(due.0 + 1),
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
        }
    }
}

/// Until when something is held back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hold {
    /// Whose timer, by the saga's name in timelines.
    pub saga: String,
    /// Which timer.
    pub timer: Timer,
    /// On which side of it.
    pub edge: Edge,
}

impl Hold {
    /// The timer's name, for people.
    pub(crate) fn timer(&self, root: &str) -> String {
        let timer = match &self.timer {
            Timer::Deadline => "deadline".to_owned(),
            Timer::Step(step) => step.to_string(),
        };
        if self.saga == root { timer } else { format!("{}/{timer}", self.saga) }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "just {} the timer `{}` is due", self.edge.as_str(), self.timer(&self.saga))
    }
}
