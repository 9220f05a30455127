//! The store on a server: PostgreSQL, MariaDB or MySQL. Reads and rows are those of the SQLite file; what is written, and how, is here.
//!
//! Every write runs in a task of its own, which nobody drops half way, on a pool that lets no connection go on inside a transaction.

mod cluster;
mod commit;
mod dialect;
#[cfg(test)]
mod tests;
mod together;
mod write;

use super::{errors, reads};
use crate::store::{
    AuditRow, Batch, Cluster, Count, DefinitionRow, Filter, InboxId, InboxItem, Incarnation, JournalRow, NodeId,
    NodeInfo, SagaRow, Shards, Started, Store, StoreError, Stored, TimerChange, TimerRow, View,
};
pub(super) use dialect::Dialect;
use dialect::Many;
use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, TransactionTrait, Value};
use std::{pin::Pin, sync::Arc, time::Duration};
use tercet_core::{DefinitionName, Millis, Namespace, SagaId, SagaKey};
use tercet_database::{DatabaseUrl, Pool};

/// Connections of a node: a few batches under way, and who reads beside them. Short of the patience of who waits for an answer.
const POOL: Pool = Pool { connections: 8, wait: Duration::from_secs(5) };

/// A store in a database on a server.
#[derive(Clone)]
pub struct ServerStore {
    server: Arc<Server>,
}

struct Server {
    pool: DatabaseConnection,
    dialect: Dialect,
    /// Without its password.
    url: String,
}

impl std::fmt::Debug for ServerStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerStore").field("url", &self.server.url).finish_non_exhaustive()
    }
}

impl ServerStore {
    /// Opens a migrated database.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when nobody answers there; [`StoreError::Unusable`] when it does not let this program in, or there is
    /// no such database; [`StoreError::Schema`] when it is not migrated or a newer program's. Each says what to do, in one line that has
    /// no password in it.
    pub async fn open(url: &DatabaseUrl) -> Result<Self, StoreError> {
        Box::pin(open(url, false)).await
    }

    /// Opens a database after migrating it.
    ///
    /// # Errors
    /// As [`open`](Self::open), but for what a migration mends.
    pub async fn create(url: &DatabaseUrl) -> Result<Self, StoreError> {
        Box::pin(open(url, true)).await
    }

    /// Closes the connections, after what is being written; what comes later is [`StoreError::Unavailable`].
    pub async fn close(&self) {
        if let Err(error) = self.server.pool.close_by_ref().await {
            tracing::warn!(error = %error, url = %self.server.url, "failed to close the database connections");
        }
    }

    /// Runs a write where no caller can drop it half way. It is on its way when this returns.
    fn detached<T, W, F>(&self, write: W) -> Stored<'_, T>
    where
        T: Send + 'static,
        W: FnOnce(Arc<Server>) -> F + Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let task = tokio::spawn(write(Arc::clone(&self.server)));
        Box::pin(async move {
            task.await.unwrap_or_else(|_| Err(StoreError::Ambiguous("the writing task broke off".to_owned())))
        })
    }
}

async fn open(url: &DatabaseUrl, migrate: bool) -> Result<ServerStore, StoreError> {
    let pool = tercet_database::connect(url, POOL).await.map_err(errors::unreachable)?;
    let shown = url.to_string();
    if migrate {
        let say = || tracing::info!(url = %shown, "another process is migrating this database: waiting for it");
        tercet_migrations::migrate_saying(&pool, say).await.map_err(errors::schema)?;
    }
    tercet_migrations::check(&pool).await.map_err(errors::schema)?;
    let dialect = Dialect::of(pool.get_database_backend());
    durable(&pool, dialect).await?;
    Ok(ServerStore { server: Arc::new(Server { pool, dialect, url: shown }) })
}

