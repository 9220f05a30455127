//! What the barrier and the outbox need of a participant's database: a transaction, a row under lock, and no more.

mod fault;
pub mod memory;
mod sea;

pub use fault::Fault;
pub use memory::Memory;
pub use sea::{OpenError, SCHEMA_VERSION, SchemaError, SeaOrm, Transaction, ensure_tables};

use crate::{
    barrier::Row,
    outbox::{Event, EventFilter, EventNumber, Message, MessageId, Published, Queued, StreamMade},
};
use std::{fmt, future::Future, pin::Pin};
use tercet_core::{Answer, Call, Millis, SagaId, StepInstance};

/// A future that may be moved between threads.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The key of a barrier's row.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey {
    /// Whose step.
    pub saga: SagaId,
    /// The step instance.
    pub step: StepInstance,
}

impl RowKey {
    /// The row of that call's step.
    #[must_use]
    pub fn of(call: &Call) -> Self {
        Self { saga: call.saga, step: call.step.clone() }
    }
}

impl fmt::Debug for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.saga, self.step)
    }
}

/// What a transaction is begun for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing will be written, or what is written is rolled back.
    Read,
    /// Rows are written; the database takes what locks it needs before the first read.
    Write,
}

/// A participant's database. Cloned handles are the same database.
pub trait Database: Clone + Send + Sync + 'static {
    /// An open transaction; handlers write through it.
    type Tx: Tx;

    /// Begins a transaction. Dropping it rolls it back.
    fn begin(&self, access: Access) -> impl Future<Output = Result<Self::Tx, Fault>> + Send;

    /// Runs `work` so that it is never dropped half way, even if who waits for it goes away; `None` when it panicked outside of
    /// every handler.
    fn shelter(&self, work: Boxed<'static, Answer>) -> Boxed<'static, Option<Answer>>;

    /// Drops at most `limit` rows that have aged since before `before`, by their ids; says how many.
    fn purge(&self, before: Millis, limit: u32) -> impl Future<Output = Result<u32, Fault>> + Send;

    /// At most `limit` messages of the outbox after `after`, in the order of their ids, without those that were buried.
    fn outbox(&self, after: Option<MessageId>, limit: u32) -> impl Future<Output = Result<Vec<Queued>, Fault>> + Send;

    /// Deletes the one message, after it was acknowledged.
    fn outbox_delete(&self, id: MessageId) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Sets the one message aside, for it can never succeed.
    fn outbox_bury(&self, id: MessageId, reason: &str) -> impl Future<Output = Result<(), Fault>> + Send;

    /// The messages that were set aside, with their reasons, oldest first.
    fn outbox_buried(&self, limit: u32) -> impl Future<Output = Result<Vec<(Queued, String)>, Fault>> + Send;

    /// At most `limit` of the events that `wanted` wants, in the order of their numbers.
    fn events(&self, wanted: &EventFilter, limit: u32) -> impl Future<Output = Result<Vec<Published>, Fault>> + Send;

    /// At most `limit` of the events after `after` that no stream has taken, in the order of their numbers.
    fn events_untaken(
        &self, after: Option<EventNumber>, limit: u32,
    ) -> impl Future<Output = Result<Vec<Published>, Fault>> + Send;

    /// Notes that `stream` has taken each of these.
    fn events_take(
        &self, numbers: &[EventNumber], stream: StreamMade, now: Millis,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// What any other stream than this one has taken is taken by none: that one is gone. Says how many.
    fn events_untake(&self, stream: StreamMade) -> impl Future<Output = Result<u64, Fault>> + Send;

    /// Drops at most `limit` events that were taken before `before`, by their numbers; says how many.
    fn events_purge(&self, before: Millis, limit: u32) -> impl Future<Output = Result<u32, Fault>> + Send;
}

/// An open transaction of a participant's database.
pub trait Tx: Sized + Send + Sync + 'static {
    /// Inserts the row if it is absent, *then* reads it under lock: `None` when this transaction has just inserted it.
    ///
    /// In this order and no other: a locking read of a missing row deadlocks on MariaDB, and a plain read after a conflicting
    /// insert sees an old snapshot there.
    fn enter(&self, key: &RowKey) -> impl Future<Output = Result<Option<Row>, Fault>> + Send;

    /// Takes back what [`Tx::enter`] inserted when it said `None` and no row is to be written after all.
    fn leave(&self, key: &RowKey) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Writes the row that [`Tx::enter`] has locked.
    fn put(&self, key: &RowKey, row: &Row) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Queues a message that leaves if, and only if, this transaction commits.
    fn queue(&self, message: &Message) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Keeps an event that is there if, and only if, this transaction commits; a fault when its subject has that version already.
    fn publish(&self, event: &Event) -> impl Future<Output = Result<(), Fault>> + Send;

    /// A savepoint: a transaction within this one that can be rolled back alone. One at a time.
    fn nested(&self) -> impl Future<Output = Result<Self, Fault>> + Send;

    /// Commits. An error may mean that it is *not known* whether it was committed.
    fn commit(self) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Rolls back.
    fn rollback(self) -> impl Future<Output = Result<(), Fault>> + Send;
}
