//! Opening the file: what can be wrong with it, the lock that makes this process its only one, and the settings.

use super::{SqliteFile, SqliteStore, errors, network, writer::Writer};
use crate::store::{StoreError, sql::errors::schema};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement,
    sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// How an SQLite store uses the machine. The defaults suit one node on a few cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SqliteOptions {
    /// Connections that read, beside the one that writes.
    pub readers: u32,
    /// The writer's page cache, in KiB.
    pub writer_cache_kib: u32,
    /// Each reader's page cache, in KiB.
    pub reader_cache_kib: u32,
    /// After how many pages of 4 KiB in the write-ahead log it is carried over to the file.
    pub checkpoint_pages: u32,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { readers: 4, writer_cache_kib: 4 << 10, reader_cache_kib: 1 << 10, checkpoint_pages: 4_000 }
    }
}

/// Nobody else has the file; only a checkpoint may be in the way for a moment.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A statement's text names its number of rows: the writer sees many texts, and keeping them all would keep their programs.
const WRITER_STATEMENTS: usize = 64;

/// The write-ahead log is cut to this after a checkpoint, in bytes.
const LOG_BYTES_MAX: &str = "67108864";

const MAGIC: &[u8; 16] = b"SQLite format 3\0";

impl SqliteStore {
    /// Opens a migrated file.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] when there is no such file, no right to it, or it is no database; [`StoreError::InUse`] when
    /// another process has it; [`StoreError::Schema`] when it is not migrated or a newer program's. Each says what to do.
    pub async fn open(path: impl AsRef<Path>, options: SqliteOptions) -> Result<Self, StoreError> {
        open(path.as_ref(), options, false).await
    }

    /// Opens a file after migrating it; makes it if there is none.
    ///
    /// # Errors
    /// As [`open`](Self::open), but for what a migration mends.
    pub async fn create(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        open(path.as_ref(), SqliteOptions::default(), true).await
    }
}

async fn open(path: &Path, options: SqliteOptions, migrate: bool) -> Result<SqliteStore, StoreError> {
    let path = whole(path)?;
    let mut file = File::options().read(true).write(true).create(migrate).truncate(false).open(&path);
    if path.is_dir() {
        file = Err(ErrorKind::IsADirectory.into());
    }
    let mut file = file.map_err(|error| match error.kind() {
        ErrorKind::NotFound => unusable(&path, &error, "run `tercet migrate` to make it, or name another file"),
        _ => unusable(&path, &error, "name a file that this user may read and write"),
    })?;
    if let Some(kind) = network::share_under(&path) {
        let text = format!("is on a network share ({kind}), where SQLite loses data: put it on a local disk");
        return Err(StoreError::Unusable(format!("the database {} {text}", path.display())));
    }
    let lock = lock(&path)?;
    let mut head = [0; MAGIC.len()];
    if file.metadata().is_ok_and(|file| file.len() > 0) && !(file.read_exact(&mut head).is_ok() && head == *MAGIC) {
        let text = "is not an SQLite database: name another file, or restore it from a backup";
        return Err(StoreError::Unusable(format!("{} {text}", path.display())));
    }
    drop(file);
    let writer = connect(&path, 1, move |sqlite| writer_options(sqlite, options)).await?;
    if migrate {
        let say =
            || tracing::info!(path = %path.display(), "another process is migrating this database: waiting for it");
        tercet_migrations::migrate_saying(&writer, say).await.map_err(schema)?;
    }
    tercet_migrations::check(&writer).await.map_err(schema)?;
    durable(&writer).await?;
    let readers = connect(&path, options.readers.max(1), move |sqlite| reader_options(sqlite, options)).await?;
    let writes = Writer::spawn()
        .map_err(|error| unusable(&path, &error, "let this user start a thread more (see `ulimit -u`)"))?;
    Ok(SqliteStore { file: Arc::new(SqliteFile { writer, readers, writes, path, _lock: lock }) })
}

fn unusable(path: &Path, error: &io::Error, what_to_do: &str) -> StoreError {
    StoreError::Unusable(format!("failed to open the database {}: {error}; {what_to_do}", path.display()))
}

