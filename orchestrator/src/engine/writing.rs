//! Writing: two batches at most, about different sagas, the next one gathering meanwhile; and what each way of failing asks for.

use super::{
    EngineError,
    draft::{Draft, StartedBy},
    message::{Message, Until},
    worker::{Agenda, Worker},
};
use crate::store::{InboxId, Incarnation, Started, StoreError};
use std::{collections::BTreeSet, time::Duration};
use tercet_core::{Retry, SagaId};

/// Between attempts to write, or to raise the incarnation.
const AGAIN: Retry = Retry::backoff(Duration::from_millis(50), Duration::from_secs(5));

/// What a caller is told whose write may or may not have happened.
pub(super) const UNSURE: &str = "it is not known whether it was written: ask again, the same is never done twice";

/// Batches that the store is given at a time: it finds the second when it has done with the first, and need not wait for the worker.
const TOGETHER: usize = 2;

/// How long a stopping engine waits for answers that are out.
const GRACE: Duration = Duration::from_secs(5);

impl Worker {
    /// Hands over what the store can be given now.
    pub(super) fn write(&mut self) {
        while let Some(draft) = self.next_batch() {
            self.commit(draft);
        }
    }

    fn next_batch(&mut self) -> Option<Draft> {
        if self.paused || self.unsure.is_some() || self.writing.len() == TOGETHER {
            return None;
        }
        if !self.first.is_empty() {
            // It may be about the same sagas as what is under way, and as what comes after.
            return if self.writing.is_empty() { self.first.pop_front() } else { None };
        }
        if self.next.sagas() < self.enough() {
            return None;
        }
        let draft = self.next.apart_from(&self.writing);
        (!draft.is_empty()).then_some(draft)
    }

    /// Sagas that are worth a batch now. The smaller a batch, the more pages each of its sagas costs the store: one beside another waits
    /// until it has its share of those in memory, of which a third is being written, a third is next and a third is being asked about.
    fn enough(&self) -> usize {
        let least = self.shared.settings.second_batch;
        if least == 0 || self.writing.is_empty() { 0 } else { least.max(self.sagas.len() / 8 * 3) }
    }

    fn commit(&mut self, draft: Draft) {
        let (batch, shared, incarnation) = (draft.batch(), self.shared.clone(), self.incarnation);
        let number = self.number();
        self.writing.insert(number, draft);
        self.shared.meters.writing(&batch);
        self.shared.env.begin(Box::pin(async move {
            let begun = shared.env.now();
            let written = shared.committed(shared.store.commit(incarnation, batch)).await;
            shared.meters.written(begun, shared.env.now());
            shared.send(Message::Written(number, written));
        }));
    }

    pub(super) fn written(&mut self, number: u64, result: Result<Vec<Started>, StoreError>) {
        // A batch of another life of this node's, or one that is looked up anew, is nobody's.
        let Some(draft) = self.writing.remove(&number) else { return };
        match result {
            Ok(started) => {
                self.failures = 0;
                self.shared.can_write();
                // The store gets the next batch first: it works on that one while this one's consequences are seen to.
                self.write();
                self.durable(draft, started);
            }
            Err(error) => self.not_written(draft, &error),
        }
    }

    fn durable(&mut self, mut draft: Draft, started: Vec<Started>) {
        let mut told = false;
        draft.say_no();
        let mut touched: Vec<SagaId> = Vec::with_capacity(draft.changes.len());
        for (saga, change) in draft.changes {
            told |= !change.put.is_empty();
            self.shared.taken(&change.taken);
            if let (Some(active), Some(row)) = (self.sagas.get_mut(&saga), change.entries.last()) {
                active.durable = row.seq;
            }
            touched.push(saga);
        }
        touched.into_iter().for_each(|saga| self.reconcile(saga));
        for (starting, outcome) in draft.starts.into_iter().zip(started) {
            self.started(starting, outcome);
        }
        if told {
            self.shared.poke_inbox();
        }
        self.let_go();
    }

    fn not_written(&mut self, mut draft: Draft, error: &StoreError) {
        match error {
            StoreError::Ambiguous(_) => {
                tracing::warn!(%error, "failed to learn whether a batch was committed: raising the incarnation");
                // What else is under way ends or is defeated with it.
                let mut unsure = draft;
                std::mem::take(&mut self.writing).into_values().for_each(|other| unsure.extend(other));
                self.unsure = Some(unsure);
                self.raise();
            }
            StoreError::Fenced => self.fenced(),
            StoreError::Conflict { saga } => {
                let saga = *saga;
                self.shared.taken(&draft.drop_saga(saga));
                self.forget(saga);
                self.first.push_front(draft);
                self.want(saga, None);
                self.later(Agenda::Write);
            }
            StoreError::Refused(why) => self.refused(draft, why),
            _ => {
                self.shared.cannot_write(&error.to_string());
                self.first.push_front(draft);
                self.later(Agenda::Write);
            }
        }
    }

    /// Another node has taken over. Where no others are expected, that is the end.
    fn fenced(&mut self) {
        match self.shared.store.cluster() {
            Some(_) => {
                self.shared.found_fenced(self.incarnation.node);
                self.lost(self.incarnation.node);
            }
            None => self.stop(&StoreError::Fenced.to_string()),
        }
    }

