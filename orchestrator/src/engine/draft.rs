//! A batch under construction: one transaction's worth of decisions.

use super::{
    EngineError,
    active::Active,
    message::{Reply, Snapshot, StartedSaga},
};
use crate::store::{AuditRow, Batch, Change, InboxId, InboxItem, JournalRow, Projection, Start, TimerChange};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};
use tercet_core::{Entry, SagaId};

/// The next batch.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) starts: Vec<Starting>,
    pub(super) changes: BTreeMap<SagaId, Arc<Change>>,
    /// What other nodes asked of these sagas in vain. It is said when the batch is durable: what it rests on is so then, and nobody else
    /// can say anything else.
    refused: Vec<(SagaId, Reply<Snapshot>, EngineError)>,
}

/// A saga that the batch begins.
pub(super) struct Starting {
    pub(super) start: Arc<Start>,
    pub(super) active: Active,
    pub(super) entry: Entry,
    pub(super) by: StartedBy,
}

/// Who began it.
pub(super) enum StartedBy {
    /// A caller, who is to hear.
    Caller(Reply<StartedSaga>),
    /// A saga, whose entry stands in the same batch.
    Saga(SagaId),
}

impl Starting {
    /// The saga that it stands and falls with.
    pub(super) fn owner(&self) -> SagaId {
        match self.by {
            StartedBy::Caller(_) => self.start.row.id,
            StartedBy::Saga(by) => by,
        }
    }
}

impl Draft {
    pub(super) fn is_empty(&self) -> bool {
        self.starts.is_empty() && self.changes.is_empty()
    }

    /// How many sagas it begins and changes.
    pub(super) fn sagas(&self) -> usize {
        self.starts.len() + self.changes.len()
    }

    pub(super) fn change(&mut self, saga: SagaId) -> &mut Change {
        Arc::make_mut(self.changes.entry(saga).or_default())
    }

    pub(super) fn append(&mut self, row: JournalRow, projection: Option<Projection>, timers: Vec<TimerChange>) {
        let saga = row.saga;
        let change = self.change(saga);
        change.entries.push(row);
        change.timers.extend(timers);
        if let Some(projection) = projection {
            change.projection = Some((saga, projection));
        }
    }

    pub(super) fn put(&mut self, from: SagaId, item: InboxItem) {
        self.change(from).put.push(item);
    }

    pub(super) fn take(&mut self, saga: SagaId, inbox: Option<InboxId>) {
        if let Some(id) = inbox {
            self.change(saga).taken.push(id);
        }
    }

    /// No to what another node asked.
    pub(super) fn refuse(&mut self, saga: SagaId, row: InboxId, reply: Reply<Snapshot>, error: EngineError) {
        self.take(saga, Some(row));
        self.refused.push((saga, reply, error));
    }

    /// It is written.
    pub(super) fn say_no(&mut self) {
        self.refused.drain(..).for_each(|(_, reply, error)| drop(reply.send(Err(error))));
    }

    /// Inbox rows that it deals with.
    pub(super) fn taken(&self) -> impl Iterator<Item = InboxId> {
        self.changes.values().flat_map(|change| change.taken.iter().copied())
    }

    pub(super) fn audit(&mut self, row: AuditRow) {
        self.change(row.saga).audit.push(row);
    }

    /// What the store is given. It shares everything with this draft, which is kept in case it must be written again.
    pub(super) fn batch(&self) -> Batch {
        Batch {
            starts: self.starts.iter().map(|starting| starting.start.clone()).collect(),
            changes: self.changes.values().cloned().collect(),
        }
    }

    /// Sagas that it is about: those it changes, those it begins, and those whose entries begin others (which may stand in a batch before).
    fn about(&self) -> impl Iterator<Item = SagaId> {
        let starts = self.starts.iter().flat_map(|starting| [starting.owner(), starting.start.row.id]);
        self.changes.keys().copied().chain(starts)
    }

    /// Takes out what is about no saga that `others` are about, and so may be written before or after them.
    pub(super) fn apart_from(&mut self, others: &BTreeMap<u64, Self>) -> Self {
        if others.is_empty() {
            return std::mem::take(self);
        }
        let busy: HashSet<SagaId> = others.values().flat_map(Self::about).collect();
        let free = |saga: SagaId| !busy.contains(&saga);
        let changes = self.changes.extract_if(.., |saga, _| free(*saga)).collect();
        let (starts, kept) = std::mem::take(&mut self.starts).into_iter().partition(|starting| free(starting.owner()));
        self.starts = kept;
        let (refused, kept) = std::mem::take(&mut self.refused).into_iter().partition(|(saga, ..)| free(*saga));
        self.refused = kept;
        Self { starts, changes, refused }
    }

    /// Takes out what concerns a saga: its change, what it started, who waits for it. The inbox rows that it would have dealt with.
    pub(super) fn drop_saga(&mut self, saga: SagaId) -> Vec<InboxId> {
        let change = self.changes.remove(&saga);
        self.starts.retain(|starting| starting.owner() != saga);
        self.refused.retain(|(other, ..)| *other != saga);
        change.map_or_else(Vec::new, |change| change.taken.clone())
    }

    /// Puts `later`, which was decided after this, behind it.
    pub(super) fn extend(&mut self, later: Self) {
        self.starts.extend(later.starts);
        self.refused.extend(later.refused);
        for (saga, change) in later.changes {
            let (own, change) = (self.change(saga), Arc::unwrap_or_clone(change));
            own.entries.extend(change.entries);
            own.projection = change.projection.or_else(|| own.projection.take());
            own.timers.extend(change.timers);
            own.taken.extend(change.taken);
            own.put.extend(change.put);
            own.audit.extend(change.audit);
        }
    }

    /// Two halves, each of which stands by itself: what a saga started stays with it. `None` when there is but one saga.
    pub(super) fn halves(mut self) -> Result<(Self, Self), Self> {
        let mut owners: BTreeSet<SagaId> = self.changes.keys().copied().collect();
        owners.extend(self.starts.iter().map(Starting::owner));
        let Some(middle) = owners.iter().nth(owners.len() / 2).copied().filter(|_| owners.len() > 1) else {
            return Err(self);
        };
        let second = owners.split_off(&middle);
        let mut other = Self::default();
        for saga in &second {
            other.changes.extend(self.changes.remove_entry(saga));
        }
        let belongs = |starting: &Starting| second.contains(&starting.owner());
        (other.starts, self.starts) = self.starts.into_iter().partition(belongs);
        let belongs = |(saga, ..): &(SagaId, _, _)| second.contains(saga);
        (other.refused, self.refused) = self.refused.into_iter().partition(belongs);
        Ok((self, other))
    }
}
