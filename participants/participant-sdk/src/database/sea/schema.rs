//! The SDK's own tables in a participant's database, with their version in a row, so that a later version can migrate them.

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, SqliteTransactionMode,
    TransactionOptions, TransactionTrait,
    sea_query::{ColumnDef, Index, OnConflict, Query, Table},
};

pub(super) const BARRIER: &str = "tercet_barrier";
pub(super) const OUTBOX: &str = "tercet_outbox";
const VERSION: &str = "tercet_participant";

/// The version of the SDK's tables that this code reads and writes.
pub const SCHEMA_VERSION: i32 = 1;

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

/// Makes the barrier's and the outbox's tables where they are missing; several may call it at once.
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
    let barrier = Table::create()
        .table(BARRIER)
        .if_not_exists()
        .col(ColumnDef::new("saga").binary_len(16).not_null())
        .col(ColumnDef::new("step").string_len(255).not_null())
        .col(ColumnDef::new("state").string_len(16).not_null())
        .col(ColumnDef::new("ages_from").big_integer().null())
        .col(ColumnDef::new("body").text().not_null())
        .primary_key(Index::create().col("saga").col("step"))
        .to_owned();
    tx.execute(&barrier).await?;
    if tx.get_database_backend() == DbBackend::Sqlite {
        let ages =
            Index::create().if_not_exists().name("tercet_barrier_ages").table(BARRIER).col("ages_from").to_owned();
        tx.execute(&ages).await?;
    }
    let outbox = Table::create()
        .table(OUTBOX)
        .if_not_exists()
        .col(ColumnDef::new("id").big_integer().not_null().auto_increment().primary_key())
        .col(ColumnDef::new("message").text().not_null())
        .col(ColumnDef::new("buried").text().null())
        .to_owned();
    tx.execute(&outbox).await?;
    Ok(())
}
