//! Tables and indexes as each database needs them.

use sea_orm::{
    DbBackend, DbErr,
    sea_query::{ColumnDef, IndexCreateStatement, IntoIden, TableCreateStatement},
};
use sea_orm_migration::SchemaManager;
use tercet_database::Exact;

/// Any number of bytes. MySQL's BLOB ends at 64 KB.
pub(crate) fn bytes(manager: &SchemaManager<'_>, name: &'static str) -> ColumnDef {
    let mut column = ColumnDef::new(name);
    match manager.get_database_backend() {
        DbBackend::MySql => column.custom("longblob"),
        _ => column.blob(),
    };
    column
}

/// Any number of characters. MySQL's TEXT ends at 64 KB.
pub(crate) fn text(manager: &SchemaManager<'_>, name: &'static str) -> ColumnDef {
    let mut column = ColumnDef::new(name);
    match manager.get_database_backend() {
        DbBackend::MySql => column.custom("longtext"),
        _ => column.text(),
    };
    column
}

/// A name of so many characters, in the order of its bytes whatever a PostgreSQL database's language.
pub(crate) fn name(manager: &SchemaManager<'_>, name: &'static str, length: u32) -> ColumnDef {
    let mut column = ColumnDef::new(name);
    column.string_len(length);
    if manager.get_database_backend() == DbBackend::Postgres {
        column.extra("COLLATE \"C\"");
    }
    column
}

/// Makes a table; where a migration broke off it may be there.
pub(crate) async fn create_table(manager: &SchemaManager<'_>, mut table: TableCreateStatement) -> Result<(), DbErr> {
    let exact = Exact::of(manager.get_connection()).await?;
    exact.table(&mut table);
    if manager.get_database_backend() == DbBackend::MySql {
        table.if_not_exists();
    }
    manager.create_table(table).await
}

/// Makes an index; where a migration broke off it may be there.
pub(crate) async fn create_index(
    manager: &SchemaManager<'_>, table: &'static str, name: &'static str, mut index: IndexCreateStatement,
) -> Result<(), DbErr> {
    if manager.get_database_backend() == DbBackend::MySql && manager.has_index(table, name).await? {
        return Ok(());
    }
    index.name(name).table(table.into_iden());
    manager.create_index(index).await
}
