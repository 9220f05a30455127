//! Events: facts from outside that reach a saga. All ways in (reply, query, callback, completion, operator) are the same event.

use crate::{Answer, Millis, Payload, Phase, SagaId, SignalId, StepInstance};
use serde::{Deserialize, Serialize};

/// Something that happened, and when. The time is the shell's; a saga's own time never goes back.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When.
    pub at: Millis,
    /// Drawn by the shell, for waits that the decision sets: see [`Retry::delay`](crate::Retry::delay).
    pub jitter: u16,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A call was answered, whichever way the answer came: reply, query, callback, completion.
    Answered(Answered),
    /// An attempt of a pivot or external, a query or a close had no usable answer in its time.
    Silent {
        /// The step instance.
        step: StepInstance,
        /// Which call.
        phase: Phase,
        /// Which attempt.
        attempt: u32,
        /// What was heard instead, for people.
        why: String,
    },
    /// A try, read or the like was asked as often as its policy allows, without a definite answer.
    Exhausted {
        /// The step instance.
        step: StepInstance,
        /// Attempts made.
        attempts: u32,
        /// What was heard last, for people.
        why: String,
    },
    /// A call has been made so often that a person should know. It goes on.
    Struggling {
        /// The step instance.
        step: StepInstance,
        /// Which call.
        phase: Phase,
        /// Attempts made.
        attempts: u32,
        /// What was heard last, for people.
        why: String,
    },
    /// The participant's own code panicked over a call, the third time in a row.
    Panicked {
        /// The step instance.
        step: StepInstance,
        /// Which call.
        phase: Phase,
        /// The panic's text.
        why: String,
    },
    /// A wake time of [`Command::Wake`](crate::Command::Wake) has come.
    TimerFired(Timer),
    /// The saga was told something.
    Signalled(Signalled),
    /// Somebody wants the saga undone.
    CancelRequested {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// A person decided about a step: one of [`choices`](crate::choices).
    Operated(Operated),
    /// Handling the saga made the engine's own code panic a third time: it waits for a person.
    Poisoned {
        /// The panic's text.
        why: String,
    },
}

/// A call's answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// The step instance.
    pub step: StepInstance,
    /// Which call it answers.
    pub phase: Phase,
    /// Which attempt it answers.
    pub attempt: u32,
    /// How many attempts of this phase were made so far.
    pub attempts: u32,
    /// When the call that it answers was made; decides whether an effect's expiry lay behind it.
    pub issued: Millis,
    /// The answer.
    pub answer: Answer,
}

/// Which of a saga's wake times.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Timer {
    /// The saga's deadline.
    Deadline,
    /// A wait's or sleep's end, or the time of a pivot's next attempt.
    Step(StepInstance),
}

/// A signal, as it arrives.
#[derive(Clone, Debug, PartialEq)]
pub struct Signalled {
    /// The same in every re-send.
    pub id: SignalId,
    /// The signal's name.
    pub name: String,
    /// What it carries.
    pub payload: Payload,
    /// Who waits for the verdict, if it is a saga.
    pub from: Option<Sender>,
}

/// The step that waits for a signal's verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sender {
    /// The saga.
    pub saga: SagaId,
    /// Its step instance.
    pub step: StepInstance,
}

/// What a person did about a step, with who and why, which are kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Operated {
    /// The step instance; `output` for a failed output.
    pub step: StepInstance,
    /// What.
    pub action: Action,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// What a person can do about a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Ask the third party now what became of it.
    QueryNow,
    /// Ask again, or execute again under the same key.
    RetryNow,
    /// Close it at the third party.
    Close,
    /// It is done.
    MarkDone {
        /// Its reply.
        value: Payload,
        /// Believe it of a pivot or external though all that was heard says that nothing was done: see
        /// [`needs_force`](crate::needs_force). What was heard stays as evidence to the contrary.
        force: bool,
    },
    /// It is not done, and never will be. Before that is believed of a pivot, a query fences what is on its way.
    MarkNotDone {
        /// Believe it without the query. It goes on being queried all the same.
        force: bool,
    },
}

/// An [`Action`] without its values: what is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// [`Action::QueryNow`].
    QueryNow,
    /// [`Action::RetryNow`].
    RetryNow,
    /// [`Action::Close`].
    Close,
    /// [`Action::MarkDone`].
    MarkDone,
    /// [`Action::MarkNotDone`].
    MarkNotDone,
    /// Cancel the whole saga.
    Cancel,
}

impl Action {
    /// Which choice it is.
    #[must_use]
    pub fn choice(&self) -> Choice {
        match self {
            Self::QueryNow => Choice::QueryNow,
            Self::RetryNow => Choice::RetryNow,
            Self::Close => Choice::Close,
            Self::MarkDone { .. } => Choice::MarkDone,
            Self::MarkNotDone { .. } => Choice::MarkNotDone,
        }
    }
}
