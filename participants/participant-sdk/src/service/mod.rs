//! The runner: decodes a call, lets the barrier decide, runs the handler inside the transaction, and answers.

mod build;
mod codec;
mod effect;
mod guard;
mod hold;
mod once;
mod remote;

pub use build::{BuildError, Builder};
#[cfg(feature = "nats")]
pub(crate) use guard::{Panicked, caught};

use crate::{
    barrier::is_expired,
    clock::Clock,
    database::{Boxed, Database, Fault, RowKey, SeaOrm, Tx},
};
use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};
use tercet_core::{
    Answer, Answering, Call, ContractName, Millis, Participant, ParticipantName, Payload, Phase, StepKind,
};
use tokio::sync::Semaphore;
use tracing::Instrument;

/// A participant: operations of one implementor's, on one database, behind the barrier.
pub struct Service<S, D: Database = SeaOrm> {
    desk: Arc<Desk<S, D>>,
}

/// What a call is answered with the help of.
struct Desk<S, D> {
    name: ParticipantName,
    state: Arc<S>,
    database: D,
    clock: Arc<dyn Clock>,
    retention: Duration,
    reply_bytes_max: usize,
    concurrency: usize,
    permits: Semaphore,
    operations: BTreeMap<ContractName, Operation<S, D>>,
}

type Operation<S, D> = Box<dyn Operate<S, D>>;

/// One operation, its types erased.
trait Operate<S, D>: Send + Sync {
    fn kind(&self) -> StepKind;
    fn answer<'a>(&'a self, desk: &'a Desk<S, D>, call: &'a Call) -> Boxed<'a, Answer>;
}

impl<S, D: Database> Clone for Service<S, D> {
    fn clone(&self) -> Self {
        Self { desk: self.desk.clone() }
    }
}

impl<S, D: Database> fmt::Debug for Service<S, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let contracts: Vec<_> = self.desk.operations.keys().collect();
        f.debug_struct("Service").field("name", &self.desk.name).field("contracts", &contracts).finish_non_exhaustive()
    }
}

impl<S: Send + Sync + 'static, D: Database> Service<S, D> {
    /// Begins a participant of that name: the first part of its contracts' names.
    pub fn builder(name: &str, database: D, state: impl Into<Arc<S>>) -> Builder<S, D> {
        Builder::new(name, database, state.into())
    }

    /// The implementor.
    #[must_use]
    pub fn state(&self) -> &Arc<S> {
        &self.desk.state
    }

    /// The database that the barrier stands in.
    #[must_use]
    pub fn database(&self) -> &D {
        &self.desk.database
    }

    /// Lets the calls that are under way end and answers every later one *not now*; for a shutdown, when no more calls are taken in.
    pub async fn drain(&self) {
        let all = u32::try_from(self.desk.concurrency).unwrap_or(u32::MAX);
        let drained = self.desk.permits.acquire_many(all).await.is_ok();
        self.desk.permits.close();
        tracing::debug!(drained, "this participant answers no more calls");
    }

    /// Drops at most `limit` rows that have aged for longer than the retention; says how many. Call it every so often, and again
    /// at once as long as it drops `limit`.
    ///
    /// # Errors
    /// When the database fails; nothing that must be kept was dropped.
    pub async fn purge(&self, limit: u32) -> Result<u32, Fault> {
        let now = self.desk.clock.now();
        let retention = i64::try_from(self.desk.retention.as_millis()).unwrap_or(i64::MAX);
        self.desk.database.purge(Millis(now.0.saturating_sub(retention)), limit).await
    }
}

impl<S: Send + Sync + 'static, D: Database> Desk<S, D> {
    fn now(&self) -> Millis {
        self.clock.now()
    }

    async fn answer(&self, call: Call) -> Answer {
        let Ok(_permit) = self.permits.acquire().await else {
            return Answer::retry("this participant is shutting down");
        };
        let Some(operation) = self.operations.get(&call.contract) else {
            return Answer::retry(format!(
                "this participant does not offer {}; another version of it may",
                call.contract
            ));
        };
        let answer = if call.phase == Phase::Forget {
            self.forget(&call).await
        } else if operation.kind() != StepKind::Read && is_expired(&call, self.now(), self.retention) {
            Answer::Expired
        } else {
            operation.answer(self, &call).await
        };
        tracing::debug!(answer = answer.as_str(), "answered");
        fitting(answer, self.reply_bytes_max)
    }

    /// The saga has ended: the step's row may age from now on. Nobody waits for the answer.
    async fn forget(&self, call: &Call) -> Answer {
        let forgotten = guard::restarting(|| self.forget_once(call)).await;
        if let Err(broken) = forgotten {
            tracing::debug!(?broken, "the end of a saga could not be noted; its row is kept longer");
        }
        Answer::Done(Payload::null())
    }

    async fn forget_once(&self, call: &Call) -> Result<(), guard::Broken> {
        let tx = guard::begin(&self.database).await?;
        let key = RowKey::of(call);
        match tx.enter(&key).await?.and_then(|row| row.forgotten(self.now())) {
            Some(row) => guard::keep(tx, &key, &row).await,
            None => {
                guard::undo(tx).await;
                Ok(())
            }
        }
    }
}

/// The answer, or in place of a reply that no transport would carry a small one that says so. What was done is still *done*.
pub(crate) fn fitting(answer: Answer, limit: usize) -> Answer {
    match answer {
        Answer::Done(reply) if reply.bytes() > limit => {
            tracing::error!(reply.bytes = reply.bytes(), limit.bytes = limit, "a reply is too large to be sent");
            let text = format!(r#"{{"error":"reply_too_large","bytes":{},"limit":{limit}}}"#, reply.bytes());
            Answer::Done(Payload::from_bytes(text.as_bytes()).unwrap_or_else(|_| Payload::null()))
        }
        Answer::Pending(note) if note.bytes() > limit => Answer::Pending(Payload::null()),
        answer => answer,
    }
}

impl<S: Send + Sync + 'static, D: Database> Participant for Service<S, D> {
    fn name(&self) -> &str {
        self.desk.name.as_str()
    }

    fn contracts(&self) -> Vec<ContractName> {
        self.desk.operations.keys().cloned().collect()
    }

    fn call(&self, call: Call) -> Answering<'_> {
        let desk = self.desk.clone();
        let kind = desk.operations.get(&call.contract).map_or(StepKind::Tcc, |operation| operation.kind());
        let phase = call.phase;
        let span = tracing::info_span!(
            "participant_call",
            saga = %call.saga, step = %call.step, contract = %call.contract, phase = %phase, attempt = call.attempt,
        );
        let work = Box::pin(async move { desk.answer(call).await }.instrument(span));
        let sheltered = self.desk.database.shelter(work);
        Box::pin(async move { sheltered.await.unwrap_or_else(|| guard::unknown(kind, phase)) })
    }
}
