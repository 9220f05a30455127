//! Entries: a journal's rows, each what happened and all that was decided on it, as facts that fold to the state.

use crate::{
    ContractName, DefinitionName, IdempotencyKey, Millis, Payload, Phase, Refusal, SagaId, SagaKey, SignalId,
    StepInstance, StepKind, Verdict, event::Sender,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The format that this version writes. Rows of a later one are left alone.
pub const ENTRY_VERSION: u16 = 1;

/// One journal row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// [`ENTRY_VERSION`] of the writer.
    pub v: u16,
    /// When it was decided. Never before the entry that precedes it.
    pub at: Millis,
    /// What happened, and what follows from it, in order.
    pub facts: Vec<Fact>,
}

/// Something that is so from this entry on. Folding runs no code of the definition: requests, branches, items and wake times are
/// written here as they were decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// The saga began.
    Started(Arc<Begin>),
    /// A step is asked for the first time.
    Asked {
        /// The step instance.
        step: StepInstance,
        /// What it is asked.
        ask: Arc<Ask>,
    },
    /// A pivot's or external's further attempt goes out.
    Attempted {
        /// The step instance.
        step: StepInstance,
        /// Its number.
        attempt: u32,
    },
    /// The step's try or execute is done.
    Done {
        /// The step instance.
        step: StepInstance,
        /// What it replied.
        reply: Payload,
    },
    /// The step is not done: a vouched no.
    Refused {
        /// The step instance.
        step: StepInstance,
        /// The no.
        refusal: Refusal,
        /// It was asked more than once, so that its cancel is sent all the same.
        repeated: bool,
    },
    /// The step was accepted and will be reported, or be asked after.
    Pending {
        /// The step instance.
        step: StepInstance,
        /// Which call.
        phase: Phase,
        /// What the participant wants seen: a pay link, say.
        note: Payload,
        /// When it is asked after, if it is.
        next: Option<Millis>,
    },
    /// An attempt of a pivot or external was not answered: nobody knows.
    Unknown {
        /// The step instance.
        step: StepInstance,
        /// What was heard instead.
        why: String,
        /// When it is queried.
        next: Option<Millis>,
    },
    /// An attempt was answered *not now*, nothing happened; another is made later.
    NotNow {
        /// The step instance.
        step: StepInstance,
        /// Which attempt.
        attempt: u32,
        /// Why.
        reason: String,
        /// When the next one is made.
        next: Option<Millis>,
    },
    /// An attempt was refused while another is unanswered: that is no definite no.
    Doubted {
        /// The step instance.
        step: StepInstance,
        /// Which attempt.
        attempt: u32,
        /// What it said.
        refusal: Refusal,
        /// When it is queried.
        next: Option<Millis>,
    },
    /// A query was answered, without deciding anything.
    Queried {
        /// The step instance.
        step: StepInstance,
        /// What it said.
        answer: Queried,
        /// When it is queried again.
        next: Option<Millis>,
    },
    /// The key is being closed at the third party.
    Closing {
        /// The step instance.
        step: StepInstance,
        /// Why, at first; what was heard, later.
        why: String,
        /// When it is asked to close, again.
        next: Option<Millis>,
    },
    /// A query fences the attempts so far, before a person's *not done* is believed.
    Fencing {
        /// The step instance.
        step: StepInstance,
    },
    /// A person's *not done* was believed without proof: it goes on being queried until something is definite.
    Forced {
        /// The step instance.
        step: StepInstance,
        /// When it is queried.
        next: Option<Millis>,
    },
    /// The forced *not done* has proved true: nothing is asked any more.
    Settled {
        /// The step instance.
        step: StepInstance,
    },
    /// The try was asked as often as allowed, and may have arrived.
    GaveUp {
        /// The step instance.
        step: StepInstance,
        /// Attempts made.
        attempts: u32,
        /// What was heard last.
        why: String,
    },
    /// A wait or a sleep began.
    Waiting {
        /// The step instance.
        step: StepInstance,
        /// A sleep, or a wait.
        kind: StepKind,
        /// What it waits for; nothing for a sleep.
        signal: Option<String>,
        /// Until when.
        until: Millis,
    },
    /// A wait took a signal.
    Took {
        /// The step instance.
        step: StepInstance,
        /// The signal.
        signal: SignalId,
    },
    /// A wait's limit passed.
    Missed {
        /// The step instance.
        step: StepInstance,
    },
    /// A branch was decided.
    Branched {
        /// The step instance.
        step: StepInstance,
        /// Its steps run.
        taken: bool,
    },
    /// A fan-out's items.
    FannedOut {
        /// The step instance.
        step: StepInstance,
        /// One step instance of each inner step for each.
        items: Vec<Payload>,
    },
    /// The step will not run: what it reads will never be there.
    Dropped {
        /// The step instance.
        step: StepInstance,
    },
    /// A signal is in the journal: its sender has a receipt.
    Received {
        /// Its id.
        id: SignalId,
        /// Its name.
        name: String,
        /// What it carries.
        payload: Payload,
        /// Who waits for the verdict.
        from: Option<Sender>,
    },
    /// What became of a signal, for ever.
    Judged {
        /// Its id.
        id: SignalId,
        /// The verdict.
        verdict: Verdict,
    },
    /// Somebody wants the saga undone; with a pivot out, that is not yet the decision.
    AbortWanted {
        /// Why.
        why: Abort,
    },
    /// The decision to commit.
    Committed,
    /// The decision to abort.
    Aborted {
        /// Why.
        why: Abort,
    },
    /// The step's confirm is done.
    Confirmed {
        /// The step instance.
        step: StepInstance,
    },
    /// The step's cancel is asked for.
    Undoing {
        /// The step instance.
        step: StepInstance,
        /// The saga that undoes a child.
        by: Option<Arc<Ask>>,
    },
    /// The step's cancel is done.
    Undone {
        /// The step instance.
        step: StepInstance,
    },
    /// The step waits for a person.
    Parked {
        /// The step instance.
        step: StepInstance,
        /// Why.
        why: Parked,
    },
    /// A person sent it on its way again.
    Resumed {
        /// The step instance.
        step: StepInstance,
    },
    /// A person should look, though it goes on.
    Flagged {
        /// The step instance.
        step: StepInstance,
        /// Why.
        why: String,
    },
    /// Evidence against what was decided: once for each step instance and direction.
    Contradicted {
        /// The step instance.
        step: StepInstance,
        /// What the evidence says.
        evidence: Evidence,
        /// The saga started to take it back, if one is named.
        undo: Option<Arc<Ask>>,
    },
    /// A person did it.
    Operated {
        /// The step instance.
        step: StepInstance,
        /// What.
        action: crate::Choice,
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// The saga ended confirmed.
    EndedConfirmed {
        /// Its output.
        output: Payload,
    },
    /// The saga ended cancelled.
    EndedCancelled,
}

