//! The rows of events: found, and what of them a stream has taken.

use super::schema::EVENTS;
use crate::{
    database::Fault,
    outbox::{Event, EventFilter, EventNumber, EventVersion, Published, StreamMade, Subject},
};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, QueryResult,
    sea_query::{Expr, ExprTrait, Order, Query, SelectStatement},
};
use tercet_core::Millis;
use tercet_database::lengths::filled;

fn select(after: Option<EventNumber>, limit: u32) -> SelectStatement {
    Query::select()
        .columns(["number", "subject", "version", "kind", "at_ms", "data"])
        .from(EVENTS)
        .and_where_option(after.map(|after| Expr::col("number").gt(after.0)))
        .order_by("number", Order::Asc)
        .limit(u64::from(limit))
        .to_owned()
}

fn published(row: &QueryResult) -> Result<Published, Fault> {
    let data: String = row.try_get_by_index(5)?;
    let data = serde_json::from_str(&data)
        .map_err(|error| Fault::Failed(format!("an event's data cannot be read: {error}")))?;
    let event = Event {
        subject: Subject(row.try_get_by_index(1)?),
        version: EventVersion(row.try_get_by_index(2)?),
        kind: row.try_get_by_index(3)?,
        at: Millis(row.try_get_by_index(4)?),
        data,
    };
    Ok(Published { number: EventNumber(row.try_get_by_index(0)?), event })
}

pub(super) async fn find(
    database: &DatabaseConnection, wanted: &EventFilter, limit: u32,
) -> Result<Vec<Published>, Fault> {
    let mut select = select(wanted.after, limit);
    select
        .and_where_option(wanted.subject.as_ref().map(|subject| Expr::col("subject").eq(subject.0.as_str())))
        .and_where_option(wanted.since.map(|since| Expr::col("at_ms").gte(since.0)));
    database.query_all(&select).await?.iter().map(published).collect()
}

/// A queue: an event that is committed late, under a low number, is found all the same.
pub(super) async fn untaken(
    database: &DatabaseConnection, after: Option<EventNumber>, limit: u32,
) -> Result<Vec<Published>, Fault> {
    let mut select = select(after, limit);
    select.and_where(Expr::col("taken_at_ms").is_null());
    database.query_all(&select).await?.iter().map(published).collect()
}

pub(super) async fn take(
    database: &DatabaseConnection, numbers: &[EventNumber], stream: StreamMade, now: Millis,
) -> Result<(), Fault> {
    if numbers.is_empty() {
        return Ok(());
    }
    let update = Query::update()
        .table(EVENTS)
        .value("taken_by", stream.0)
        .value("taken_at_ms", now.0)
        .and_where(Expr::col("number").is_in(filled(numbers.iter().map(|number| number.0))))
        .to_owned();
    database.execute(&update).await?;
    Ok(())
}

pub(super) async fn untake(database: &DatabaseConnection, stream: StreamMade) -> Result<u64, Fault> {
    let update = Query::update()
        .table(EVENTS)
        .value("taken_by", None::<i64>)
        .value("taken_at_ms", None::<i64>)
        .and_where(Expr::col("taken_by").ne(stream.0))
        .to_owned();
    Ok(database.execute(&update).await?.rows_affected())
}

pub(super) async fn aged(database: &DatabaseConnection, before: Millis, limit: u32) -> Result<Vec<EventNumber>, Fault> {
    let select = Query::select()
        .column("number")
        .from(EVENTS)
        .and_where(Expr::col("taken_at_ms").lt(before.0))
        .order_by("taken_at_ms", Order::Asc)
        .limit(u64::from(limit))
        .to_owned();
    let rows = database.query_all(&select).await?;
    rows.iter().map(|row| Ok(EventNumber(row.try_get_by_index(0)?))).collect()
}

pub(super) async fn delete(database: &DatabaseConnection, numbers: &[EventNumber]) -> Result<u32, Fault> {
    if numbers.is_empty() {
        return Ok(0);
    }
    let delete = Query::delete()
        .from_table(EVENTS)
        .and_where(Expr::col("number").is_in(filled(numbers.iter().map(|number| number.0))))
        .to_owned();
    Ok(u32::try_from(database.execute(&delete).await?.rows_affected()).unwrap_or(u32::MAX))
}
