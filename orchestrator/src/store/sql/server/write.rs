//! Every write but a batch's: incarnations, timers, inboxes, definitions, the purge.

use super::{
    Server, apply,
    dialect::{self, Dialect, Many},
    end, errors,
};
use crate::store::{
    DefinitionRow, InboxId, InboxItem, Incarnation, StoreError, TimerChange, TimerName, TimerRow,
    sql::{reads, rows},
};
use sea_orm::{ConnectionTrait, DatabaseTransaction, QueryResult, Value};
use std::collections::BTreeMap;
use tercet_core::{Millis, SagaId};

/// Every process of a store that one process at a time works on.
const NODE: i64 = 0;

/// Goes on only if no newer incarnation has taken over since, and keeps one from doing so until this transaction ends.
pub(super) async fn fence(tx: &DatabaseTransaction, dialect: Dialect, as_node: Incarnation) -> Result<(), StoreError> {
    let select = format!("SELECT incarnation FROM nodes WHERE node = ?{}", dialect.lock_shared());
    match number(tx, dialect, &select, vec![NODE.into()]).await? {
        Some(newest) if newest == as_node.0 => Ok(()),
        _ => Err(StoreError::Fenced),
    }
}

async fn number(
    tx: &DatabaseTransaction, dialect: Dialect, sql: &str, values: Vec<Value>,
) -> Result<Option<i64>, StoreError> {
    let row = tx.query_one_raw(dialect.one(sql, values)).await.map_err(errors::failed)?;
    row.map(|row| row.try_get_by_index(0)).transpose().map_err(errors::failed)
}

pub(super) async fn raise_incarnation(server: &Server, from: Option<Incarnation>) -> Result<Incarnation, StoreError> {
    let dialect = server.dialect;
    let tx = server.begin().await?;
    let done = async {
        let row = match dialect {
            Dialect::Postgres => "INSERT INTO nodes (node, incarnation) VALUES (?, 0) ON CONFLICT DO NOTHING",
            Dialect::MySql => "INSERT INTO nodes (node, incarnation) VALUES (?, 0) ON DUPLICATE KEY UPDATE node = node",
        };
        tx.execute_raw(dialect.one(row, vec![NODE.into()])).await.map_err(errors::failed)?;
        let select = "SELECT incarnation FROM nodes WHERE node = ? FOR UPDATE";
        let newest = number(&tx, dialect, select, vec![NODE.into()]).await?.unwrap_or_default();
        if from.is_some_and(|from| from.0 != newest) {
            return Err(StoreError::Fenced);
        }
        let raise = "UPDATE nodes SET incarnation = ? WHERE node = ?";
        let values = vec![(newest + 1).into(), NODE.into()];
        tx.execute_raw(dialect.one(raise, values)).await.map_err(errors::failed)?;
        Ok(Incarnation(newest + 1))
    };
    let done = done.await;
    end(tx, done).await
}

pub(super) async fn set_timers(
    server: &Server, as_node: Incarnation, changes: Vec<TimerChange>,
) -> Result<(), StoreError> {
    let tx = server.begin().await?;
    let done = async {
        fence(&tx, server.dialect, as_node).await?;
        change_timers(&tx, server.dialect, changes).await
    };
    let done = done.await;
    end(tx, done).await
}

/// Of several changes to one timer, the last. In the order of their keys, so that two transactions do not wait for each other.
pub(super) async fn change_timers(
    tx: &DatabaseTransaction, dialect: Dialect, changes: Vec<TimerChange>,
) -> Result<(), StoreError> {
    let mut last: BTreeMap<(SagaId, TimerName), Option<TimerRow>> = BTreeMap::new();
    for change in changes {
        match change {
            TimerChange::Set(timer) => last.insert((timer.saga, timer.name.clone()), Some(timer)),
            TimerChange::Clear(saga, name) => last.insert((saga, name), None),
        };
    }
    let (mut set, mut clear) = (Vec::new(), Vec::new());
    for ((saga, name), timer) in last {
        match timer {
            Some(timer) => {
                let (due, attempt) = (timer.due.0, i64::from(timer.attempt));
                set.push([rows::id(saga), name.0.into(), due.into(), attempt.into()]);
            }
            None => clear.push([rows::id(saga), name.0.into()]),
        }
    }
    apply(tx, dialect, &dialect::TIMER, set).await?;
    apply(tx, dialect, &dialect::TIMER_DELETE, clear).await.map(drop)
}