/// How a saga began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Begin {
    /// The saga.
    pub saga: SagaId,
    /// What it runs.
    pub definition: DefinitionName,
    /// Which version of it.
    pub version: u32,
    /// The fingerprint it began with.
    pub fingerprint: String,
    /// The caller's key.
    pub key: SagaKey,
    /// What it was started with.
    pub input: Payload,
    /// Until when it must be decided.
    pub deadline: Option<Millis>,
    /// The step that waits for its end, for a child.
    pub parent: Option<Sender>,
    /// It undoes that step; its end is the answer to the step's cancel.
    pub undoes: bool,
}

/// What a step is asked: enough to ask it again when the definition is gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    /// The step's kind.
    pub kind: StepKind,
    /// Whom.
    pub target: Target,
    /// With what.
    pub request: Payload,
    /// The effect's own key, where it is not the step instance's.
    pub key: Option<IdempotencyKey>,
    /// Until when a third party may carry it out.
    pub expires: Option<Millis>,
}

/// Whom a step asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// A participant's operation.
    Operation(ContractName),
    /// A saga to be told.
    Signal {
        /// The signal's name.
        signal: String,
        /// The receiver's definition.
        definition: DefinitionName,
        /// The receiver's key.
        key: SagaKey,
    },
    /// A saga to be started.
    Saga {
        /// Its definition.
        definition: DefinitionName,
        /// Which version of it.
        version: u32,
        /// Its key.
        key: SagaKey,
    },
}

/// A query's answer that decides nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Queried {
    /// Nothing known under the key.
    Absent,
    /// Still under way.
    Pending,
    /// No usable answer.
    Silent(String),
}

impl std::fmt::Display for Queried {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Absent => f.write_str("nothing is known under its key"),
            Self::Pending => f.write_str("it is still under way"),
            Self::Silent(why) => f.write_str(why),
        }
    }
}

/// What contradicting evidence says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// It was done, with this reply, though it was held as not done.
    Done(Payload),
    /// It was not done, though it was held as done.
    NotDone(Refusal),
}

/// Why a saga aborts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Abort {
    /// A step was refused.
    Refused {
        /// The step instance.
        step: StepInstance,
        /// The no.
        refusal: Refusal,
    },
    /// A step had no definite answer in all its attempts.
    Exhausted {
        /// The step instance.
        step: StepInstance,
        /// What was heard last.
        why: String,
    },
    /// A wait was missed.
    Missed {
        /// The step instance.
        step: StepInstance,
    },
    /// The saga's deadline passed.
    Deadline,
    /// Somebody asked for it.
    Cancelled {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
}

/// Why a step waits for a person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parked {
    /// A definite no where none may be: a confirm, a cancel, anything after the decision, or money that is not ours to keep.
    Refused {
        /// Which call.
        phase: Phase,
        /// The no.
        refusal: Refusal,
    },
    /// No definite answer in all the attempts or queries allowed.
    Exhausted {
        /// What was heard last.
        why: String,
    },
    /// A person's *not done* could not be believed: an attempt is unanswered, and the query is not definite.
    NotFenced,
    /// Its request could not be made.
    Mapping(Refusal),
    /// The participant's own code panicked over a call that can only be made again, three times in a row.
    Panicked {
        /// Which call.
        phase: Phase,
        /// The panic's text.
        why: String,
    },
    /// Handling the saga made the engine's own code panic, three times.
    Poisoned {
        /// The panic's text.
        why: String,
    },
}

impl std::fmt::Display for Abort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused { step, refusal } => write!(f, "`{step}` was refused: {refusal}"),
            Self::Exhausted { step, why } => write!(f, "`{step}` had no definite answer in all its attempts: {why}"),
            Self::Missed { step } => write!(f, "`{step}` was waited for in vain"),
            Self::Deadline => f.write_str("its deadline passed"),
            Self::Cancelled { by, reason } => write!(f, "{by} asked for it: {reason}"),
        }
    }
}

impl std::fmt::Display for Parked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused { phase, refusal } => write!(f, "its {phase} was refused: {refusal}"),
            Self::Exhausted { why } => write!(f, "no definite answer in all attempts and queries allowed: {why}"),
            Self::NotFenced => f.write_str("not done could not be proved: an attempt is unanswered"),
            Self::Mapping(refusal) => write!(f, "its request could not be made: {refusal}"),
            Self::Panicked { phase, why } => write!(f, "its {phase} panicked three times in a row: {why}"),
            Self::Poisoned { why } => write!(f, "handling it panicked three times: {why}"),
        }
    }
}
