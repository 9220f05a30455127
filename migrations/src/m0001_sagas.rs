//! Version 1: sagas, their journals, timers and inboxes, and the incarnation that fences writers.

use crate::tables::{bytes, create_index, create_table, name, text};
use sea_orm::{
    DbBackend,
    sea_query::{ColumnDef, ConditionalStatement, Expr, Index, IndexCreateStatement, Table},
};
use sea_orm_migration::prelude::*;

pub(crate) struct Sagas;

impl MigrationName for Sagas {
    fn name(&self) -> &'static str {
        "m0001_sagas"
    }
}

#[expect(elided_lifetimes_in_paths, reason = "async_trait binds `'_` earlier than the trait does")]
#[async_trait::async_trait]
impl MigrationTrait for Sagas {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        sagas(manager).await?;
        journal(manager).await?;
        timers(manager).await?;
        inbox(manager).await?;
        let mut nodes = Table::create();
        nodes
            .table("nodes")
            .col(ColumnDef::new("node").big_integer().not_null().primary_key())
            .col(ColumnDef::new("incarnation").big_integer().not_null());
        create_table(manager, nodes).await
    }
}

/// `retention` is null for a saga that must be kept, 1 for one that may be purged, 2 for one of which only its key's row is left.
async fn sagas(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let mut table = Table::create();
    table
        .table("sagas")
        .col(ColumnDef::new("id").binary_len(16).not_null().primary_key())
        .col(name(manager, "namespace", 64).not_null())
        .col(name(manager, "definition", 64).not_null())
        .col(ColumnDef::new("version").big_integer().not_null())
        .col(name(manager, "saga_key", 255).not_null())
        .col(ColumnDef::new("payload_hash").binary_len(32).not_null())
        .col(ColumnDef::new("parent_id").binary_len(16))
        .col(ColumnDef::new("parent_step").string_len(255))
        .col(ColumnDef::new("status").small_integer().not_null())
        .col(ColumnDef::new("parked").big_integer().not_null())
        .col(ColumnDef::new("attention").boolean().not_null())
        .col(ColumnDef::new("updated").big_integer().not_null())
        .col(ColumnDef::new("wakes").big_integer())
        .col(text(manager, "output"))
        .col(ColumnDef::new("started").big_integer().not_null())
        .col(ColumnDef::new("retention").small_integer());
    create_table(manager, table).await?;
    // The key stands first, so that a list by key alone finds its place in this index too.
    let key = over(&["saga_key", "definition", "namespace"]).unique().take();
    create_index(manager, "sagas", "sagas_key", key).await?;
    create_index(manager, "sagas", "sagas_by_status", over(&["status", "id"])).await?;
    create_index(manager, "sagas", "sagas_by_definition", over(&["definition", "status", "id"])).await?;
    partial(manager, "sagas_parked", [&["id"], &["parked", "id"]], "parked > 0").await?;
    partial(manager, "sagas_attention", [&["id"], &["attention", "id"]], "attention").await?;
    partial(manager, "sagas_retention", [&["retention", "updated"]; 2], "retention IS NOT NULL").await
}

fn over(columns: &[&'static str]) -> IndexCreateStatement {
    let mut index = Index::create();
    for column in columns {
        index.col(*column);
    }
    index
}

/// An index of the first columns over the few rows that fit `condition`; of the second over all rows, where the database has no
/// partial indexes.
async fn partial(
    manager: &SchemaManager<'_>, name: &'static str, columns: [&[&'static str]; 2], condition: &'static str,
) -> Result<(), DbErr> {
    let index = if manager.get_database_backend() == DbBackend::MySql {
        over(columns[1])
    } else {
        over(columns[0]).and_where(Expr::cust(condition)).take()
    };
    create_index(manager, "sagas", name, index).await
}

/// Ordered by rowid on SQLite: batches append whole pages and touch a small index, which writes half of what a table
/// clustered by saga does (each of its sagas' pages, for one row).
async fn journal(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let mut table = Table::create();
    table
        .table("journal")
        .col(ColumnDef::new("saga_id").binary_len(16).not_null())
        .col(ColumnDef::new("seq").big_integer().not_null())
        .col(ColumnDef::new("at").big_integer().not_null())
        .col(bytes(manager, "entry").not_null())
        .primary_key(Index::create().col("saga_id").col("seq"));
    create_table(manager, table).await
}

async fn timers(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let mut table = Table::create();
    table
        .table("timers")
        .col(ColumnDef::new("saga_id").binary_len(16).not_null())
        .col(name(manager, "name", 320).not_null())
        .col(ColumnDef::new("due").big_integer().not_null())
        .col(ColumnDef::new("attempt").big_integer().not_null())
        .primary_key(Index::create().col("saga_id").col("name"));
    if manager.get_database_backend() == DbBackend::Sqlite {
        table.extra("WITHOUT ROWID");
    }
    create_table(manager, table).await?;
    create_index(manager, "timers", "timers_due", over(&["due"])).await
}

/// Its ids are never used twice (AUTOINCREMENT on SQLite): a row is deleted by its id, perhaps long after it was read.
async fn inbox(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let mut table = Table::create();
    table
        .table("inbox")
        .col(ColumnDef::new("id").big_integer().not_null().auto_increment().primary_key())
        .col(ColumnDef::new("saga_id").binary_len(16).not_null())
        .col(ColumnDef::new("at").big_integer().not_null())
        .col(bytes(manager, "message").not_null());
    create_table(manager, table).await
}
