//! What an engine says no with: each a stable code, and text that says what to do.

use crate::store::StoreError;
use serde::{Deserialize, Deserializer, Serialize};
use tercet_core::{BadName, Choice, Life, SagaId, StepInstance};

/// A text of this program's own. (Under a name, since serde takes a `&'static str` for one that is borrowed from what it reads.)
pub(super) type Words = &'static str;

/// Why the engine did not do what it was asked.
#[derive(Clone, Debug, PartialEq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineError {
    /// No definition of that name, or version, runs here.
    #[error("no definition `{name}` is known here; known are: {known}")]
    UnknownDefinition {
        /// The name, with the version if one was asked for.
        name: String,
        /// The names that are known.
        known: String,
    },
    /// The input is not what the definition starts with.
    #[error("the input does not fit `{definition}`: {why}")]
    BadInput {
        /// The definition.
        definition: String,
        /// Where, and what was expected.
        why: String,
    },
    /// A name or key that cannot be one.
    #[error(transparent)]
    #[serde(skip)]
    BadName(#[from] BadName),
    /// The key belongs to a saga that was started with another input.
    #[error("the key is taken by saga {by}, which was started with another input: use a new key, or the same input")]
    KeyTaken {
        /// That saga.
        by: SagaId,
    },
    /// No such saga.
    #[error("no saga {saga} is known here")]
    UnknownSaga {
        /// Its id.
        saga: SagaId,
    },
    /// The saga does not wait for that signal anywhere.
    #[error("`{definition}` waits for no signal `{signal}`")]
    UnknownSignal {
        /// The saga's definition.
        definition: String,
        /// The signal.
        signal: String,
    },
    /// The payload is not what the signal carries, or the value not what the step replies.
    #[error("the value does not fit `{what}`: {why}")]
    BadValue {
        /// The signal or step.
        what: String,
        /// Where, and what was expected.
        why: String,
    },
    /// The saga is past that.
    #[error("saga {saga} is {state}: {why}")]
    TooLate {
        /// The saga.
        saga: SagaId,
        /// Where it is.
        #[serde(deserialize_with = "life")]
        state: Words,
        /// Why that is too late.
        #[serde(deserialize_with = "too_late")]
        why: Words,
    },
    /// The step does not offer that now.
    #[error("step `{step}` does not offer that now; it offers: {}", offers(.choices))]
    NotOffered {
        /// The step instance.
        step: StepInstance,
        /// What it offers.
        choices: Vec<Choice>,
    },
    /// The step is known as not done.
    #[error(
        "step `{step}` is known as not done ({why}): mark it done by force if it is done all the same, with the reason"
    )]
    NeedsForce {
        /// The step instance.
        step: StepInstance,
        /// What says so.
        why: String,
    },
    /// The saga's journal cannot be handled here.
    #[error("saga {saga} cannot be handled: {why}")]
    Quarantined {
        /// The saga.
        saga: SagaId,
        /// Why.
        why: String,
    },
    /// An edited definition under an old version's name.
    #[error(
        "`{name}` version {version} differs from the one that was registered ({unfinished} of its sagas are unfinished): give the edited definition the next version, and keep this one as it was"
    )]
    Edited {
        /// The definition.
        name: String,
        /// The version.
        version: u32,
        /// Its unfinished sagas.
        unfinished: u64,
    },
    /// Not now: the store is out of reach, or too much is waiting. Nothing was acknowledged; try again.
    #[error("not now: {0}")]
    Unavailable(String),
    /// The engine has stopped.
    #[error("the engine has stopped: {0}")]
    Stopped(String),
    /// A bug in Tercet.
    #[error("a bug in tercet: {0}")]
    Bug(String),
}

/// Why it is too late to cancel, in the order of a saga's life.
pub(super) const TOO_LATE: [&str; 4] = [
    "a cancel is under way already",
    "it is already cancelling",
    "it has decided to commit, and that is never taken back",
    "it has ended",
];

/// One of the texts that this program knows: what another node's says else is not passed on.
fn known<'de, D: Deserializer<'de>>(from: D, known: &[&'static str]) -> Result<&'static str, D::Error> {
    let text = String::deserialize(from)?;
    Ok(known.iter().find(|known| **known == text).copied().unwrap_or("past that"))
}

fn too_late<'de, D: Deserializer<'de>>(from: D) -> Result<&'static str, D::Error> {
    known(from, &TOO_LATE)
}

fn life<'de, D: Deserializer<'de>>(from: D) -> Result<&'static str, D::Error> {
    use Life::{Cancelled, Cancelling, Confirmed, Confirming, Trying};
    known(from, &[Trying, Confirming, Confirmed, Cancelling, Cancelled].map(Life::as_str))
}

fn offers(choices: &[Choice]) -> String {
    if choices.is_empty() {
        return "nothing".to_owned();
    }
    choices.iter().map(|choice| format!("{choice:?}")).collect::<Vec<_>>().join(", ")
}

impl EngineError {
    /// The same may succeed later; otherwise it never will.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Quarantined { .. } | Self::Edited { .. } | Self::Unavailable(_) | Self::Stopped(_) | Self::Bug(_)
        )
    }

    /// The stable code, for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownDefinition { .. } => "unknown_definition",
            Self::BadInput { .. } => "bad_input",
            Self::BadName(_) => "bad_name",
            Self::KeyTaken { .. } => "key_taken",
            Self::UnknownSaga { .. } => "unknown_saga",
            Self::UnknownSignal { .. } => "unknown_signal",
            Self::BadValue { .. } => "bad_value",
            Self::TooLate { .. } => "too_late",
            Self::NotOffered { .. } => "not_offered",
            Self::NeedsForce { .. } => "needs_force",
            Self::Quarantined { .. } => "quarantined",
            Self::Edited { .. } => "edited_definition",
            Self::Unavailable(_) => "unavailable",
            Self::Stopped(_) => "stopped",
            Self::Bug(_) => "bug",
        }
    }
}

impl From<StoreError> for EngineError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Fenced => Self::Stopped(error.to_string()),
            StoreError::Refused(_) | StoreError::Corrupt(_) => Self::Bug(error.to_string()),
            _ => Self::Unavailable(error.to_string()),
        }
    }
}
