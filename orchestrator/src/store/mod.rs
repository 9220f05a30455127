//! The store: one transaction for many sagas, and the few reads that an engine needs.
//!
//! Nothing here scans sagas that wait or have ended: every read goes by key, by due time, or by page ([`Store::counts`]
//! alone walks an index of them all). Bodies: [`SqliteStore`], [`ServerStore`],
//! [`MemoryStore`]; [`conformance`] holds all to the same.

mod check;
mod cluster;
pub mod conformance;
pub mod limit;
pub mod memory;
#[cfg(feature = "sqlite")]
mod sql;

pub use cluster::{Cluster, Incarnation, Member, NodeId, NodeInfo, Shards, View, join};
pub use memory::MemoryStore;
#[cfg(feature = "sqlite")]
pub use sql::{ServerStore, SqliteOptions, SqliteStore};
#[cfg(feature = "sqlite")]
pub use tercet_database::{BadUrl, DatabaseUrl, Kind as DatabaseKind};

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};
use tercet_core::{DefinitionName, Millis, Namespace, PayloadHash, SagaId, SagaKey, StepInstance};

/// Log levels at which the libraries under a store are not heard in every statement.
#[cfg(feature = "cli")]
pub(crate) const QUIET: &str = "sqlx=warn,sea_orm=warn,sea_orm_migration=warn";

/// A future of a store's method: the trait is used as an object, so that one engine serves every store.
pub type Stored<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Where a saga stands, as lists show it. `Parked` shows while any of its steps is parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SagaStatus {
    /// Before the decision.
    Trying,
    /// After the decision to commit.
    Confirming,
    /// After the decision to abort.
    Cancelling,
    /// Ended: committed, and every step of it confirmed.
    Confirmed,
    /// Ended: aborted, and nothing left over.
    Cancelled,
}

impl SagaStatus {
    /// Every status, in the order of a saga's life.
    pub const ALL: [Self; 5] = [Self::Trying, Self::Confirming, Self::Cancelling, Self::Confirmed, Self::Cancelled];

    /// Nothing happens to the saga any more.
    #[must_use]
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Confirmed | Self::Cancelled)
    }
}

/// A saga's row: the cached projection of its journal that lists are made of. Written only when it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SagaRow {
    /// The saga.
    pub id: SagaId,
    /// Whose it is.
    pub namespace: Namespace,
    /// What it runs.
    pub definition: DefinitionName,
    /// Which version of it.
    pub version: u32,
    /// The caller's key.
    pub key: SagaKey,
    /// What a start under the same key is compared by.
    pub payload_hash: PayloadHash,
    /// The parent's id and step instance, for a child.
    pub parent: Option<(SagaId, StepInstance)>,
    /// Where it stands.
    pub projection: Projection,
    /// When it was started.
    pub started: Millis,
}

/// The part of a [`SagaRow`] that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Projection {
    /// Where it stands.
    pub status: SagaStatus,
    /// How many of its steps are parked.
    pub parked: u32,
    /// It asks for a person's attention.
    pub attention: bool,
    /// When it was last changed.
    pub updated: Millis,
    /// When it wakes by itself, if a wait of its own holds it.
    pub wakes: Option<Millis>,
    /// The output's JSON, when confirmed; why it aborted, when cancelled.
    pub output: Option<String>,
}

impl Projection {
    /// The saga has ended and nobody's attention is asked for: its journal may go once it is old enough.
    #[must_use]
    pub fn may_be_purged(&self) -> bool {
        self.status.is_end() && self.parked == 0 && !self.attention
    }
}

/// One journal row. `seq` starts at 1 and has no gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalRow {
    /// The saga.
    pub saga: SagaId,
    /// Its place in the saga's history.
    pub seq: u32,
    /// When it was written, by the engine's clock.
    pub at: Millis,
    /// The entry's JSON.
    pub entry: Vec<u8>,
}

/// Whether `journal` holds these entries, the same to the byte: what tells a batch that was written after all, though the
/// answer to its commit was lost, from another owner's entries under the same numbers.
#[must_use]
pub fn holds(journal: &[JournalRow], entries: &[JournalRow]) -> bool {
    entries.iter().all(|entry| journal.get(entry.seq.wrapping_sub(1) as usize) == Some(entry))
}

/// What a durable timer is for, within its saga; the text is the engine's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerName(pub String);

/// A durable timer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimerRow {
    /// The saga.
    pub saga: SagaId,
    /// Which timer of it.
    pub name: TimerName,
    /// When it is due.
    pub due: Millis,
    /// Attempts made so far, for a timer that repeats a call; else 0.
    pub attempt: u32,
}

/// What changes about a saga's timers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimerChange {
    /// Insert it, or move it.
    Set(TimerRow),
    /// Delete it, if it is there.
    Clear(SagaId, TimerName),
}

/// An inbox row's id: its own, and unique; a row is deleted by it and never by a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InboxId(pub i64);

