//! Every write but a batch's: incarnations, timers, inboxes, definitions, the purge.

use super::{
    Server, apply,
    dialect::{self, Dialect, Many},
    end, errors,
};
use crate::store::{
    DefinitionRow, InboxId, InboxItem, Incarnation, NodeId, StoreError, TimerChange, TimerName, TimerRow,
    sql::{reads, rows},
};
use sea_orm::{ConnectionTrait, DatabaseTransaction, QueryResult, Value};
use std::collections::BTreeMap;
use tercet_core::{Millis, SagaId};

/// Goes on only if this is a node's newest incarnation, and keeps one from being raised, and the node from being taken over, until this
/// transaction ends.
pub(super) async fn fence(tx: &DatabaseTransaction, dialect: Dialect, as_node: Incarnation) -> Result<(), StoreError> {
    let newest = incarnation(tx, dialect, as_node.node).await?;
    if newest == as_node.number { Ok(()) } else { Err(StoreError::Fenced) }
}

/// A node's newest incarnation, locked.
pub(super) async fn incarnation(tx: &DatabaseTransaction, dialect: Dialect, node: NodeId) -> Result<i64, StoreError> {
    let select = format!("SELECT incarnation FROM nodes WHERE node = ?{}", dialect.lock_shared());
    number(tx, dialect, &select, vec![node.0.into()]).await?.ok_or(StoreError::Fenced)
}

async fn number(
    tx: &DatabaseTransaction, dialect: Dialect, sql: &str, values: Vec<Value>,
) -> Result<Option<i64>, StoreError> {
    let row = tx.query_one_raw(dialect.one(sql, values)).await.map_err(errors::failed)?;
    row.map(|row| row.try_get_by_index(0)).transpose().map_err(errors::failed)
}

pub(super) async fn raise(server: &Server, from: Incarnation, to: Incarnation) -> Result<(), StoreError> {
    let dialect = server.dialect;
    let tx = server.begin().await?;
    let done = async {
        let node = || Value::from(from.node.0);
        let select = "SELECT incarnation FROM nodes WHERE node = ? FOR UPDATE";
        let newest = number(&tx, dialect, select, vec![node()]).await?;
        if newest != Some(from.number) && newest != Some(to.number) {
            return Err(StoreError::Fenced);
        }
        let raise = dialect.one("UPDATE nodes SET incarnation = ? WHERE node = ?", vec![to.number.into(), node()]);
        tx.execute_raw(raise).await.map(drop).map_err(errors::failed)
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
    let (set, clear) = last_of(changes);
    apply(tx, dialect, &dialect::TIMER, set).await?;
    apply(tx, dialect, &dialect::TIMER_DELETE, clear).await.map(drop)
}

/// Timers that are there afterwards, and those that are not.
pub(super) fn last_of(changes: Vec<TimerChange>) -> (Vec<[Value; 4]>, Vec<[Value; 2]>) {
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
    (set, clear)
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
