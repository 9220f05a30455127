//! One transaction for a batch: the fence, the starts, then all rows of a table in one statement; in one trip, wherever that goes.

use super::{
    SqliteFile, end, errors,
    rows::{self, Rows, Script},
    writes,
};
use crate::store::{
    Batch, Change, Incarnation, Projection, SagaRow, Start, Started, StoreError, TimerChange, check,
    sql::starts::{self, Owners, key_of},
};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, Value};
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};
use tercet_core::SagaId;
use tercet_database::{Meaning, meaning};

pub(super) async fn commit(file: &SqliteFile, as_node: Incarnation, batch: Batch) -> Result<Vec<Started>, StoreError> {
    check::sound(&batch)?;
    if at_one_go(file, as_node, &batch).await? {
        return Ok(vec![Started::New; batch.starts.len()]);
    }
    let entries = batch.starts.iter().flat_map(|s| &s.entries).chain(batch.changes.iter().flat_map(|c| &c.entries));
    let numbers: Vec<_> = entries.map(|entry| (entry.saga, entry.seq)).collect();
    let tx = file.begin().await?;
    let done = write(&tx, as_node, batch).await;
    match end(tx, done).await {
        Err(StoreError::Conflict { saga }) => Err(StoreError::Conflict { saga: culprit(file, saga, &numbers).await? }),
        ended => ended,
    }
}

/// Writes a batch in one trip to the database's thread, begin and commit among it, as nearly every batch can be: the fence holds, the
/// keys of its starts are free, the sagas that it changes are there. Where one of these does not hold a statement fails before the
/// commit, nothing is written, and the answer is `false`: step by step it is found out what is wrong.
async fn at_one_go(file: &SqliteFile, as_node: Incarnation, batch: &Batch) -> Result<bool, StoreError> {
    let mut sagas: Rows<16> = batch.starts.iter().map(|start| rows::saga(&start.row)).collect();
    let all = Gathered::of(&batch.starts, &batch.changes);
    let changed = all.projections.len();
    let mut projections = projections(all.projections);
    sagas.even_out(&mut projections);
    let mut script = Script::default();
    script.push("BEGIN IMMEDIATE", Vec::new());
    script.add(sagas, rows::NEW_SAGA);
    script.add(all.entries, rows::JOURNAL);
    script.add(projections, rows::PROJECTION);
    script.demand(as_node, changed);
    all.rest.add_to(&mut script);
    script.push("COMMIT", Vec::new());
    if !script.is_one_trip() {
        return Ok(false);
    }
    let Err(error) = script.execute(&file.writer).await else { return Ok(true) };
    match file.writer.execute_unprepared("ROLLBACK").await {
        Ok(_) => Ok(false),
        // No transaction is open: it was not begun, the commit was what failed, or SQLite rolled back by itself.
        Err(_) => Err(errors::failed_to_commit(error)),
    }
}

async fn write(tx: &DatabaseTransaction, as_node: Incarnation, batch: Batch) -> Result<Vec<Started>, StoreError> {
    let (started, winners) = begin_sagas(tx, as_node, batch.starts).await?;
    Gathered::of(&winners, &batch.changes).write(tx).await?;
    Ok(started)
}

/// What a batch comes to, table by table, but for the rows of new sagas.
struct Gathered<'b> {
    entries: Rows<4>,
    first: Option<SagaId>,
    projections: BTreeMap<SagaId, &'b Projection>,
    rest: Rest,
}

/// What most batches have none or little of.
struct Rest {
    timers: Vec<TimerChange>,
    taken: Rows<1>,
    put: Rows<3>,
    audit: Rows<5>,
}

impl Rest {
    fn add_to(self, script: &mut Script) {
        rows::change_timers(script, self.timers);
        script.add(self.taken, rows::INBOX_DELETE);
        script.add(self.put, rows::INBOX);
        script.add(self.audit, rows::AUDIT);
    }
}

fn projections(all: BTreeMap<SagaId, &Projection>) -> Rows<8> {
    all.into_iter().map(|(saga, now)| rows::projection(saga, now)).collect()
}

impl<'b> Gathered<'b> {
    fn of(starts: &'b [Arc<Start>], changes: &'b [Arc<Change>]) -> Self {
        let rest = Rest { timers: Vec::new(), taken: Rows::new(), put: Rows::new(), audit: Rows::new() };
        let mut all = Self { entries: Rows::new(), first: None, projections: BTreeMap::new(), rest };
        starts.iter().for_each(|start| all.start(start));
        changes.iter().for_each(|change| all.change(change));
        all
    }

