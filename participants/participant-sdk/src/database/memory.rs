//! An in-memory database for simulations: a model, the barrier and the outbox, in one transaction; deterministic, on any executor.
//!
//! It spawns nothing and reads no clock. Transactions take turns in the order they began. A crash can be put before or after any
//! commit; a call that crashed never answers, as a process that died would not.

use super::{Access, Boxed, Database, Fault, RowKey, Tx};
use crate::{
    barrier::Row,
    outbox::{
        Event, EventFilter, EventNumber, EventVersion, Message, MessageId, Published, Queued, StreamMade, Subject,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, mem,
    sync::{Arc, Mutex as Lock, MutexGuard, PoisonError},
};
use tercet_core::{Answer, Millis};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// What befalls a commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CommitFault {
    /// Nothing.
    #[default]
    None,
    /// The process dies before it: nothing is written, and nobody is answered.
    CrashBefore,
    /// The process dies after it: all is written, and nobody is answered.
    CrashAfter,
    /// Another transaction was in the way: nothing is written, and the transaction begins again.
    Conflict,
    /// It is written, but the commit's answer is lost.
    LostAnswer,
    /// It is lost on its way: not written, but who commits cannot tell that from [`Self::LostAnswer`].
    LostCommit,
}

type Faults = Arc<dyn Fn() -> CommitFault + Send + Sync>;

/// An in-memory database around a model `M`. Cloned handles are the same database.
pub struct Memory<M> {
    kept: Arc<Mutex<Kept<M>>>,
    faults: Arc<Lock<Faults>>,
}

#[derive(Clone, Debug, Default)]
struct Kept<M> {
    model: M,
    rows: BTreeMap<RowKey, Row>,
    queue: BTreeMap<MessageId, Message>,
    buried: BTreeMap<MessageId, (Message, String)>,
    events: BTreeMap<EventNumber, Event>,
    taken: BTreeMap<EventNumber, (StreamMade, Millis)>,
    versions: BTreeSet<(Subject, EventVersion)>,
    last: i64,
}

/// What a transaction has changed so far.
#[derive(Clone, Debug)]
struct Changes<M> {
    model: M,
    rows: BTreeMap<RowKey, Option<Row>>,
    queue: Vec<Message>,
    events: Vec<Event>,
}

struct Open<M> {
    kept: Option<OwnedMutexGuard<Kept<M>>>,
    /// The last one is the innermost savepoint.
    levels: Vec<Changes<M>>,
}

/// An open transaction of a [`Memory`] database.
pub struct MemoryTx<M> {
    open: Arc<Lock<Open<M>>>,
    faults: Faults,
    depth: usize,
}

impl<M> Clone for Memory<M> {
    fn clone(&self) -> Self {
        Self { kept: self.kept.clone(), faults: self.faults.clone() }
    }
}

impl<M> fmt::Debug for Memory<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memory")
    }
}

impl<M> fmt::Debug for MemoryTx<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTx").field("depth", &self.depth).finish_non_exhaustive()
    }
}

/// A panic while one of these locks is held leaves what it guards as it was: they are held for single assignments.
fn locked<T: ?Sized>(lock: &Lock<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<M: Clone + Send + 'static> Memory<M> {
    /// A database that holds `model` and nothing else.
    pub fn new(model: M) -> Self {
        let kept = Kept {
            model,
            rows: BTreeMap::new(),
            queue: BTreeMap::new(),
            buried: BTreeMap::new(),
            events: BTreeMap::new(),
            taken: BTreeMap::new(),
            versions: BTreeSet::new(),
            last: 0,
        };
        let faults: Faults = Arc::new(|| CommitFault::None);
        Self { kept: Arc::new(Mutex::new(kept)), faults: Arc::new(Lock::new(faults)) }
    }

    /// Asks `next` before each commit what is to befall it.
    pub fn inject(&self, next: impl Fn() -> CommitFault + Send + Sync + 'static) {
        *locked(&self.faults) = Arc::new(next);
    }

    /// Looks at what is committed, once no transaction is open.
    pub async fn look<R>(&self, look: impl FnOnce(&M) -> R) -> R {
        look(&self.kept.lock().await.model)
    }

    /// Looks at what is committed, if no transaction is open at this moment.
    pub fn try_look<R>(&self, look: impl FnOnce(&M) -> R) -> Option<R> {
        self.kept.try_lock().ok().map(|kept| look(&kept.model))
    }

    /// The barrier's rows as they are committed.
    pub async fn rows(&self) -> BTreeMap<RowKey, Row> {
        self.kept.lock().await.rows.clone()
    }
}

