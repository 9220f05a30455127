//! Pools of connections to a server.
//!
//! A future that is dropped while its BEGIN is on the wire leaves the connection inside a transaction, which the driver does not
//! know of; what the next user of that connection writes is lost (transact-rs/sqlx#4393). So every connection is rolled back when it
//! is given back, and a server ends a transaction that nobody goes on with. Whoever begins a transaction does so in a task that is
//! not dropped.

use crate::{DatabaseUrl, Kind};
use sea_orm::{ConnectOptions, Database, DatabaseConnection};
use std::time::Duration;

#[cfg(any(feature = "postgres", feature = "mysql"))]
use {
    sea_orm::sqlx::{self, Connection},
    std::pin::Pin,
};

/// How a pool is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Connections at most.
    pub connections: u32,
    /// How long a caller waits for one before the database is [`Away`](crate::Meaning::Away).
    pub wait: Duration,
}

/// Why a server's database cannot be used. It never shows a password.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answers there, or not as a database does.
    #[error("failed to reach the database {url}: {why}; check its host and port, and that it runs")]
    Away {
        /// Where.
        url: String,
        /// What happened.
        why: String,
    },
    /// It does not let this user in.
    #[error("failed to sign in to the database {url}: {why}; check user and password")]
    Denied {
        /// Where.
        url: String,
        /// What it said.
        why: String,
    },
    /// It has no database of that name.
    #[error("failed to use the database {url}: {why}; create it first")]
    Missing {
        /// Where.
        url: String,
        /// What it said.
        why: String,
    },
    /// This program was built without its driver.
    #[error("this program was built without {}: build it with the feature `{feature}`", .kind.name())]
    NotBuilt {
        /// Which database.
        kind: Kind,
        /// What it lacks.
        feature: &'static str,
    },
}

/// A connection that has lain idle for so long is asked whether it still lives before it is used.
const DOUBT_AFTER: Duration = Duration::from_secs(1);

/// How long the first connection may take.
#[cfg(any(feature = "postgres", feature = "mysql"))]
const FIRST: Duration = Duration::from_secs(10);

/// A pool of connections to a server's database; one connection is made now.
///
/// # Errors
/// When it cannot be reached or does not let this program in: the text says which, in one line without a password.
pub async fn connect(url: &DatabaseUrl, pool: Pool) -> Result<DatabaseConnection, ConnectError> {
    let mut options = ConnectOptions::new(url.reveal());
    options
        .max_connections(pool.connections)
        .acquire_timeout(pool.wait)
        .test_before_acquire_if_idle_for(DOUBT_AFTER)
        .idle_timeout(Duration::from_secs(600))
        .sqlx_logging(false)
        .record_stmt_in_spans(false)
        .connect_lazy(true);
    reached(url).await?(&mut options);
    Database::connect(options)
        .await
        .map_err(|error| ConnectError::Away { url: url.to_string(), why: error.to_string() })
}

/// What a pool's options are told.
type Told = fn(&mut ConnectOptions);

/// What a pool of that database is told, once one connection was made.
async fn reached(url: &DatabaseUrl) -> Result<Told, ConnectError> {
    match url.kind() {
        #[cfg(feature = "postgres")]
        Kind::Postgres => first::<sqlx::Postgres>(url).await.map(|()| postgres::tell as Told),
        #[cfg(feature = "mysql")]
        Kind::MySql => first::<sqlx::MySql>(url).await.map(|()| mysql::tell as Told),
        kind => Err(not_built(kind)),
    }
}

/// Makes one connection beside the pool, which would only say that it waited in vain.
#[cfg(any(feature = "postgres", feature = "mysql"))]
async fn first<D: sqlx::Database>(url: &DatabaseUrl) -> Result<(), ConnectError> {
    match tokio::time::timeout(FIRST, D::Connection::connect(url.reveal())).await {
        Ok(Ok(connection)) => {
            // That it does not end in order is no reason not to begin.
            let _ = connection.close().await;
            Ok(())
        }
        Ok(Err(error)) => Err(ConnectError::of(url.to_string(), &error)),
        Err(_) => {
            let why = format!("it did not answer within {} s", FIRST.as_secs());
            Err(ConnectError::Away { url: url.to_string(), why })
        }
    }
}

fn not_built(kind: Kind) -> ConnectError {
    let feature = match kind {
        Kind::Sqlite => "sqlite",
        Kind::Postgres => "postgres",
        Kind::MySql => "mysql",
    };
    ConnectError::NotBuilt { kind, feature }
}

