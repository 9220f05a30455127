//! Writing to the store in memory: all is checked before anything is changed.

use super::{Contents, Key};
use crate::store::{
    Batch, InboxId, InboxItem, Incarnation, JournalRow, SagaRow, Start, Started, StoreError, TimerChange, check,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tercet_core::{Millis, SagaId};

fn key_of(row: &SagaRow) -> Key {
    (row.namespace.clone(), row.definition.clone(), row.key.clone())
}

impl Contents {
    pub(super) fn commit(&mut self, as_node: Incarnation, batch: Batch) -> Result<Vec<Started>, StoreError> {
        check::sound(&batch)?;
        self.nodes.fence(as_node)?;
        let started = self.outcomes(&batch.starts)?;
        let Batch { starts, changes } = batch;
        let winners = starts.into_iter().zip(&started).filter(|(_, became)| **became == Started::New);
        let winners: Vec<Arc<Start>> = winners.map(|(start, _)| start).collect();
        let begun: BTreeSet<SagaId> = winners.iter().map(|start| start.row.id).collect();
        self.appendable(winners.iter().flat_map(|s| &s.entries).chain(changes.iter().flat_map(|c| &c.entries)))?;
        for (saga, _) in changes.iter().filter_map(|change| change.projection.as_ref()) {
            if !self.sagas.contains_key(saga) && !begun.contains(saga) {
                return Err(StoreError::Refused(format!("saga {saga}, which it would change, is not there")));
            }
        }
        winners.into_iter().for_each(|start| self.begin(Arc::unwrap_or_clone(start)));
        for change in changes.into_iter().map(Arc::unwrap_or_clone) {
            change.entries.into_iter().for_each(|entry| self.append(entry));
            if let Some((saga, projection)) = change.projection
                && let Some(row) = self.sagas.get_mut(&saga)
            {
                row.projection = projection;
                self.counters.projections += 1;
            }
            change.timers.into_iter().for_each(|timer| self.change_timer(timer));
            change.taken.iter().for_each(|id| drop(self.inbox.remove(id)));
            change.put.into_iter().for_each(|item| self.put(item));
            self.audit.extend(change.audit);
        }
        self.counters.commits += 1;
        Ok(started)
    }

    /// What becomes of each start: of two under one key, the first wins.
    fn outcomes(&self, starts: &[Arc<Start>]) -> Result<Vec<Started>, StoreError> {
        let mut won: BTreeMap<Key, &SagaRow> = BTreeMap::new();
        let mut ids = BTreeSet::new();
        let mut outcomes = Vec::with_capacity(starts.len());
        for row in starts.iter().map(|start| &start.row) {
            let key = key_of(row);
            let owner = won.get(&key).copied().or_else(|| self.sagas.get(self.keys.get(&key)?));
            if let Some(owner) = owner {
                let same_payload = owner.payload_hash == row.payload_hash;
                outcomes.push(Started::Taken { by: owner.id, same_payload });
            } else if self.sagas.contains_key(&row.id) || !ids.insert(row.id) {
                return Err(StoreError::Conflict { saga: row.id });
            } else {
                outcomes.push(Started::New);
                won.insert(key, row);
            }
        }
        Ok(outcomes)
    }

    /// Each entry must be the next of its saga.
    fn appendable<'e>(&self, entries: impl Iterator<Item = &'e JournalRow>) -> Result<(), StoreError> {
        let mut heads: BTreeMap<SagaId, usize> = BTreeMap::new();
        for entry in entries {
            let saga = entry.saga;
            let head = heads.entry(saga).or_insert_with(|| self.journals.get(&saga).map_or(0, Vec::len));
            match (entry.seq as usize).cmp(&(*head + 1)) {
                std::cmp::Ordering::Less => return Err(StoreError::Conflict { saga }),
                std::cmp::Ordering::Equal => *head += 1,
                std::cmp::Ordering::Greater => {
                    return Err(StoreError::Refused(format!("entry {} of saga {saga} would leave a gap", entry.seq)));
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, start: Start) {
        self.keys.insert(key_of(&start.row), start.row.id);
        self.sagas.insert(start.row.id, start.row);
        self.counters.projections += 1;
        start.entries.into_iter().for_each(|entry| self.append(entry));
        start.timers.into_iter().for_each(|timer| self.change_timer(TimerChange::Set(timer)));
    }

    fn append(&mut self, entry: JournalRow) {
        self.written.push((entry.saga, entry.seq));
        self.counters.rows += 1;
        self.journals.entry(entry.saga).or_default().push(entry);
    }

    pub(super) fn change_timer(&mut self, change: TimerChange) {
        self.counters.timers += 1;
        let before = match change {
            TimerChange::Set(timer) => {
                self.due.insert((timer.due, timer.saga, timer.name.clone()));
                let due = timer.due;
                let before = self.timers.insert((timer.saga, timer.name.clone()), timer);
                before.filter(|before| before.due != due)
            }
            TimerChange::Clear(saga, name) => self.timers.remove(&(saga, name)),
        };
        if let Some(before) = before {
            self.due.remove(&(before.due, before.saga, before.name));
        }
    }

    pub(super) fn put(&mut self, item: InboxItem) {
        self.inbox_last += 1;
        self.inbox.insert(InboxId(self.inbox_last), item);
    }

    pub(super) fn purge(&mut self, ended: Millis, keys: Millis, limit: usize) -> u64 {
        let old = |row: &SagaRow, than: Millis| row.projection.may_be_purged() && row.projection.updated < than;
        let mut whole: Vec<_> =
            self.sagas.values().filter(|row| old(row, ended) && !self.purged.contains(&row.id)).collect();
        whole.sort_by_key(|row| row.projection.updated);
        let whole: Vec<SagaId> = whole.into_iter().take(limit).map(|row| row.id).collect();
        for saga in &whole {
            self.journals.remove(saga);
            self.purged.insert(*saga);
            let timers: Vec<_> = self.timers.keys().filter(|(of, _)| of == saga).cloned().collect();
            timers.into_iter().for_each(|(saga, name)| self.change_timer(TimerChange::Clear(saga, name)));
        }
        let mut rows: Vec<_> = self
            .purged
            .iter()
            .filter_map(|id| self.sagas.get(id))
            .filter(|row| row.projection.updated < keys)
            .collect();
        rows.sort_by_key(|row| row.projection.updated);
        let rows: Vec<_> = rows.into_iter().take(limit).map(|row| (row.id, key_of(row))).collect();
        for (saga, key) in rows {
            self.sagas.remove(&saga);
            self.keys.remove(&key);
            self.purged.remove(&saga);
        }
        whole.len() as u64
    }
}
