//! One process at a time, for changes of a schema: they break each other otherwise.

use crate::meaning::{Meaning, meaning};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, SqliteTransactionMode, Statement,
    TransactionOptions, TransactionTrait,
};
use std::time::{Duration, Instant};

/// Between two looks at whether the other process is done.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A transaction that no other process has beside it, under its name.
///
/// On MariaDB and MySQL a change of the schema commits by itself, whatever becomes of the transaction; what is done here must be
/// such that it can be done again.
pub struct Alone {
    tx: DatabaseTransaction,
    waited: bool,
    // Closed with this, which lets go of the lock: after the commit.
    #[cfg(feature = "mysql")]
    _lock: Option<sea_orm::sqlx::pool::PoolConnection<sea_orm::sqlx::MySql>>,
}

impl std::fmt::Debug for Alone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Alone").field("waited", &self.waited).finish_non_exhaustive()
    }
}

/// Why a process is not alone.
#[derive(Debug, thiserror::Error)]
pub enum AloneError {
    /// Another one did not end in time.
    #[error("another process has been changing this database's tables for {} seconds: wait for it to end, then try again", .0.as_secs())]
    Waited(Duration),
    /// The database failed.
    #[error("{0}")]
    Database(#[from] DbErr),
}

/// Waits, `patience` at most, until no other process is at what `name` names in this database, then begins a transaction; calls
/// `waiting` once if another process is at it. On MariaDB and MySQL it takes two connections.
///
/// # Errors
/// When another process did not end in time, or the database fails.
pub async fn alone(
    db: &DatabaseConnection, name: &'static str, patience: Duration, waiting: impl FnOnce() + Send,
) -> Result<Alone, AloneError> {
    let began = Instant::now();
    let mut waiting = Some(waiting);
    loop {
        if let Some(mut alone) = turn(db, name).await? {
            alone.waited = waiting.is_none();
            return Ok(alone);
        }
        if began.elapsed() >= patience {
            return Err(AloneError::Waited(patience));
        }
        if let Some(say) = waiting.take() {
            say();
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

impl Alone {
    /// The transaction.
    #[must_use]
    pub fn tx(&self) -> &DatabaseTransaction {
        &self.tx
    }

    /// Another process was at it before.
    #[must_use]
    pub fn waited(&self) -> bool {
        self.waited
    }

    /// Commits, then lets the next process begin.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn commit(self) -> Result<(), DbErr> {
        self.tx.commit().await
    }

    /// Rolls back, then lets the next process begin.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rollback(self) -> Result<(), DbErr> {
        self.tx.rollback().await
    }

    fn over(tx: DatabaseTransaction) -> Self {
        Self {
            tx,
            waited: false,
            #[cfg(feature = "mysql")]
            _lock: None,
        }
    }
}

/// One look: `None` while another process is at it.
async fn turn(db: &DatabaseConnection, name: &'static str) -> Result<Option<Alone>, DbErr> {
    match db.get_database_backend() {
        DbBackend::Postgres => {
            let tx = db.begin().await?;
            let take = "SELECT pg_try_advisory_xact_lock(hashtext($1))";
            let take = Statement::from_sql_and_values(DbBackend::Postgres, take, [name.into()]);
            let taken = tx.query_one_raw(take).await?.map(|row| row.try_get_by_index(0)).transpose()?;
            Ok((taken == Some(true)).then(|| Alone::over(tx)))
        }
        #[cfg(feature = "mysql")]
        DbBackend::MySql => mysql(db, name).await,
        _ => sqlite(db).await,
    }
}

/// The write lock of the file itself.
async fn sqlite(db: &DatabaseConnection) -> Result<Option<Alone>, DbErr> {
    let immediate = Some(SqliteTransactionMode::Immediate);
    let options = TransactionOptions { sqlite_transaction_mode: immediate, ..TransactionOptions::default() };
    match db.begin_with_options(options).await {
        Ok(tx) => Ok(Some(Alone::over(tx))),
        Err(error) if meaning(&error) == Meaning::InTheWay => Ok(None),
        Err(error) => Err(error),
    }
}

/// A named lock belongs to a connection, is let go when that closes, and is the server's: so the database is part of its name.
#[cfg(feature = "mysql")]
async fn mysql(db: &DatabaseConnection, name: &'static str) -> Result<Option<Alone>, DbErr> {
    use sea_orm::{RuntimeErr, sqlx};
    let failed = |error: sqlx::Error| DbErr::Query(RuntimeErr::SqlxError(error.into()));
    let mut lock = db.get_mysql_connection_pool().acquire().await.map_err(failed)?;
    lock.close_on_drop();
    let take = "SELECT GET_LOCK(CONCAT('tercet:', MD5(CONCAT(DATABASE(), ':', ?))), 0)";
    let taken: Option<i64> = sqlx::query_scalar(take).bind(name).fetch_one(&mut *lock).await.map_err(failed)?;
    if taken != Some(1) {
        return Ok(None);
    }
    Ok(Some(Alone { tx: db.begin().await?, waited: false, _lock: Some(lock) }))
}
