//! A batch as one statement, which PostgreSQL carries out in a transaction of its own: one trip to the server, where a transaction takes
//! one for each statement, its begin and its commit.
//!
//! As nearly every batch can be: the fence holds, the keys of its starts are free, the sagas that it changes are there. Where one of these
//! does not hold the statement fails, nothing is written, and step by step it is found out what is wrong.

use super::{
    Server,
    commit::Gathered,
    dialect::{self, Dialect, Many},
    errors,
    write::last_of,
};
use crate::store::{
    Batch, Incarnation, Start, StoreError,
    sql::{rows, starts},
};
use sea_orm::{ConnectionTrait, DbErr, Statement, Value};
use std::sync::Arc;
use tercet_database::{Meaning, is_undone, meaning};

/// The fence's row stays locked until the statement ends, as in a transaction of several.
const FENCE: &str = "fence AS MATERIALIZED (SELECT incarnation FROM nodes WHERE node = $1 FOR SHARE)";

/// Writes a batch in one trip; `false` where it cannot be, and nothing was written.
pub(super) async fn at_one_go(server: &Server, as_node: Incarnation, batch: &Batch) -> Result<bool, StoreError> {
    if server.dialect != Dialect::Postgres {
        return Ok(false);
    }
    let Some(statement) = statement(as_node, batch) else { return Ok(false) };
    match server.pool.query_one_raw(statement).await {
        Ok(_) => Ok(true),
        Err(error) if is_refused(&error) => Ok(false),
        // No connection was had, so nothing was sent.
        Err(error @ (DbErr::ConnectionAcquire(_) | DbErr::Conn(_))) => Err(errors::failed(error)),
        // It commits by itself: whatever else is wrong, it may have been written.
        Err(error) => Err(errors::failed_to_commit(error)),
    }
}

/// The server says what is wrong with the statement: it has not begun to commit it.
fn is_refused(error: &DbErr) -> bool {
    is_undone(error)
        || matches!(meaning(error), Meaning::InTheWay | Meaning::Taken | Meaning::Schema | Meaning::Refused)
}

fn statement(as_node: Incarnation, batch: &Batch) -> Option<Statement> {
    let all = Gathered::of(&batch.starts, &batch.changes);
    let (set, clear) = last_of(all.timers);
    let mut parts = Parts::new(as_node);
    // Of two batches that begin sagas under the same keys one waits for the other, and not each for each.
    let in_order = starts::in_order(&batch.starts).into_iter().map(|i| row(&batch.starts[i]));
    parts.add("begun", &dialect::NEW_SAGA, in_order.collect())?;
    parts.add("written", &dialect::JOURNAL, all.entries)?;
    let changed: Vec<[Value; 8]> = all.projections.into_iter().map(|(saga, now)| rows::projection(saga, now)).collect();
    let must_change = changed.len();
    parts.add("changed", &dialect::PROJECTION, changed)?;
    parts.add("set", &dialect::TIMER, set)?;
    parts.add("cleared", &dialect::TIMER_DELETE, clear)?;
    parts.add("taken", &dialect::INBOX_DELETE, all.taken)?;
    parts.add("put", &dialect::INBOX, all.put)?;
    parts.add("audited", &dialect::AUDIT, all.audit)?;
    Some(parts.statement(must_change))
}

fn row(start: &Arc<Start>) -> [Value; 16] {
    rows::saga(&start.row)
}

/// Statements over many rows, side by side in one.
struct Parts {
    sql: Vec<String>,
    values: Vec<Value>,
}

impl Parts {
    fn new(as_node: Incarnation) -> Self {
        Self { sql: vec![FENCE.to_owned()], values: vec![as_node.node.0.into(), as_node.number.into()] }
    }

    /// `None` where these rows are more than one statement holds.
    fn add<const N: usize>(&mut self, name: &str, what: &Many<N>, rows: Vec<[Value; N]>) -> Option<()> {
        if rows.is_empty() {
            return Some(());
        }
        let (sql, values) = dialect::whole(what, rows, self.values.len() + 1)?;
        self.sql.push(format!("{name} AS ({sql} RETURNING 1)"));
        self.values.extend(values);
        Some(())
    }

    /// It divides by zero where the fence does not hold, or fewer sagas than `must_change` were there to be changed.
    fn statement(mut self, must_change: usize) -> Statement {
        let mut holds = "(SELECT incarnation FROM fence) = $2".to_owned();
        if must_change > 0 {
            self.values.push((must_change as i64).into());
            holds.push_str(&format!(" AND (SELECT count(*) FROM changed) = ${}", self.values.len()));
        }
        let sql = format!("WITH {} SELECT 1 / CASE WHEN {holds} THEN 1 ELSE 0 END", self.sql.join(", "));
        Statement::from_sql_and_values(Dialect::Postgres.backend(), sql, self.values)
    }
}
