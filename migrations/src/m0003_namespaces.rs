//! Version 3: the index of a definition's sagas begins with their namespace, for lists and counts of one namespace.

use crate::tables::create_index;
use sea_orm::{DbBackend, sea_query::Index};
use sea_orm_migration::prelude::*;

pub(crate) struct Namespaces;

impl MigrationName for Namespaces {
    fn name(&self) -> &'static str {
        "m0003_namespaces"
    }
}

#[expect(elided_lifetimes_in_paths, reason = "async_trait binds `'_` earlier than the trait does")]
#[async_trait::async_trait]
impl MigrationTrait for Namespaces {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Where a migration broke off it may be gone.
        let mysql = manager.get_database_backend() == DbBackend::MySql;
        if !mysql || manager.has_index("sagas", "sagas_by_definition").await? {
            manager.drop_index(Index::drop().name("sagas_by_definition").table("sagas").to_owned()).await?;
        }
        let mut index = Index::create();
        for column in ["namespace", "definition", "status", "id"] {
            index.col(column);
        }
        create_index(manager, "sagas", "sagas_of_namespace", index).await
    }
}