/// Something that waits for a saga's owner: a signal, a verdict, a cancel, an operator's action. The text is the engine's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxItem {
    /// Who is to read it.
    pub saga: SagaId,
    /// When it was put there.
    pub at: Millis,
    /// The message's JSON.
    pub message: Vec<u8>,
}

/// A row of what operators did: written in the transaction of what they caused, never changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// The saga.
    pub saga: SagaId,
    /// When.
    pub at: Millis,
    /// Who said so.
    pub actor: String,
    /// What was done, as the API names it.
    pub action: String,
    /// Why.
    pub reason: String,
}

/// A saga to begin: its row, its first entries and timers, written only if its (namespace, definition, key) is free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The row.
    pub row: SagaRow,
    /// Its first entries, from seq 1.
    pub entries: Vec<JournalRow>,
    /// Its first timers.
    pub timers: Vec<TimerRow>,
}

/// What is written for one saga that is there already. All of a batch is written, or nothing of it.
///
/// A batch may hold several changes of one saga; they count in their order, and the last projection stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Journal rows to append, in order.
    pub entries: Vec<JournalRow>,
    /// The saga's new projection, if it changed.
    pub projection: Option<(SagaId, Projection)>,
    /// Its timers.
    pub timers: Vec<TimerChange>,
    /// Inbox rows of its own that these entries have dealt with.
    pub taken: Vec<InboxId>,
    /// Messages to other sagas.
    pub put: Vec<InboxItem>,
    /// What operators did.
    pub audit: Vec<AuditRow>,
}

/// One transaction. Whoever hands it over shares what is in it, to write it again should it fail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Sagas to begin. They go first.
    pub starts: Vec<Arc<Start>>,
    /// What happened to the others.
    pub changes: Vec<Arc<Change>>,
}

/// What became of a [`Start`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// It is there now, under its own id.
    New,
    /// Its key was taken by this saga.
    Taken {
        /// The one that has the key.
        by: SagaId,
        /// That one was started with the same payload.
        same_payload: bool,
    },
}

/// A registered definition: its fingerprint, and its graph for those who no longer have the code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefinitionRow {
    /// Its name.
    pub name: DefinitionName,
    /// Its version.
    pub version: u32,
    /// Its fingerprint, in hexadecimal.
    pub fingerprint: String,
    /// Its description's JSON.
    pub description: String,
}

/// Which sagas a list shows; a field left `None` does not filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this namespace.
    pub namespace: Option<Namespace>,
    /// Of this definition.
    pub definition: Option<DefinitionName>,
    /// In this status.
    pub status: Option<SagaStatus>,
    /// With a parked step, or without.
    pub parked: Option<bool>,
    /// Asking for attention, or not.
    pub attention: Option<bool>,
    /// Under this key.
    pub key: Option<SagaKey>,
    /// With this id or a newer one: ids follow the time of the start ([`SagaId::first_at`]).
    pub from: Option<SagaId>,
}

/// How many sagas are in each status, of each definition; `parked` counts those with a parked step, whatever their status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// The definition.
    pub definition: DefinitionName,
    /// The status.
    pub status: SagaStatus,
    /// It has a parked step.
    pub parked: bool,
    /// How many.
    pub sagas: u64,
}

