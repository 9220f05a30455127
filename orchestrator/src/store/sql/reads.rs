//! Every read: by key, by due time, by page. A column that cannot be what was written is [`StoreError::Corrupt`].

use super::{errors::failed, rows, shards::in_shards};
use crate::store::{
    AuditRow, Count, DefinitionRow, Filter, InboxId, InboxItem, JournalRow, Projection, SagaRow, SagaStatus, Shards,
    StoreError, TimerName, TimerRow,
};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, QueryResult, TryGetable,
    sea_query::{Expr, ExprTrait, Func, Order, Query, SelectStatement},
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Display,
    str::FromStr,
};
use tercet_core::{DefinitionName, Millis, Namespace, SagaId, SagaKey};
use tercet_database::lengths::filled;

/// Ids in one statement's `IN`.
const IDS_MAX: usize = 1_000;

async fn all<T>(
    db: &DatabaseConnection, select: &SelectStatement, row: impl Fn(&QueryResult) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    db.query_all(select).await.map_err(failed)?.iter().map(row).collect()
}

async fn one<T>(
    db: &DatabaseConnection, select: &SelectStatement, row: impl Fn(&QueryResult) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    db.query_one(select).await.map_err(failed)?.as_ref().map(row).transpose()
}

fn get<T: TryGetable>(row: &QueryResult, i: usize) -> Result<T, StoreError> {
    row.try_get_by_index(i).map_err(failed)
}

fn number<T: TryFrom<i64>>(row: &QueryResult, i: usize) -> Result<T, StoreError> {
    let number: i64 = get(row, i)?;
    T::try_from(number).map_err(|_| StoreError::Corrupt(format!("{number} in column {i}, which is out of range")))
}

fn name<T: FromStr<Err: Display>>(row: &QueryResult, i: usize) -> Result<T, StoreError> {
    parsed(&get::<String>(row, i)?)
}

fn parsed<T: FromStr<Err: Display>>(text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|error| StoreError::Corrupt(format!("{error}")))
}

fn id(row: &QueryResult, i: usize) -> Result<SagaId, StoreError> {
    rows::id_from(get(row, i)?)
}

fn bytes(saga: SagaId) -> Vec<u8> {
    saga.as_bytes().to_vec()
}

fn is_one_of(column: &'static str, sagas: &[SagaId]) -> Expr {
    Expr::col(column).is_in(filled(sagas.iter().map(|&saga| bytes(saga))))
}

pub(super) async fn journals(db: &DatabaseConnection, sagas: Vec<SagaId>) -> Result<Vec<Vec<JournalRow>>, StoreError> {
    let mut found: HashMap<SagaId, Vec<JournalRow>> = HashMap::new();
    for some in unique(&sagas).chunks(IDS_MAX) {
        for entry in all(db, &select_journals(some), journal_row).await? {
            let journal = found.entry(entry.saga).or_default();
            if entry.seq as usize != journal.len() + 1 {
                let (saga, expected) = (entry.saga, journal.len() + 1);
                return Err(StoreError::Corrupt(format!("the journal of saga {saga} lacks entry {expected}")));
            }
            journal.push(entry);
        }
    }
    Ok(sagas.iter().map(|saga| found.get(saga).cloned().unwrap_or_default()).collect())
}

fn unique(sagas: &[SagaId]) -> Vec<SagaId> {
    sagas.iter().copied().collect::<BTreeSet<_>>().into_iter().collect()
}

pub(super) fn select_journals(sagas: &[SagaId]) -> SelectStatement {
    Query::select()
        .columns(["saga_id", "seq", "at", "entry"])
        .from("journal")
        .and_where(is_one_of("saga_id", sagas))
        .order_by("saga_id", Order::Asc)
        .order_by("seq", Order::Asc)
        .take()
}

fn journal_row(row: &QueryResult) -> Result<JournalRow, StoreError> {
    Ok(JournalRow { saga: id(row, 0)?, seq: number(row, 1)?, at: Millis(get(row, 2)?), entry: get(row, 3)? })
}

fn select_sagas() -> SelectStatement {
    let columns = [
        "id",
        "namespace",
        "definition",
        "version",
        "saga_key",
        "payload_hash",
        "parent_id",
        "parent_step",
        "status",
        "parked",
        "attention",
        "updated",
        "wakes",
        "output",
        "started",
    ];
    Query::select().columns(columns).from("sagas").take()
}

