//! Version 2: registered definitions, and what operators did.

use crate::tables::{create_index, create_table, name, text};
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
            .col(name(manager, "name", 64).not_null())
            .col(ColumnDef::new("version").big_integer().not_null())
            .col(ColumnDef::new("fingerprint").string_len(128).not_null())
            .col(text(manager, "description").not_null())
            .primary_key(Index::create().col("name").col("version"));
        create_table(manager, definitions).await?;
        let mut audit = Table::create();
        audit
            .table("audit")
            .col(ColumnDef::new("id").big_integer().not_null().auto_increment().primary_key())
            .col(ColumnDef::new("saga_id").binary_len(16).not_null())
            .col(ColumnDef::new("at").big_integer().not_null())
            .col(text(manager, "actor").not_null())
            .col(text(manager, "action").not_null())
            .col(text(manager, "reason").not_null());
        create_table(manager, audit).await?;
        create_index(manager, "audit", "audit_of_saga", Index::create().col("saga_id").col("id").take()).await
    }
}
