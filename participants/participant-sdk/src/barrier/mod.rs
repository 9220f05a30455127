//! The barrier's pure logic: a row and a call give what to do, a row and an outcome give the row that follows.
//!
//! Nothing here reads a clock, a database or a handler: the runner brings the row, the call and the time, and carries out what
//! comes back. Rows are of three sorts: [`Hold`] (tcc, compensable), [`Task`] (retriable) and [`Effect`] (pivot, external).

pub mod effect;
pub mod hold;
pub mod task;

pub use effect::Effect;
pub use hold::Hold;
pub use task::Task;

use serde::{Deserialize, Serialize};
use std::time::Duration;
use tercet_core::{Answer, Call, Millis, Payload, Phase};

/// How long a row is kept after it began to age, unless the service says otherwise.
pub const RETENTION: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A barrier's row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Row {
    /// Of a tcc or compensable.
    Hold(Hold),
    /// Of a retriable.
    Task(Task),
    /// Of a pivot or external.
    Effect(Effect),
}

impl Row {
    /// The row's state as text, for people who look at the table.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match self {
            Self::Hold(row) => row.state.as_str(),
            Self::Task(row) => row.state.as_str(),
            Self::Effect(row) => row.state.as_str(),
        }
    }

    /// Since when the row ages; `None` while it must be kept whatever its age.
    #[must_use]
    pub fn ages_from(&self) -> Option<Millis> {
        match self {
            Self::Hold(row) => row.ages_from(),
            Self::Task(row) => row.ages_from(),
            Self::Effect(row) => row.ages_from(),
        }
    }

    /// The row after the saga has ended; `None` when that changes nothing.
    #[must_use]
    pub fn forgotten(&self, now: Millis) -> Option<Self> {
        match self {
            Self::Hold(row) => row.forgotten(now).map(Self::Hold),
            Self::Task(_) | Self::Effect(_) => None,
        }
    }
}

/// The call is a try or execute that may have been on its way for longer than the rows that would stop it are kept.
#[must_use]
pub fn is_expired(call: &Call, now: Millis, retention: Duration) -> bool {
    call.phase == Phase::Try && now.since(call.issued) > retention / 2
}

/// *Done*, of a phase that has nothing to say.
fn nothing_to_say() -> Answer {
    Answer::Done(Payload::null())
}

#[cfg(test)]
mod tests;
