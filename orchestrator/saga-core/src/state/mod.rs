//! A saga's state: the fold of its entries. Folding never fails, reads no clock, and runs no code of the definition.

mod fold;

pub use fold::apply;

use crate::{
    ContractName, DefinitionName, IdempotencyKey, Millis, Payload, Phase, Refusal, SagaId, SagaKey, SignalId,
    StepInstance, StepKind, Verdict,
    entry::{Abort, Ask, Begin, Entry, Fact, Parked, Target},
    event::Sender,
};
use std::{collections::BTreeMap, sync::Arc};

/// Where a saga is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Life {
    /// Undecided.
    Trying,
    /// Decided to commit.
    Confirming,
    /// Decided to abort.
    Cancelling,
    /// Ended, committed.
    Confirmed,
    /// Ended, aborted.
    Cancelled,
}

impl Life {
    /// Nothing of it is decided any more.
    #[must_use]
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Confirmed | Self::Cancelled)
    }

    /// As in lists.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trying => "trying",
            Self::Confirming => "confirming",
            Self::Cancelling => "cancelling",
            Self::Confirmed => "confirmed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Where a step instance is in its life.
#[derive(Clone, Debug, PartialEq)]
pub enum Status {
    /// Asked; no definite answer yet.
    Asked,
    /// A wait or a sleep, until then.
    Waiting(Millis),
    /// Its try or execute is done; a branch or fan-out is decided.
    Done,
    /// A vouched no.
    Refused,
    /// Asked as often as allowed: it may have arrived.
    GaveUp,
    /// A wait that was missed, and nothing in its stead.
    Missed,
    /// Its confirm is out.
    Confirming,
    /// Its confirm is done.
    Confirmed,
    /// Its cancel is out.
    Undoing,
    /// Its cancel is done.
    Undone,
    /// It will not run.
    Dropped,
    /// Parked before it was ever asked: its request could not be made.
    Unasked,
}

/// One attempt of a pivot or external.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Its number, from 1.
    pub number: u32,
    /// What is known of it.
    pub heard: Heard,
}

/// What an attempt was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing yet, or nothing usable: it may have been done, or be done yet.
    Nothing,
    /// *Not now*: nothing happened.
    NotNow,
    /// A refusal.
    Refused,
}

/// What is to be asked next about an irreversible effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Its newest attempt is out, and waits for its answer.
    Answer,
    /// The next attempt, at that time.
    Attempt(Millis),
    /// A query, at that time; `fence` before a person's *not done*.
    Query {
        /// When.
        at: Millis,
        /// With a fence.
        fence: bool,
    },
    /// A close, at that time.
    Close(Millis),
    /// Nothing: it is decided, or only a completion or a person can say more.
    Nothing,
}

/// What is known of an irreversible effect.
#[derive(Clone, Debug, PartialEq)]
pub struct Effect {
    /// Its attempts, in order.
    pub attempts: Vec<Attempt>,
    /// What is asked next.
    pub next: Next,
    /// Queries made in a row without a definite answer.
    pub queries: u32,
    /// Closes sent.
    pub closes: u32,
    /// A close was sent: nothing is executed any more.
    pub closing: bool,
    /// A person's *not done* was believed without proof.
    pub forced: bool,
}

impl Effect {
    /// An attempt may have been done, or be done yet.
    #[must_use]
    pub fn is_out(&self) -> bool {
        self.attempts.iter().any(|attempt| attempt.heard == Heard::Nothing)
    }

    /// An attempt other than `attempt` may have been done, or be done yet.
    #[must_use]
    pub fn is_out_beside(&self, attempt: u32) -> bool {
        self.attempts.iter().any(|other| other.number != attempt && other.heard == Heard::Nothing)
    }

    /// What is known of the attempt of that number, if there was one.
    #[must_use]
    pub fn heard_of(&self, attempt: u32) -> Option<Heard> {
        self.attempts.iter().find(|made| made.number == attempt).map(|made| made.heard)
    }

    /// The newest attempt's number.
    #[must_use]
    pub fn newest(&self) -> u32 {
        self.attempts.last().map_or(0, |attempt| attempt.number)
    }
}

/// A step instance's state.
#[derive(Clone, Debug, PartialEq)]
pub struct StepState {
    /// Its kind.
    pub kind: StepKind,
    /// Where it is.
    pub status: Status,
    /// What it was asked, if it was.
    pub ask: Option<Arc<Ask>>,
    /// What it replied, once done; what a wait took.
    pub reply: Payload,
    /// There is a reply.
    pub replied: bool,
    /// Why it is not done.
    pub refusal: Option<Refusal>,
    /// A refused step was asked more than once: its cancel is sent all the same.
    pub repeated: bool,
    /// It was accepted, and will be reported: in which phase, and what is shown meanwhile.
    pub pending: Option<(Phase, Payload)>,
    /// What is known of a pivot's or external's effect.
    pub effect: Option<Effect>,
    /// It waits for a person.
    pub parked: Option<Parked>,
    /// A person should look: why.
    pub attention: Option<String>,
    /// Evidence against what was decided: of *done*, and of *not done*.
    pub contradicted: (bool, bool),
    /// What undoes it, or takes it back, as a saga of its own.
    pub undo: Option<Arc<Ask>>,
    /// A branch is taken.
    pub taken: bool,
    /// A fan-out's items.
    pub items: Vec<Payload>,
    /// What a wait waits for.
    pub signal: Option<String>,
    /// What a wait took.
    pub took: Option<SignalId>,
    /// When it was asked, or its newest attempt was.
    pub asked: Millis,
}

