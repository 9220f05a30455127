//! Every write but a batch's: incarnations, timers, inboxes, definitions, the purge.

use super::{
    SqliteFile, end, errors, reads,
    rows::{self, Rows, Script},
};
use crate::store::{DefinitionRow, InboxId, InboxItem, Incarnation, StoreError, TimerChange};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, QueryResult, Statement, Value};
use tercet_core::Millis;

/// An SQLite file has one node.
pub(in crate::store::sql) const NODE: i64 = 0;

fn statement<const N: usize>(sql: &str, values: [Value; N]) -> Statement {
    Statement::from_sql_and_values(DbBackend::Sqlite, sql, values)
}

/// Runs what is to be written only if no newer incarnation has taken over since, and hands out the rows it answers.
pub(super) async fn fenced(
    tx: &DatabaseTransaction, as_node: Incarnation, then: impl FnOnce(&mut Script),
) -> Result<Vec<QueryResult>, StoreError> {
    let mut script = Script::default();
    // A row of its own even where there is none, so that it is told from those that follow.
    script.push("SELECT (SELECT incarnation FROM nodes WHERE node = ?)", vec![NODE.into()]);
    then(&mut script);
    let mut rows = script.query(tx).await.map_err(errors::failed)?.into_iter();
    let newest = rows.next().map(|row| row.try_get_by_index::<Option<i64>>(0)).transpose().map_err(errors::failed)?;
    // What was written beside it is rolled back.
    if newest.flatten().map(Incarnation) == Some(as_node) { Ok(rows.collect()) } else { Err(StoreError::Fenced) }
}

async fn execute<const N: usize>(
    tx: &DatabaseTransaction, rows: Rows<N>, around: (&str, &str),
) -> Result<(), StoreError> {
    let mut script = Script::default();
    script.add(rows, around);
    script.execute(tx).await.map(drop).map_err(errors::failed)
}

pub(super) async fn raise_incarnation(file: &SqliteFile, from: Option<Incarnation>) -> Result<Incarnation, StoreError> {
    let tx = file.begin().await?;
    if let Some(from) = from
        && let Err(fenced) = fenced(&tx, from, |_| ()).await
    {
        return end(tx, Err(fenced)).await;
    }
    let raise = "INSERT INTO nodes (node, incarnation) VALUES (?, 1) \
                 ON CONFLICT (node) DO UPDATE SET incarnation = incarnation + 1 RETURNING incarnation";
    let raised = tx.query_one_raw(statement(raise, [NODE.into()])).await;
    let raised = raised.and_then(|row| {
        row.ok_or_else(|| DbErr::Type("no incarnation".to_owned())).and_then(|row| row.try_get_by_index(0))
    });
    end(tx, raised.map(Incarnation).map_err(errors::failed)).await
}

pub(super) async fn set_timers(
    file: &SqliteFile, as_node: Incarnation, changes: Vec<TimerChange>,
) -> Result<(), StoreError> {
    let tx = file.begin().await?;
    let done = fenced(&tx, as_node, |then| rows::change_timers(then, changes)).await;
    end(tx, done.map(drop)).await
}

pub(super) async fn deliver(file: &SqliteFile, items: Vec<InboxItem>) -> Result<(), StoreError> {
    let tx = file.begin().await?;
    let items: Rows<3> = items.into_iter().map(rows::inbox).collect();
    let done = execute(&tx, items, rows::INBOX).await;
    end(tx, done).await
}

pub(super) async fn forget_inbox(file: &SqliteFile, ids: Vec<InboxId>) -> Result<(), StoreError> {
    let tx = file.begin().await?;
    let ids: Rows<1> = ids.into_iter().map(rows::inbox_id).collect();
    let done = execute(&tx, ids, rows::INBOX_DELETE).await;
    end(tx, done).await
}

pub(super) async fn register(
    file: &SqliteFile, definitions: Vec<DefinitionRow>,
) -> Result<Vec<DefinitionRow>, StoreError> {
    let tx = file.begin().await?;
    let done = register_in(&tx, definitions).await;
    end(tx, done).await
}

async fn register_in(
    tx: &DatabaseTransaction, definitions: Vec<DefinitionRow>,
) -> Result<Vec<DefinitionRow>, StoreError> {
    let row = |d: &DefinitionRow| -> [Value; 4] {
        let (name, version) = (d.name.as_str(), i64::from(d.version));
        [name.into(), version.into(), d.fingerprint.as_str().into(), d.description.as_str().into()]
    };
    let all: Rows<4> = definitions.iter().map(row).collect();
    let insert = "INSERT INTO definitions (name, version, fingerprint, description) ";
    execute(tx, all, (insert, " ON CONFLICT DO NOTHING")).await?;
    let names: Rows<2> = definitions.iter().map(|d| [d.name.as_str().into(), i64::from(d.version).into()]).collect();
    let select = "SELECT name, version, fingerprint, description FROM definitions WHERE (name, version) IN (";
    let mut others = Vec::new();
    for statement in names.statements(select, ") ORDER BY name, version") {
        for row in tx.query_all_raw(statement).await.map_err(errors::failed)? {
            let found = reads::definition_row(&row)?;
            let same = |d: &DefinitionRow| (&d.name, d.version) == (&found.name, found.version);
            if definitions.iter().any(|d| same(d) && d.fingerprint != found.fingerprint) {
                others.push(found);
            }
        }
    }
    Ok(others)
}

pub(super) async fn purge(file: &SqliteFile, ended: Millis, keys: Millis, limit: u32) -> Result<u64, StoreError> {
    let tx = file.begin().await?;
    let done = purge_in(&tx, ended, keys, limit).await;
    end(tx, done.map_err(errors::failed)).await
}

/// Its `retention` is 1.
pub(super) const PURGE_JOURNALS: &str =
    "SELECT id FROM sagas WHERE retention = 1 AND updated < ? ORDER BY updated LIMIT ?";

/// Its `retention` is 2.
pub(super) const PURGE_KEYS: &str = "DELETE FROM sagas WHERE id IN \
     (SELECT id FROM sagas WHERE retention = 2 AND updated < ? ORDER BY updated LIMIT ?)";

async fn purge_in(tx: &DatabaseTransaction, ended: Millis, keys: Millis, limit: u32) -> Result<u64, DbErr> {
    let found = tx.query_all_raw(statement(PURGE_JOURNALS, [ended.0.into(), i64::from(limit).into()])).await?;
    let id = |row: &QueryResult| row.try_get_by_index::<Vec<u8>>(0);
    let ids = found.iter().map(id).collect::<Result<Vec<_>, _>>()?;
    let mut script = Script::default();
    for sql in [
        "DELETE FROM journal WHERE saga_id IN (",
        "DELETE FROM timers WHERE saga_id IN (",
        "UPDATE sagas SET retention = 2 WHERE id IN (",
    ] {
        let ids: Rows<1> = ids.iter().map(|id| [id.clone().into()]).collect();
        script.add(ids, (sql, ")"));
    }
    script.push(PURGE_KEYS, vec![keys.0.into(), i64::from(limit).into()]);
    script.execute(tx).await?;
    Ok(ids.len() as u64)
}
