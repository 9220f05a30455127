//! A store that lets the process die at a given write, counts what is read and written, and folds what is written.

use crate::{
    facts::words,
    locked,
    log::{Armed, Log, Mark},
    time::Time,
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tercet::store::{
    AuditRow, Batch, Count, DefinitionRow, Filter, InboxId, InboxItem, Incarnation, JournalRow, NodeInfo, SagaRow,
    Shards, Started, Store, StoreError, Stored, TimerChange, TimerRow,
};
use tercet_core::{
    Command, DefinitionName, Entry, Millis, Namespace, SagaId, SagaKey, State, StepInstance, apply, outstanding,
};
use tokio::sync::watch;

/// At which moment of a write the process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dies {
    /// Before anything of it is written.
    Before,
    /// When it is written, and before anybody hears of it.
    After,
}

#[derive(Default)]
struct Plan {
    dies: Option<(u32, Dies)>,
    /// Writes since the last [`Journal::die_at`] or [`Journal::count_anew`].
    commits: u32,
    reads: BTreeMap<SagaId, u32>,
    /// A journal whose newest row reads as its first half.
    torn: Option<SagaId>,
    states: BTreeMap<SagaId, State>,
}

/// The store of a [`World`](crate::World): another one, whose writes are counted, recorded, and the last things some processes do.
pub struct Journal {
    inner: Arc<dyn Store>,
    time: Arc<Time>,
    book: Arc<Book>,
}

/// What is known of the writes.
struct Book {
    log: Arc<Log>,
    plan: Mutex<Plan>,
    written: watch::Sender<u32>,
    /// Writes that are under way.
    writing: AtomicU32,
}

impl Journal {
    pub(crate) fn new(inner: Arc<dyn Store>, time: &Arc<Time>, log: &Arc<Log>) -> Arc<Self> {
        let book = Book {
            log: log.clone(),
            plan: Mutex::default(),
            written: watch::Sender::new(0),
            writing: AtomicU32::new(0),
        };
        Arc::new(Self { inner, time: time.clone(), book: Arc::new(book) })
    }

    /// The process dies at the `nth` write from now, counted from 1.
    pub fn die_at(&self, nth: u32, dies: Dies) {
        self.count_anew();
        locked(&self.book.plan).dies = Some((nth, dies));
    }

    /// It is not to die any more. True when it would have, had there been more writes.
    pub fn heal(&self) -> bool {
        locked(&self.book.plan).dies.take().is_some()
    }

    /// How often a saga's journal was read.
    #[must_use]
    pub fn reads(&self, saga: SagaId) -> u32 {
        locked(&self.book.plan).reads.get(&saga).copied().unwrap_or(0)
    }

    /// From now on the newest row of that saga's journal reads as its first half.
    pub fn tear(&self, saga: SagaId) {
        locked(&self.book.plan).torn = Some(saga);
    }

    /// Counts writes from 1 again.
    pub(crate) fn count_anew(&self) {
        locked(&self.book.plan).commits = 0;
        self.book.written.send_replace(0);
    }

    /// Writes counted so far.
    pub(crate) fn writes(&self) -> u32 {
        *self.book.written.borrow()
    }

    /// Comes back once `is_so`, which is looked at after every write.
    pub(crate) async fn once(&self, is_so: impl Fn(&Self) -> bool) {
        let mut written = self.book.written.subscribe();
        while !is_so(self) {
            if written.changed().await.is_err() {
                return;
            }
        }
    }

    /// The sagas of the store, each as the fold of what was written.
    pub(crate) fn states(&self) -> Vec<State> {
        locked(&self.book.plan).states.values().cloned().collect()
    }

    pub(crate) fn look<T>(&self, saga: SagaId, look: impl FnOnce(&State) -> T) -> Option<T> {
        locked(&self.book.plan).states.get(&saga).map(look)
    }

    /// Comes back once what is durable is folded as well: who reads a database sees a write before its writer hears of it.
    pub(crate) async fn caught_up(&self) {
        self.once(|journal| journal.book.writing.load(Ordering::Relaxed) == 0).await;
    }

    /// Was it written that this step is asked?
    pub(crate) fn knows(&self, saga: SagaId, step: &StepInstance) -> bool {
        self.look(saga, |state| state.steps.contains_key(step)).unwrap_or(false)
    }

    /// The wake times that are armed now, of all sagas by their names.
    pub(crate) fn armed(&self) -> Armed {
        let mut armed = Armed::new();
        for state in locked(&self.book.plan).states.values() {
            for command in outstanding(state) {
                if let Command::Wake { timer, at } = command {
                    armed.insert((self.book.log.name(state.saga()), timer), at);
                }
            }
        }
        armed
    }

    fn counted<'a, T: Send + 'a>(&'a self, work: Stored<'a, T>) -> Stored<'a, T> {
        let busy = self.time.busy();
        Box::pin(async move {
            let done = work.await;
            drop(busy);
            done
        })
    }

    async fn dead(&self, nth: u32, dies: Dies) -> ! {
        let when = if dies == Dies::Before { "before" } else { "after" };
        self.book.log.of_world(Mark::Fault, format!("the process dies {when} write {nth}"));
        self.time.crash();
        std::future::pending().await
    }
}

impl Book {
    fn fate(&self) -> (u32, Option<Dies>) {
        let mut plan = locked(&self.plan);
        plan.commits += 1;
        let nth = plan.commits;
        let dies = plan.dies.filter(|(at, _)| *at == nth).map(|(_, dies)| dies);
        if dies.is_some() {
            plan.dies = None;
        }
        (nth, dies)
    }

