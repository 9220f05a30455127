//! How a simulator makes the store in memory fail.

use super::MemoryStore;
use crate::store::{Batch, Incarnation, StoreError};
use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
};

/// What goes wrong with one commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// It fails before anything is written, and says so.
    Unavailable,
    /// It is written, and the answer is lost. A batch that is refused is refused all the same.
    AmbiguousWritten,
    /// Nothing is written, and nobody knows.
    AmbiguousLost,
    /// The answer is lost while it still runs: it is written at [`Faults::land_late`], unless the incarnation was raised before.
    AmbiguousLate,
    /// It does not answer until [`Faults::release`]; then it is written, if its incarnation is still the newest. An engine that
    /// dies (drops the future) before takes it along, as a process that dies before its commit does.
    Stall,
}

/// What is read of sagas, as far as it can be held up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Read {
    /// Their journals.
    Journals,
    /// A saga's row.
    Row,
}

/// The handle that makes a [`MemoryStore`] fail; clones steer the same store.
#[derive(Clone, Debug)]
pub struct Faults {
    store: MemoryStore,
}

/// What is to go wrong.
#[derive(Debug, Default)]
pub(super) struct Plan {
    next: VecDeque<Option<Fault>>,
    down: bool,
    stall: Stall,
    late: Vec<(Incarnation, Batch)>,
    stalled: u64,
    held: Vec<Read>,
}

/// What becomes of one commit.
pub(super) enum Fate {
    Written,
    Ambiguous(Fault),
    Stalls(Stall),
}

pub(super) fn ambiguous() -> StoreError {
    StoreError::Ambiguous("the connection was lost during the commit (on purpose)".to_owned())
}

fn unavailable() -> StoreError {
    StoreError::Unavailable("the store is down (on purpose)".to_owned())
}

impl Plan {
    pub(super) fn up(&self) -> Result<(), StoreError> {
        if self.down { Err(unavailable()) } else { Ok(()) }
    }

    pub(super) fn fate_of_commit(&mut self) -> Result<Fate, StoreError> {
        self.up()?;
        match self.next.pop_front().flatten() {
            None => Ok(Fate::Written),
            Some(Fault::Unavailable) => Err(unavailable()),
            Some(Fault::Stall) => {
                self.stalled += 1;
                Ok(Fate::Stalls(self.stall.clone()))
            }
            Some(ambiguous) => Ok(Fate::Ambiguous(ambiguous)),
        }
    }

    /// What a read waits for that has been made and is not handed over yet.
    pub(super) fn held(&mut self, read: Read) -> Option<Stall> {
        let at = self.held.iter().position(|held| *held == read)?;
        self.held.remove(at);
        Some(self.stall.clone())
    }

    pub(super) fn keep_late(&mut self, as_node: Incarnation, batch: Batch) {
        self.late.push((as_node, batch));
    }
}

impl Faults {
    pub(super) fn of(store: MemoryStore) -> Self {
        Self { store }
    }

    /// Puts a fault before the next commit for which none is planned yet; `None` lets that one pass.
    pub fn before_next_commit(&self, fault: impl Into<Option<Fault>>) {
        self.store.state().plan.next.push_back(fault.into());
    }

    /// Every method fails while the store is down.
    pub fn set_down(&self, down: bool) {
        self.store.state().plan.down = down;
    }

    /// The next read of this kind is made in its time, and its answer kept until [`Faults::release`]: by then it may be stale. One more for
    /// each call.
    pub fn hold_next(&self, read: Read) {
        self.store.state().plan.held.push(read);
    }

    /// Lets all stalled commits go on, and hands over what was read.
    pub fn release(&self) {
        let stall = std::mem::take(&mut self.store.state().plan.stall);
        stall.open();
    }

    /// Lets the commits that were [`Fault::AmbiguousLate`] end now, and says how many of them were written.
    pub fn land_late(&self) -> usize {
        let mut state = self.store.state();
        let late = std::mem::take(&mut state.plan.late);
        late.into_iter().filter_map(|(as_node, batch)| state.contents.commit_signed(as_node, batch).ok()).count()
    }

    /// Commits that stalled so far.
    #[must_use]
    pub fn stalled(&self) -> u64 {
        self.store.state().plan.stalled
    }

    /// Forgets what was planned and ends every stall and outage: the faults are over.
    pub fn heal(&self) {
        self.store.state().plan.next.clear();
        self.set_down(false);
        self.release();
    }
}

/// A future that is ready once it was opened.
#[derive(Clone, Debug, Default)]
pub(super) struct Stall(Arc<Mutex<Gate>>);

#[derive(Debug, Default)]
struct Gate {
    open: bool,
    waiting: Vec<Waker>,
}

impl Stall {
    fn open(&self) {
        let waiting = {
            let mut gate = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            gate.open = true;
            std::mem::take(&mut gate.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl Future for Stall {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut gate = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if gate.open {
            return Poll::Ready(());
        }
        gate.waiting.push(cx.waker().clone());
        Poll::Pending
    }
}
