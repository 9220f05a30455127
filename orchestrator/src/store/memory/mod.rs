//! The store in memory: deterministic, on no runtime, for simulation and tests.
//!
//! Its futures are ready at once, but for a commit that was told to stall, or a read that is held up. It lives as long as one clone of it: an engine that
//! dies leaves it as it stood. Where SQLite finds a gap in a journal when it is read, this one refuses to write it.

mod apply;
mod cluster;
mod faults;
#[cfg(test)]
mod tests;

pub use cluster::Clock;
pub use faults::{Fault, Faults, Read};

use super::{
    AuditRow, Batch, Cluster, Count, DefinitionRow, Filter, InboxId, InboxItem, Incarnation, JournalRow, NodeInfo,
    SagaRow, Shards, Started, Store, StoreError, Stored, TimerChange, TimerName, TimerRow,
};
use faults::{Fate, Plan};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tercet_core::{DefinitionName, Millis, Namespace, SagaId, SagaKey};

/// A store in memory; clones share it.
#[derive(Clone, Default)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
    /// The time of leases, where several nodes share it.
    clock: Option<Clock>,
}

impl std::fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryStore").field("shared", &self.clock.is_some()).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct State {
    contents: Contents,
    plan: Plan,
}

/// All that a [`MemoryStore`] holds, for checkers to read.
#[derive(Debug, Default)]
pub struct Contents {
    /// The sagas' rows.
    pub sagas: BTreeMap<SagaId, SagaRow>,
    /// Their journals; a purged one is gone.
    pub journals: BTreeMap<SagaId, Vec<JournalRow>>,
    /// Every (saga, seq) ever written, in the order of writing: a checker goes on from where it was.
    pub written: Vec<(SagaId, u32)>,
    /// Who wrote each of these.
    pub signed: Vec<Signature>,
    /// The timers.
    pub timers: BTreeMap<(SagaId, TimerName), TimerRow>,
    /// The inbox.
    pub inbox: BTreeMap<InboxId, InboxItem>,
    /// What operators did, oldest first.
    pub audit: Vec<AuditRow>,
    /// What was written so far.
    pub counters: Counters,
    nodes: cluster::Nodes,
    keys: BTreeMap<Key, SagaId>,
    due: BTreeSet<(Millis, SagaId, TimerName)>,
    inbox_last: i64,
    purged: BTreeSet<SagaId>,
    definitions: BTreeMap<(DefinitionName, u32), DefinitionRow>,
}

/// Who wrote an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Who wrote it.
    pub by: Incarnation,
    /// Whose the saga was at that moment, where nodes share the store.
    pub owner: Option<Incarnation>,
}

type Key = (Namespace, DefinitionName, SagaKey);

/// How much was written, and how often journals were asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Transactions of [`Store::commit`], those that failed left out.
    pub commits: u64,
    /// Journal rows.
    pub rows: u64,
    /// Projections written, first ones included.
    pub projections: u64,
    /// Timers set or cleared, in batches or outside.
    pub timers: u64,
    /// Calls of [`Store::journals`].
    pub journals: u64,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The handle that makes it fail.
    #[must_use]
    pub fn faults(&self) -> Faults {
        Faults::of(self.clone())
    }

    /// Looks at what it holds; `look` must not call the store.
    pub fn inspect<T>(&self, look: impl FnOnce(&Contents) -> T) -> T {
        look(&self.state().contents)
    }

    /// How much was written and asked for so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.state().contents.counters
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is read or written outside batches: it fails while the store is down.
    fn ask<'a, T: Send + 'a>(
        &'a self, work: impl FnOnce(&mut Contents) -> Result<T, StoreError> + Send + 'a,
    ) -> Stored<'a, T> {
        Box::pin(async move {
            let mut state = self.state();
            state.plan.up()?;
            work(&mut state.contents)
        })
    }

    /// The same, handed over later if it is to be held up.
    fn ask_of<'a, T: Send + 'a>(
        &'a self, read: Read, work: impl FnOnce(&mut Contents) -> Result<T, StoreError> + Send + 'a,
    ) -> Stored<'a, T> {
        let asked = self.ask(work);
        Box::pin(async move {
            let answer = asked.await;
            let held = self.state().plan.held(read);
            if let Some(held) = held {
                held.await;
            }
            answer
        })
    }

    async fn commit_as_planned(&self, as_node: Incarnation, batch: Batch) -> Result<Vec<Started>, StoreError> {
        let fate = self.state().plan.fate_of_commit()?;
        if let Fate::Stalls(stall) = &fate {
            stall.clone().await;
        }
        let mut state = self.state();
        match fate {
            Fate::Written | Fate::Stalls(_) => state.contents.commit_signed(as_node, batch),
            Fate::Ambiguous(Fault::AmbiguousWritten) => {
                // A batch that the database would refuse is refused before its commit can be lost.
                state.contents.commit_signed(as_node, batch)?;
                Err(faults::ambiguous())
            }
            Fate::Ambiguous(Fault::AmbiguousLate) => {
                state.plan.keep_late(as_node, batch);
                Err(faults::ambiguous())
            }
            Fate::Ambiguous(_) => Err(faults::ambiguous()),
        }
    }
}