    /// Folds what a batch has written.
    fn fold(&self, nth: u32, batch: &Batch, started: &[Started]) {
        let mut said: Vec<(SagaId, String)> = Vec::new();
        let new = batch.starts.iter().zip(started).filter(|(_, started)| **started == Started::New);
        let new = new.map(|(start, _)| start).inspect(|start| self.log.began(start.row.id, &start.row.definition));
        let rows = new.flat_map(|start| &start.entries).chain(batch.changes.iter().flat_map(|change| &change.entries));
        for row in rows {
            match serde_json::from_slice::<Entry>(&row.entry) {
                Ok(entry) => {
                    match said.last_mut().filter(|(saga, _)| *saga == row.saga) {
                        Some((_, said)) => *said = format!("{said}; {}", words(&entry)),
                        None => said.push((row.saga, words(&entry))),
                    }
                    self.fold_entry(row.saga, &entry);
                }
                Err(error) => self.log.wrong(format!("entry {} cannot be read: {error}", row.seq)),
            }
        }
        if said.is_empty() {
            self.log.of_world(Mark::Plain, format!("write {nth}: no entry: timers, the inbox"));
        }
        for (saga, said) in said {
            self.log.of_saga(saga, Mark::Plain, format!("write {nth}: {said}"));
        }
    }

    fn fold_entry(&self, saga: SagaId, entry: &Entry) {
        let mut plan = locked(&self.plan);
        match plan.states.get_mut(&saga) {
            Some(state) => apply(state, entry),
            None => match State::begin(entry) {
                Ok(state) => drop(plan.states.insert(saga, state)),
                Err(error) => self.log.wrong(error.to_string()),
            },
        }
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("writes", &self.writes()).finish_non_exhaustive()
    }
}

macro_rules! counted { ($($name:ident($($arg:ident: $kind:ty),*) -> $ret:ty;)+) => { $(
    fn $name(&self, $($arg: $kind),*) -> Stored<'_, $ret> {
        self.counted(self.inner.$name($($arg),*))
    }
)+ } }

impl Store for Journal {
    fn commit(&self, as_node: Incarnation, batch: Batch) -> Stored<'_, Vec<Started>> {
        let busy = self.time.busy();
        Box::pin(async move {
            let (nth, dies) = self.book.fate();
            if dies == Some(Dies::Before) {
                drop(busy);
                self.dead(nth, Dies::Before).await;
            }
            let (inner, book) = (self.inner.clone(), self.book.clone());
            // A write that was begun goes on when the process dies over it.
            book.writing.fetch_add(1, Ordering::Relaxed);
            let writing = tokio::spawn(async move {
                let done = inner.commit(as_node, batch.clone()).await;
                if let Ok(started) = &done {
                    book.fold(nth, &batch, started);
                }
                book.writing.fetch_sub(1, Ordering::Relaxed);
                book.written.send_replace(nth);
                drop(busy);
                done
            });
            let done = writing.await.unwrap_or_else(|error| Err(StoreError::Unavailable(error.to_string())));
            if dies == Some(Dies::After) {
                self.dead(nth, Dies::After).await;
            }
            done
        })
    }

    fn journals(&self, sagas: Vec<SagaId>) -> Stored<'_, Vec<Vec<JournalRow>>> {
        self.counted(Box::pin(async move {
            let torn = {
                let mut plan = locked(&self.book.plan);
                sagas.iter().for_each(|saga| *plan.reads.entry(*saga).or_default() += 1);
                plan.torn
            };
            let mut journals = self.inner.journals(sagas).await?;
            let last = |journal: &&mut JournalRow| Some(journal.saga) == torn;
            for row in journals.iter_mut().filter_map(|journal| journal.last_mut()).filter(last) {
                row.entry.truncate(row.entry.len() / 2);
            }
            Ok(journals)
        }))
    }

    counted! {
        join(first: Incarnation, info: NodeInfo, lease: Duration) -> ();
        raise(from: Incarnation, to: Incarnation) -> ();
        saga(id: SagaId) -> Option<SagaRow>;
        find(namespace: Namespace, definition: DefinitionName, key: SagaKey) -> Option<SagaRow>;
        list(filter: Filter, before: Option<SagaId>, limit: u32) -> Vec<SagaRow>;
        counts(namespace: Option<Namespace>) -> Vec<Count>;
        unfinished(of: Shards, after: Option<SagaId>, limit: u32) -> Vec<SagaId>;
        timers_due(of: Shards, after: Option<TimerRow>, until: Millis, limit: u32) -> Vec<TimerRow>;
        timers_of(sagas: Vec<SagaId>) -> Vec<TimerRow>;
        set_timers(as_node: Incarnation, changes: Vec<TimerChange>) -> ();
        deliver(items: Vec<InboxItem>) -> ();
        inbox(of: Shards, except: Vec<InboxId>, limit: u32) -> Vec<(InboxId, InboxItem)>;
        forget_inbox(ids: Vec<InboxId>) -> ();
        audit(saga: SagaId) -> Vec<AuditRow>;
        register(definitions: Vec<DefinitionRow>) -> Vec<DefinitionRow>;
        definition(name: DefinitionName, version: u32) -> Option<DefinitionRow>;
        purge(ended: Millis, keys: Millis, limit: u32) -> u64;
    }
}
