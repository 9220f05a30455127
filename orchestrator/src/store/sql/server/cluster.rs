//! Several nodes on one database. Every change of who owns what begins by raising the version, whose row it holds locked: such changes go
//! one after the other. Leases and batches touch other rows.

use super::{
    Server,
    dialect::{self, Dialect},
    end, errors, write,
};
use crate::store::{Incarnation, Member, NodeId, NodeInfo, Shards, StoreError, View, sql::rows};
use sea_orm::{ConnectionTrait, DatabaseTransaction, QueryResult, Value};
use std::{collections::BTreeMap, time::Duration};
use tercet_core::{Millis, SagaId, ShardId};

/// The database's clock in milliseconds, as it goes on within a transaction.
fn clock(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres => "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
        Dialect::MySql => "CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS SIGNED)",
    }
}

async fn run(tx: &DatabaseTransaction, dialect: Dialect, sql: &str, values: Vec<Value>) -> Result<u64, StoreError> {
    let done = tx.execute_raw(dialect.one(sql, values)).await.map_err(errors::failed)?;
    Ok(done.rows_affected())
}

async fn bump(tx: &DatabaseTransaction, dialect: Dialect) -> Result<(), StoreError> {
    run(tx, dialect, "UPDATE ownership SET version = version + 1 WHERE one = 1", Vec::new()).await.map(drop)
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

pub(super) async fn join(
    server: &Server, first: Incarnation, info: NodeInfo, lease: Duration,
) -> Result<(), StoreError> {
    let dialect = server.dialect;
    let definitions = serde_json::to_string(&info.definitions).unwrap_or_default();
    let tx = server.begin().await?;
    let done = async {
        bump(&tx, dialect).await?;
        // Again, when the answer was lost: the same row.
        for sql in ["DELETE FROM nodes WHERE node = ?", "DELETE FROM leases WHERE node = ?"] {
            run(&tx, dialect, sql, vec![first.node.0.into()]).await?;
        }
        let row = "INSERT INTO nodes (node, incarnation) VALUES (?, ?)";
        run(&tx, dialect, row, vec![first.node.0.into(), first.number.into()]).await?;
        let row =
            format!("INSERT INTO leases (node, expires, label, definitions) VALUES (?, {} + ?, ?, ?)", clock(dialect));
        let values = vec![first.node.0.into(), millis(lease).into(), info.label.into(), definitions.into()];
        run(&tx, dialect, &row, values).await.map(drop)
    };
    let done = done.await;
    end(tx, done).await
}

/// Ends without a transaction of its own: one statement prolongs.
pub(super) async fn renew(server: &Server, node: NodeId, lease: Duration) -> Result<(), StoreError> {
    let dialect = server.dialect;
    let prolong = format!("UPDATE leases SET expires = {} + ? WHERE node = ?", clock(dialect));
    let prolong = dialect.one(&prolong, vec![millis(lease).into(), node.0.into()]);
    if server.pool.execute_raw(prolong).await.map_err(errors::failed)?.rows_affected() == 1 {
        return Ok(());
    }
    // MariaDB does not count a row that is set to what it was.
    let here = dialect.one("SELECT 1 FROM leases WHERE node = ?", vec![node.0.into()]);
    let here = server.pool.query_one_raw(here).await.map_err(errors::failed)?;
    here.map(drop).ok_or(StoreError::Fenced)
}

pub(super) async fn view(server: &Server) -> Result<View, StoreError> {
    let dialect = server.dialect;
    let now = dialect.one(&format!("SELECT {}", clock(dialect)), Vec::new());
    let now = server.pool.query_one_raw(now).await.map_err(errors::failed)?;
    let now: Option<i64> = now.map(|row| row.try_get_by_index(0)).transpose().map_err(errors::failed)?;
    let select = dialect.one("SELECT node, expires, label, definitions FROM leases ORDER BY node", Vec::new());
    let members = server.pool.query_all_raw(select).await.map_err(errors::failed)?;
    let members = members.iter().map(member).collect::<Result<_, _>>()?;
    let select = dialect.one("SELECT shard, node FROM shards", Vec::new());
    let mut owners: BTreeMap<NodeId, Shards> = BTreeMap::new();
    for row in server.pool.query_all_raw(select).await.map_err(errors::failed)? {
        let (shard, owner): (i16, Option<i64>) = row.try_get_many_by_index().map_err(errors::failed)?;
        if let (Some(shard), Some(owner)) = (u16::try_from(shard).ok().and_then(ShardId::new), owner) {
            owners.entry(NodeId(owner)).or_default().insert(shard);
        }
    }
    // After the shards: whoever gave one away had lent before what it could not run.
    let select = dialect.one("SELECT saga_id, node FROM lent", Vec::new());
    let mut lent = BTreeMap::new();
    for row in server.pool.query_all_raw(select).await.map_err(errors::failed)? {
        let (saga, to): (Vec<u8>, i64) = row.try_get_many_by_index().map_err(errors::failed)?;
        lent.insert(rows::id_from(saga)?, NodeId(to));
    }
    Ok(View { now: Millis(now.unwrap_or_default()), members, owners, lent })
}

fn member(row: &QueryResult) -> Result<Member, StoreError> {
    let (node, until, label, definitions): (i64, i64, String, String) =
        row.try_get_many_by_index().map_err(errors::failed)?;
    // Of a newer program, perhaps: then it is not known what it can run.
    let definitions = serde_json::from_str(&definitions).unwrap_or_default();
    let info = NodeInfo { label, definitions };
    Ok(Member { node: NodeId(node), info, until: Millis(until) })
}

pub(super) async fn version(server: &Server) -> Result<i64, StoreError> {
    let select = server.dialect.one("SELECT version FROM ownership", Vec::new());
    let row = server.pool.query_one_raw(select).await.map_err(errors::failed)?;
    let row = row.ok_or_else(|| StoreError::Corrupt("the version of who owns what is not there".to_owned()))?;
    row.try_get_by_index(0).map_err(errors::failed)
}

/// A change of who owns what, by a node that is not taken over.
async fn changed(
    server: &Server, node: NodeId, change: impl AsyncFnOnce(&DatabaseTransaction) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let tx = server.begin().await?;
    let done = async {
        bump(&tx, server.dialect).await?;
        write::incarnation(&tx, server.dialect, node).await?;
        change(&tx).await
    };
    let done = done.await;
    end(tx, done).await
}

/// `WHERE shard IN (…)`: numbers of our own, written out.
fn listed(shards: &Shards) -> String {
    shards.iter().map(|shard| shard.get().to_string()).collect::<Vec<_>>().join(",")
}

pub(super) async fn claim(server: &Server, node: NodeId, shards: Shards) -> Result<(), StoreError> {
    changed(server, node, async |tx| {
        let claim = format!(
            "UPDATE shards SET node = ? WHERE shard IN ({}) AND (node IS NULL OR node NOT IN (SELECT node FROM nodes))",
            listed(&shards)
        );
        run(tx, server.dialect, &claim, vec![node.0.into()]).await.map(drop)
    })
    .await
}

pub(super) async fn give(server: &Server, node: NodeId, shares: Vec<(NodeId, Shards)>) -> Result<(), StoreError> {
    changed(server, node, async |tx| {
        for (to, shards) in &shares {
            let give = format!("UPDATE shards SET node = ? WHERE node = ? AND shard IN ({})", listed(shards));
            run(tx, server.dialect, &give, vec![to.0.into(), node.0.into()]).await?;
        }
        Ok(())
    })
    .await
}

pub(super) async fn lend(
    server: &Server, node: NodeId, loans: Vec<(SagaId, NodeId)>,
) -> Result<Vec<SagaId>, StoreError> {
    let mut lent = Vec::new();
    changed(server, node, async |tx| {
        for (saga, to) in &loans {
            let own =
                "SELECT 1 FROM shards WHERE shard = ? AND node = ? AND EXISTS (SELECT 1 FROM nodes WHERE node = ?)";
            let values = vec![i64::from(saga.shard().get()).into(), node.0.into(), to.0.into()];
            if tx.query_one_raw(server.dialect.one(own, values)).await.map_err(errors::failed)?.is_none() {
                continue;
            }
            run(tx, server.dialect, "DELETE FROM lent WHERE saga_id = ?", vec![rows::id(*saga)]).await?;
            let lend = "INSERT INTO lent (saga_id, node) VALUES (?, ?)";
            run(tx, server.dialect, lend, vec![rows::id(*saga), to.0.into()]).await?;
            lent.push(*saga);
        }
        Ok(())
    })
    .await?;
    Ok(lent)
}

pub(super) async fn give_back(server: &Server, node: NodeId, sagas: Vec<SagaId>) -> Result<(), StoreError> {
    changed(server, node, async |tx| {
        for saga in &sagas {
            let back = "DELETE FROM lent WHERE saga_id = ? AND node = ?";
            run(tx, server.dialect, back, vec![rows::id(*saga), node.0.into()]).await?;
        }
        Ok(())
    })
    .await
}

/// Deleting the node's row waits for its batch under way, or defeats it.
pub(super) async fn take_over(server: &Server, dead: NodeId) -> Result<bool, StoreError> {
    let dialect = server.dialect;
    let tx = server.begin().await?;
    let done = async {
        bump(&tx, dialect).await?;
        let expired = format!("DELETE FROM leases WHERE node = ? AND expires <= {}", clock(dialect));
        let is_dead = run(&tx, dialect, &expired, vec![dead.0.into()]).await? == 1;
        if is_dead {
            for sql in ["DELETE FROM nodes WHERE node = ?", "DELETE FROM lent WHERE node = ?"] {
                run(&tx, dialect, sql, vec![dead.0.into()]).await?;
            }
        }
        Ok(is_dead)
    };
    let done = done.await;
    end(tx, done).await
}

pub(super) async fn leave(server: &Server, node: NodeId) -> Result<(), StoreError> {
    let dialect = server.dialect;
    let tx = server.begin().await?;
    let done = async {
        bump(&tx, dialect).await?;
        for table in ["nodes", "leases", "lent"] {
            let sql = &format!("DELETE FROM {table} WHERE node = ?");
            run(&tx, dialect, sql, vec![node.0.into()]).await?;
        }
        Ok(())
    };
    let done = done.await;
    end(tx, done).await
}

pub(super) async fn answer(server: &Server, ticket: i64, at: Millis, answer: Vec<u8>) -> Result<(), StoreError> {
    let dialect = server.dialect;
    let again = match dialect {
        Dialect::Postgres => "ON CONFLICT DO NOTHING",
        Dialect::MySql => "ON DUPLICATE KEY UPDATE ticket = ticket",
    };
    let insert = format!("INSERT INTO answers (ticket, at, answer) VALUES (?, ?, ?) {again}");
    let insert = dialect.one(&insert, vec![ticket.into(), at.0.into(), answer.into()]);
    server.pool.execute_raw(insert).await.map(drop).map_err(errors::failed)
}

pub(super) async fn answers(
    server: &Server, tickets: Vec<i64>, older: Millis,
) -> Result<Vec<(i64, Vec<u8>)>, StoreError> {
    let (dialect, mut found) = (server.dialect, Vec::new());
    for select in dialect.many(&dialect::ANSWERS, tickets.into_iter().map(|ticket| [ticket.into()]).collect()) {
        for row in server.pool.query_all_raw(select).await.map_err(errors::failed)? {
            found.push(row.try_get_many_by_index::<(i64, Vec<u8>)>().map_err(errors::failed)?);
        }
    }
    if !found.is_empty() {
        let old = dialect.one("DELETE FROM answers WHERE at < ?", vec![older.0.into()]);
        let heard = found.iter().map(|(ticket, _)| [(*ticket).into()]).collect();
        for delete in dialect.many(&dialect::ANSWERS_DELETE, heard).into_iter().chain([old]) {
            server.pool.execute_raw(delete).await.map_err(errors::failed)?;
        }
    }
    Ok(found)
}