fn saga_row(row: &QueryResult) -> Result<SagaRow, StoreError> {
    let parent = match (get::<Option<Vec<u8>>>(row, 6)?, get::<Option<String>>(row, 7)?) {
        (Some(saga), Some(step)) => Some((rows::id_from(saga)?, parsed(&step)?)),
        (None, None) => None,
        _ => return Err(StoreError::Corrupt(format!("half a parent of saga {}", id(row, 0)?))),
    };
    let projection = Projection {
        status: rows::status_from(get(row, 8)?)?,
        parked: number(row, 9)?,
        attention: get(row, 10)?,
        updated: Millis(get(row, 11)?),
        wakes: get::<Option<i64>>(row, 12)?.map(Millis),
        output: get(row, 13)?,
    };
    Ok(SagaRow {
        id: id(row, 0)?,
        namespace: name(row, 1)?,
        definition: name(row, 2)?,
        version: number(row, 3)?,
        key: name(row, 4)?,
        payload_hash: rows::hash_from(get(row, 5)?)?,
        parent,
        projection,
        started: Millis(get(row, 14)?),
    })
}

pub(super) async fn saga(db: &DatabaseConnection, saga: SagaId) -> Result<Option<SagaRow>, StoreError> {
    one(db, &select_sagas().and_where(Expr::col("id").eq(bytes(saga))).take(), saga_row).await
}

pub(super) async fn find(
    db: &DatabaseConnection, namespace: &Namespace, definition: &DefinitionName, key: &SagaKey,
) -> Result<Option<SagaRow>, StoreError> {
    one(db, &select_key(namespace, definition, key), saga_row).await
}

pub(super) fn select_key(namespace: &Namespace, definition: &DefinitionName, key: &SagaKey) -> SelectStatement {
    select_sagas()
        .and_where(Expr::col("saga_key").eq(key.as_str()))
        .and_where(Expr::col("definition").eq(definition.as_str()))
        .and_where(Expr::col("namespace").eq(namespace.as_str()))
        .take()
}

/// The index of a namespace and definition is by status first, so that it serves counts and both kinds of list: a list over all
/// statuses takes a page of each and merges them.
pub(super) async fn list(
    db: &DatabaseConnection, filter: &Filter, before: Option<SagaId>, limit: u32,
) -> Result<Vec<SagaRow>, StoreError> {
    let each_status = filter.definition.is_some() && filter.status.is_none() && filter.key.is_none();
    let statuses = if each_status { SagaStatus::ALL.map(Some).to_vec() } else { vec![filter.status] };
    let mut newest_first = BTreeMap::new();
    for status in statuses {
        for row in all(db, &select_page(db.get_database_backend(), filter, status, before, limit), saga_row).await? {
            // Statuses only go forward, and so does this loop: a saga found twice moved meanwhile, and the second is newer.
            newest_first.insert(Reverse(row.id), row);
        }
    }
    Ok(newest_first.into_values().take(limit as usize).collect())
}

/// The conditions of partial indexes are written out: a bound value would hide them from the planner.
pub(super) fn select_page(
    backend: DbBackend, filter: &Filter, status: Option<SagaStatus>, before: Option<SagaId>, limit: u32,
) -> SelectStatement {
    let mut select = select_sagas();
    if let Some(namespace) = &filter.namespace {
        // Without a definition the page is read in the order of ids: the plus keeps SQLite's planner from the namespace's index.
        select.and_where(match filter.definition {
            None if backend == DbBackend::Sqlite => Expr::cust_with_values("+namespace = ?", [namespace.as_str()]),
            _ => Expr::col("namespace").eq(namespace.as_str()),
        });
    }
    if let Some(definition) = &filter.definition {
        select.and_where(Expr::col("definition").eq(definition.as_str()));
    }
    if let Some(status) = status {
        select.and_where(Expr::col("status").eq(rows::status(status)));
    }
    if let Some(parked) = filter.parked {
        select.and_where(Expr::cust(if parked { "parked > 0" } else { "parked = 0" }));
    }
    if let Some(attention) = filter.attention {
        select.and_where(Expr::cust(if attention { "attention" } else { "NOT attention" }));
    }
    if let Some(key) = &filter.key {
        select.and_where(Expr::col("saga_key").eq(key.as_str()));
    }
    if let Some(from) = filter.from {
        select.and_where(Expr::col("id").gte(bytes(from)));
    }
    if let Some(before) = before {
        select.and_where(Expr::col("id").lt(bytes(before)));
    }
    select.order_by("id", Order::Desc).limit(u64::from(limit)).take()
}