/// The path without links, so that one file has one lock.
fn whole(path: &Path) -> Result<PathBuf, StoreError> {
    let (folder, name) = match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) => (if folder.as_os_str().is_empty() { Path::new(".") } else { folder }, name),
        _ => return Err(unusable(path, &ErrorKind::IsADirectory.into(), "name a file")),
    };
    if path.exists() {
        return path.canonicalize().map_err(|error| unusable(path, &error, "name another file"));
    }
    let folder = folder.canonicalize().map_err(|error| {
        unusable(path, &error, &format!("make the directory {}, or name another file", folder.display()))
    })?;
    Ok(folder.join(name))
}

/// Holds `<file>.lock` for as long as the answer lives; the file itself stays, since removing it would race the next one.
fn lock(path: &Path) -> Result<File, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let lock_path = PathBuf::from(name);
    let mut lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&lock_path)
        .map_err(|error| unusable(&lock_path, &error, "let this user write in that directory"))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(in_use(path, &mut lock)),
        Err(TryLockError::Error(error)) => {
            return Err(unusable(&lock_path, &error, "put the database on a disk with file locks"));
        }
    }
    let noted = lock.set_len(0).and_then(|()| write!(lock, "{}", std::process::id()));
    noted.map_err(|error| unusable(&lock_path, &error, "make room on that disk"))?;
    Ok(lock)
}

fn in_use(path: &Path, lock: &mut File) -> StoreError {
    let mut process = String::new();
    let who = match lock.read_to_string(&mut process) {
        Ok(_) if !process.is_empty() => format!("process {process}"),
        _ => "another process".to_owned(),
    };
    let path = path.display();
    StoreError::InUse(format!(
        "{who} has the database {path} open, and only one may: stop it, talk to it through its API, or name another file"
    ))
}

async fn connect(
    path: &Path, connections: u32,
    settings: impl Fn(SqliteConnectOptions) -> SqliteConnectOptions + Send + Sync + 'static,
) -> Result<DatabaseConnection, StoreError> {
    // The path is set below, past the URL's rules of quoting.
    let mut options = ConnectOptions::new("sqlite:tercet.db");
    let path = path.to_owned();
    options
        .min_connections(1)
        .max_connections(connections)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .sqlx_logging(false)
        .record_stmt_in_spans(false)
        .map_sqlx_sqlite_opts(move |sqlite| {
            settings(sqlite.filename(&path).foreign_keys(false).busy_timeout(BUSY_TIMEOUT))
        });
    Database::connect(options).await.map_err(errors::failed)
}

fn writer_options(sqlite: SqliteConnectOptions, options: SqliteOptions) -> SqliteConnectOptions {
    sqlite
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .statement_cache_capacity(WRITER_STATEMENTS)
        .pragma("cache_size", format!("-{}", options.writer_cache_kib))
        .pragma("temp_store", "MEMORY")
        .pragma("wal_autocheckpoint", options.checkpoint_pages.to_string())
        .pragma("journal_size_limit", LOG_BYTES_MAX)
}

fn reader_options(sqlite: SqliteConnectOptions, options: SqliteOptions) -> SqliteConnectOptions {
    sqlite.pragma("query_only", "ON").pragma("cache_size", format!("-{}", options.reader_cache_kib))
}

/// An acknowledged start survives a power cut only under these two settings, so they are read back.
async fn durable(writer: &DatabaseConnection) -> Result<(), StoreError> {
    let (journal, synchronous) =
        (pragma::<String>(writer, "journal_mode").await?, pragma::<i64>(writer, "synchronous").await?);
    if journal == "wal" && synchronous == 2 {
        return Ok(());
    }
    Err(StoreError::Unusable(format!(
        "the database would not be durable: journal_mode is {journal} instead of wal, synchronous is {synchronous} instead of \
         2 (FULL); put it on a disk where SQLite can use a write-ahead log"
    )))
}

pub(super) async fn pragma<T: sea_orm::TryGetable>(db: &DatabaseConnection, name: &str) -> Result<T, StoreError> {
    let row = db.query_one_raw(Statement::from_string(DbBackend::Sqlite, format!("PRAGMA {name}"))).await;
    let row = row.map_err(errors::failed)?;
    let value = row.map(|row| row.try_get_by_index(0)).transpose().map_err(errors::failed)?;
    value.ok_or_else(|| StoreError::Unusable(format!("this SQLite does not know the setting {name}")))
}
