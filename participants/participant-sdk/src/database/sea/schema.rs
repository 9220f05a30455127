//! The SDK's own tables in a participant's database, with their version in a row, so that a later version can migrate them.

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, Statement,
    sea_query::{ColumnDef, Index, IndexCreateStatement, OnConflict, Query, Table, TableCreateStatement},
};
use std::time::Duration;
use tercet_database::{AloneError, Exact, alone};

pub(super) const BARRIER: &str = "tercet_barrier";
pub(super) const OUTBOX: &str = "tercet_outbox";
pub(super) const EVENTS: &str = "tercet_events";
const VERSION: &str = "tercet_participant";

/// How long to wait for another process that makes the tables.
const PATIENCE: Duration = Duration::from_secs(60);

/// The version of the SDK's tables that this code reads and writes: 2 has the events, 3 knows which of them a stream has taken. Version 1
/// would change rows without publishing it, so it is kept from later tables.
pub const SCHEMA_VERSION: i32 = 3;

/// Why the SDK's tables cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The database failed.
    #[error("failed to make the participant's tables: {0}")]
    Database(#[from] DbErr),
    /// Another process kept its hand on them for too long, or the database failed.
    #[error("failed to make the participant's tables: {0}")]
    Alone(#[from] AloneError),
    /// A newer program wrote them.
    #[error(
        "the participant's tables have version {found}, this program knows version {SCHEMA_VERSION}: use the newer program, it has \
         written here before"
    )]
    Newer {
        /// The version found.
        found: i32,
    },
}

/// Makes the barrier's, the outbox's and the events' tables where they are missing; several may call it at once.
///
/// # Errors
/// When the database fails, or the tables belong to a newer version: nothing was changed then.
pub async fn ensure_tables(database: &DatabaseConnection) -> Result<(), SchemaError> {
    let alone = alone(database, VERSION, PATIENCE, || {
        tracing::info!("another process is making this participant's tables: waiting for it");
    });
    let alone = alone.await?;
    match bring_up(alone.tx()).await {
        Ok(()) => Ok(alone.commit().await?),
        Err(error) => {
            alone.rollback().await?;
            Err(error)
        }
    }
}

/// Where a change of the schema commits by itself (MariaDB, MySQL), each of these may be found done.
async fn bring_up(tx: &DatabaseTransaction) -> Result<(), SchemaError> {
    create_version(tx).await?;
    let select = Query::select().column("version").from(VERSION).to_owned();
    let found = tx.query_one(&select).await?.map(|row| row.try_get_by_index::<i32>(0)).transpose()?;
    if let Some(found) = found.filter(|&found| found > SCHEMA_VERSION) {
        return Err(SchemaError::Newer { found });
    }
    create(tx).await?;
    if found == Some(2) {
        add_taken(tx).await?;
    }
    if tx.get_database_backend() != DbBackend::MySql {
        tx.execute(&ages().if_not_exists().table(BARRIER).to_owned()).await?;
        tx.execute(&taken().if_not_exists().table(EVENTS).to_owned()).await?;
    }
    let raise = Query::update().table(VERSION).value("version", SCHEMA_VERSION).to_owned();
    tx.execute(&raise).await?;
    Ok(())
}

async fn create_version(tx: &DatabaseTransaction) -> Result<(), DbErr> {
    let version = Table::create()
        .table(VERSION)
        .if_not_exists()
        .col(ColumnDef::new("only").integer().not_null().primary_key())
        .col(ColumnDef::new("version").integer().not_null())
        .to_owned();
    tx.execute(&version).await?;
    let insert = Query::insert()
        .into_table(VERSION)
        .columns(["only", "version"])
        .values_panic([1.into(), SCHEMA_VERSION.into()])
        .on_conflict(OnConflict::column("only").do_nothing_on(["only"]).to_owned())
        .to_owned();
    tx.execute(&insert).await?;
    Ok(())
}