/// An acknowledged start survives a power cut only if a commit is on disk before it is told. That a server does not see to it is its
/// owner's decision, and is said.
async fn durable(pool: &DatabaseConnection, dialect: Dialect) -> Result<(), StoreError> {
    let ask = match dialect {
        Dialect::Postgres => "SELECT current_setting('fsync') || ' ' || current_setting('synchronous_commit')",
        Dialect::MySql => "SELECT CAST(@@innodb_flush_log_at_trx_commit AS CHAR)",
    };
    let row = pool.query_one_raw(dialect.one(ask, Vec::new())).await.map_err(errors::failed)?;
    let found: Option<String> = row.map(|row| row.try_get_by_index(0)).transpose().map_err(errors::failed)?;
    let is_safe = |found: &str| match dialect {
        Dialect::Postgres => found.starts_with("on ") && !found.ends_with(" off"),
        Dialect::MySql => found == "1",
    };
    if !found.as_deref().is_some_and(is_safe) {
        tracing::warn!(
            settings = found,
            "this server may lose acknowledged work in a power cut: set fsync and synchronous_commit to on (PostgreSQL), \
             or innodb_flush_log_at_trx_commit to 1 (MariaDB, MySQL)"
        );
    }
    Ok(())
}

impl Server {
    async fn begin(&self) -> Result<DatabaseTransaction, StoreError> {
        self.pool.begin().await.map_err(errors::failed)
    }
}

/// Runs one statement over many rows, and says how many rows of the database it touched.
async fn apply<const N: usize>(
    tx: &DatabaseTransaction, dialect: Dialect, what: &Many<N>, rows: Vec<[Value; N]>,
) -> Result<u64, StoreError> {
    let mut touched = 0;
    for statement in dialect.many(what, rows) {
        touched += tx.execute_raw(statement).await.map_err(errors::failed)?.rows_affected();
    }
    Ok(touched)
}

/// Commits what was done, or takes it back.
async fn end<T>(tx: DatabaseTransaction, done: Result<T, StoreError>) -> Result<T, StoreError> {
    match done {
        Ok(value) => tx.commit().await.map(|()| value).map_err(errors::failed_to_commit),
        Err(error) => {
            if let Err(second) = tx.rollback().await {
                tracing::debug!(error = %second, "failed to roll back; the connection is closed");
            }
            Err(error)
        }
    }
}

impl Store for ServerStore {
    fn commit(&self, as_node: Incarnation, batch: Batch) -> Stored<'_, Vec<Started>> {
        self.detached(move |server| async move { commit::commit(&server, as_node, batch).await })
    }

    fn join(&self, first: Incarnation, info: NodeInfo, lease: Duration) -> Stored<'_, ()> {
        self.detached(move |server| async move { cluster::join(&server, first, info, lease).await })
    }

    fn raise(&self, from: Incarnation, to: Incarnation) -> Stored<'_, ()> {
        self.detached(move |server| async move { write::raise(&server, from, to).await })
    }

    fn cluster(&self) -> Option<&dyn Cluster> {
        Some(self)
    }

    fn journals(&self, sagas: Vec<SagaId>) -> Stored<'_, Vec<Vec<JournalRow>>> {
        Box::pin(reads::journals(&self.server.pool, sagas))
    }

    fn saga(&self, id: SagaId) -> Stored<'_, Option<SagaRow>> {
        Box::pin(reads::saga(&self.server.pool, id))
    }

    fn find(&self, namespace: Namespace, definition: DefinitionName, key: SagaKey) -> Stored<'_, Option<SagaRow>> {
        Box::pin(async move { reads::find(&self.server.pool, &namespace, &definition, &key).await })
    }

    fn list(&self, filter: Filter, before: Option<SagaId>, limit: u32) -> Stored<'_, Vec<SagaRow>> {
        Box::pin(async move { reads::list(&self.server.pool, &filter, before, limit).await })
    }

    fn counts(&self, namespace: Option<Namespace>) -> Stored<'_, Vec<Count>> {
        Box::pin(async move { reads::counts(&self.server.pool, namespace.as_ref()).await })
    }

    fn unfinished(&self, of: Shards, after: Option<SagaId>, limit: u32) -> Stored<'_, Vec<SagaId>> {
        Box::pin(reads::unfinished(&self.server.pool, of, after, limit))
    }

    fn timers_due(&self, of: Shards, after: Option<TimerRow>, until: Millis, limit: u32) -> Stored<'_, Vec<TimerRow>> {
        Box::pin(async move { reads::timers_due(&self.server.pool, of, after.as_ref(), until, limit).await })
    }

    fn timers_of(&self, sagas: Vec<SagaId>) -> Stored<'_, Vec<TimerRow>> {
        Box::pin(reads::timers_of(&self.server.pool, sagas))
    }

    fn set_timers(&self, as_node: Incarnation, changes: Vec<TimerChange>) -> Stored<'_, ()> {
        self.detached(move |server| async move { write::set_timers(&server, as_node, changes).await })
    }

    fn deliver(&self, items: Vec<InboxItem>) -> Stored<'_, ()> {
        self.detached(move |server| async move { write::deliver(&server, items).await })
    }

    fn inbox(&self, of: Shards, except: Vec<InboxId>, limit: u32) -> Stored<'_, Vec<(InboxId, InboxItem)>> {
        Box::pin(async move { reads::inbox(&self.server.pool, of, &except, limit).await })
    }

    fn forget_inbox(&self, ids: Vec<InboxId>) -> Stored<'_, ()> {
        self.detached(move |server| async move { write::forget_inbox(&server, ids).await })
    }

    fn audit(&self, saga: SagaId) -> Stored<'_, Vec<AuditRow>> {
        Box::pin(reads::audit(&self.server.pool, saga))
    }

    fn register(&self, definitions: Vec<DefinitionRow>) -> Stored<'_, Vec<DefinitionRow>> {
        self.detached(move |server| async move { write::register(&server, definitions).await })
    }

    fn definition(&self, name: DefinitionName, version: u32) -> Stored<'_, Option<DefinitionRow>> {
        Box::pin(async move { reads::definition(&self.server.pool, &name, version).await })
    }

    fn purge(&self, ended: Millis, keys: Millis, limit: u32) -> Stored<'_, u64> {
        self.detached(move |server| async move { write::purge(&server, ended, keys, limit).await })
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(Self::close(self))
    }
}

