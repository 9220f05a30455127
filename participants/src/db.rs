//! What every program of the shop does with its database: opening it, making its tables, moving counters under a condition.

use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction,
    DbBackend, DbErr, EntityTrait, IntoActiveModel, Schema, SqliteTransactionMode, TransactionOptions,
    TransactionTrait, TryInsertResult, UpdateMany,
    sea_query::{Expr, ExprTrait, IndexCreateStatement, SimpleExpr},
};
use std::time::Duration;
use tercet_database::{DatabaseUrl, Exact, Meaning, Pool, meaning};
use tercet_participant::database::OpenError as DatabaseError;

/// Declares a table of a participant: a module, private by default, with SeaORM's `Entity`, `Model`, `ActiveModel` and `Column`.
macro_rules! table {
    ($(#[$doc:meta])* $vis:vis $module:ident $name:tt { $($(#[$attr:meta])* $field:ident: $type:ty,)+ }) => {
        $(#[$doc])*
        #[expect(unreachable_pub, reason = "SeaORM's derives want their types public; the module keeps them in")]
        $vis mod $module {
            use super::*;
            use sea_orm::entity::prelude::*;

            #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
            #[sea_orm(table_name = $name)]
            pub struct Model { $($(#[$attr])* pub $field: $type,)+ }

            #[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
            pub enum Relation {}

            impl ActiveModelBehavior for ActiveModel {}
        }
    };
}
pub(crate) use table;

/// Declares an enumeration that is kept in a column as its name in snake case.
macro_rules! states {
    ($(#[$doc:meta])* $vis:vis enum $name:ident { $($(#[$each:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, sea_orm::EnumIter, sea_orm::DeriveActiveEnum,
            serde::Serialize, serde::Deserialize, schemars::JsonSchema,
        )]
        #[sea_orm(rs_type = "String", db_type = "String(sea_orm::sea_query::StringLen::N(32))")]
        #[serde(rename_all = "snake_case")]
        $vis enum $name { $($(#[$each])* #[sea_orm(string_value = $text)] $variant,)+ }

        impl $name {
            /// The state's word in columns, codes and texts.
            #[must_use]
            $vis const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}
pub(crate) use states;

/// Connections of the channel to its database, where that is a server's.
const POOL: Pool = Pool { connections: 8, wait: Duration::from_secs(5) };

/// Opens the database of that URL, which is no participant's. A SQLite file is made when it is not there, and has one connection:
/// writers queue in the pool, first come first served, instead of polling for SQLite's lock.
///
/// # Errors
/// When it cannot be opened or made.
pub async fn open(url: &str) -> Result<DatabaseConnection, DatabaseError> {
    let url: DatabaseUrl = url.parse()?;
    let Some(file) = url.file() else { return Ok(tercet_database::connect(&url, POOL).await?) };
    let mut options = ConnectOptions::new(format!("sqlite://{}?mode=rwc", file.display()));
    options.max_connections(1).sqlx_logging(false);
    let db = Database::connect(options).await.map_err(DatabaseError::Connect)?;
    for pragma in ["PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "PRAGMA busy_timeout=10000"] {
        db.execute_unprepared(pragma).await.map_err(DatabaseError::Connect)?;
    }
    Ok(db)
}

/// An empty database in memory.
///
/// # Errors
/// When it cannot be made.
pub(crate) async fn in_memory() -> Result<DatabaseConnection, DatabaseError> {
    let mut options = ConnectOptions::new("sqlite::memory:");
    // A new connection would be a new, empty database.
    options.max_connections(1).idle_timeout(None).max_lifetime(None).sqlx_logging(false);
    Database::connect(options).await.map_err(DatabaseError::Connect)
}

/// Begins a transaction that writes.
pub(crate) async fn begin(db: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    db.begin_with_options(TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    })
    .await
}

/// Makes the table of `entity`, and its indexes, if it is not there.
pub(crate) async fn create<E: EntityTrait>(db: &impl ConnectionTrait, entity: E) -> Result<(), DbErr> {
    let schema = Schema::new(db.get_database_backend());
    let exact = Exact::of(db).await?;
    db.execute(exact.table(&mut schema.create_table_from_entity(entity)).if_not_exists()).await?;
    for index in schema.create_index_from_entity(entity) {
        create_index(db, index).await?;
    }
    Ok(())
}

/// MySQL's number for *there is an index of that name*: it has no `if not exists`.
const INDEX_THERE: &str = "1061";

/// Makes an index if it is not there.
pub(crate) async fn create_index(db: &impl ConnectionTrait, mut index: IndexCreateStatement) -> Result<(), DbErr> {
    if db.get_database_backend() != DbBackend::MySql {
        index.if_not_exists();
    }
    match db.execute(&index).await {
        Err(error) if db.get_database_backend() == DbBackend::MySql && error.to_string().contains(INDEX_THERE) => {
            Ok(())
        }
        done => done.map(drop),
    }
}

/// A change of one column.
pub(crate) type Change<C> = (C, SimpleExpr);

/// `column = column + n`.
pub(crate) fn plus<C: ColumnTrait>(column: C, n: i64) -> Change<C> {
    (column, Expr::col(column).add(n))
}

/// `column = value`.
pub(crate) fn to<C: ColumnTrait>(column: C, value: impl Into<sea_orm::Value>) -> Change<C> {
    (column, Expr::value(value))
}

/// Updates of several columns at once: `Entity::update_many().changing([..]).filter(..)`.
pub(crate) trait Changing<C> {
    fn changing<const N: usize>(self, changes: [Change<C>; N]) -> Self;
}

impl<E: EntityTrait> Changing<E::Column> for UpdateMany<E> {
    fn changing<const N: usize>(self, changes: [Change<E::Column>; N]) -> Self {
        changes.into_iter().fold(self, |update, (column, value)| update.col_expr(column, value))
    }
}

/// Inserts a row unless one with its key is there. Says whether it did.
///
/// MariaDB and MySQL count a row that was there as one, too; but a row that is refused there leaves its transaction as it was.
pub(crate) async fn insert_new<M, A, E>(db: &impl ConnectionTrait, row: M) -> Result<bool, DbErr>
where
    M: IntoActiveModel<A>,
    A: ActiveModelTrait<Entity = E> + sea_orm::ActiveModelBehavior + Send,
    E: EntityTrait,
{
    let insert = E::insert(row.into_active_model());
    if db.get_database_backend() == DbBackend::MySql {
        return match insert.exec_without_returning(db).await {
            Err(error) if meaning(&error) == Meaning::Taken => Ok(false),
            done => done.map(|_| true),
        };
    }
    let tried = insert.on_conflict_do_nothing().exec_without_returning(db).await?;
    Ok(matches!(tried, TryInsertResult::Inserted(n) if n > 0))
}