    fn start(&mut self, start: &Start) {
        self.first.get_or_insert(start.row.id);
        start.entries.iter().map(rows::journal).for_each(|row| self.entries.push(row));
        self.rest.timers.extend(start.timers.iter().cloned().map(TimerChange::Set));
    }

    fn change(&mut self, change: &'b Change) {
        if let Some(entry) = change.entries.first() {
            self.first.get_or_insert(entry.saga);
        }
        change.entries.iter().map(rows::journal).for_each(|row| self.entries.push(row));
        self.projections.extend(change.projection.as_ref().map(|(saga, now)| (*saga, now)));
        self.rest.timers.extend_from_slice(&change.timers);
        change.taken.iter().copied().map(rows::inbox_id).for_each(|row| self.rest.taken.push(row));
        change.put.iter().cloned().map(rows::inbox).for_each(|row| self.rest.put.push(row));
        change.audit.iter().cloned().map(rows::audit).for_each(|row| self.rest.audit.push(row));
    }

    async fn write(self, tx: &DatabaseTransaction) -> Result<(), StoreError> {
        let conflict = |error: DbErr| match self.first {
            Some(saga) if meaning(&error) == Meaning::Taken => StoreError::Conflict { saga },
            _ => errors::failed(error),
        };
        let must_touch = (self.entries.len() + self.projections.len()) as u64;
        let mut script = Script::default();
        script.add(self.entries, rows::JOURNAL);
        script.add(projections(self.projections), rows::PROJECTION);
        let touched = script.execute(tx).await.map_err(conflict)?;
        if touched != must_touch {
            return Err(StoreError::Refused(format!(
                "{} of the sagas that it would change are not there",
                must_touch.saturating_sub(touched)
            )));
        }
        let mut script = Script::default();
        self.rest.add_to(&mut script);
        script.execute(tx).await.map_err(errors::failed)?;
        Ok(())
    }
}

/// Inserts the sagas whose keys are free, and says what became of each start, and which of them won.
async fn begin_sagas(
    tx: &DatabaseTransaction, as_node: Incarnation, starts: Vec<Arc<Start>>,
) -> Result<(Vec<Started>, Vec<Arc<Start>>), StoreError> {
    let order = starts::in_order(&starts);
    let sorted: Rows<16> = order.iter().map(|&i| rows::saga(&starts[i].row)).collect();
    let mut new = HashSet::new();
    for row in writes::fenced(tx, as_node, |then| then.add(sorted, rows::SAGA)).await? {
        new.insert(rows::id_from(row.try_get_by_index(0).map_err(errors::failed)?)?);
    }
    let wins = starts::winners(&starts, order, new);
    let owners = owners(tx, starts::losers(&starts, &wins)).await?;
    starts::sort_out(starts, &wins, &owners)
}

pub(super) const OWNERS: (&str, &str) = (
    "SELECT saga_key, definition, namespace, id, payload_hash FROM sagas WHERE (saga_key, definition, namespace) IN (",
    ")",
);

/// Who has the keys of these rows.
async fn owners<'r>(tx: &DatabaseTransaction, losers: impl Iterator<Item = &'r SagaRow>) -> Result<Owners, StoreError> {
    let keys: Rows<3> = losers.map(key_of).map(|(k, d, n)| [k.into(), d.into(), n.into()] as [Value; 3]).collect();
    let mut owners = Owners::new();
    for statement in keys.statements(OWNERS.0, OWNERS.1) {
        for row in tx.query_all_raw(statement).await.map_err(errors::failed)? {
            let (key, by) = starts::owner(row.try_get_many_by_index().map_err(errors::failed)?)?;
            owners.insert(key, by);
        }
    }
    Ok(owners)
}

pub(super) const CULPRIT: (&str, &str) = ("SELECT saga_id FROM journal WHERE (saga_id, seq) IN (", ") LIMIT 1");

/// The saga whose entry was there before the batch, looked up once the batch is rolled back; else the one suspected.
async fn culprit(file: &SqliteFile, suspect: SagaId, numbers: &[(SagaId, u32)]) -> Result<SagaId, StoreError> {
    let numbers: Rows<2> = numbers.iter().map(|&(saga, seq)| [rows::id(saga), i64::from(seq).into()]).collect();
    for statement in numbers.statements(CULPRIT.0, CULPRIT.1) {
        if let Some(row) = file.readers.query_one_raw(statement).await.map_err(errors::failed)? {
            return rows::id_from(row.try_get_by_index(0).map_err(errors::failed)?);
        }
    }
    Ok(suspect)
}