async fn create(tx: &DatabaseTransaction) -> Result<(), DbErr> {
    let (backend, exact) = (tx.get_database_backend(), Exact::of(tx).await?);
    tx.execute(exact.table(&mut barrier(backend))).await?;
    tx.execute(exact.table(&mut outbox(backend))).await?;
    tx.execute(exact.table(&mut events(backend))).await?;
    Ok(())
}

/// What version 3 has more than version 2.
async fn add_taken(tx: &DatabaseTransaction) -> Result<(), DbErr> {
    if tx.get_database_backend() != DbBackend::MySql {
        for mut column in [taken_by(), taken_at()] {
            tx.execute(Table::alter().table(EVENTS).add_column(&mut column)).await?;
        }
        return Ok(());
    }
    let is_there = "SELECT 1 FROM information_schema.columns WHERE table_schema = DATABASE() \
                    AND table_name = 'tercet_events' AND column_name = 'taken_at_ms'";
    if tx.query_one_raw(Statement::from_string(DbBackend::MySql, is_there)).await?.is_none() {
        let all_at_once = "ALTER TABLE tercet_events ADD COLUMN taken_by bigint NULL, \
                           ADD COLUMN taken_at_ms bigint NULL, ADD INDEX tercet_events_taken (taken_at_ms, number)";
        tx.execute_unprepared(all_at_once).await?;
    }
    Ok(())
}

fn taken_by() -> ColumnDef {
    ColumnDef::new("taken_by").big_integer().null().to_owned()
}

fn taken_at() -> ColumnDef {
    ColumnDef::new("taken_at_ms").big_integer().null().to_owned()
}

/// What is not taken yet, in its order, and what was taken long ago.
fn taken() -> IndexCreateStatement {
    Index::create().name("tercet_events_taken").col("taken_at_ms").col("number").to_owned()
}

fn ages() -> IndexCreateStatement {
    Index::create().name("tercet_barrier_ages").col("ages_from").to_owned()
}

/// JSON as text. MySQL's TEXT ends at 64 KB, a reply does not.
fn json(name: &'static str, backend: DbBackend) -> ColumnDef {
    let mut column = ColumnDef::new(name);
    match backend {
        DbBackend::MySql => column.custom("longtext"),
        _ => column.text(),
    };
    column
}

fn barrier(backend: DbBackend) -> TableCreateStatement {
    let mut table = Table::create();
    if backend == DbBackend::MySql {
        // There an index cannot be made `if not exists`.
        table.index(&mut ages());
    }
    table
        .table(BARRIER)
        .if_not_exists()
        .col(ColumnDef::new("saga").binary_len(16).not_null())
        .col(ColumnDef::new("step").string_len(255).not_null())
        .col(ColumnDef::new("state").string_len(16).not_null())
        .col(ColumnDef::new("ages_from").big_integer().null())
        .col(json("body", backend).not_null())
        .primary_key(Index::create().col("saga").col("step"))
        .to_owned()
}

fn outbox(backend: DbBackend) -> TableCreateStatement {
    Table::create()
        .table(OUTBOX)
        .if_not_exists()
        .col(ColumnDef::new("id").big_integer().not_null().auto_increment().primary_key())
        .col(json("message", backend).not_null())
        .col(json("buried", backend).null())
        .to_owned()
}

fn events(backend: DbBackend) -> TableCreateStatement {
    let mut table = Table::create();
    if backend == DbBackend::MySql {
        table.index(&mut taken());
    }
    table
        .table(EVENTS)
        .if_not_exists()
        .col(ColumnDef::new("number").big_integer().not_null().auto_increment().primary_key())
        .col(ColumnDef::new("subject").string_len(255).not_null())
        .col(ColumnDef::new("version").big_integer().not_null())
        .col(ColumnDef::new("kind").string_len(64).not_null())
        .col(ColumnDef::new("at_ms").big_integer().not_null())
        .col(json("data", backend).not_null())
        .col(taken_by())
        .col(taken_at())
        .index(Index::create().name("tercet_events_version").unique().col("subject").col("version"))
        .to_owned()
}
