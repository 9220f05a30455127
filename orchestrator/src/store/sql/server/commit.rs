//! One transaction for a batch: the fence, the starts, then all rows of a table in one statement.

use super::{
    Server, apply,
    dialect::{self, Dialect},
    end, errors, together, write,
};
use crate::store::{
    Batch, Change, Incarnation, Projection, SagaRow, Start, Started, StoreError, TimerChange, check,
    sql::{
        rows,
        starts::{self, Owners, key_of, owned_key},
    },
};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, Value};
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};
use tercet_core::SagaId;
use tercet_database::{Meaning, meaning};

pub(super) async fn commit(server: &Server, as_node: Incarnation, batch: Batch) -> Result<Vec<Started>, StoreError> {
    check::sound(&batch)?;
    if together::at_one_go(server, as_node, &batch).await? {
        return Ok(vec![Started::New; batch.starts.len()]);
    }
    let numbers: Vec<_> = batch.changes.iter().flat_map(|c| &c.entries).map(|e| (e.saga, e.seq)).collect();
    let tx = server.begin().await?;
    let done = within(&tx, server.dialect, as_node, batch).await;
    match end(tx, done).await {
        Err(StoreError::Conflict { saga }) => {
            Err(StoreError::Conflict { saga: culprit(server, saga, &numbers).await? })
        }
        ended => ended,
    }
}

async fn within(
    tx: &DatabaseTransaction, dialect: Dialect, as_node: Incarnation, batch: Batch,
) -> Result<Vec<Started>, StoreError> {
    write::fence(tx, dialect, as_node).await?;
    let (started, winners) = begin_sagas(tx, dialect, batch.starts).await?;
    Gathered::of(&winners, &batch.changes).write(tx, dialect).await?;
    Ok(started)
}

/// What a batch comes to, table by table.
#[derive(Default)]
pub(super) struct Gathered<'b> {
    pub(super) entries: Vec<[Value; 4]>,
    first: Option<SagaId>,
    pub(super) projections: BTreeMap<SagaId, &'b Projection>,
    pub(super) timers: Vec<TimerChange>,
    pub(super) taken: Vec<[Value; 1]>,
    pub(super) put: Vec<[Value; 3]>,
    pub(super) audit: Vec<[Value; 5]>,
}

impl<'b> Gathered<'b> {
    /// All of these starts' rows but their sagas', and all of these changes'.
    pub(super) fn of(starts: &'b [Arc<Start>], changes: &'b [Arc<Change>]) -> Self {
        let mut all = Self::default();
        starts.iter().for_each(|start| all.start(start));
        changes.iter().for_each(|change| all.change(change));
        all
    }

    fn start(&mut self, start: &Start) {
        self.first.get_or_insert(start.row.id);
        self.entries.extend(start.entries.iter().map(rows::journal));
        self.timers.extend(start.timers.iter().cloned().map(TimerChange::Set));
    }

    fn change(&mut self, change: &'b Change) {
        if let Some(entry) = change.entries.first() {
            self.first.get_or_insert(entry.saga);
        }
        self.entries.extend(change.entries.iter().map(rows::journal));
        self.projections.extend(change.projection.as_ref().map(|(saga, now)| (*saga, now)));
        self.timers.extend_from_slice(&change.timers);
        self.taken.extend(change.taken.iter().copied().map(rows::inbox_id));
        self.put.extend(change.put.iter().cloned().map(rows::inbox));
        self.audit.extend(change.audit.iter().cloned().map(rows::audit));
    }