impl<M: Clone + Send + 'static> MemoryTx<M> {
    /// Reads and changes the model, as part of this transaction.
    pub fn with<R>(&self, change: impl FnOnce(&mut M) -> R) -> R {
        let mut open = locked(&self.open);
        change(&mut open.top().model)
    }
}

impl<M: Clone> Open<M> {
    #[expect(
        clippy::expect_used,
        reason = "a transaction is made with one level and its last is taken only by its end, which consumes it"
    )]
    fn top(&mut self) -> &mut Changes<M> {
        self.levels.last_mut().expect("an open transaction has a level")
    }

    fn has(&self, subject: &Subject, version: EventVersion) -> bool {
        let staged = self.levels.last().into_iter().flat_map(|top| &top.events);
        let kept = self.kept.as_ref().is_some_and(|kept| kept.versions.contains(&(subject.clone(), version)));
        kept || staged.into_iter().any(|event| event.subject == *subject && event.version == version)
    }

    fn row(&self, key: &RowKey) -> Option<Row> {
        let staged = self.levels.last().and_then(|top| top.rows.get(key));
        match (staged, &self.kept) {
            (Some(staged), _) => staged.clone(),
            (None, Some(kept)) => kept.rows.get(key).cloned(),
            (None, None) => None,
        }
    }
}

impl<M> Kept<M> {
    fn take(&mut self, changes: Changes<M>) {
        self.model = changes.model;
        for (key, row) in changes.rows {
            match row {
                Some(row) => self.rows.insert(key, row),
                None => self.rows.remove(&key),
            };
        }
        for message in changes.queue {
            self.last += 1;
            self.queue.insert(MessageId(self.last), message);
        }
        for event in changes.events {
            self.last += 1;
            self.versions.insert((event.subject.clone(), event.version));
            self.events.insert(EventNumber(self.last), event);
        }
    }
}

impl<M: Clone + Send + 'static> Tx for MemoryTx<M> {
    async fn enter(&self, key: &RowKey) -> Result<Option<Row>, Fault> {
        Ok(locked(&self.open).row(key))
    }

    async fn leave(&self, key: &RowKey) -> Result<(), Fault> {
        locked(&self.open).top().rows.remove(key);
        Ok(())
    }

    async fn put(&self, key: &RowKey, row: &Row) -> Result<(), Fault> {
        locked(&self.open).top().rows.insert(key.clone(), Some(row.clone()));
        Ok(())
    }

    async fn queue(&self, message: &Message) -> Result<(), Fault> {
        locked(&self.open).top().queue.push(message.clone());
        Ok(())
    }

    async fn publish(&self, event: &Event) -> Result<(), Fault> {
        let mut open = locked(&self.open);
        if open.has(&event.subject, event.version) {
            return Err(Fault::Failed(format!("event {} was published before", event.id())));
        }
        open.top().events.push(event.clone());
        Ok(())
    }

    async fn nested(&self) -> Result<Self, Fault> {
        let mut open = locked(&self.open);
        let level = open.top().clone();
        open.levels.push(level);
        Ok(Self { open: self.open.clone(), faults: self.faults.clone(), depth: self.depth + 1 })
    }

    async fn commit(self) -> Result<(), Fault> {
        if self.depth > 0 {
            let mut open = locked(&self.open);
            let (Some(inner), Some(outer)) = (open.levels.pop(), open.levels.last_mut()) else {
                return Err(Fault::Failed("this savepoint has ended".into()));
            };
            *outer = inner;
            return Ok(());
        }
        let fault = (self.faults)();
        match self.end(fault) {
            CommitFault::None => Ok(()),
            CommitFault::Conflict => Err(Fault::Conflict("injected".into())),
            CommitFault::LostAnswer | CommitFault::LostCommit => {
                Err(Fault::Failed("the commit was not answered".into()))
            }
            CommitFault::CrashBefore | CommitFault::CrashAfter => std::future::pending().await,
        }
    }

    async fn rollback(self) -> Result<(), Fault> {
        if self.depth > 0 {
            locked(&self.open).levels.pop();
        } else {
            self.end(CommitFault::Conflict);
        }
        Ok(())
    }
}

impl<M> MemoryTx<M> {
    /// Ends the transaction and lets the next one begin.
    fn end(&self, fault: CommitFault) -> CommitFault {
        let mut open = locked(&self.open);
        let (kept, levels) = (open.kept.take(), mem::take(&mut open.levels));
        let commits = matches!(fault, CommitFault::None | CommitFault::CrashAfter | CommitFault::LostAnswer);
        if let (Some(mut kept), Some(changes), true) = (kept, levels.into_iter().next(), commits) {
            kept.take(changes);
        }
        fault
    }
}

