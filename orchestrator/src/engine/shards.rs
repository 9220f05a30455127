//! What the worker does when shards come and go: gained, let go of, lost with everything.

use super::{
    EngineError,
    active::Active,
    draft::{Draft, Starting},
    lending::Neighbours,
    message::{Message, Until},
    worker::{Agenda, Worker},
    writing::UNSURE,
};
use crate::store::{InboxId, Incarnation, NodeId, Shards};
use std::collections::BTreeSet;
use tercet_core::{SagaId, canary::broken};
use tokio::sync::oneshot;

impl Draft {
    /// Something in it is about one of these shards.
    fn touches(&self, shards: &Shards, guests: &BTreeSet<SagaId>) -> bool {
        let starts = self.starts.iter().map(Starting::owner);
        self.changes.keys().copied().chain(starts).any(|saga| shards.have(saga) && !guests.contains(&saga))
    }
}

impl Worker {
    /// These shards are this node's. What is in them is read as it is needed, and as recovery walks through them.
    pub(super) fn gained(&mut self, shards: Shards) {
        self.owned = self.owned.with(&shards);
    }

    /// Begins nothing more in these shards, and says so when the last batch about them is written.
    pub(super) fn let_go_of(&mut self, shards: Shards, done: oneshot::Sender<()>) {
        self.owned = self.owned.without(&shards);
        if self.owned.is_empty() {
            // A node that goes: what was lent to it, too.
            self.neighbours.guests.clear();
        }
        self.leaving.push((shards, done));
        self.let_go();
    }

    /// Forgets shards that this node lets go of, where no batch about them is under way any more.
    pub(super) fn let_go(&mut self) {
        for (shards, done) in std::mem::take(&mut self.leaving) {
            let all = if self.owned.is_empty() { Shards::ALL } else { shards };
            let is_being_written = self.drafts().any(|draft| draft.touches(&all, &self.neighbours.guests));
            if is_being_written && !broken("gives_before_the_last_batch") {
                self.leaving.push((shards, done));
                continue;
            }
            self.drop_all_of(&all);
            let _ = done.send(());
        }
    }

    /// A saga that another node works on from now on.
    pub(super) fn let_go_of_one(&mut self, saga: SagaId) {
        self.next.drop_saga(saga);
        for draft in &mut self.first {
            draft.drop_saga(saga);
        }
        self.drop_all(|other| other == saga);
    }

    /// Everything in memory about these shards, and what was lent to this node where it lets go of all.
    fn drop_all_of(&mut self, shards: &Shards) {
        // What was lent to this node stays its guest, whosever its shard is.
        let guests = self.neighbours.guests.clone();
        self.drop_all(|saga| shards.have(saga) && !guests.contains(&saga));
    }

    /// Inbox rows of these sagas that nothing under way deals with are read again by whoever works on them then.
    pub(super) fn release(&self, are: impl Fn(SagaId) -> bool) {
        let dealt_with: BTreeSet<InboxId> = self.drafts().flat_map(Draft::taken).collect();
        self.shared.release_inbox(|row, saga| are(saga) && !dealt_with.contains(&row));
    }

    /// Everything in memory about these sagas. Who waits for one of them goes on waiting.
    fn drop_all(&mut self, are: impl Fn(SagaId) -> bool) {
        let gone: Vec<(SagaId, Active)> = self.sagas.extract_if(.., |saga, _| are(*saga)).collect();
        for hand in gone.iter().flat_map(|(_, active)| active.hands.values()) {
            self.agenda.remove(&hand.next);
        }
        let timers: Vec<_> = self.scheduled.extract_if(.., |(saga, _), _| are(*saga)).collect();
        for (_, planned) in timers {
            self.agenda.remove(&planned);
        }
        self.quarantined.retain(|saga, _| !are(*saga));
        self.lacking.retain(|saga, _| !are(*saga));
        self.release(&are);
        let loading: Vec<_> = self.loading.extract_if(.., |saga, _| are(*saga)).collect();
        self.to_load.retain(|saga| !are(*saga));
        for (saga, reading) in loading {
            reading.waiting.into_iter().for_each(|message| self.elsewhere(saga, message));
        }
        let watchers: Vec<_> = self.watchers.extract_if(.., |saga, _| are(*saga)).collect();
        for (saga, waiting) in watchers {
            for (until, reply) in waiting {
                if until == Until::Now {
                    // It stood for what is not known to be written.
                    drop(reply.send(Err(EngineError::Unavailable(UNSURE.to_owned()))));
                } else {
                    self.elsewhere(saga, Message::Watch(saga, until, reply));
                }
            }
        }
    }

    /// Another node has taken over: what is in memory, decided or being written, is worth nothing any more.
    pub(super) fn lost(&mut self, node: NodeId) {
        if self.incarnation.node != node {
            return;
        }
        self.paused = true;
        self.owned = Shards::NONE;
        self.neighbours = Neighbours::default();
        // Callers whose replies go with it are told that nobody knows.
        (self.next, self.unsure) = (Draft::default(), None);
        self.writing.clear();
        self.first.clear();
        self.leaving.clear();
        self.drop_all_of(&Shards::ALL);
        self.agenda.retain(|_, agenda| matches!(agenda, Agenda::Stop | Agenda::Gates));
        self.due.clear();
        self.raising = None;
    }

    /// The process is a node again.
    pub(super) fn joined(&mut self, incarnation: Incarnation) {
        self.incarnation = incarnation;
        self.paused = false;
        self.failures = 0;
        self.shared.can_write();
    }
}
