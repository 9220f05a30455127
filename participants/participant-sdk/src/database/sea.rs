//! The barrier and the outbox on SeaORM: SQLite, PostgreSQL, MariaDB and MySQL.

mod events;
mod open;
mod schema;

pub use open::OpenError;
pub use schema::{SCHEMA_VERSION, SchemaError, ensure_tables};

use super::{Access, Boxed, Database, Fault, RowKey, Tx};
use crate::{
    barrier::Row,
    outbox::{Event, EventFilter, EventNumber, Message, MessageId, Published, Queued, StreamMade},
};
use schema::{BARRIER, EVENTS, OUTBOX};
use sea_orm::{
    Condition, ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, QueryResult, SqliteTransactionMode,
    TransactionOptions, TransactionTrait,
    sea_query::{Expr, ExprTrait, OnConflict, Order, Query},
};
use serde::Serialize;
use tercet_core::{Answer, Millis};

/// The open transaction that a handler gets: give it to SeaORM wherever that asks for a connection.
pub type Transaction = DatabaseTransaction;

/// A participant's database through SeaORM. Cloned handles are the same database.
#[derive(Clone, Debug)]
pub struct SeaOrm {
    writer: DatabaseConnection,
    reader: DatabaseConnection,
}

impl SeaOrm {
    /// Connections of your own. On SQLite `writer` must be a pool of exactly one connection; on a server `reader` may be the same
    /// pool, and it must not lend out a connection that is inside a transaction: [`SeaOrm::open`] sees to that. The tables are made.
    ///
    /// # Errors
    /// When the tables cannot be made, or belong to a newer version.
    pub async fn over(writer: DatabaseConnection, reader: DatabaseConnection) -> Result<Self, OpenError> {
        ensure_tables(&writer).await?;
        Ok(Self { writer, reader })
    }

    /// The connection that writes: for migrations and for the participant's own endpoints. Handlers write through their
    /// transaction alone: on SQLite there is one writer, and it is theirs already.
    #[must_use]
    pub fn writer(&self) -> &DatabaseConnection {
        &self.writer
    }

    /// The connections that read.
    #[must_use]
    pub fn reader(&self) -> &DatabaseConnection {
        &self.reader
    }
}

fn encoded<T: Serialize>(value: &T) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(|error| Fault::Failed(format!("a row cannot be written as JSON: {error}")))
}

fn decoded(body: &str) -> Result<Row, Fault> {
    serde_json::from_str(body).map_err(|error| Fault::Failed(format!("a barrier row cannot be read: {error}")))
}

fn is_row(key: &RowKey) -> Condition {
    Condition::all()
        .add(Expr::col("saga").eq(key.saga.as_bytes().to_vec()))
        .add(Expr::col("step").eq(key.step.as_str()))
}

impl Tx for DatabaseTransaction {
    async fn enter(&self, key: &RowKey) -> Result<Option<Row>, Fault> {
        let insert = Query::insert()
            .into_table(BARRIER)
            .columns(["saga", "step", "state", "body"])
            .values_panic([key.saga.as_bytes().to_vec().into(), key.step.as_str().into(), "".into(), "".into()])
            .on_conflict(OnConflict::columns(["saga", "step"]).do_nothing_on(["saga", "step"]).to_owned())
            .to_owned();
        self.execute(&insert).await?;
        let select = Query::select().column("body").from(BARRIER).cond_where(is_row(key)).lock_exclusive().to_owned();
        let found = self.query_one(&select).await?;
        let found = found.ok_or_else(|| Fault::Conflict("the barrier row went away between insert and read".into()))?;
        // MySQL counts a found row as affected, so the row itself must say that it is new.
        let body: String = found.try_get_by_index(0)?;
        if body.is_empty() { Ok(None) } else { decoded(&body).map(Some) }
    }

    async fn leave(&self, key: &RowKey) -> Result<(), Fault> {
        let empty = is_row(key).add(Expr::col("body").eq(""));
        let delete = Query::delete().from_table(BARRIER).cond_where(empty).to_owned();
        self.execute(&delete).await?;
        Ok(())
    }

    async fn put(&self, key: &RowKey, row: &Row) -> Result<(), Fault> {
        let update = Query::update()
            .table(BARRIER)
            .value("state", row.state())
            .value("ages_from", row.ages_from().map(|from| from.0))
            .value("body", encoded(row)?)
            .cond_where(is_row(key))
            .to_owned();
        match self.execute(&update).await?.rows_affected() {
            1 => Ok(()),
            rows => Err(Fault::Failed(format!("a barrier row was written {rows} times instead of once"))),
        }
    }

    async fn queue(&self, message: &Message) -> Result<(), Fault> {
        let insert =
            Query::insert().into_table(OUTBOX).columns(["message"]).values_panic([encoded(message)?.into()]).to_owned();
        self.execute(&insert).await?;
        Ok(())
    }

    async fn publish(&self, event: &Event) -> Result<(), Fault> {
        let insert = Query::insert()
            .into_table(EVENTS)
            .columns(["subject", "version", "kind", "at_ms", "data"])
            .values_panic([
                event.subject.0.as_str().into(),
                event.version.0.into(),
                event.kind.as_str().into(),
                event.at.0.into(),
                encoded(&event.data)?.into(),
            ])
            .to_owned();
        self.execute(&insert).await?;
        Ok(())
    }