pub(super) async fn counts(db: &DatabaseConnection, namespace: Option<&Namespace>) -> Result<Vec<Count>, StoreError> {
    let mut counts: BTreeMap<(DefinitionName, SagaStatus), (u64, u64)> = BTreeMap::new();
    for (name, status, sagas) in all(db, &select_counts(namespace), count_row).await? {
        counts.entry((name, status)).or_default().0 = sagas;
    }
    for (name, status, parked) in
        all(db, &select_counts(namespace).and_where(Expr::cust("parked > 0")).take(), count_row).await?
    {
        counts.entry((name, status)).or_default().1 = parked;
    }
    let both = counts.into_iter().flat_map(|((definition, status), (sagas, parked))| {
        [(false, sagas.saturating_sub(parked)), (true, parked)].map(|(parked, sagas)| Count {
            definition: definition.clone(),
            status,
            parked,
            sagas,
        })
    });
    Ok(both.filter(|count| count.sagas > 0).collect())
}

pub(super) fn select_counts(namespace: Option<&Namespace>) -> SelectStatement {
    let mut select = Query::select();
    if let Some(namespace) = namespace {
        select.and_where(Expr::col("namespace").eq(namespace.as_str()));
    }
    select
        .columns(["definition", "status"])
        .expr(Func::count(Expr::col("definition")))
        .from("sagas")
        .group_by_col("definition")
        .group_by_col("status")
        .take()
}

fn count_row(row: &QueryResult) -> Result<(DefinitionName, SagaStatus, u64), StoreError> {
    Ok((name(row, 0)?, rows::status_from(get(row, 1)?)?, number(row, 2)?))
}

/// A page of each status that is not an end, merged, without those that merely wait.
pub(super) async fn unfinished(
    db: &DatabaseConnection, of: Shards, after: Option<SagaId>, limit: u32,
) -> Result<Vec<SagaId>, StoreError> {
    let owned = in_shards(db.get_database_backend(), "id", &of);
    let mut page = Vec::new();
    for status in SagaStatus::ALL.into_iter().filter(|status| !status.is_end()) {
        let select = select_unfinished(owned.clone(), status, after, limit);
        page.extend(all(db, &select, |row| id(row, 0)).await?);
    }
    page.sort_unstable();
    page.dedup();
    page.truncate(limit as usize);
    Ok(page)
}

pub(super) fn select_unfinished(
    owned: Option<Expr>, status: SagaStatus, after: Option<SagaId>, limit: u32,
) -> SelectStatement {
    let mut select = Query::select();
    select.column("id").from("sagas").and_where(Expr::col("status").eq(rows::status(status)));
    select.and_where(Expr::col("wakes").is_null()).and_where_option(owned);
    if let Some(after) = after {
        select.and_where(Expr::col("id").gt(bytes(after)));
    }
    select.order_by("id", Order::Asc).limit(u64::from(limit)).take()
}

fn select_timers() -> SelectStatement {
    Query::select().columns(["saga_id", "name", "due", "attempt"]).from("timers").take()
}

fn timer_row(row: &QueryResult) -> Result<TimerRow, StoreError> {
    let (saga, name) = (id(row, 0)?, TimerName(get(row, 1)?));
    Ok(TimerRow { saga, name, due: Millis(get(row, 2)?), attempt: number(row, 3)? })
}

pub(super) async fn timers_due(
    db: &DatabaseConnection, of: Shards, after: Option<&TimerRow>, until: Millis, limit: u32,
) -> Result<Vec<TimerRow>, StoreError> {
    let owned = in_shards(db.get_database_backend(), "saga_id", &of);
    all(db, &select_due(owned, after, until, limit), timer_row).await
}

pub(super) fn select_due(owned: Option<Expr>, after: Option<&TimerRow>, until: Millis, limit: u32) -> SelectStatement {
    let mut select = select_timers().and_where_option(owned).take();
    if let Some(TimerRow { due, saga, name, .. }) = after {
        let same_saga = Expr::col("saga_id").eq(bytes(*saga)).and(Expr::col("name").gt(name.0.as_str()));
        let later = Expr::col("due").gt(due.0).or(Expr::col("saga_id").gt(bytes(*saga))).or(same_saga);
        select.and_where(Expr::col("due").gte(due.0)).and_where(later);
    }
    for column in ["due", "saga_id", "name"] {
        select.order_by(column, Order::Asc);
    }
    select.and_where(Expr::col("due").lt(until.0)).limit(u64::from(limit)).take()
}

