//! What a participant tells Tercet: completions of pending phases, starts and signals, as rows of its own transaction. And what it
//! tells the world: [events].
//!
//! A message leaves if, and only if, the transaction that queued it commits; the [`relay`] sends it until it is acknowledged.

pub mod events;
pub mod relay;

pub use events::{Event, EventFilter, EventNumber, EventVersion, Published, StreamMade, Subject};
pub use relay::{Acknowledged, Ingress, Relay, Swept};

use crate::{
    barrier::{Effect, Hold, Row, Task, hold},
    database::{Fault, RowKey, Tx},
    outcome::{Found, Settled},
};
use serde::{Deserialize, Serialize};
use std::future::Future;
use tercet_core::{
    Answer, Call, DefinitionName, Millis, Operation, Payload, Phase, Refusal, SagaId, SagaKey, Signal, SignalId,
    StepInstance,
};

/// A message's id in its outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageId(pub i64);

/// A message that waits in an outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    /// By this it is deleted.
    pub id: MessageId,
    /// What it says; `Err` with what is wrong when it cannot be read.
    pub message: Result<Message, String>,
}

/// What a participant tells Tercet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// What became of a phase that was answered *pending*.
    Complete(Completion),
    /// Start a saga.
    Start(Start),
    /// Tell a saga.
    Signal(Told),
}

/// What became of a phase that was answered *pending*.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    /// Whose step.
    pub saga: SagaId,
    /// The step instance.
    pub step: StepInstance,
    /// The phase.
    pub phase: Phase,
    /// `Done` or `Refused`.
    pub answer: Answer,
}

/// A saga to start; a repeated start under the same key is the same saga.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Of which definition.
    pub definition: DefinitionName,
    /// The saga's key.
    pub key: SagaKey,
    /// Its input.
    pub input: Payload,
}

/// Something to tell a saga; a repeated signal under the same id is the same signal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The signal's own id.
    pub id: SignalId,
    /// The receiver's definition.
    pub definition: DefinitionName,
    /// The receiver's key.
    pub key: SagaKey,
    /// The signal's name.
    pub signal: String,
    /// What is told.
    pub payload: Payload,
}

/// What a participant keeps, in a row of its own, of a phase it answered *pending*, to complete it later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Whose step.
    pub saga: SagaId,
    /// The step instance.
    pub step: StepInstance,
    /// The phase.
    pub phase: Phase,
}

impl Ticket {
    /// The ticket of the phase that `call` asks for.
    #[must_use]
    pub fn of(call: &Call) -> Self {
        let phase = if matches!(call.phase, Phase::Query | Phase::Close) { Phase::Try } else { call.phase };
        Self { saga: call.saga, step: call.step.clone(), phase }
    }
}

/// What a completion found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completed {
    /// It was recorded, and leaves with this transaction.
    Recorded,
    /// It changes nothing: the phase has its answer, or was cancelled meanwhile, or its call is still under way.
    Stands,
}

