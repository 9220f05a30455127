//! Opening a participant's database by its URL.

use super::{SchemaError, SeaOrm};
#[cfg(feature = "sqlite")]
use sea_orm::ConnectOptions;
use sea_orm::DbErr;
#[cfg(feature = "sqlite")]
use std::path::Path;
use std::time::Duration;
use tercet_database::{BadUrl, ConnectError, DatabaseUrl, Pool};

/// How long a statement waits for SQLite's one writer before it is *busy*.
#[cfg(feature = "sqlite")]
const BUSY: Duration = Duration::from_secs(5);

/// Connections that read beside SQLite's one writer.
#[cfg(feature = "sqlite")]
const READERS: u32 = 4;

/// Each connection's own pages, in KiB below zero as SQLite takes it. A call touches few, and what it misses the system has: four times as
/// much, SQLite's default, fills with what nobody reads again, for as many participants as there are in the process.
#[cfg(feature = "sqlite")]
const CACHE: &str = "-512";

/// Connections to a server: each call has one for as long as it runs.
const SERVER: Pool = Pool { connections: 16, wait: Duration::from_secs(5) };

/// Why a participant's database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its URL is none.
    #[error("failed to open the participant's database: {0}")]
    Url(#[from] BadUrl),
    /// The server cannot be reached, or does not let this program in. The text has no password in it.
    #[error(transparent)]
    Server(#[from] ConnectError),
    /// The file cannot be opened, or is not a database.
    #[error("failed to open the participant's database: {0}")]
    Connect(#[source] DbErr),
    /// Its tables cannot be made ready.
    #[error(transparent)]
    Schema(#[from] SchemaError),
}

impl SeaOrm {
    /// Opens the database of that URL: `sqlite:FILE`, `postgres://user:password@host/database`, `mysql://…` (MariaDB, too), each
    /// where this crate was built with its feature. A SQLite file is made where there is none. The barrier's and outbox's tables
    /// are made.
    ///
    /// # Errors
    /// When the URL is none, the database cannot be opened, or it belongs to a newer version.
    pub async fn open(url: &str) -> Result<Self, OpenError> {
        let url: DatabaseUrl = url.parse()?;
        #[cfg(feature = "sqlite")]
        if let Some(file) = url.file() {
            return Self::sqlite(file).await;
        }
        let pool = tercet_database::connect(&url, SERVER).await?;
        Self::over(pool.clone(), pool).await
    }

    /// Opens, or creates, the SQLite database in that file: one writer, several readers, every commit on disk before it is told
    /// (WAL, `synchronous=FULL`). The barrier's and outbox's tables are made.
    ///
    /// # Errors
    /// When the file cannot be opened, is not a database, or belongs to a newer version.
    #[cfg(feature = "sqlite")]
    pub async fn sqlite(file: &Path) -> Result<Self, OpenError> {
        let url = format!("sqlite://{}?mode=rwc", file.display());
        let connect = |connections: u32| {
            let mut options = ConnectOptions::new(url.clone());
            options.max_connections(connections).min_connections(1).sqlx_logging(false);
            options.map_sqlx_sqlite_opts(|sqlite| {
                sqlite
                    .create_if_missing(true)
                    .foreign_keys(true)
                    .busy_timeout(BUSY)
                    .pragma("journal_mode", "WAL")
                    .pragma("synchronous", "FULL")
                    .pragma("cache_size", CACHE)
            });
            sea_orm::Database::connect(options)
        };
        let writer = connect(1).await.map_err(OpenError::Connect)?;
        let reader = connect(READERS).await.map_err(OpenError::Connect)?;
        Self::over(writer, reader).await
    }

    /// A SQLite database in memory, on one connection; it is gone with its last handle.
    ///
    /// # Errors
    /// When SQLite cannot make it.
    #[cfg(feature = "sqlite")]
    pub async fn sqlite_in_memory() -> Result<Self, OpenError> {
        let mut options = ConnectOptions::new("sqlite::memory:");
        // A new connection would be a new, empty database.
        options.max_connections(1).min_connections(1).idle_timeout(None).max_lifetime(None).sqlx_logging(false);
        let one = sea_orm::Database::connect(options).await.map_err(OpenError::Connect)?;
        Self::over(one.clone(), one).await
    }
}