/// One statement over many rows, in a transaction of its own.
async fn alone<const N: usize>(server: &Server, what: &Many<N>, rows: Vec<[Value; N]>) -> Result<(), StoreError> {
    let tx = server.begin().await?;
    let done = apply(&tx, server.dialect, what, rows).await;
    end(tx, done.map(drop)).await
}

pub(super) async fn deliver(server: &Server, items: Vec<InboxItem>) -> Result<(), StoreError> {
    alone(server, &dialect::INBOX, items.into_iter().map(rows::inbox).collect()).await
}

pub(super) async fn forget_inbox(server: &Server, ids: Vec<InboxId>) -> Result<(), StoreError> {
    alone(server, &dialect::INBOX_DELETE, ids.into_iter().map(rows::inbox_id).collect()).await
}

pub(super) async fn register(
    server: &Server, definitions: Vec<DefinitionRow>,
) -> Result<Vec<DefinitionRow>, StoreError> {
    let row = |d: &DefinitionRow| -> [Value; 4] {
        let (name, version) = (d.name.as_str(), i64::from(d.version));
        [name.into(), version.into(), d.fingerprint.as_str().into(), d.description.as_str().into()]
    };
    alone(server, &dialect::DEFINITION, definitions.iter().map(row).collect()).await?;
    let names = definitions.iter().map(|d| [d.name.as_str().into(), i64::from(d.version).into()]).collect();
    let mut others = Vec::new();
    for statement in server.dialect.many(&dialect::DEFINITIONS, names) {
        for row in server.pool.query_all_raw(statement).await.map_err(errors::failed)? {
            let found = reads::definition_row(&row)?;
            let same = |d: &DefinitionRow| (&d.name, d.version) == (&found.name, found.version);
            if definitions.iter().any(|d| same(d) && d.fingerprint != found.fingerprint) {
                others.push(found);
            }
        }
    }
    others.sort_by(|a, b| (&a.name, a.version).cmp(&(&b.name, b.version)));
    Ok(others)
}

pub(super) async fn purge(server: &Server, ended: Millis, keys: Millis, limit: u32) -> Result<u64, StoreError> {
    let dialect = server.dialect;
    let tx = server.begin().await?;
    let done = async {
        let aged = |retention: u8| {
            format!("SELECT id FROM sagas WHERE retention = {retention} AND updated < ? ORDER BY updated LIMIT ?")
        };
        let old = |before: Millis| vec![before.0.into(), i64::from(limit).into()];
        let ids = ids(&tx.query_all_raw(dialect.one(&aged(1), old(ended))).await.map_err(errors::failed)?)?;
        for statement in &dialect::PURGE {
            apply(&tx, dialect, statement, ids.clone()).await?;
        }
        let gone = self::ids(&tx.query_all_raw(dialect.one(&aged(2), old(keys))).await.map_err(errors::failed)?)?;
        apply(&tx, dialect, &dialect::PURGE_KEYS, gone).await?;
        Ok(ids.len() as u64)
    };
    let done = done.await;
    end(tx, done).await
}

fn ids(found: &[QueryResult]) -> Result<Vec<[Value; 1]>, StoreError> {
    let id = |row: &QueryResult| row.try_get_by_index::<Vec<u8>>(0).map(|id| [id.into()]);
    found.iter().map(id).collect::<Result<_, _>>().map_err(errors::failed)
}
