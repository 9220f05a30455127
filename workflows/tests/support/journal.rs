//! A store that lets the process die at a given write, and counts what is read and written.

use super::clock::Time;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};
use tercet::store::{
    AuditRow, Batch, Count, DefinitionRow, Filter, InboxId, InboxItem, Incarnation, JournalRow, SagaRow, Started,
    Store, Stored, TimerChange, TimerRow,
};
use tercet_core::{DefinitionName, Millis, Namespace, SagaId, SagaKey};

/// At which moment of a write the process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dies {
    /// Before anything of it is written.
    Before,
    /// When it is written, and before anybody hears of it.
    After,
}

#[derive(Default)]
struct State {
    dies: Option<(u32, Dies)>,
    commits: u32,
    reads: BTreeMap<SagaId, u32>,
    /// A journal whose newest row reads as its first half.
    torn: Option<SagaId>,
}

/// The store of a [`World`](super::World).
pub(crate) struct Journal {
    inner: Arc<dyn Store>,
    time: Arc<Time>,
    state: Mutex<State>,
}

impl Journal {
    pub(crate) fn new(inner: Arc<dyn Store>, time: &Arc<Time>) -> Arc<Self> {
        Arc::new(Self { inner, time: time.clone(), state: Mutex::default() })
    }

    /// The process dies at the `nth` write from now, counted from 1.
    pub(crate) fn die_at(&self, nth: u32, dies: Dies) {
        let mut state = self.state.lock().unwrap();
        state.commits = 0;
        state.dies = Some((nth, dies));
    }

    /// It is not to die any more. True when it would have, had there been more writes.
    pub(crate) fn heal(&self) -> bool {
        self.state.lock().unwrap().dies.take().is_some()
    }

    /// How often a saga's journal was read.
    pub(crate) fn reads(&self, saga: SagaId) -> u32 {
        self.state.lock().unwrap().reads.get(&saga).copied().unwrap_or(0)
    }

    /// From now on the newest row of that saga's journal reads as its first half.
    pub(crate) fn tear(&self, saga: SagaId) {
        self.state.lock().unwrap().torn = Some(saga);
    }

    fn fate(&self) -> Option<Dies> {
        let mut state = self.state.lock().unwrap();
        state.commits += 1;
        let (nth, dies) = state.dies?;
        (state.commits == nth).then(|| {
            state.dies = None;
            dies
        })
    }

    fn counted<'a, T: Send + 'a>(&'a self, work: Stored<'a, T>) -> Stored<'a, T> {
        let busy = self.time.busy();
        Box::pin(async move {
            let done = work.await;
            drop(busy);
            done
        })
    }

    async fn dead(&self) -> ! {
        self.time.crash();
        std::future::pending().await
    }
}

impl Store for Journal {
    fn commit(&self, as_node: Incarnation, batch: Batch) -> Stored<'_, Vec<Started>> {
        let busy = self.time.busy();
        Box::pin(async move {
            let dies = self.fate();
            if dies == Some(Dies::Before) {
                drop(busy);
                self.dead().await;
            }
            let done = self.inner.commit(as_node, batch).await;
            drop(busy);
            if dies == Some(Dies::After) {
                self.dead().await;
            }
            done
        })
    }

    fn journals(&self, sagas: Vec<SagaId>) -> Stored<'_, Vec<Vec<JournalRow>>> {
        self.counted(Box::pin(async move {
            let torn = {
                let mut state = self.state.lock().unwrap();
                sagas.iter().for_each(|saga| *state.reads.entry(*saga).or_default() += 1);
                state.torn
            };
            let mut journals = self.inner.journals(sagas).await?;
            let last = |journal: &&mut JournalRow| Some(journal.saga) == torn;
            for row in journals.iter_mut().filter_map(|journal| journal.last_mut()).filter(last) {
                row.entry.truncate(row.entry.len() / 2);
            }
            Ok(journals)
        }))
    }

    fn raise_incarnation(&self, from: Option<Incarnation>) -> Stored<'_, Incarnation> {
        self.counted(self.inner.raise_incarnation(from))
    }

    fn saga(&self, id: SagaId) -> Stored<'_, Option<SagaRow>> {
        self.counted(self.inner.saga(id))
    }

    fn find(&self, namespace: Namespace, definition: DefinitionName, key: SagaKey) -> Stored<'_, Option<SagaRow>> {
        self.counted(self.inner.find(namespace, definition, key))
    }

    fn list(&self, filter: Filter, before: Option<SagaId>, limit: u32) -> Stored<'_, Vec<SagaRow>> {
        self.counted(self.inner.list(filter, before, limit))
    }

    fn counts(&self, namespace: Option<Namespace>) -> Stored<'_, Vec<Count>> {
        self.counted(self.inner.counts(namespace))
    }

    fn unfinished(&self, after: Option<SagaId>, limit: u32) -> Stored<'_, Vec<SagaId>> {
        self.counted(self.inner.unfinished(after, limit))
    }

    fn timers_due(&self, after: Option<TimerRow>, until: Millis, limit: u32) -> Stored<'_, Vec<TimerRow>> {
        self.counted(self.inner.timers_due(after, until, limit))
    }

    fn timers_of(&self, sagas: Vec<SagaId>) -> Stored<'_, Vec<TimerRow>> {
        self.counted(self.inner.timers_of(sagas))
    }

    fn set_timers(&self, as_node: Incarnation, changes: Vec<TimerChange>) -> Stored<'_, ()> {
        self.counted(self.inner.set_timers(as_node, changes))
    }

    fn deliver(&self, items: Vec<InboxItem>) -> Stored<'_, ()> {
        self.counted(self.inner.deliver(items))
    }

    fn inbox(&self, except: Vec<InboxId>, limit: u32) -> Stored<'_, Vec<(InboxId, InboxItem)>> {
        self.counted(self.inner.inbox(except, limit))
    }

    fn forget_inbox(&self, ids: Vec<InboxId>) -> Stored<'_, ()> {
        self.counted(self.inner.forget_inbox(ids))
    }

    fn audit(&self, saga: SagaId) -> Stored<'_, Vec<AuditRow>> {
        self.counted(self.inner.audit(saga))
    }

    fn register(&self, definitions: Vec<DefinitionRow>) -> Stored<'_, Vec<DefinitionRow>> {
        self.counted(self.inner.register(definitions))
    }

    fn definition(&self, name: DefinitionName, version: u32) -> Stored<'_, Option<DefinitionRow>> {
        self.counted(self.inner.definition(name, version))
    }

    fn purge(&self, ended: Millis, keys: Millis, limit: u32) -> Stored<'_, u64> {
        self.counted(self.inner.purge(ended, keys, limit))
    }
}
