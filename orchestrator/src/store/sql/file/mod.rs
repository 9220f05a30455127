//! The store in one SQLite file: one writer, several readers, one process.
//!
//! Absent on purpose: a statement per row, a deferred transaction, and a transaction in a future that its caller can drop.

mod commit;
mod network;
mod open;
#[cfg(test)]
mod tests;
mod writer;
pub(super) mod writes;

use super::{errors, reads, rows};
use crate::store::{
    AuditRow, Batch, Count, DefinitionRow, Filter, InboxId, InboxItem, Incarnation, JournalRow, NodeInfo, SagaRow,
    Shards, Started, Store, StoreError, Stored, TimerChange, TimerRow,
};
pub use open::SqliteOptions;
use sea_orm::{DatabaseConnection, DatabaseTransaction, SqliteTransactionMode, TransactionOptions, TransactionTrait};
use std::{fs::File, path::PathBuf, pin::Pin, sync::Arc, time::Duration};
use tercet_core::{DefinitionName, Millis, Namespace, SagaId, SagaKey};

/// A store in an SQLite file, which this process alone has open.
#[derive(Clone)]
pub struct SqliteStore {
    file: Arc<SqliteFile>,
}

/// The connections first, so that they are gone before the lock is given back.
struct SqliteFile {
    writer: DatabaseConnection,
    readers: DatabaseConnection,
    writes: writer::Writer,
    path: PathBuf,
    _lock: File,
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.file.path).finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// Closes the connections, after what is being written; what comes later is [`StoreError::Unavailable`]. The file may be
    /// opened again once every clone of this store is gone.
    pub async fn close(&self) {
        for pool in [&self.file.readers, &self.file.writer] {
            if let Err(error) = pool.close_by_ref().await {
                tracing::warn!(error = %error, path = %self.file.path.display(), "failed to close a database connection");
            }
        }
    }

    /// Runs a write where no caller can drop it half way. It is on its way when this returns, whenever the answer is asked for.
    fn detached<T, W, F>(&self, write: W) -> Stored<'_, T>
    where
        T: Send + 'static,
        W: FnOnce(Arc<SqliteFile>) -> F + Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        Box::pin(self.file.writes.run(write(Arc::clone(&self.file))))
    }
}

impl SqliteFile {
    /// A write transaction that holds the database's write lock from its first moment.
    async fn begin(&self) -> Result<DatabaseTransaction, StoreError> {
        let immediate = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        self.writer.begin_with_options(immediate).await.map_err(errors::failed)
    }
}

/// Commits what was done, or takes it back.
async fn end<T>(tx: DatabaseTransaction, done: Result<T, StoreError>) -> Result<T, StoreError> {
    match done {
        Ok(value) => tx.commit().await.map(|()| value).map_err(errors::failed_to_commit),
        Err(error) => {
            if let Err(second) = tx.rollback().await {
                tracing::warn!(error = %second, "failed to roll back; the connection does it before its next use");
            }
            Err(error)
        }
    }
}

impl Store for SqliteStore {
    fn commit(&self, as_node: Incarnation, batch: Batch) -> Stored<'_, Vec<Started>> {
        self.detached(move |file| async move { commit::commit(&file, as_node, batch).await })
    }

    fn join(&self, first: Incarnation, _: NodeInfo, _: Duration) -> Stored<'_, ()> {
        self.detached(move |file| async move { writes::join(&file, first).await })
    }

    fn raise(&self, from: Incarnation, to: Incarnation) -> Stored<'_, ()> {
        self.detached(move |file| async move { writes::raise(&file, from, to).await })
    }

    fn journals(&self, sagas: Vec<SagaId>) -> Stored<'_, Vec<Vec<JournalRow>>> {
        Box::pin(reads::journals(&self.file.readers, sagas))
    }

    fn saga(&self, id: SagaId) -> Stored<'_, Option<SagaRow>> {
        Box::pin(reads::saga(&self.file.readers, id))
    }

    fn find(&self, namespace: Namespace, definition: DefinitionName, key: SagaKey) -> Stored<'_, Option<SagaRow>> {
        Box::pin(async move { reads::find(&self.file.readers, &namespace, &definition, &key).await })
    }

    fn list(&self, filter: Filter, before: Option<SagaId>, limit: u32) -> Stored<'_, Vec<SagaRow>> {
        Box::pin(async move { reads::list(&self.file.readers, &filter, before, limit).await })
    }

    fn counts(&self, namespace: Option<Namespace>) -> Stored<'_, Vec<Count>> {
        Box::pin(async move { reads::counts(&self.file.readers, namespace.as_ref()).await })
    }

    fn unfinished(&self, of: Shards, after: Option<SagaId>, limit: u32) -> Stored<'_, Vec<SagaId>> {
        Box::pin(reads::unfinished(&self.file.readers, of, after, limit))
    }

    fn timers_due(&self, of: Shards, after: Option<TimerRow>, until: Millis, limit: u32) -> Stored<'_, Vec<TimerRow>> {
        Box::pin(async move { reads::timers_due(&self.file.readers, of, after.as_ref(), until, limit).await })
    }

    fn timers_of(&self, sagas: Vec<SagaId>) -> Stored<'_, Vec<TimerRow>> {
        Box::pin(reads::timers_of(&self.file.readers, sagas))
    }

    fn set_timers(&self, as_node: Incarnation, changes: Vec<TimerChange>) -> Stored<'_, ()> {
        self.detached(move |file| async move { writes::set_timers(&file, as_node, changes).await })
    }

    fn deliver(&self, items: Vec<InboxItem>) -> Stored<'_, ()> {
        self.detached(move |file| async move { writes::deliver(&file, items).await })
    }

    fn inbox(&self, of: Shards, except: Vec<InboxId>, limit: u32) -> Stored<'_, Vec<(InboxId, InboxItem)>> {
        Box::pin(async move { reads::inbox(&self.file.readers, of, &except, limit).await })
    }

    fn forget_inbox(&self, ids: Vec<InboxId>) -> Stored<'_, ()> {
        self.detached(move |file| async move { writes::forget_inbox(&file, ids).await })
    }

    fn audit(&self, saga: SagaId) -> Stored<'_, Vec<AuditRow>> {
        Box::pin(reads::audit(&self.file.readers, saga))
    }

    fn register(&self, definitions: Vec<DefinitionRow>) -> Stored<'_, Vec<DefinitionRow>> {
        self.detached(move |file| async move { writes::register(&file, definitions).await })
    }

    fn definition(&self, name: DefinitionName, version: u32) -> Stored<'_, Option<DefinitionRow>> {
        Box::pin(async move { reads::definition(&self.file.readers, &name, version).await })
    }

    fn purge(&self, ended: Millis, keys: Millis, limit: u32) -> Stored<'_, u64> {
        self.detached(move |file| async move { writes::purge(&file, ended, keys, limit).await })
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(Self::close(self))
    }
}