#[cfg(any(feature = "postgres", feature = "mysql"))]
impl ConnectError {
    fn of(url: String, error: &sqlx::Error) -> Self {
        let sqlx::Error::Database(said) = error else {
            let why = if let sqlx::Error::Io(error) = error { error.to_string() } else { error.to_string() };
            return Self::Away { url, why };
        };
        let (code, why) = (said.code().unwrap_or_default(), said.message().to_owned());
        match &*code {
            // Invalid password or authorization: PostgreSQL, MySQL.
            "28P01" | "28000" => Self::Denied { url, why },
            // No such database: PostgreSQL, MySQL; no right to it: MySQL.
            "3D000" | "42000" => Self::Missing { url, why },
            _ => Self::Away { url, why },
        }
    }
}

/// What a hook of the pool comes to.
#[cfg(any(feature = "postgres", feature = "mysql"))]
type Hooked<'c, T> = Pin<Box<dyn Future<Output = Result<T, sqlx::Error>> + Send + 'c>>;

#[cfg(feature = "postgres")]
mod postgres {
    use super::Hooked;
    use sea_orm::{
        ConnectOptions,
        sqlx::{Executor, PgConnection, Postgres, pool::PoolOptions},
    };

    /// A transaction in which nothing happens for a minute is ended by the server, and a lock that does not come within ten
    /// seconds is given up. Set here and not as the connection begins: poolers between refuse that.
    const SETTINGS: &str = "SET idle_in_transaction_session_timeout = '60s'; SET lock_timeout = '10s'";

    /// Silent outside of a transaction, where a bare ROLLBACK is a warning in the server's log; within one it is left.
    const ROLL_BACK: &str = "BEGIN; ROLLBACK";

    pub(super) fn tell(options: &mut ConnectOptions) {
        options.map_sqlx_postgres_pool_opts(pool);
    }

    fn pool(pool: PoolOptions<Postgres>) -> PoolOptions<Postgres> {
        pool.after_connect(|connection, _| settle(connection)).after_release(|connection, _| roll_back(connection))
    }

    fn settle(connection: &mut PgConnection) -> Hooked<'_, ()> {
        Box::pin(async move { connection.execute(SETTINGS).await.map(drop) })
    }

    /// An error, in a transaction that has failed, closes the connection, which ends it as well.
    fn roll_back(connection: &mut PgConnection) -> Hooked<'_, bool> {
        Box::pin(async move { connection.execute(ROLL_BACK).await.map(|_| true) })
    }
}

#[cfg(feature = "mysql")]
mod mysql {
    use super::Hooked;
    use sea_orm::{
        ConnectOptions,
        sqlx::{Executor, MySql, MySqlConnection, pool::PoolOptions},
    };

    /// Locks are of rows, not of the gaps between them, which is where inserts deadlock; nothing here leans on more. Texts that are
    /// too long are refused, not cut. A lock that does not come within ten seconds is given up, and MariaDB ends a transaction in
    /// which nothing happens for a minute. MySQL has no such setting: there a session that is silent for a minute ends, and its transaction with it
    /// (a connection that rests in the pool is asked before its next use).
    const SETTINGS: [&str; 2] = [
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "SET SESSION innodb_lock_wait_timeout = 10, SESSION wait_timeout = 60, \
         SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES') \
         /*M!100300 , SESSION idle_transaction_timeout = 60 */",
    ];

    /// Prepared statements that a connection keeps: about as many as there are texts, most of them rare (`lengths`). To forget one
    /// costs 40 ms, in which what is sent next waits for the server to acknowledge that. A server keeps 16,382 for all connections,
    /// as it comes.
    const STATEMENTS: usize = 256;

    pub(super) fn tell(options: &mut ConnectOptions) {
        options.map_sqlx_mysql_opts(|options| options.statement_cache_capacity(STATEMENTS));
        options.map_sqlx_mysql_pool_opts(pool);
    }

    fn pool(pool: PoolOptions<MySql>) -> PoolOptions<MySql> {
        pool.after_connect(|connection, _| settle(connection)).after_release(|connection, _| roll_back(connection))
    }

    fn settle(connection: &mut MySqlConnection) -> Hooked<'_, ()> {
        Box::pin(async move {
            for setting in SETTINGS {
                connection.execute(setting).await?;
            }
            Ok(())
        })
    }

    fn roll_back(connection: &mut MySqlConnection) -> Hooked<'_, bool> {
        Box::pin(async move { connection.execute("ROLLBACK").await.map(|_| true) })
    }
}