    async fn nested(&self) -> Result<Self, Fault> {
        Ok(self.begin().await?)
    }

    async fn commit(self) -> Result<(), Fault> {
        Ok(Self::commit(self).await?)
    }

    async fn rollback(self) -> Result<(), Fault> {
        Ok(Self::rollback(self).await?)
    }
}

fn queued(row: &QueryResult) -> Result<Queued, Fault> {
    let text: String = row.try_get_by_index(1)?;
    let message = serde_json::from_str(&text).map_err(|error| format!("it cannot be read: {error}"));
    Ok(Queued { id: MessageId(row.try_get_by_index(0)?), message })
}

impl Database for SeaOrm {
    type Tx = DatabaseTransaction;

    async fn begin(&self, access: Access) -> Result<DatabaseTransaction, Fault> {
        let writes = access == Access::Write;
        let connection = if writes { &self.writer } else { &self.reader };
        if writes && connection.get_database_backend() == DbBackend::Sqlite {
            let immediate = Some(SqliteTransactionMode::Immediate);
            let options = TransactionOptions { sqlite_transaction_mode: immediate, ..TransactionOptions::default() };
            return Ok(connection.begin_with_options(options).await?);
        }
        Ok(connection.begin().await?)
    }

    fn shelter(&self, work: Boxed<'static, Answer>) -> Boxed<'static, Option<Answer>> {
        // A `begin` that is cancelled can leave a pooled connection inside its transaction, so a call runs to its end.
        let task = tokio::spawn(work);
        Box::pin(async move { task.await.ok() })
    }

    async fn purge(&self, before: Millis, limit: u32) -> Result<u32, Fault> {
        let aged = || Condition::all().add(Expr::col("ages_from").lt(before.0));
        let select = Query::select()
            .columns(["saga", "step"])
            .from(BARRIER)
            .cond_where(aged())
            .order_by("ages_from", Order::Asc)
            .limit(u64::from(limit))
            .to_owned();
        let mut dropped = 0;
        for row in self.reader.query_all(&select).await? {
            let (saga, step): (Vec<u8>, String) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
            let this = aged().add(Expr::col("saga").eq(saga)).add(Expr::col("step").eq(step));
            let delete = Query::delete().from_table(BARRIER).cond_where(this).to_owned();
            dropped += self.writer.execute(&delete).await?.rows_affected();
        }
        Ok(u32::try_from(dropped).unwrap_or(limit))
    }

    async fn outbox(&self, after: Option<MessageId>, limit: u32) -> Result<Vec<Queued>, Fault> {
        let select = Query::select()
            .columns(["id", "message"])
            .from(OUTBOX)
            .and_where(Expr::col("buried").is_null())
            .and_where_option(after.map(|id| Expr::col("id").gt(id.0)))
            .order_by("id", Order::Asc)
            .limit(u64::from(limit))
            .to_owned();
        self.reader.query_all(&select).await?.iter().map(queued).collect()
    }

    async fn outbox_delete(&self, id: MessageId) -> Result<(), Fault> {
        let delete = Query::delete().from_table(OUTBOX).and_where(Expr::col("id").eq(id.0)).to_owned();
        self.writer.execute(&delete).await?;
        Ok(())
    }

    async fn outbox_bury(&self, id: MessageId, reason: &str) -> Result<(), Fault> {
        // PostgreSQL keeps no U+0000 in a text.
        let reason = reason.replace('\0', "\u{fffd}");
        let update =
            Query::update().table(OUTBOX).value("buried", reason).and_where(Expr::col("id").eq(id.0)).to_owned();
        self.writer.execute(&update).await?;
        Ok(())
    }

    async fn outbox_buried(&self, limit: u32) -> Result<Vec<(Queued, String)>, Fault> {
        let select = Query::select()
            .columns(["id", "message", "buried"])
            .from(OUTBOX)
            .and_where(Expr::col("buried").is_not_null())
            .order_by("id", Order::Asc)
            .limit(u64::from(limit))
            .to_owned();
        let rows = self.reader.query_all(&select).await?;
        rows.iter().map(|row| Ok((queued(row)?, row.try_get_by_index(2)?))).collect()
    }

    async fn events(&self, wanted: &EventFilter, limit: u32) -> Result<Vec<Published>, Fault> {
        events::find(&self.reader, wanted, limit).await
    }

    async fn events_untaken(&self, after: Option<EventNumber>, limit: u32) -> Result<Vec<Published>, Fault> {
        events::untaken(&self.reader, after, limit).await
    }

    async fn events_take(&self, numbers: &[EventNumber], stream: StreamMade, now: Millis) -> Result<(), Fault> {
        events::take(&self.writer, numbers, stream, now).await
    }

    async fn events_untake(&self, stream: StreamMade) -> Result<u64, Fault> {
        events::untake(&self.writer, stream).await
    }

    async fn events_purge(&self, before: Millis, limit: u32) -> Result<u32, Fault> {
        let aged = events::aged(&self.reader, before, limit).await?;
        events::delete(&self.writer, &aged).await
    }
}
