//! Tercet's database schema: written migrations, run by one process at a time, and the check that a program fits them.
//!
//! Changes expand first and contract a release later, so that two releases can share one database. MariaDB and MySQL commit each
//! statement that changes a schema by itself: there a migration that broke off goes on where it stopped.

mod m0001_sagas;
mod m0002_registry;
mod m0003_namespaces;
mod m0004_ownership;
mod tables;

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbErr,
    sea_query::{DynIden, IntoIden, Order, Query},
};
use sea_orm_migration::{MigrationTrait, MigratorTrait, SchemaManager};
use std::time::Duration;
use tercet_database::{AloneError, alone};

const TABLE: &str = "tercet_migrations";

/// How long [`migrate`] waits for another process that migrates the same database.
const WAIT_MAX: Duration = Duration::from_secs(60);

struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_sagas::Sagas),
            Box::new(m0002_registry::Registry),
            Box::new(m0003_namespaces::Namespaces),
            Box::new(m0004_ownership::Ownership),
        ]
    }

    /// Apart from the migrations of the program that this database may also serve.
    fn migration_table_name() -> DynIden {
        TABLE.into_iden()
    }
}

/// What [`migrate`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The migrations applied now, in order; none when the schema was up to date.
    pub applied: Vec<String>,
    /// The schema's version now.
    pub version: u32,
    /// Another process was migrating this database, and this one waited for it.
    pub waited: bool,
}

/// Where a database stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Applied migrations that this program knows, in order.
    pub applied: Vec<String>,
    /// Those it knows and the database lacks, in order.
    pub pending: Vec<String>,
    /// Those in the database that this program does not know: a newer one's.
    pub unknown: Vec<String>,
}

/// Why a database cannot be migrated, or not be used.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// It has no Tercet table.
    #[error("the database has no Tercet tables: run `tercet migrate` first")]
    Empty,
    /// It lacks migrations that this program needs.
    #[error("the database has schema version {found}, this program needs {needed}: run `tercet migrate` first")]
    Older {
        /// The database's version.
        found: u32,
        /// This program's.
        needed: u32,
    },
    /// A newer program has migrated it.
    #[error(
        "the database has schema version {found} ({name}), this program knows up to {known}: \
         run the newer program, or restore the backup from before the upgrade"
    )]
    Newer {
        /// The database's version.
        found: u32,
        /// The migration's name.
        name: String,
        /// This program's version.
        known: u32,
    },
    /// Somebody else's migration did not end in time; the database is as it was.
    #[error("another process has been migrating this database for {} seconds: wait for it to end, then try again", WAIT_MAX.as_secs())]
    Waited,
    /// The database itself failed; a migration that was under way is rolled back.
    #[error("the database failed: {0}")]
    Database(#[from] DbErr),
}

impl From<AloneError> for MigrateError {
    fn from(error: AloneError) -> Self {
        match error {
            AloneError::Waited(_) => Self::Waited,
            AloneError::Database(error) => Self::Database(error),
        }
    }
}

/// The schema version that this program knows and needs.
#[must_use]
pub fn version() -> u32 {
    names().last().map_or(0, |name| number(name))
}

fn names() -> Vec<String> {
    Migrator::migrations().iter().map(|migration| migration.name().to_owned()).collect()
}

/// The version in a migration's name: 2 in `m0002_registry`.
fn number(name: &str) -> u32 {
    name.trim_start_matches('m').split('_').next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// Applies what is missing, in one transaction that no other process can share; waits for one that is at it. On MariaDB and MySQL it
/// takes two connections.
///
/// # Errors
/// When the database is a newer program's, when another process migrates it for too long, or when it fails: nothing is applied.
pub async fn migrate(db: &DatabaseConnection) -> Result<Report, MigrateError> {
    migrate_saying(db, || {}).await
}

/// As [`migrate`]; calls `waiting` once if another process is at it.
///
/// # Errors
/// As [`migrate`].
pub async fn migrate_saying(db: &DatabaseConnection, waiting: impl FnOnce() + Send) -> Result<Report, MigrateError> {
    let alone = alone(db, TABLE, WAIT_MAX, waiting).await?;
    let before = status_of(alone.tx()).await?;
    refuse_newer(&before)?;
    Migrator::up(alone.tx(), None).await?;
    let waited = alone.waited();
    alone.commit().await?;
    Ok(Report { applied: before.pending, version: version(), waited })
}

/// What is applied and what is not; changes nothing.
///
/// # Errors
/// When the database fails.
pub async fn status(db: &DatabaseConnection) -> Result<Status, MigrateError> {
    Ok(status_of(db).await?)
}

async fn status_of<C: ConnectionTrait>(db: &C) -> Result<Status, DbErr>
where
    for<'c> &'c C: sea_orm_migration::IntoSchemaManagerConnection<'c>,
{
    let recorded = if SchemaManager::new(db).has_table(TABLE).await? { recorded(db).await? } else { Vec::new() };
    let known = names();
    let (applied, pending): (Vec<_>, Vec<_>) = known.iter().cloned().partition(|name| recorded.contains(name));
    let unknown = recorded.into_iter().filter(|name| !known.contains(name)).collect();
    Ok(Status { applied, pending, unknown })
}

async fn recorded<C: ConnectionTrait>(db: &C) -> Result<Vec<String>, DbErr> {
    let select = Query::select().column("version").from(TABLE).order_by("version", Order::Asc).take();
    db.query_all(&select).await?.iter().map(|row| row.try_get_by_index(0)).collect()
}

fn refuse_newer(status: &Status) -> Result<(), MigrateError> {
    match status.unknown.last() {
        Some(name) => Err(MigrateError::Newer { found: number(name), name: name.clone(), known: version() }),
        None => Ok(()),
    }
}

/// Refuses a database that this program cannot work on; changes nothing.
///
/// # Errors
/// When it has no Tercet tables, an older or a newer schema (each says what to do), or fails.
pub async fn check(db: &DatabaseConnection) -> Result<(), MigrateError> {
    let status = status(db).await?;
    refuse_newer(&status)?;
    if status.applied.is_empty() {
        return Err(MigrateError::Empty);
    }
    if !status.pending.is_empty() {
        let found = status.applied.last().map_or(0, |name| number(name));
        return Err(MigrateError::Older { found, needed: version() });
    }
    Ok(())
}
