//! Multi-row statements, and how rows stand in the tables.

use crate::store::{
    AuditRow, InboxId, InboxItem, Incarnation, JournalRow, Projection, SagaRow, SagaStatus, StoreError, TimerChange,
    TimerName, TimerRow,
};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, QueryResult, Statement, Value};
use std::collections::BTreeMap;
use tercet_core::{PayloadHash, SagaId};
use tercet_database::lengths;

/// SQLite's limit on bound values in a statement.
const BINDS_MAX: usize = 32_766;

/// Beyond this many rows a statement gets no cheaper (measured).
const ROWS_MAX: usize = 1_000;

/// Rows of `N` columns for one `VALUES` list, or for several when a statement cannot hold them.
pub(super) struct Rows<const N: usize>(Vec<Value>);

impl<const N: usize> Rows<N> {
    const PER_STATEMENT: usize = if BINDS_MAX / N < ROWS_MAX { BINDS_MAX / N } else { ROWS_MAX };

    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len() / N
    }

    pub(super) fn push(&mut self, row: [Value; N]) {
        self.0.extend(row);
    }

    /// Two lists that come together in one text get one length, so that there are fewer texts.
    pub(super) fn even_out<const M: usize>(&mut self, other: &mut Rows<M>) {
        let rows = lengths::up(self.len().max(other.len()));
        if rows > EXACT_MAX && self.len() > 0 && other.len() > 0 {
            self.0.resize(rows.min(Self::PER_STATEMENT).max(self.len()) * N, Value::Bytes(None));
            other.0.resize(rows.min(Rows::<M>::PER_STATEMENT).max(other.len()) * M, Value::Bytes(None));
        }
    }

    /// Statements that read `before`, the list, `after`; together they hold every row, moved.
    pub(super) fn statements(self, before: &str, after: &str) -> impl Iterator<Item = Statement> {
        let statement = |(sql, values)| Statement::from_sql_and_values(DbBackend::Sqlite, sql, values);
        self.parts(before, after).map(statement)
    }

    fn parts(self, before: &str, after: &str) -> impl Iterator<Item = (String, Vec<Value>)> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let later = rest.split_off(rest.len().min(Self::PER_STATEMENT * N));
            let mut values = std::mem::replace(&mut rest, later);
            // Filled up with rows of nulls, which the text leaves out.
            let rows = lengths::up(values.len() / N).min(Self::PER_STATEMENT);
            values.resize(rows * N, Value::Bytes(None));
            Some((text::<N>(before, rows, after), values))
        })
    }
}

/// What never changes SQLite would work out beforehand: hence `changes()` in the second branch.
const DEMAND: &str = "SELECT CASE WHEN (SELECT incarnation FROM nodes WHERE node = ?) = ? AND (? OR changes() = ?) THEN 0 \
                      ELSE abs(-9223372036854775807 - 1 - 0 * changes()) END";

/// SQLite refuses a text of a million bytes; so many fit one trip to its thread.
const TEXT_MAX: usize = 500_000;

/// Statements that go to the database's thread together: each trip there and back waits for two threads to be woken.
#[derive(Default)]
pub(super) struct Script {
    trips: Vec<(String, Vec<Value>)>,
}

impl Script {
    /// Adds what `rows` come to.
    pub(super) fn add<const N: usize>(&mut self, rows: Rows<N>, (before, after): (&str, &str)) {
        for (sql, values) in rows.parts(before, after) {
            self.push(&sql, values);
        }
    }

    /// Adds a statement that fails where another process has taken over, or where the statement before it did not touch `rows` rows.
    /// (SQLite raises an error of one's own only in a trigger; the smallest integer has no absolute value.)
    pub(super) fn demand(&mut self, as_node: Incarnation, rows: usize) {
        let values =
            vec![as_node.node.0.into(), as_node.number.into(), i64::from(rows == 0).into(), (rows as u64).into()];
        self.push(DEMAND, values);
    }

    /// Adds one statement.
    pub(super) fn push(&mut self, sql: &str, values: Vec<Value>) {
        match self.trips.last_mut() {
            Some((text, all)) if text.len() + sql.len() < TEXT_MAX => {
                text.push_str("; ");
                text.push_str(sql);
                all.extend(values);
            }
            _ => self.trips.push((sql.to_owned(), values)),
        }
    }

