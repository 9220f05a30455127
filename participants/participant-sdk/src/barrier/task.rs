//! Rows of retriable steps: `intent → done`, or `refused` up to an attempt.

use super::hold::Outcome;
use serde::{Deserialize, Serialize};
use tercet_core::{Answer, Millis};

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// Accepted, to be reported later.
    Intent,
    /// Done.
    Done,
    /// Refused: attempts up to this one have their answer, a later one asks anew.
    Refused {
        /// The refused attempt.
        up_to: u32,
    },
}

impl TaskState {
    /// The state as text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::Done => "done",
            Self::Refused { .. } => "refused",
        }
    }
}

/// A retriable's row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Where it stands.
    pub state: TaskState,
    /// When it came to stand there.
    pub moved: Millis,
    /// The attempt that was answered.
    pub attempt: u32,
    /// The answer that is given again.
    pub answer: Answer,
}

impl Task {
    /// The stored answer to that attempt; `None`: run the handler.
    #[must_use]
    pub fn stored(row: Option<&Self>, attempt: u32) -> Option<Answer> {
        let row = row?;
        match row.state {
            TaskState::Refused { up_to } if attempt > up_to => None,
            TaskState::Intent | TaskState::Done | TaskState::Refused { .. } => Some(row.answer.clone()),
        }
    }

    /// The row after the handler came to `outcome` for that attempt.
    #[must_use]
    pub fn after(attempt: u32, outcome: Outcome, now: Millis) -> Self {
        let state = match outcome {
            Outcome::Done(_) => TaskState::Done,
            Outcome::Refused(_) => TaskState::Refused { up_to: attempt },
            Outcome::Pending(_) => TaskState::Intent,
        };
        Self { state, moved: now, attempt, answer: outcome.into_answer() }
    }

    /// The row after a pending attempt was reported on; `None` when it has its answer already, or the report settles nothing.
    #[must_use]
    pub fn completed(&self, outcome: Outcome, now: Millis) -> Option<Self> {
        let settles = self.state == TaskState::Intent && !matches!(outcome, Outcome::Pending(_));
        settles.then(|| Self::after(self.attempt, outcome, now))
    }

    /// See [`super::Row::ages_from`].
    #[must_use]
    pub fn ages_from(&self) -> Option<Millis> {
        (self.state != TaskState::Intent).then_some(self.moved)
    }
}