/// What a message could not be queued for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutboxError {
    /// The database failed.
    #[error("{0}")]
    Fault(#[from] Fault),
    /// The payload cannot be written as JSON.
    #[error("a payload cannot be written as JSON: {0}")]
    Payload(String),
    /// The event is none that every database can keep.
    #[error("an event cannot be kept: {0}")]
    Event(&'static str),
}

impl From<OutboxError> for crate::Otherwise {
    fn from(error: OutboxError) -> Self {
        match error {
            OutboxError::Fault(fault) => Self::Fault(fault),
            OutboxError::Payload(_) | OutboxError::Event(_) => Self::Retry { after: None, reason: error.to_string() },
        }
    }
}

/// The outbox of an open transaction.
pub trait Outbox {
    /// Starts a saga of `definition` with `input`, once for each key.
    ///
    /// # Errors
    /// When the database fails or `input` cannot be written as JSON: nothing is queued, roll back.
    fn start<T: Serialize + Sync>(
        &self, definition: &DefinitionName, key: &SagaKey, input: &T,
    ) -> impl Future<Output = Result<(), OutboxError>> + Send;

    /// Tells the saga of (`definition`, `key`), once for each id.
    ///
    /// # Errors
    /// As for [`Outbox::start`].
    fn signal<S: Signal + Sync>(
        &self, id: &SignalId, definition: &DefinitionName, key: &SagaKey, signal: &S,
    ) -> impl Future<Output = Result<(), OutboxError>> + Send;

    /// Completes a phase that was answered *pending*: the barrier's row moves and the completion is queued, both with this
    /// transaction. `now` dates the row.
    ///
    /// # Errors
    /// As for [`Outbox::start`].
    fn complete<O: Operation>(
        &self, ticket: &Ticket, verdict: Result<O::Reply, Refusal>, now: Millis,
    ) -> impl Future<Output = Result<Completed, OutboxError>> + Send;

    /// Publishes that a change happened, with the state it led to as `data`: once for each version of its subject.
    ///
    /// # Errors
    /// As for [`Outbox::start`]; also when the database has that version already: whoever raised it must not raise it again.
    fn publish<T: Serialize + Sync>(
        &self, subject: Subject, version: EventVersion, kind: &str, data: &T, at: Millis,
    ) -> impl Future<Output = Result<(), OutboxError>> + Send;
}

fn encoded<T: Serialize + ?Sized>(value: &T) -> Result<Payload, OutboxError> {
    Payload::of(value).map_err(|error| OutboxError::Payload(error.to_string()))
}

impl<X: Tx> Outbox for X {
    async fn start<T: Serialize + Sync>(
        &self, definition: &DefinitionName, key: &SagaKey, input: &T,
    ) -> Result<(), OutboxError> {
        let start = Start { definition: definition.clone(), key: key.clone(), input: encoded(input)? };
        Ok(self.queue(&Message::Start(start)).await?)
    }

    async fn signal<S: Signal + Sync>(
        &self, id: &SignalId, definition: &DefinitionName, key: &SagaKey, signal: &S,
    ) -> Result<(), OutboxError> {
        let told = Told {
            id: id.clone(),
            definition: definition.clone(),
            key: key.clone(),
            signal: S::NAME.to_owned(),
            payload: encoded(signal)?,
        };
        Ok(self.queue(&Message::Signal(told)).await?)
    }

    async fn complete<O: Operation>(
        &self, ticket: &Ticket, verdict: Result<O::Reply, Refusal>, now: Millis,
    ) -> Result<Completed, OutboxError> {
        let verdict = match verdict {
            Ok(reply) if ticket.phase == Phase::Try => Ok(encoded(&reply)?),
            Ok(_) => Ok(Payload::null()),
            Err(refusal) => Err(refusal),
        };
        let key = RowKey { saga: ticket.saga, step: ticket.step.clone() };
        let Some(row) = self.enter(&key).await? else {
            self.leave(&key).await?;
            return Ok(Completed::Stands);
        };
        let Some((row, answer)) = completed(row, ticket.phase, verdict, now) else {
            return Ok(Completed::Stands);
        };
        self.put(&key, &row).await?;
        let completion = Completion { saga: ticket.saga, step: ticket.step.clone(), phase: ticket.phase, answer };
        self.queue(&Message::Complete(completion)).await?;
        Ok(Completed::Recorded)
    }

    async fn publish<T: Serialize + Sync>(
        &self, subject: Subject, version: EventVersion, kind: &str, data: &T, at: Millis,
    ) -> Result<(), OutboxError> {
        let event = Event { subject, version, kind: kind.to_owned(), at, data: encoded(data)? };
        event.checked().map_err(OutboxError::Event)?;
        Ok(Tx::publish(self, &event).await?)
    }
}

/// The row after a completion, and the answer that is reported; `None`: it changes nothing.
fn completed(row: Row, phase: Phase, verdict: Result<Payload, Refusal>, now: Millis) -> Option<(Row, Answer)> {
    let outcome = match &verdict {
        Ok(reply) => hold::Outcome::Done(reply.clone()),
        Err(refusal) => hold::Outcome::Refused(refusal.clone()),
    };
    match row {
        Row::Hold(row) => complete_hold(row, phase, outcome, now),
        Row::Task(row) => complete_task(&row, outcome, now),
        Row::Effect(row) => complete_effect(row, verdict, now),
    }
}

fn complete_hold(row: Hold, phase: Phase, outcome: hold::Outcome, now: Millis) -> Option<(Row, Answer)> {
    if !row.awaits(phase) {
        return None;
    }
    let (row, answer) = row.after(phase, outcome, now);
    row.map(|row| (Row::Hold(row), answer))
}

fn complete_task(row: &Task, outcome: hold::Outcome, now: Millis) -> Option<(Row, Answer)> {
    let done = row.completed(outcome, now)?;
    let answer = done.answer.clone();
    Some((Row::Task(done), answer))
}

fn complete_effect(row: Effect, verdict: Result<Payload, Refusal>, now: Millis) -> Option<(Row, Answer)> {
    let found = match verdict {
        Ok(reply) => Found::Done(reply),
        Err(refusal) => Found::Refused(refusal),
    };
    let learnt = row.after_report(found, now)?;
    match (learnt.row, learnt.settled) {
        (Some(row), Some(Settled::Done(_) | Settled::Refused(_))) => Some((Row::Effect(row), learnt.answer)),
        _ => None,
    }
}