    /// It is one trip.
    pub(super) fn is_one_trip(&self) -> bool {
        self.trips.len() == 1
    }

    /// Runs them, and says how many rows of the database they touched.
    pub(super) async fn execute(self, tx: &impl ConnectionTrait) -> Result<u64, DbErr> {
        let mut touched = 0;
        for statement in self.statements() {
            touched += tx.execute_raw(statement).await?.rows_affected();
        }
        Ok(touched)
    }

    /// Runs them, and hands out the rows they answer, in order.
    pub(super) async fn query(self, tx: &DatabaseTransaction) -> Result<Vec<QueryResult>, DbErr> {
        let mut rows = Vec::new();
        for statement in self.statements() {
            rows.extend(tx.query_all_raw(statement).await?);
        }
        Ok(rows)
    }

    fn statements(self) -> impl Iterator<Item = Statement> {
        let statement = |(sql, values)| Statement::from_sql_and_values(DbBackend::Sqlite, sql, values);
        self.trips.into_iter().map(statement)
    }
}

impl<const N: usize> FromIterator<[Value; N]> for Rows<N> {
    fn from_iter<I: IntoIterator<Item = [Value; N]>>(rows: I) -> Self {
        Self(rows.into_iter().flatten().collect())
    }
}

/// Up to this many rows a list has no row too many.
const EXACT_MAX: usize = 2;

fn text<const N: usize>(before: &str, rows: usize, after: &str) -> String {
    let row = format!("({})", ["?"; N].join(","));
    let (open, close) = if rows > EXACT_MAX { ("SELECT * FROM (", ") WHERE column1 IS NOT NULL") } else { ("", "") };
    let mut sql = String::with_capacity(before.len() + rows * (row.len() + 1) + after.len() + 64);
    for text in [before, open, "VALUES "] {
        sql.push_str(text);
    }
    for i in 0..rows {
        if i > 0 {
            sql.push(',');
        }
        sql.push_str(&row);
    }
    sql.push_str(close);
    sql.push_str(after);
    sql
}

pub(super) fn id(saga: SagaId) -> Value {
    saga.as_bytes().to_vec().into()
}

pub(super) fn id_from(bytes: Vec<u8>) -> Result<SagaId, StoreError> {
    let id = <[u8; 16]>::try_from(bytes).map(SagaId::from_bytes);
    id.map_err(|bytes| StoreError::Corrupt(format!("a saga's id of {} bytes", bytes.len())))
}

pub(super) fn hash_from(bytes: Vec<u8>) -> Result<PayloadHash, StoreError> {
    let hash = <[u8; 32]>::try_from(bytes).map(PayloadHash);
    hash.map_err(|bytes| StoreError::Corrupt(format!("a payload's hash of {} bytes", bytes.len())))
}

pub(super) const JOURNAL: (&str, &str) = ("INSERT OR FAIL INTO journal (saga_id, seq, at, entry) ", "");

pub(super) fn journal(row: &JournalRow) -> [Value; 4] {
    [id(row.saga), i64::from(row.seq).into(), row.at.0.into(), row.entry.clone().into()]
}

pub(super) const INBOX: (&str, &str) = ("INSERT OR FAIL INTO inbox (saga_id, at, message) ", "");

pub(super) fn inbox(item: InboxItem) -> [Value; 3] {
    [id(item.saga), item.at.0.into(), item.message.into()]
}

pub(super) const INBOX_DELETE: (&str, &str) = ("DELETE FROM inbox WHERE id IN (", ")");

pub(super) fn inbox_id(id: InboxId) -> [Value; 1] {
    [id.0.into()]
}

pub(super) const AUDIT: (&str, &str) = ("INSERT OR FAIL INTO audit (saga_id, at, actor, action, reason) ", "");

pub(super) fn audit(row: AuditRow) -> [Value; 5] {
    [id(row.saga), row.at.0.into(), row.actor.into(), row.action.into(), row.reason.into()]
}

macro_rules! insert_saga {
    () => {
        "INSERT OR FAIL INTO sagas (id, namespace, definition, version, saga_key, payload_hash, parent_id, parent_step, \
         status, parked, attention, updated, wakes, output, started, retention) "
    };
}

