//! Version 2: registered definitions, and what operators did.

use sea_orm::sea_query::{ColumnDef, Index, Table};
use sea_orm_migration::prelude::*;

pub(crate) struct Registry;

impl MigrationName for Registry {
    fn name(&self) -> &'static str {
        "m0002_registry"
    }
}

#[expect(elided_lifetimes_in_paths, reason = "async_trait binds `'_` earlier than the trait does")]
#[async_trait::async_trait]
impl MigrationTrait for Registry {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut definitions = Table::create();
        definitions
            .table("definitions")
            .col(ColumnDef::new("name").string_len(64).not_null())
            .col(ColumnDef::new("version").big_integer().not_null())
            .col(ColumnDef::new("fingerprint").string_len(128).not_null())
            .col(ColumnDef::new("description").text().not_null())
            .primary_key(Index::create().col("name").col("version"));
        manager.create_table(definitions).await?;
        let mut audit = Table::create();
        audit
            .table("audit")
            .col(ColumnDef::new("id").big_integer().not_null().auto_increment().primary_key())
            .col(ColumnDef::new("saga_id").binary_len(16).not_null())
            .col(ColumnDef::new("at").big_integer().not_null())
            .col(ColumnDef::new("actor").text().not_null())
            .col(ColumnDef::new("action").text().not_null())
            .col(ColumnDef::new("reason").text().not_null());
        manager.create_table(audit).await?;
        manager.create_index(Index::create().name("audit_of_saga").table("audit").col("saga_id").col("id").take()).await
    }
}