/// Where an engine's journal, timers and inbox are kept.
///
/// [`commit`](Self::commit) is the only way that anything about a saga is written, but for [`deliver`](Self::deliver) and
/// retry timers. When it returns `Ok`, the batch is on disk; when it returns [`StoreError::Ambiguous`], nobody knows: the
/// caller raises its incarnation, forgets the batch's sagas and reads them again; [`holds`] tells whether an entry found
/// there is its own. With any other error nothing of the batch was written.
///
/// A write that was begun goes on when its future is dropped.
pub trait Store: Send + Sync + 'static {
    /// Writes a batch in one transaction, after checking that `as_node` is still the newest incarnation. The answers are in the
    /// order of its starts. A start whose key is taken writes nothing; the rest of the batch stands. Of two starts under one key
    /// the first wins. A start sent again (after an ambiguous commit, say) is answered [`Started::Taken`] by its own id.
    fn commit(&self, as_node: Incarnation, batch: Batch) -> Stored<'_, Vec<Started>>;

    /// Enters a process as a node. A store that several nodes share gives it a lease and no shard yet; one that a process has to itself
    /// gives it every shard, and whoever had them before is fenced. May be called again when its answer was lost.
    fn join(&self, first: Incarnation, info: NodeInfo, lease: Duration) -> Stored<'_, ()>;

    /// Raises a node's incarnation by a compare-and-set, after an ambiguous commit: a transaction that still runs is waited for or
    /// defeated. [`StoreError::Fenced`] when the node was taken over meanwhile. Where `to` is there already, that is the answer which was
    /// lost before.
    fn raise(&self, from: Incarnation, to: Incarnation) -> Stored<'_, ()>;

    /// How nodes share this store; `None` where one process has it to itself, and owns every shard.
    fn cluster(&self) -> Option<&dyn Cluster> {
        None
    }

    /// The journals of these sagas, each in order, in the order asked; empty for one that is not known or was purged. A journal
    /// with a gap is [`StoreError::Corrupt`].
    fn journals(&self, sagas: Vec<SagaId>) -> Stored<'_, Vec<Vec<JournalRow>>>;

    /// A saga's row.
    fn saga(&self, id: SagaId) -> Stored<'_, Option<SagaRow>>;

    /// The saga under a key.
    fn find(&self, namespace: Namespace, definition: DefinitionName, key: SagaKey) -> Stored<'_, Option<SagaRow>>;

    /// Sagas that fit, newest id first, at most `limit`, from below `before`.
    fn list(&self, filter: Filter, before: Option<SagaId>, limit: u32) -> Stored<'_, Vec<SagaRow>>;

    /// How many sagas there are of each kind, by definition and status: of one namespace, or of all. It walks an index of them
    /// all: for a page that somebody looks at, not for a loop.
    fn counts(&self, namespace: Option<Namespace>) -> Stored<'_, Vec<Count>>;

    /// Ids of sagas of these shards that have not ended, oldest first, at most `limit`, from above `after`: what a new owner walks
    /// through. Those that merely wait ([`Projection::wakes`]) are left out: their timers bring them back. (Here and below, a store
    /// without a [cluster](Self::cluster) has no need to look at shards.)
    fn unfinished(&self, of: Shards, after: Option<SagaId>, limit: u32) -> Stored<'_, Vec<SagaId>>;

    /// Timers of these shards due before `until`, soonest first, at most `limit`, from behind `after`: the last one of the page before.
    fn timers_due(&self, of: Shards, after: Option<TimerRow>, until: Millis, limit: u32) -> Stored<'_, Vec<TimerRow>>;

    /// All timers of these sagas, by saga and name.
    fn timers_of(&self, sagas: Vec<SagaId>) -> Stored<'_, Vec<TimerRow>>;

    /// Writes timers outside a saga's entries: a call's retry number and next time. One statement for many.
    fn set_timers(&self, as_node: Incarnation, changes: Vec<TimerChange>) -> Stored<'_, ()>;

    /// Puts messages into inboxes, durably.
    fn deliver(&self, items: Vec<InboxItem>) -> Stored<'_, ()>;

    /// The oldest inbox rows of the sagas of these shards, at most `limit`, leaving out the ids in `except` (those already in hand).
    fn inbox(&self, of: Shards, except: Vec<InboxId>, limit: u32) -> Stored<'_, Vec<(InboxId, InboxItem)>>;

    /// Deletes inbox rows that changed nothing (a duplicate, say).
    fn forget_inbox(&self, ids: Vec<InboxId>) -> Stored<'_, ()>;

    /// What operators did to a saga, oldest first.
    fn audit(&self, saga: SagaId) -> Stored<'_, Vec<AuditRow>>;

    /// Registers definitions, and returns what was registered before under the same name and version but another fingerprint:
    /// none of those is overwritten.
    fn register(&self, definitions: Vec<DefinitionRow>) -> Stored<'_, Vec<DefinitionRow>>;

    /// A registered definition.
    fn definition(&self, name: DefinitionName, version: u32) -> Stored<'_, Option<DefinitionRow>>;

    /// Deletes the journals of sagas that ended before `ended` (and did not change since), at most `limit` of them, and says how
    /// many: call again while it says `limit`. The saga's row stays to answer late starts under its key until `keys`, when it
    /// goes as well; what operators did stays for ever. A saga that has not ended, has a parked step or asks for attention is
    /// never touched, however old.
    fn purge(&self, ended: Millis, keys: Millis, limit: u32) -> Stored<'_, u64>;

    /// Gives back what it holds of the machine, connections say, after what is being written; what comes later is
    /// [`StoreError::Unavailable`].
    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {})
    }
}

/// Why a store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached or does not answer; nothing was written. Try again.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The connection was lost while committing: it may be written, or not.
    #[error("the store did not say whether it committed: {0}")]
    Ambiguous(String),
    /// Another process has raised its incarnation: this one owns nothing any more.
    #[error("another process has taken over this store")]
    Fenced,
    /// A journal row of that saga and number is there already, or another saga has its id; nothing was written. Not a bug: drop
    /// the saga from memory, check ownership, read it anew.
    #[error("saga {saga} already has an entry that this batch would write")]
    Conflict {
        /// One saga that it concerns.
        saga: SagaId,
    },
    /// The database refuses this batch for its content: the same again would be refused again.
    #[error("the store refuses what it was given: {0}")]
    Refused(String),
    /// The database cannot be opened as it is: no such file, no right to it, not a database. The text says what to do.
    #[error("{0}")]
    Unusable(String),
    /// The schema is not the one that this program knows.
    #[error("{0}")]
    Schema(String),
    /// Another process has this store open.
    #[error("{0}")]
    InUse(String),
    /// What was read cannot be what was written.
    #[error("the store holds what it cannot: {0}")]
    Corrupt(String),
}