impl Store for MemoryStore {
    fn commit(&self, as_node: Incarnation, batch: Batch) -> Stored<'_, Vec<Started>> {
        Box::pin(self.commit_as_planned(as_node, batch))
    }

    fn join(&self, first: Incarnation, info: NodeInfo, lease: Duration) -> Stored<'_, ()> {
        self.ask(move |all| {
            all.nodes.join(first, info, self.now().map(|now| now.plus(lease)));
            Ok(())
        })
    }

    fn raise(&self, from: Incarnation, to: Incarnation) -> Stored<'_, ()> {
        self.ask(move |all| all.nodes.raise(from, to))
    }

    fn cluster(&self) -> Option<&dyn Cluster> {
        self.clock.is_some().then_some(self)
    }

    fn journals(&self, sagas: Vec<SagaId>) -> Stored<'_, Vec<Vec<JournalRow>>> {
        self.ask_of(Read::Journals, move |all| {
            all.counters.journals += 1;
            Ok(sagas.iter().map(|saga| all.journals.get(saga).cloned().unwrap_or_default()).collect())
        })
    }

    fn saga(&self, id: SagaId) -> Stored<'_, Option<SagaRow>> {
        self.ask_of(Read::Row, move |all| Ok(all.sagas.get(&id).cloned()))
    }

    fn find(&self, namespace: Namespace, definition: DefinitionName, key: SagaKey) -> Stored<'_, Option<SagaRow>> {
        self.ask(move |all| {
            let id = all.keys.get(&(namespace, definition, key));
            Ok(id.and_then(|id| all.sagas.get(id)).cloned())
        })
    }

    fn list(&self, filter: Filter, before: Option<SagaId>, limit: u32) -> Stored<'_, Vec<SagaRow>> {
        self.ask(move |all| {
            let below = before.map_or(Bound::Unbounded, Bound::Excluded);
            let newest_first = all.sagas.range((Bound::Unbounded, below)).rev().map(|(_, row)| row);
            Ok(newest_first.filter(|row| fits(&filter, row)).take(limit as usize).cloned().collect())
        })
    }

    fn counts(&self, namespace: Option<Namespace>) -> Stored<'_, Vec<Count>> {
        self.ask(move |all| {
            let mut counts = BTreeMap::new();
            let own = |row: &&SagaRow| namespace.as_ref().is_none_or(|namespace| *namespace == row.namespace);
            for row in all.sagas.values().filter(own) {
                let kind = (row.definition.clone(), row.projection.status, row.projection.parked > 0);
                *counts.entry(kind).or_insert(0) += 1;
            }
            let count = |((definition, status, parked), sagas)| Count { definition, status, parked, sagas };
            Ok(counts.into_iter().map(count).collect())
        })
    }

    fn unfinished(&self, of: Shards, after: Option<SagaId>, limit: u32) -> Stored<'_, Vec<SagaId>> {
        self.ask(move |all| {
            let above = after.map_or(Bound::Unbounded, Bound::Excluded);
            let oldest_first = all.sagas.range((above, Bound::Unbounded));
            let goes_on = |row: &SagaRow| !row.projection.status.is_end() && row.projection.wakes.is_none();
            let unfinished = oldest_first.filter(|(id, row)| of.have(**id) && goes_on(row)).map(|(&id, _)| id);
            Ok(unfinished.take(limit as usize).collect())
        })
    }

    fn timers_due(&self, of: Shards, after: Option<TimerRow>, until: Millis, limit: u32) -> Stored<'_, Vec<TimerRow>> {
        self.ask(move |all| {
            let after = after.map(|row| (row.due, row.saga, row.name));
            let later = all.due.range((after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded));
            let due =
                later.take_while(|(due, ..)| *due < until).filter(|(_, saga, _)| of.have(*saga)).take(limit as usize);
            Ok(due.filter_map(|(_, saga, name)| all.timers.get(&(*saga, name.clone()))).cloned().collect())
        })
    }

    fn timers_of(&self, sagas: Vec<SagaId>) -> Stored<'_, Vec<TimerRow>> {
        self.ask(move |all| {
            let sagas: BTreeSet<SagaId> = sagas.into_iter().collect();
            let of = |saga| {
                let from = (saga, TimerName(String::new()));
                all.timers.range(from..).take_while(move |((other, _), _)| *other == saga)
            };
            Ok(sagas.into_iter().flat_map(of).map(|(_, timer)| timer.clone()).collect())
        })
    }

    fn set_timers(&self, as_node: Incarnation, changes: Vec<TimerChange>) -> Stored<'_, ()> {
        self.ask(move |all| {
            all.nodes.fence(as_node)?;
            changes.into_iter().for_each(|change| all.change_timer(change));
            Ok(())
        })
    }

    fn deliver(&self, items: Vec<InboxItem>) -> Stored<'_, ()> {
        self.ask(move |all| {
            items.into_iter().for_each(|item| all.put(item));
            Ok(())
        })
    }

    fn inbox(&self, of: Shards, except: Vec<InboxId>, limit: u32) -> Stored<'_, Vec<(InboxId, InboxItem)>> {
        self.ask(move |all| {
            let in_hand: BTreeSet<InboxId> = except.into_iter().collect();
            let others = all.inbox.iter().filter(|(id, item)| of.have(item.saga) && !in_hand.contains(id));
            Ok(others.take(limit as usize).map(|(&id, item)| (id, item.clone())).collect())
        })
    }

    fn forget_inbox(&self, ids: Vec<InboxId>) -> Stored<'_, ()> {
        self.ask(move |all| {
            all.inbox.retain(|id, _| !ids.contains(id));
            Ok(())
        })
    }

    fn audit(&self, saga: SagaId) -> Stored<'_, Vec<AuditRow>> {
        self.ask(move |all| Ok(all.audit.iter().filter(|row| row.saga == saga).cloned().collect()))
    }

    fn register(&self, definitions: Vec<DefinitionRow>) -> Stored<'_, Vec<DefinitionRow>> {
        self.ask(move |all| {
            let mut others = BTreeMap::new();
            for new in definitions {
                let id = (new.name.clone(), new.version);
                let found = all.definitions.entry(id.clone()).or_insert_with(|| new.clone());
                if found.fingerprint != new.fingerprint {
                    others.insert(id, found.clone());
                }
            }
            Ok(others.into_values().collect())
        })
    }

    fn definition(&self, name: DefinitionName, version: u32) -> Stored<'_, Option<DefinitionRow>> {
        self.ask(move |all| Ok(all.definitions.get(&(name, version)).cloned()))
    }

    fn purge(&self, ended: Millis, keys: Millis, limit: u32) -> Stored<'_, u64> {
        self.ask(move |all| Ok(all.purge(ended, keys, limit as usize)))
    }
}

fn fits(filter: &Filter, row: &SagaRow) -> bool {
    let now = &row.projection;
    filter.namespace.as_ref().is_none_or(|namespace| *namespace == row.namespace)
        && filter.definition.as_ref().is_none_or(|definition| *definition == row.definition)
        && filter.status.is_none_or(|status| status == now.status)
        && filter.parked.is_none_or(|parked| parked == (now.parked > 0))
        && filter.attention.is_none_or(|attention| attention == now.attention)
        && filter.key.as_ref().is_none_or(|key| *key == row.key)
        && filter.from.is_none_or(|from| row.id >= from)
}