impl StepState {
    fn new(kind: StepKind, status: Status, at: Millis) -> Self {
        Self {
            kind,
            status,
            ask: None,
            reply: Payload::null(),
            replied: false,
            refusal: None,
            repeated: false,
            pending: None,
            effect: None,
            parked: None,
            attention: None,
            contradicted: (false, false),
            undo: None,
            taken: false,
            items: Vec::new(),
            signal: None,
            took: None,
            asked: at,
        }
    }
}

/// A signal in the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct SignalState {
    /// Its name.
    pub name: String,
    /// What it carries.
    pub payload: Payload,
    /// Who waits for the verdict.
    pub from: Option<Sender>,
    /// The wait that took it.
    pub taken_by: Option<StepInstance>,
    /// What became of it.
    pub verdict: Option<Verdict>,
    /// Its place among the signals, from 0.
    pub order: u32,
}

/// A saga's state. Nothing is in it but what its entries say.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// How it began.
    pub begin: Arc<Begin>,
    /// When it began.
    pub started: Millis,
    /// The time of its newest entry.
    pub at: Millis,
    /// How many entries it has.
    pub seq: u32,
    /// Where it is.
    pub life: Life,
    /// Why it aborts, or is to abort once the pivot is known.
    pub abort: Option<Abort>,
    /// Its step instances. A copy of the state shares them until one of the two changes.
    pub steps: BTreeMap<StepInstance, Arc<StepState>>,
    /// Signals it was told.
    pub signals: BTreeMap<SignalId, SignalState>,
    /// Its output, once confirmed.
    pub output: Option<Payload>,
}

impl State {
    /// The state after a saga's first entry.
    ///
    /// # Errors
    /// When the entry does not begin a saga.
    pub fn begin(entry: &Entry) -> Result<Self, NotABeginning> {
        let Some(Fact::Started(begin)) = entry.facts.first() else { return Err(NotABeginning) };
        let mut state = Self {
            begin: begin.clone(),
            started: entry.at,
            at: entry.at,
            seq: 0,
            life: Life::Trying,
            abort: None,
            steps: BTreeMap::new(),
            signals: BTreeMap::new(),
            output: None,
        };
        apply(&mut state, entry);
        Ok(state)
    }

    /// The saga.
    #[must_use]
    pub fn saga(&self) -> SagaId {
        self.begin.saga
    }

    /// The saga's caller's key.
    #[must_use]
    pub fn key(&self) -> &SagaKey {
        &self.begin.key
    }

    /// What it runs.
    #[must_use]
    pub fn definition(&self) -> &DefinitionName {
        &self.begin.definition
    }

    /// A step instance's state, if it has one yet.
    #[must_use]
    pub fn step(&self, step: &StepInstance) -> Option<&StepState> {
        self.steps.get(step).map(Arc::as_ref)
    }

    /// The parked step instances.
    pub fn parked(&self) -> impl Iterator<Item = (&StepInstance, &Parked)> {
        self.steps.iter().filter_map(|(step, state)| Some((step, state.parked.as_ref()?)))
    }

    /// A signal's verdict, repeated to every re-send for ever; `None` while it is not given, or for a signal never received.
    #[must_use]
    pub fn verdict(&self, signal: &SignalId) -> Option<Verdict> {
        self.signals.get(signal)?.verdict
    }

    /// The key by which a third party knows the step's effect.
    #[must_use]
    pub fn effect_key(&self, step: &StepInstance) -> IdempotencyKey {
        let own = self.step(step).and_then(|state| state.ask.as_ref()?.key.clone());
        own.unwrap_or_else(|| IdempotencyKey::of_step(self.saga(), step))
    }

    /// Handling it made the engine's own code panic, three times: nothing of it goes on until a person says so.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.steps.values().any(|step| matches!(step.parked, Some(Parked::Poisoned { .. })))
    }
}

/// A journal whose first entry does not begin a saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a journal's first entry must begin a saga")]
pub struct NotABeginning;

impl Ask {
    /// The operation asked, if it is one.
    #[must_use]
    pub fn operation(&self) -> Option<&ContractName> {
        match &self.target {
            Target::Operation(contract) => Some(contract),
            Target::Signal { .. } | Target::Saga { .. } => None,
        }
    }
}