/// A new saga whose key must be free.
pub(super) const NEW_SAGA: (&str, &str) = (insert_saga!(), "");

/// A new saga, if its key is free.
pub(super) const SAGA: (&str, &str) = (insert_saga!(), " ON CONFLICT DO NOTHING RETURNING id");

pub(super) fn saga(row: &SagaRow) -> [Value; 16] {
    let now = &row.projection;
    let parent = row.parent.as_ref();
    [
        id(row.id),
        row.namespace.as_str().into(),
        row.definition.as_str().into(),
        i64::from(row.version).into(),
        row.key.as_str().into(),
        row.payload_hash.0.to_vec().into(),
        parent.map(|(saga, _)| saga.as_bytes().to_vec()).into(),
        parent.map(|(_, step)| step.as_str().to_owned()).into(),
        status(now.status).into(),
        i64::from(now.parked).into(),
        now.attention.into(),
        now.updated.0.into(),
        now.wakes.map(|at| at.0).into(),
        now.output.clone().into(),
        row.started.0.into(),
        retention(now).into(),
    ]
}

/// A saga of which only the key's row is left stays so, whatever is still said about it.
pub(super) const PROJECTION: (&str, &str) = (
    "UPDATE OR FAIL sagas SET status = v.column2, parked = v.column3, attention = v.column4, updated = v.column5, \
     wakes = v.column6, output = v.column7, retention = CASE WHEN retention = 2 THEN 2 ELSE v.column8 END FROM (",
    ") AS v WHERE sagas.id = v.column1",
);

pub(super) fn projection(saga: SagaId, now: &Projection) -> [Value; 8] {
    [
        id(saga),
        status(now.status).into(),
        i64::from(now.parked).into(),
        now.attention.into(),
        now.updated.0.into(),
        now.wakes.map(|at| at.0).into(),
        now.output.clone().into(),
        retention(now).into(),
    ]
}

/// As it stands in the table; never to be renumbered.
pub(super) const fn status(status: SagaStatus) -> i16 {
    match status {
        SagaStatus::Trying => 0,
        SagaStatus::Confirming => 1,
        SagaStatus::Cancelling => 2,
        SagaStatus::Confirmed => 3,
        SagaStatus::Cancelled => 4,
    }
}

pub(super) fn status_from(code: i16) -> Result<SagaStatus, StoreError> {
    let found = SagaStatus::ALL.into_iter().find(|&known| status(known) == code);
    found.ok_or_else(|| StoreError::Corrupt(format!("a saga in status {code}")))
}

/// The journal of this saga may be purged.
pub(super) const PURGEABLE: i16 = 1;

fn retention(now: &Projection) -> Option<i16> {
    now.may_be_purged().then_some(PURGEABLE)
}

pub(super) const TIMER: (&str, &str) = (
    "INSERT OR FAIL INTO timers (saga_id, name, due, attempt) ",
    " ON CONFLICT (saga_id, name) DO UPDATE SET due = excluded.due, attempt = excluded.attempt",
);

pub(super) const TIMER_DELETE: (&str, &str) = ("DELETE FROM timers WHERE (saga_id, name) IN (", ")");

/// Adds what these changes come to: of several changes to one timer, the last.
pub(super) fn change_timers(script: &mut Script, changes: Vec<TimerChange>) {
    let mut last: BTreeMap<(SagaId, TimerName), Option<TimerRow>> = BTreeMap::new();
    for change in changes {
        match change {
            TimerChange::Set(timer) => last.insert((timer.saga, timer.name.clone()), Some(timer)),
            TimerChange::Clear(saga, name) => last.insert((saga, name), None),
        };
    }
    let (mut set, mut clear) = (Rows::<4>::new(), Rows::<2>::new());
    for ((saga, name), timer) in last {
        match timer {
            Some(timer) => set.push([id(saga), name.0.into(), timer.due.0.into(), i64::from(timer.attempt).into()]),
            None => clear.push([id(saga), name.0.into()]),
        }
    }
    script.add(set, TIMER);
    script.add(clear, TIMER_DELETE);
}
