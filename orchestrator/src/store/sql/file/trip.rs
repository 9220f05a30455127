//! Statements bound for one trip to the database's thread, packed before their turn has come.
//!
//! SeaORM binds a statement's values when it is run, from a copy of each. Here they are moved, and bound while the batch before is
//! written: the database does not wait for that.

use super::rows::Script;
use sea_orm::{
    ConnAcquireErr, DatabaseConnection, DbErr, RuntimeErr, Value,
    sqlx::{self, Arguments, AssertSqlSafe, sqlite::SqliteArguments},
};
use std::sync::Arc;

/// A script that goes there and back once.
pub(super) struct Trip {
    pub(super) sql: String,
    arguments: SqliteArguments,
}

impl Trip {
    /// Packs a script, if it is one trip.
    pub(super) fn of(script: Script) -> Option<Self> {
        let (sql, values) = script.one_trip()?;
        let mut arguments = SqliteArguments::default();
        arguments.reserve(values.len(), 0);
        values.into_iter().try_for_each(|value| bind(&mut arguments, value)).map(|()| Self { sql, arguments })
    }

    /// Makes it.
    pub(super) async fn make(self, writer: &DatabaseConnection) -> Result<(), DbErr> {
        let connection = writer.get_sqlite_connection_pool().acquire().await;
        let mut connection = connection.map_err(|_| DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed))?;
        let query = sqlx::query_with(AssertSqlSafe(self.sql), self.arguments);
        let done = query.execute(&mut *connection).await;
        done.map(drop).map_err(|error| DbErr::Exec(RuntimeErr::SqlxError(Arc::new(error))))
    }
}

/// The kinds of values that rows have; `None` for another.
fn bind(arguments: &mut SqliteArguments, value: Value) -> Option<()> {
    let bound = match value {
        Value::Bytes(bytes) => arguments.add(bytes),
        Value::String(text) => arguments.add(text),
        Value::BigInt(number) => arguments.add(number),
        Value::BigUnsigned(number) => arguments.add(number.map(i64::try_from).transpose().ok()?),
        Value::SmallInt(number) => arguments.add(number),
        Value::Bool(is) => arguments.add(is),
        _ => return None,
    };
    bound.ok()
}