    fn later(&mut self, what: Agenda) {
        self.failures += 1;
        self.paused = true;
        let wait = AGAIN.delay(self.failures, self.shared.env.random() as u16);
        self.plan(self.now().plus(wait), what);
    }

    pub(super) fn write_again(&mut self) {
        self.paused = false;
        self.write();
    }

    /// The database refuses the batch for one row's sake: halves, until it is found, and only that saga is set apart.
    fn refused(&mut self, draft: Draft, why: &str) {
        match draft.halves() {
            Ok((first, second)) => {
                self.first.push_front(second);
                self.first.push_front(first);
            }
            Err(one) => {
                // Read again, they are answered with why the saga is set apart.
                one.changes.values().for_each(|change| self.shared.taken(&change.taken));
                let mut sagas: BTreeSet<SagaId> = one.changes.into_keys().collect();
                for starting in one.starts {
                    match starting.by {
                        StartedBy::Caller(reply) => {
                            drop(reply.send(Err(EngineError::Bug(format!("the store refuses it: {why}")))));
                        }
                        StartedBy::Saga(by) => drop(sagas.insert(by)),
                    }
                }
                for saga in sagas {
                    self.quarantine(saga, &format!("the store refuses what it would write: {why}"));
                    self.forget(saga);
                }
            }
        }
    }

    /// Raises this process's incarnation, so that a transaction that may still run is waited for or defeated; then the batch's sagas
    /// are read anew. Until it has succeeded the same number is tried.
    pub(super) fn raise(&mut self) {
        let (shared, own) = (self.shared.clone(), self.incarnation);
        let to = *self.raising.get_or_insert_with(|| own.later(shared.env.random() as u16 as u32));
        self.shared.env.spawn(Box::pin(async move {
            let raised = shared.raised(shared.store.raise(own, to)).await;
            shared.send(Message::Raised(to, raised));
        }));
    }

    pub(super) fn raised(&mut self, to: Incarnation, result: Result<(), StoreError>) {
        if self.raising != Some(to) {
            return;
        }
        match result {
            Ok(()) => {}
            Err(StoreError::Fenced) => return self.fenced(),
            Err(error) => {
                self.shared.cannot_write(&error.to_string());
                return self.later(Agenda::Raise);
            }
        }
        self.raising = None;
        self.incarnation = to;
        self.paused = false;
        self.failures = 0;
        self.shared.can_write();
        let Some(unsure) = self.unsure.take() else { return };
        let mut again = Draft::default();
        for (saga, change) in unsure.changes {
            self.shared.taken(&change.taken);
            self.forget(saga);
            self.want(saga, None);
        }
        for starting in unsure.starts {
            match starting.by {
                StartedBy::Caller(_) => again.starts.push(starting),
                // Whoever started it is read anew and starts it again, should nothing have been written.
                StartedBy::Saga(by) => {
                    self.forget(by);
                    self.want(by, None);
                    self.want(starting.start.row.id, None);
                }
            }
        }
        again.extend(std::mem::take(&mut self.next));
        self.next = again;
        self.let_go();
    }

    /// All that is decided and not known to be durable.
    pub(super) fn drafts(&self) -> impl Iterator<Item = &Draft> {
        self.first.iter().chain(self.writing.values()).chain(&self.unsure).chain([&self.next])
    }

    /// Drops from memory what was decided about a saga and is not durable. Its journal says what is so.
    fn forget(&mut self, saga: SagaId) {
        let drafts = self.first.iter_mut().chain([&mut self.next]);
        let lost: Vec<InboxId> = drafts.flat_map(|draft| draft.drop_saga(saga)).collect();
        self.shared.taken(&lost);
        let Some(active) = self.sagas.remove(&saga) else { return };
        for hand in active.hands.values() {
            self.agenda.remove(&hand.next);
        }
        for (until, reply) in self.watchers.remove(&saga).unwrap_or_default() {
            if until == Until::Now {
                // It stood for what is not known to be written.
                drop(reply.send(Err(EngineError::Unavailable(UNSURE.to_owned()))));
            } else {
                self.handle(Message::Watch(saga, until, reply));
            }
        }
    }

    fn stop(&mut self, why: &str) {
        tracing::error!(error = why, "the engine stops");
        self.shared.stop(why);
        self.stopped = true;
        for done in self.stopping.drain(..) {
            let _ = done.send(());
        }
    }

    /// Makes no further call, and gives those that are out a moment to be answered and written.
    pub(super) fn begin_stopping(&mut self, done: tokio::sync::oneshot::Sender<()>) {
        self.stopping.push(done);
        self.shared.draining();
        self.plan(self.now().plus(GRACE), Agenda::Stop);
    }

    /// Stops once everything decided is written.
    pub(super) fn finish_stopping(&mut self) {
        if self.stopping.is_empty() {
            return;
        }
        let out = self.patience && self.sagas.values().any(|saga| saga.hands.values().any(|hand| hand.out));
        let unwritten = self.drafts().any(|draft| !draft.is_empty());
        if !(out || unwritten && self.patience) {
            self.shared.stop("it was shut down");
            self.stopped = true;
            for done in self.stopping.drain(..) {
                let _ = done.send(());
            }
        }
    }
}