impl Cluster for ServerStore {
    fn renew(&self, node: NodeId, lease: Duration) -> Stored<'_, ()> {
        self.detached(move |server| async move { cluster::renew(&server, node, lease).await })
    }

    fn view(&self) -> Stored<'_, View> {
        Box::pin(cluster::view(&self.server))
    }

    fn version(&self) -> Stored<'_, i64> {
        Box::pin(cluster::version(&self.server))
    }

    fn claim(&self, node: NodeId, shards: Shards) -> Stored<'_, ()> {
        self.detached(move |server| async move { cluster::claim(&server, node, shards).await })
    }

    fn give(&self, node: NodeId, shares: Vec<(NodeId, Shards)>) -> Stored<'_, ()> {
        self.detached(move |server| async move { cluster::give(&server, node, shares).await })
    }

    fn take_over(&self, dead: NodeId) -> Stored<'_, bool> {
        self.detached(move |server| async move { cluster::take_over(&server, dead).await })
    }

    fn leave(&self, node: NodeId) -> Stored<'_, ()> {
        self.detached(move |server| async move { cluster::leave(&server, node).await })
    }

    fn lend(&self, node: NodeId, loans: Vec<(SagaId, NodeId)>) -> Stored<'_, Vec<SagaId>> {
        self.detached(move |server| async move { cluster::lend(&server, node, loans).await })
    }

    fn give_back(&self, node: NodeId, sagas: Vec<SagaId>) -> Stored<'_, ()> {
        self.detached(move |server| async move { cluster::give_back(&server, node, sagas).await })
    }

    fn inbox_of(&self, sagas: Vec<SagaId>, except: Vec<InboxId>, limit: u32) -> Stored<'_, Vec<(InboxId, InboxItem)>> {
        Box::pin(async move { reads::inbox_of(&self.server.pool, &sagas, &except, limit).await })
    }

    fn answer(&self, ticket: i64, at: Millis, answer: Vec<u8>) -> Stored<'_, ()> {
        self.detached(move |server| async move { cluster::answer(&server, ticket, at, answer).await })
    }

    fn answers(&self, tickets: Vec<i64>, older: Millis) -> Stored<'_, Vec<(i64, Vec<u8>)>> {
        self.detached(move |server| async move { cluster::answers(&server, tickets, older).await })
    }
}
