//! The SDK's own tables in a participant's database, with their version in a row, so that a later version can migrate them.

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, SqliteTransactionMode,
    TransactionOptions, TransactionTrait,
    sea_query::{ColumnDef, Index, IndexCreateStatement, OnConflict, Query, Table, TableCreateStatement},
};

pub(super) const BARRIER: &str = "tercet_barrier";
pub(super) const OUTBOX: &str = "tercet_outbox";
pub(super) const EVENTS: &str = "tercet_events";
const VERSION: &str = "tercet_participant";

/// The version of the SDK's tables that this code reads and writes: 2 has the events. Version 1 would change rows without
/// publishing it, so it is kept from tables of version 2.
pub const SCHEMA_VERSION: i32 = 2;

/// Why the SDK's tables cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The database failed.
    #[error("failed to make the participant's tables: {0}")]
    Database(#[from] DbErr),
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
    let sqlite = database.get_database_backend() == DbBackend::Sqlite;
    let mode = sqlite.then_some(SqliteTransactionMode::Immediate);
    let options = TransactionOptions { sqlite_transaction_mode: mode, ..TransactionOptions::default() };
    let tx = database.begin_with_options(options).await?;
    create(&tx).await?;
    let select = Query::select().column("version").from(VERSION).to_owned();
    let found = tx.query_one(&select).await?.map(|row| row.try_get_by_index::<i32>(0)).transpose()?;
    if let Some(found) = found.filter(|&found| found > SCHEMA_VERSION) {
        tx.rollback().await?;
        return Err(SchemaError::Newer { found });
    }
    let raise = Query::update().table(VERSION).value("version", SCHEMA_VERSION).to_owned();
    tx.execute(&raise).await?;
    Ok(tx.commit().await?)
}

async fn create(tx: &DatabaseTransaction) -> Result<(), DbErr> {
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
    tx.execute(&barrier(tx.get_database_backend())).await?;
    if tx.get_database_backend() != DbBackend::MySql {
        let ages = ages().if_not_exists().table(BARRIER).to_owned();
        tx.execute(&ages).await?;
    }
    tx.execute(&outbox(tx.get_database_backend())).await?;
    tx.execute(&events(tx.get_database_backend())).await?;
    Ok(())
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
    let mut step = ColumnDef::new("step").string_len(255).not_null().to_owned();
    let mut table = Table::create();
    if backend == DbBackend::MySql {
        // There a text compares without regard to case, and an index cannot be made `if not exists`.
        step.extra("CHARACTER SET utf8mb4 COLLATE utf8mb4_bin");
        table.index(&mut ages());
    }
    table
        .table(BARRIER)
        .if_not_exists()
        .col(ColumnDef::new("saga").binary_len(16).not_null())
        .col(step)
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
    let mut subject = ColumnDef::new("subject").string_len(255).not_null().to_owned();
    if backend == DbBackend::MySql {
        subject.extra("CHARACTER SET utf8mb4 COLLATE utf8mb4_bin");
    }
    Table::create()
        .table(EVENTS)
        .if_not_exists()
        .col(ColumnDef::new("number").big_integer().not_null().auto_increment().primary_key())
        .col(subject)
        .col(ColumnDef::new("version").big_integer().not_null())
        .col(ColumnDef::new("kind").string_len(64).not_null())
        .col(ColumnDef::new("at_ms").big_integer().not_null())
        .col(json("data", backend).not_null())
        .index(Index::create().name("tercet_events_version").unique().col("subject").col("version"))
        .to_owned()
}
