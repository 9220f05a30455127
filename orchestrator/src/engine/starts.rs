//! Starting sagas: a caller's, and those that other sagas' entries start.

use super::{
    EngineError,
    active::{Active, projection},
    draft::{StartedBy, Starting},
    message::{Message, NewSaga, Note, Reply, StartedSaga},
    worker::Worker,
};
use crate::store::{InboxItem, JournalRow, SagaRow, Start, Started, TimerChange};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};
use tercet_core::{
    Entry, Graph, Payload, SagaId, SagaKey, Sender, ShardId, Starting as Beginning, State, deliveries,
    entry::{Ask, Target},
    outstanding,
};

/// How a saga begins, whoever begins it.
struct New {
    id: SagaId,
    key: SagaKey,
    input: Payload,
    parent: Option<Sender>,
    undoes: bool,
}

impl Worker {
    pub(super) fn start_now(&mut self, new: NewSaga, reply: Reply<StartedSaga>) {
        if self.owned.is_empty() {
            return drop(
                reply.send(Err(EngineError::Unavailable("this node owns no shard now: try again".to_owned()))),
            );
        }
        let id = self.new_id();
        let NewSaga { definition, version, key, input } = new;
        let begun = self.shared.graph(&definition, version).and_then(|graph| {
            let bad_input = |why| EngineError::BadInput { definition: definition.to_string(), why };
            graph.check_input(&input).map_err(bad_input)?;
            self.begin(&graph, New { id, key, input, parent: None, undoes: false })
        });
        match begun {
            Ok((start, active, entry)) => {
                self.next.starts.push(Starting { start, active, entry, by: StartedBy::Caller(reply) });
            }
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    /// An id in a shard of this node's own: so a start needs nobody else.
    pub(super) fn new_id(&self) -> SagaId {
        let (a, b) = (self.shared.env.random().to_le_bytes(), self.shared.env.random().to_le_bytes());
        let mut random = [0; 10];
        random[..8].copy_from_slice(&a);
        random[8..].copy_from_slice(&b[..2]);
        let shard = self.owned.nth(u32::from(u16::from_le_bytes([b[2], b[3]]))).unwrap_or(ShardId::FIRST);
        SagaId::from_parts(u64::try_from(self.now().0).unwrap_or(0), random, shard)
    }

    fn begin(&self, graph: &Arc<Graph>, new: New) -> Result<(Arc<Start>, Active, Entry), EngineError> {
        let New { id, key, input, parent, undoes } = new;
        let at = self.now();
        let hash = input.hash().map_err(|e| {
            let definition = graph.name().to_string();
            EngineError::BadInput { definition, why: e.to_string() }
        })?;
        let beginning = Beginning { saga: id, key: key.clone(), input, parent: parent.clone(), undoes, at };
        let entry = catch_unwind(AssertUnwindSafe(|| tercet_core::start(graph, beginning)))
            .map_err(|_| EngineError::Bug("starting a saga panicked".to_owned()))?
            .map_err(|e| EngineError::Bug(e.to_string()))?;
        let state = State::begin(&entry).map_err(|e| EngineError::Bug(e.to_string()))?;
        let row = SagaRow {
            id,
            namespace: self.shared.settings.namespace.clone(),
            definition: graph.name().clone(),
            version: graph.version(),
            key,
            payload_hash: hash,
            parent: parent.map(|parent| (parent.saga, parent.step)),
            projection: projection(&state, &outstanding(&state)),
            started: at,
        };
        let mut active = Active::new(graph.clone(), state, row.projection.clone(), Vec::new());
        let set = |change| match change {
            TimerChange::Set(row) => Some(row),
            TimerChange::Clear(..) => None,
        };
        let timers = active.timer_changes().into_iter().filter_map(set).collect();
        let start = Arc::new(Start { row, entries: vec![row_of(id, 1, &entry)?], timers });
        Ok((start, active, entry))
    }

    /// A saga that `by`'s entry starts, in the same transaction.
    pub(super) fn start_from(&mut self, by: SagaId, parent: Option<Sender>, undoes: bool, ask: &Ask) {
        let Target::Saga { definition, version, key } = &ask.target else { return };
        let id = match &parent {
            Some(parent) => SagaId::of_child(parent.saga, &parent.step, undoes),
            None => self.new_id(),
        };
        let waiting = parent.clone();
        let new = New { id, key: key.clone(), input: ask.request.clone(), parent, undoes };
        let begun = self.shared.graph(definition, Some(*version)).and_then(|graph| self.begin(&graph, new));
        match begun {
            Ok((start, active, entry)) => {
                let told = deliveries(&active.state, &entry);
                if !self.is_own(id) {
                    // A child of a saga that was lent to this node: its shard's owner is to take it up.
                    let item = InboxItem { saga: id, at: self.now(), message: Note::Begun.to_bytes() };
                    self.next.put(by, item);
                }
                self.next.starts.push(Starting { start, active, entry, by: StartedBy::Saga(by) });
                // Whatever it starts or reports stands and falls with the saga whose entry began it all.
                self.deliver(by, told);
            }
            Err(error) => {
                tracing::error!(saga.id = %by, child = %key, %error, "failed to start a saga for another");
                if let Some(to) = waiting {
                    let answer = tercet_core::Answer::refused(error.code(), error.to_string());
                    self.deliver(by, vec![tercet_core::Delivery::Report { to, undoes, answer }]);
                }
            }
        }
    }

    /// A start is durable, or lost to another one under its key.
    pub(super) fn started(&mut self, starting: Starting, outcome: Started) {
        let Starting { start, active, entry, by } = starting;
        let own = start.row.id;
        let winner = match outcome {
            Started::New => {
                self.shared.meters.decided(active.graph.name(), &entry);
                let timers: Vec<_> = active.timers.values().cloned().collect();
                let told = deliveries(&active.state, &entry);
                if self.is_own(own) {
                    // Whoever read it back before this was heard may have decided on it already: that one stands.
                    self.sagas.entry(own).or_insert(active);
                }
                let set: Vec<_> = timers.into_iter().map(TimerChange::Set).collect();
                self.reschedule(&set);
                if matches!(by, StartedBy::Caller(_)) {
                    self.deliver(own, told);
                }
                self.reconcile(own);
                Ok(StartedSaga { id: own, new: true })
            }
            Started::Taken { by, .. } if by == own => {
                self.handle(Message::Recover(vec![own]));
                Ok(StartedSaga { id: own, new: true })
            }
            Started::Taken { by, same_payload: true } => Ok(StartedSaga { id: by, new: false }),
            Started::Taken { by, same_payload: false } => Err(EngineError::KeyTaken { by }),
        };
        if let StartedBy::Caller(reply) = by {
            drop(reply.send(winner));
        }
    }
}

pub(super) fn row_of(saga: SagaId, seq: u32, entry: &Entry) -> Result<JournalRow, EngineError> {
    let bytes = serde_json::to_vec(entry).map_err(|e| EngineError::Bug(e.to_string()))?;
    Ok(JournalRow { saga, seq, at: entry.at, entry: bytes })
}
