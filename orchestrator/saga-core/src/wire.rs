//! What travels between orchestrator and participant: calls and answers, whatever carries them.

use crate::{ContractName, IdempotencyKey, Millis, Payload, Refusal, SagaId, StepInstance};
use serde::{Deserialize, Serialize};
use std::{fmt, future::Future, pin::Pin, time::Duration};

/// What is asked of an operation. A compensable's execute and compensate are its try and cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Hold, reserve, or execute.
    Try,
    /// Make the hold final.
    Confirm,
    /// Take the try back, whether it arrived or not.
    Cancel,
    /// What became of the execute?
    Query,
    /// Make the effect's key unusable, and say what is.
    Close,
    /// The saga has ended: rows may age. No answer.
    Forget,
}

impl Phase {
    /// The phase as in subjects and journals.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Try => "try",
            Self::Confirm => "confirm",
            Self::Cancel => "cancel",
            Self::Query => "query",
            Self::Close => "close",
            Self::Forget => "forget",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One question to a participant. The same bytes again for each resend; only `attempt`, `issued` and `timeout` move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Whose step it is.
    pub saga: SagaId,
    /// The step instance; with the saga the key of the barrier's row.
    pub step: StepInstance,
    /// What a third party must know the effect by: the same for every attempt, for ever.
    pub key: IdempotencyKey,
    /// The operation.
    pub contract: ContractName,
    /// What of it.
    pub phase: Phase,
    /// Which attempt, from 1. A query or close carries the newest attempt that was handed out.
    pub attempt: u32,
    /// When this attempt was made. A try older than half the barrier's retention is answered `expired`.
    pub issued: Millis,
    /// How long the caller waits for the answer.
    pub timeout: Duration,
    /// Until when a third party may still carry it out, where the contract has such a lifetime.
    pub expires: Option<Millis>,
    /// On a query before a person's *mark not done*: attempts up to `attempt` that were not handed on are refused from now on.
    /// Then *absent* says, beyond that the third party knows nothing, that no attempt handed on is unanswered; else *pending*.
    pub fence: bool,
    /// The try's request: with every phase.
    pub request: Payload,
    /// On confirm and cancel the try's reply, where it is known.
    pub reply: Option<Payload>,
}

/// What a participant says. Silence, a broken connection or bytes that cannot be read are none of these: they are *unknown*.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It is done, with the reply.
    Done(Payload),
    /// A definite no: no effect remains, or ever will. From a query: the third party recorded a final failure under this key.
    Refused(Refusal),
    /// Not now; nothing happened and nothing was sent.
    Retry {
        /// How long to wait at least.
        after: Option<Duration>,
        /// Why, for people.
        reason: String,
    },
    /// Accepted: it will be reported later, or be queried. The note (a pay link, say) is journaled and shown.
    Pending(Payload),
    /// The try was too old to be sure that it is the first: unknown, and asked afresh.
    Expired,
    /// A query's: nothing is known under the key. Never a reason to abort.
    Absent,
    /// A close's: the key is unusable from now on, and nothing was done under it.
    Closed,
}

/// How the reason of what came to nothing begins when the participant's own code panicked over it: the third such call in a row,
/// where no end to them is set, waits for a person.
pub const PANICKED: &str = "the handler panicked";

impl Answer {
    /// The answer's word in headers and logs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Done(_) => "done",
            Self::Refused(_) => "refused",
            Self::Retry { .. } => "retry",
            Self::Pending(_) => "pending",
            Self::Expired => "expired",
            Self::Absent => "absent",
            Self::Closed => "closed",
        }
    }

    /// A refusal of that code and message.
    pub fn refused(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Refused(Refusal::new(code, message))
    }

    /// A retry that leaves the time to the asker.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self::Retry { after: None, reason: reason.into() }
    }
}

/// An answer to come.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// A participant, as the one who asks sees it: in this process, or the near end of a connection.
pub trait Participant: Send + Sync + 'static {
    /// The first part of its contracts' names: `inventory`.
    fn name(&self) -> &str;

    /// The contracts it answers for.
    fn contracts(&self) -> Vec<ContractName>;

    /// Answers one call. May be called at the same time for any number of calls, the same one included. An operation that the
    /// participant does not offer is [`Answer::Retry`] with code text, since another version of it may: never a refusal.
    fn call(&self, call: Call) -> Answering<'_>;
}
