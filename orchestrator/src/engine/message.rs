//! What reaches the worker, and what travels between sagas through the inbox.

use super::{EngineError, gates::ParticipantState, lending::Neighbours};
use crate::store::{
    InboxId, Incarnation, JournalRow, NodeId, Projection, Shards, Started, StoreError, TimerName, TimerRow,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tercet_core::{
    Action, Answer, DefinitionName, Millis, Payload, Phase, SagaId, SagaKey, Sender, SignalId, State, StepInstance,
    What,
};
use tokio::sync::oneshot;

/// Where an answer to a caller goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, EngineError>>;

/// Everything that the worker turns into something.
pub(super) enum Message {
    /// A caller starts a saga.
    Start(NewSaga, Reply<StartedSaga>),
    /// Something happened to a saga.
    Event(Incoming),
    /// A call was answered, or not.
    Heard(Heard),
    /// Something on the agenda is due.
    Tick,
    /// Durable timers that are due soon.
    Timers(Vec<TimerRow>),
    /// Sagas to take up again.
    Recover(Vec<SagaId>),
    /// Journals that were read, by the number of the read.
    Loaded(u64, Vec<(SagaId, Result<Loaded, String>)>),
    /// The batch of that number was written, or not.
    Written(u64, Result<Vec<Started>, StoreError>),
    /// The incarnation was raised to this one, or not.
    Raised(Incarnation, Result<(), StoreError>),
    /// These shards are this node's now.
    Gained(Shards),
    /// These shards are to be another node's: work on them ends, and it is said when the last batch about them is written.
    LetGo(Shards, oneshot::Sender<()>),
    /// Who else is there, and what was lent to whom.
    Neighbours(Neighbours),
    /// This node was taken over.
    Fenced(NodeId),
    /// The process has joined again, as another node.
    Joined(Incarnation),
    /// A caller waits for a saga to come so far.
    Watch(SagaId, Until, Reply<Snapshot>),
    /// A caller looks at what the engine is busy with.
    Look(Reply<Look>),
    /// Somebody who waited for a saga has gone.
    Left(SagaId),
    /// What is to be shown of a saga that is set apart.
    Marked(SagaId, Projection),
    /// A saga's row, as lists show it.
    Shown(SagaId, Projection),
    /// Stop: begin nothing more, and say when the last batch is written.
    Stop(oneshot::Sender<()>),
}

/// What an engine is busy with.
pub(super) struct Look {
    pub(super) sagas: usize,
    pub(super) participants: Vec<ParticipantState>,
}

/// A saga as it was read.
pub(super) struct Loaded {
    pub(super) journal: Vec<JournalRow>,
    pub(super) timers: Vec<TimerRow>,
}

/// A saga to start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct NewSaga {
    pub(super) definition: DefinitionName,
    pub(super) version: Option<u32>,
    pub(super) key: SagaKey,
    pub(super) input: Payload,
}

/// What a start is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartedSaga {
    /// The saga under that key.
    pub id: SagaId,
    /// It was started by this call, not by one before.
    pub new: bool,
}

/// Something that happened to a saga, from outside of the engine.
pub(super) struct Incoming {
    pub(super) saga: SagaId,
    pub(super) what: Coming,
    /// The inbox row it came from.
    pub(super) inbox: Option<InboxId>,
    pub(super) reply: Option<Reply<Snapshot>>,
}

/// What happened, before the worker has dressed it as an event.
pub(super) enum Coming {
    Event(What),
    /// An answer that came another way than the call's: attempts are the worker's to know.
    Answer {
        step: StepInstance,
        phase: Phase,
        answer: Answer,
    },
    Due(TimerName),
    /// It is to be taken up.
    Begun,
}

/// What became of a call.
pub(super) struct Heard {
    pub(super) saga: SagaId,
    pub(super) hand: u64,
    pub(super) step: StepInstance,
    pub(super) phase: Phase,
    pub(super) attempt: u32,
    pub(super) issued: Millis,
    pub(super) what: HeardWhat,
}

pub(super) enum HeardWhat {
    Answer(Answer),
    /// Nothing usable, and why.
    Silent(String),
    /// Nothing was sent.
    NoResponder(String),
    /// A signal is in the receiver's inbox; its verdict will come.
    Told,
    /// The saga that was to be told is not known.
    Unknown(String),
}

/// How far a caller waits for a saga.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Until {
    /// To its end.
    End,
    /// To its end, or until a step of it waits for a person.
    Rest,
    /// Until everything before the decision is tried, but waits and the pivot; or it is decided.
    Tried,
    /// Until this step is done, pending, or never will be.
    Step(StepInstance),
    /// As it is.
    Now,
}

/// A saga as it is durably.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Its state.
    pub state: Arc<State>,
}

/// What one saga's entry brings another, in its inbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Note {
    /// An answer to a step: a child's end, a signal's verdict.
    Answer { step: StepInstance, phase: Phase, answer: Answer },
    /// A request to cancel.
    Cancel { by: String, reason: String },
    /// A signal.
    Signal { id: SignalId, name: String, payload: Payload, from: Option<Sender> },
    /// What a person decided about a step.
    Operate { step: StepInstance, action: Action, by: String, reason: String },
    /// It was begun by a node that does not own it: nothing to hear, but to take it up.
    Begun,
    /// Start it, and answer to the ticket: for a node that lacks the definition. The saga in whose inbox it stands is none.
    Start { ticket: i64, new: NewSaga },
    /// Any of these, which reached a node that does not own the saga: it waits for the answer to its ticket.
    Asked { ticket: i64, note: Box<Self> },
}

impl Note {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}
