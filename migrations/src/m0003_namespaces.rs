//! Version 3: the index of a definition's sagas begins with their namespace, for lists and counts of one namespace.

use sea_orm::sea_query::Index;
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
        manager.drop_index(Index::drop().name("sagas_by_definition").table("sagas").to_owned()).await?;
        let mut index = Index::create();
        index.name("sagas_of_namespace").table("sagas");
        for column in ["namespace", "definition", "status", "id"] {
            index.col(column);
        }
        manager.create_index(index).await
    }
}
