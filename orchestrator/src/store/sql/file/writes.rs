//! Every write but a batch's: incarnations, timers, inboxes, definitions, the purge.

use super::{
    SqliteFile, end, errors, reads,
    rows::{self, Rows, Script},
};
use crate::store::{DefinitionRow, InboxId, InboxItem, Incarnation, StoreError, TimerChange};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, QueryResult, Statement, Value};
use tercet_core::Millis;

fn statement<const N: usize>(sql: &str, values: [Value; N]) -> Statement {
    Statement::from_sql_and_values(DbBackend::Sqlite, sql, values)
}

/// Runs what is to be written only if no newer incarnation has taken over since, and hands out the rows it answers.
pub(super) async fn fenced(
    tx: &DatabaseTransaction, as_node: Incarnation, then: impl FnOnce(&mut Script),
) -> Result<Vec<QueryResult>, StoreError> {
    let mut script = Script::default();
    // A row of its own even where there is none, so that it is told from those that follow.
    script.push("SELECT (SELECT incarnation FROM nodes WHERE node = ?)", vec![as_node.node.0.into()]);
    then(&mut script);
    let mut rows = script.query(tx).await.map_err(errors::failed)?.into_iter();
    let newest = rows.next().map(|row| row.try_get_by_index::<Option<i64>>(0)).transpose().map_err(errors::failed)?;
    // What was written beside it is rolled back.
    if newest.flatten() == Some(as_node.number) { Ok(rows.collect()) } else { Err(StoreError::Fenced) }
}

async fn execute<const N: usize>(
    tx: &DatabaseTransaction, rows: Rows<N>, around: (&str, &str),
) -> Result<(), StoreError> {
    let mut script = Script::default();
    script.add(rows, around);
    script.execute(tx).await.map(drop).map_err(errors::failed)
}

/// Whoever had this file before is gone: no two processes open it.
pub(super) async fn join(file: &SqliteFile, first: Incarnation) -> Result<(), StoreError> {
    let tx = file.begin().await?;
    let mut script = Script::default();
    script.push("DELETE FROM nodes", Vec::new());
    let values = vec![first.node.0.into(), first.number.into()];
    script.push("INSERT INTO nodes (node, incarnation) VALUES (?, ?)", values);
    let done = script.execute(&tx).await;
    end(tx, done.map(drop).map_err(errors::failed)).await
}

pub(super) async fn raise(file: &SqliteFile, from: Incarnation, to: Incarnation) -> Result<(), StoreError> {
    let tx = file.begin().await?;
    let values = [to.number, from.node.0, from.number, to.number].map(Value::from);
    let raise = "UPDATE nodes SET incarnation = ? WHERE node = ? AND incarnation IN (?, ?)";
    let raised = tx.execute_raw(statement(raise, values)).await.map_err(errors::failed);
    let done = raised.and_then(|raised| if raised.rows_affected() == 1 { Ok(()) } else { Err(StoreError::Fenced) });
    end(tx, done).await
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
