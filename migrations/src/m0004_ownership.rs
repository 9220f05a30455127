//! Version 4: several nodes on one database: their leases, who owns which shard or was lent a saga, and answers to what one node
//! asked another.

use crate::tables::{bytes, create_table, name, text};
use sea_orm::{
    ConnectionTrait, DbBackend,
    sea_query::{ColumnDef, Query, Table},
};
use sea_orm_migration::prelude::*;

pub(crate) struct Ownership;

/// As in `tercet_core::SHARDS`, which never changes.
const SHARDS: i16 = 1_024;

impl MigrationName for Ownership {
    fn name(&self) -> &'static str {
        "m0004_ownership"
    }
}

#[expect(elided_lifetimes_in_paths, reason = "async_trait binds `'_` earlier than the trait does")]
#[async_trait::async_trait]
impl MigrationTrait for Ownership {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut leases = Table::create();
        leases
            .table("leases")
            .col(ColumnDef::new("node").big_integer().not_null().primary_key())
            .col(ColumnDef::new("expires").big_integer().not_null())
            .col(name(manager, "label", 255).not_null())
            .col(text(manager, "definitions").not_null());
        create_table(manager, leases).await?;
        let mut shards = Table::create();
        shards
            .table("shards")
            .col(ColumnDef::new("shard").small_integer().not_null().primary_key())
            .col(ColumnDef::new("node").big_integer());
        create_table(manager, shards).await?;
        let mut ownership = Table::create();
        ownership
            .table("ownership")
            .col(ColumnDef::new("one").small_integer().not_null().primary_key())
            .col(ColumnDef::new("version").big_integer().not_null());
        create_table(manager, ownership).await?;
        let mut lent = Table::create();
        lent.table("lent")
            .col(ColumnDef::new("saga_id").binary_len(16).not_null().primary_key())
            .col(ColumnDef::new("node").big_integer().not_null());
        create_table(manager, lent).await?;
        let mut answers = Table::create();
        answers
            .table("answers")
            .col(ColumnDef::new("ticket").big_integer().not_null().primary_key())
            .col(ColumnDef::new("at").big_integer().not_null())
            .col(bytes(manager, "answer").not_null());
        create_table(manager, answers).await?;
        rows(manager).await
    }
}

/// Every shard is there, and nobody's. A process of before, which owned all, owns nothing any more. Where a migration broke off the rows
/// may be there.
async fn rows(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let db = manager.get_connection();
    db.execute(Query::delete().from_table("nodes")).await?;
    if manager.get_database_backend() == DbBackend::MySql {
        db.execute(Query::delete().from_table("shards")).await?;
        db.execute(Query::delete().from_table("ownership")).await?;
    }
    let mut shards = Query::insert();
    shards.into_table("shards").columns(["shard"]);
    for shard in 0..SHARDS {
        shards.values_panic([shard.into()]);
    }
    db.execute(&shards).await?;
    let mut one = Query::insert();
    one.into_table("ownership").columns(["one", "version"]).values_panic([1.into(), 0.into()]);
    db.execute(&one).await.map(drop)
}