impl<M: Clone + Send + 'static> Database for Memory<M> {
    type Tx = MemoryTx<M>;

    async fn begin(&self, _: Access) -> Result<MemoryTx<M>, Fault> {
        let kept = self.kept.clone().lock_owned().await;
        let model = kept.model.clone();
        let changes = Changes { model, rows: BTreeMap::new(), queue: Vec::new(), events: Vec::new() };
        let open = Open { kept: Some(kept), levels: vec![changes] };
        let faults = locked(&self.faults).clone();
        Ok(MemoryTx { open: Arc::new(Lock::new(open)), faults, depth: 0 })
    }

    fn shelter(&self, work: Boxed<'static, Answer>) -> Boxed<'static, Option<Answer>> {
        Box::pin(async move { Some(work.await) })
    }

    async fn purge(&self, before: Millis, limit: u32) -> Result<u32, Fault> {
        let mut kept = self.kept.lock().await;
        let aged = |row: &Row| row.ages_from().is_some_and(|from| from < before);
        let keys: Vec<RowKey> =
            kept.rows.iter().filter(|(_, row)| aged(row)).map(|(key, _)| key.clone()).take(limit as usize).collect();
        for key in &keys {
            kept.rows.remove(key);
        }
        Ok(u32::try_from(keys.len()).unwrap_or(limit))
    }

    async fn outbox(&self, after: Option<MessageId>, limit: u32) -> Result<Vec<Queued>, Fault> {
        let kept = self.kept.lock().await;
        let from = after.map_or(MessageId(i64::MIN), |id| MessageId(id.0.saturating_add(1)));
        let page = kept.queue.range(from..).take(limit as usize);
        Ok(page.map(|(&id, message)| Queued { id, message: Ok(message.clone()) }).collect())
    }

    async fn outbox_delete(&self, id: MessageId) -> Result<(), Fault> {
        self.kept.lock().await.queue.remove(&id);
        Ok(())
    }

    async fn outbox_bury(&self, id: MessageId, reason: &str) -> Result<(), Fault> {
        let mut kept = self.kept.lock().await;
        if let Some(message) = kept.queue.remove(&id) {
            kept.buried.insert(id, (message, reason.to_owned()));
        }
        Ok(())
    }

    async fn outbox_buried(&self, limit: u32) -> Result<Vec<(Queued, String)>, Fault> {
        let kept = self.kept.lock().await;
        let oldest = kept.buried.iter().take(limit as usize);
        Ok(oldest.map(|(&id, (m, reason))| (Queued { id, message: Ok(m.clone()) }, reason.clone())).collect())
    }

    async fn events(&self, wanted: &EventFilter, limit: u32) -> Result<Vec<Published>, Fault> {
        let kept = self.kept.lock().await;
        let from = wanted.after.map_or(EventNumber(i64::MIN), |number| EventNumber(number.0.saturating_add(1)));
        let fits = |event: &Event| {
            wanted.subject.as_ref().is_none_or(|subject| event.subject == *subject)
                && wanted.since.is_none_or(|since| event.at >= since)
        };
        let page = kept.events.range(from..).filter(|(_, event)| fits(event)).take(limit as usize);
        Ok(page.map(|(&number, event)| Published { number, event: event.clone() }).collect())
    }

    async fn events_untaken(&self, after: Option<EventNumber>, limit: u32) -> Result<Vec<Published>, Fault> {
        let kept = self.kept.lock().await;
        let from = after.map_or(EventNumber(i64::MIN), |number| EventNumber(number.0.saturating_add(1)));
        let untaken = kept.events.range(from..).filter(|(number, _)| !kept.taken.contains_key(number));
        let page = untaken.take(limit as usize);
        Ok(page.map(|(&number, event)| Published { number, event: event.clone() }).collect())
    }

    async fn events_take(&self, numbers: &[EventNumber], stream: StreamMade, now: Millis) -> Result<(), Fault> {
        self.kept.lock().await.taken.extend(numbers.iter().map(|&number| (number, (stream, now))));
        Ok(())
    }

    async fn events_untake(&self, stream: StreamMade) -> Result<u64, Fault> {
        let mut kept = self.kept.lock().await;
        let before = kept.taken.len();
        kept.taken.retain(|_, (by, _)| *by == stream);
        Ok((before - kept.taken.len()) as u64)
    }

    async fn events_purge(&self, before: Millis, limit: u32) -> Result<u32, Fault> {
        let mut kept = self.kept.lock().await;
        let aged = kept.taken.iter().filter(|(_, (_, at))| *at < before).map(|(&number, _)| number);
        let aged: Vec<_> = aged.take(limit as usize).collect();
        for number in &aged {
            kept.taken.remove(number);
            kept.events.remove(number);
        }
        Ok(u32::try_from(aged.len()).unwrap_or(limit))
    }
}