    async fn write(self, tx: &DatabaseTransaction, dialect: Dialect) -> Result<(), StoreError> {
        let conflict = |error: DbErr| match self.first {
            Some(saga) if meaning(&error) == Meaning::Taken => StoreError::Conflict { saga },
            _ => errors::failed(error),
        };
        for statement in dialect.many(&dialect::JOURNAL, self.entries) {
            tx.execute_raw(statement).await.map_err(conflict)?;
        }
        let changed: Vec<[Value; 8]> =
            self.projections.into_iter().map(|(saga, now)| rows::projection(saga, now)).collect();
        let must = changed.len() as u64;
        let touched = apply(tx, dialect, &dialect::PROJECTION, changed).await?;
        if touched != must {
            return Err(StoreError::Refused(format!(
                "{} of the sagas that it would change are not there",
                must.saturating_sub(touched)
            )));
        }
        write::change_timers(tx, dialect, self.timers).await?;
        apply(tx, dialect, &dialect::INBOX_DELETE, self.taken).await?;
        apply(tx, dialect, &dialect::INBOX, self.put).await?;
        apply(tx, dialect, &dialect::AUDIT, self.audit).await.map(drop)
    }
}

/// Inserts the sagas whose keys are free, in the order of their keys, and says what became of each start, and which of them won.
async fn begin_sagas(
    tx: &DatabaseTransaction, dialect: Dialect, starts: Vec<Arc<Start>>,
) -> Result<(Vec<Started>, Vec<Arc<Start>>), StoreError> {
    if starts.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let order = starts::in_order(&starts);
    let new = insert(tx, dialect, order.iter().map(|&i| &starts[i].row).collect()).await?;
    let wins = starts::winners(&starts, order, new);
    let owners = owners(tx, dialect, starts::losers(&starts, &wins)).await?;
    starts::sort_out(starts, &wins, &owners)
}

/// The ids of those that are new. Where the server does not answer which, who has the keys is asked before and after.
async fn insert(
    tx: &DatabaseTransaction, dialect: Dialect, sagas: Vec<&SagaRow>,
) -> Result<HashSet<SagaId>, StoreError> {
    let mut new = HashSet::new();
    if dialect == Dialect::Postgres {
        for statement in dialect.many(&dialect::SAGA, sagas.into_iter().map(rows::saga).collect()) {
            for row in tx.query_all_raw(statement).await.map_err(errors::failed)? {
                new.insert(rows::id_from(row.try_get_by_index(0).map_err(errors::failed)?)?);
            }
        }
        return Ok(new);
    }
    let before = owners(tx, dialect, sagas.iter().copied()).await?;
    let free: Vec<&SagaRow> = sagas.into_iter().filter(|row| !before.contains_key(&owned_key(row))).collect();
    apply(tx, dialect, &dialect::SAGA, free.iter().copied().map(rows::saga).collect()).await?;
    let after = owners(tx, dialect, free.iter().copied()).await?;
    let mine = |row: &&&SagaRow| after.get(&owned_key(row)).is_some_and(|(by, _)| *by == row.id);
    Ok(free.iter().filter(mine).map(|row| row.id).collect())
}

/// Who has the keys of these rows.
async fn owners<'r>(
    tx: &DatabaseTransaction, dialect: Dialect, of: impl Iterator<Item = &'r SagaRow>,
) -> Result<Owners, StoreError> {
    let keys = of.map(key_of).map(|(k, d, n)| [k.into(), d.into(), n.into()] as [Value; 3]).collect();
    let mut owners = Owners::new();
    for statement in dialect.many(&dialect::OWNERS, keys) {
        for row in tx.query_all_raw(statement).await.map_err(errors::failed)? {
            let (key, by) = starts::owner(row.try_get_many_by_index().map_err(errors::failed)?)?;
            owners.insert(key, by);
        }
    }
    Ok(owners)
}

/// The saga whose entry was there before the batch, looked up once the batch is rolled back; else the one suspected.
async fn culprit(server: &Server, suspect: SagaId, numbers: &[(SagaId, u32)]) -> Result<SagaId, StoreError> {
    let numbers = numbers.iter().map(|&(saga, seq)| [rows::id(saga), i64::from(seq).into()]).collect();
    for statement in server.dialect.many(&dialect::CULPRITS, numbers) {
        if let Some(row) = server.pool.query_one_raw(statement).await.map_err(errors::failed)? {
            return rows::id_from(row.try_get_by_index(0).map_err(errors::failed)?);
        }
    }
    Ok(suspect)
}