pub(super) async fn timers_of(db: &DatabaseConnection, sagas: Vec<SagaId>) -> Result<Vec<TimerRow>, StoreError> {
    let mut timers = Vec::new();
    for some in unique(&sagas).chunks(IDS_MAX) {
        timers.extend(all(db, &select_timers_of(some), timer_row).await?);
    }
    Ok(timers)
}

pub(super) fn select_timers_of(sagas: &[SagaId]) -> SelectStatement {
    select_timers()
        .and_where(is_one_of("saga_id", sagas))
        .order_by("saga_id", Order::Asc)
        .order_by("name", Order::Asc)
        .take()
}

pub(super) async fn inbox(
    db: &DatabaseConnection, of: Shards, except: &[InboxId], limit: u32,
) -> Result<Vec<(InboxId, InboxItem)>, StoreError> {
    inbox_where(db, in_shards(db.get_database_backend(), "saga_id", &of), except, limit).await
}

/// Of these sagas, as many as a statement can name.
pub(super) async fn inbox_of(
    db: &DatabaseConnection, sagas: &[SagaId], except: &[InboxId], limit: u32,
) -> Result<Vec<(InboxId, InboxItem)>, StoreError> {
    let mut items = Vec::new();
    for some in sagas.chunks(IDS_MAX) {
        items.extend(inbox_where(db, Some(is_one_of("saga_id", some)), except, limit).await?);
    }
    items.sort_unstable_by_key(|(id, _)| *id);
    items.truncate(limit as usize);
    Ok(items)
}

/// Ids first: those in hand are left out here, since they may be more than a statement can name.
async fn inbox_where(
    db: &DatabaseConnection, condition: Option<Expr>, except: &[InboxId], limit: u32,
) -> Result<Vec<(InboxId, InboxItem)>, StoreError> {
    let in_hand: BTreeSet<i64> = except.iter().map(|id| id.0).collect();
    let enough = in_hand.len() as u64 + u64::from(limit);
    let ids = Query::select()
        .column("id")
        .from("inbox")
        .and_where_option(condition)
        .order_by("id", Order::Asc)
        .limit(enough)
        .take();
    let ids: Vec<i64> = all(db, &ids, |row| get(row, 0)).await?;
    let ids: Vec<i64> = ids.into_iter().filter(|id| !in_hand.contains(id)).take(limit as usize).collect();
    let mut items = Vec::with_capacity(ids.len());
    for some in ids.chunks(IDS_MAX) {
        items.extend(all(db, &select_inbox(some), inbox_row).await?);
    }
    Ok(items)
}

pub(super) fn select_inbox(ids: &[i64]) -> SelectStatement {
    Query::select()
        .columns(["id", "saga_id", "at", "message"])
        .from("inbox")
        .and_where(Expr::col("id").is_in(filled(ids.iter().copied())))
        .order_by("id", Order::Asc)
        .take()
}

fn inbox_row(row: &QueryResult) -> Result<(InboxId, InboxItem), StoreError> {
    let item = InboxItem { saga: id(row, 1)?, at: Millis(get(row, 2)?), message: get(row, 3)? };
    Ok((InboxId(get(row, 0)?), item))
}

pub(super) async fn audit(db: &DatabaseConnection, saga: SagaId) -> Result<Vec<AuditRow>, StoreError> {
    all(db, &select_audit(saga), |row| {
        let (actor, action, reason) = (get(row, 2)?, get(row, 3)?, get(row, 4)?);
        Ok(AuditRow { saga: id(row, 0)?, at: Millis(get(row, 1)?), actor, action, reason })
    })
    .await
}

pub(super) fn select_audit(saga: SagaId) -> SelectStatement {
    Query::select()
        .columns(["saga_id", "at", "actor", "action", "reason"])
        .from("audit")
        .and_where(Expr::col("saga_id").eq(bytes(saga)))
        .order_by("id", Order::Asc)
        .take()
}

pub(super) async fn definition(
    db: &DatabaseConnection, name: &DefinitionName, version: u32,
) -> Result<Option<DefinitionRow>, StoreError> {
    let select = Query::select()
        .columns(["name", "version", "fingerprint", "description"])
        .from("definitions")
        .and_where(Expr::col("name").eq(name.as_str()))
        .and_where(Expr::col("version").eq(version))
        .take();
    one(db, &select, definition_row).await
}

pub(super) fn definition_row(row: &QueryResult) -> Result<DefinitionRow, StoreError> {
    let (fingerprint, description) = (get(row, 2)?, get(row, 3)?);
    Ok(DefinitionRow { name: name(row, 0)?, version: number(row, 1)?, fingerprint, description })
}
