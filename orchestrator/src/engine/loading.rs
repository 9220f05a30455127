//! Reading sagas back: after a restart, for a timer, for late evidence. One that cannot be read is set apart, and delays no other.

use super::{
    EngineError, Shared,
    active::{Active, HandKey, unfold},
    clockwork::pause,
    lending::Which,
    message::{Coming, Incoming, Loaded, Message},
    worker::Worker,
};
use crate::store::{Projection, StoreError};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};
use tercet_core::{SagaId, Status, entry::Target};

/// Sagas read in one go.
const AT_ONCE: usize = 256;

/// A saga that is being read.
#[derive(Default)]
pub(super) struct Reading {
    /// The read's number, once it was sent for. What another one brings was read before the saga was lost, and is nothing.
    number: Option<u64>,
    /// What is handled when it is there.
    pub(super) waiting: Vec<Message>,
}

impl Worker {
    /// Has a saga read, and the message handled when it is there.
    pub(super) fn want(&mut self, saga: SagaId, message: Option<Message>) {
        if !self.is_own(saga) {
            return message.into_iter().for_each(|message| self.elsewhere(saga, message));
        }
        if self.sagas.contains_key(&saga) || self.quarantined.contains_key(&saga) {
            return message.into_iter().for_each(|message| self.handle(message));
        }
        let reading = self.loading.entry(saga).or_insert_with(|| {
            self.to_load.push(saga);
            Reading::default()
        });
        reading.waiting.extend(message);
    }

    /// Sends for what is wanted.
    pub(super) fn load(&mut self) {
        while !self.to_load.is_empty() {
            let some = self.to_load.split_off(self.to_load.len().saturating_sub(AT_ONCE));
            let (number, shared) = (self.number(), self.shared.clone());
            for saga in &some {
                self.loading.entry(*saga).or_default().number = Some(number);
            }
            self.shared.env.spawn(Box::pin(async move {
                let loaded = read(&shared, some).await;
                shared.send(Message::Loaded(number, loaded));
            }));
        }
    }

    pub(super) fn loaded(&mut self, number: u64, saga: SagaId, read: Result<Loaded, String>) {
        if self.loading.get(&saga).is_none_or(|reading| reading.number != Some(number)) {
            return;
        }
        let Some(Reading { waiting: messages, .. }) = self.loading.remove(&saga) else { return };
        if self.sagas.contains_key(&saga) {
            return messages.into_iter().for_each(|message| self.handle(message));
        }
        let revive = AssertUnwindSafe(|| self.revive(saga, read.map_err(Unread::Broken)?));
        let read = catch_unwind(revive)
            .unwrap_or_else(|_| Err(Unread::Broken("reading it back panicked: look at the log".to_owned())));
        match read {
            Ok(true) => {
                self.restart_children(saga);
                messages.into_iter().for_each(|message| self.handle(message));
                self.reconcile(saga);
            }
            Ok(false) => {
                for message in messages {
                    if let Message::Event(Incoming { inbox, reply: None, .. }) = &message {
                        self.next.take(saga, *inbox);
                    }
                    self.refuse(message, EngineError::UnknownSaga { saga });
                }
            }
            Err(Unread::Lacks { which, why, is_end: false }) => self.lend(saga, which, &why, messages),
            // How one has ended can be read all the same; nothing more happens to it.
            Err(Unread::Lacks { why, .. }) => {
                for message in messages {
                    match message {
                        Message::Watch(..) => self.elsewhere(saga, message),
                        _ => self.refuse(message, EngineError::Quarantined { saga, why: why.clone() }),
                    }
                }
            }
            Err(Unread::Broken(why)) => {
                self.quarantine(saga, &why);
                for message in messages {
                    self.refuse(message, EngineError::Quarantined { saga, why: why.clone() });
                }
            }
        }
    }

    /// Into memory. False for a saga that is not there.
    fn revive(&mut self, saga: SagaId, loaded: Loaded) -> Result<bool, Unread> {
        if loaded.journal.is_empty() {
            return Ok(false);
        }
        let state = unfold(&loaded.journal).map_err(Unread::Broken)?;
        let (name, version) = (state.begin.definition.clone(), state.begin.version);
        let Some(graph) = self.shared.registry.get(&name, version).cloned() else {
            let why =
                format!("its definition `{name}` version {version} is not registered here: run a build that has it");
            return Err(Unread::Lacks { which: (name, version), why, is_end: state.life.is_ended() });
        };
        if graph.fingerprint() != state.begin.fingerprint {
            let why = format!("it began with another `{name}` version {version}: run the build that it began with");
            return Err(Unread::Broken(why));
        }
        let commands = tercet_core::outstanding(&state);
        let projection = super::active::projection(&state, &commands);
        let mut active = Active::new(graph, state, projection, loaded.timers);
        active.recovered = active.commands.iter().filter_map(HandKey::of).collect();
        let changes = active.timer_changes();
        let rows: Vec<_> = active.timers.values().cloned().collect();
        self.sagas.insert(saga, active);
        self.reschedule(&changes);
        if !changes.is_empty() {
            self.next.change(saga).timers.extend(changes);
        }
        // One that has fired may have been forgotten with what was decided on it: it fires again, which changes nothing twice.
        for row in &rows {
            self.unschedule(saga, &row.name);
            self.schedule(row);
        }
        Ok(true)
    }

    /// A child that is waited for is started again: under its key that changes nothing if it is there.
    fn restart_children(&mut self, saga: SagaId) {
        let Some(active) = self.sagas.get(&saga) else { return };
        let asked = active.state.steps.iter().filter(|(_, at)| at.status == Status::Asked && at.parked.is_none());
        let children: Vec<_> = asked
            .filter_map(|(step, at)| Some((step.clone(), at.ask.clone()?)))
            .filter(|(_, ask)| matches!(ask.target, Target::Saga { .. }))
            .collect();
        for (step, ask) in children {
            let parent = Some(tercet_core::Sender { saga, step });
            self.start_from(saga, parent, false, &ask);
        }
    }

    /// A saga's row that may still show what kept it from being read before: it is to say what its journal says.
    pub(super) fn shown(&mut self, saga: SagaId, row: Projection) {
        let Some(active) = self.sagas.get(&saga) else { return self.want(saga, Some(Message::Shown(saga, row))) };
        let right = Projection { updated: row.updated, ..active.projection.clone() };
        if right != row {
            let right = Projection { updated: self.now(), ..right };
            self.next.change(saga).projection = Some((saga, right));
        }
        self.reconcile(saga);
    }

    /// Sets a saga apart that cannot be handled: its row shows why, and it is not tried again until the next start.
    pub(super) fn quarantine(&mut self, saga: SagaId, why: &str) {
        tracing::error!(saga.id = %saga, error = why, "a saga cannot be handled and is set apart");
        self.quarantined.insert(saga, why.to_owned());
        self.sagas.remove(&saga);
        for (_, reply) in self.watchers.remove(&saga).unwrap_or_default() {
            drop(reply.send(Err(EngineError::Quarantined { saga, why: why.to_owned() })));
        }
        let (shared, why) = (self.shared.clone(), why.replace('\0', ""));
        self.shared.env.spawn(Box::pin(async move {
            match shared.store.saga(saga).await {
                Ok(Some(row)) if !row.projection.status.is_end() => {
                    let marked = Projection {
                        parked: 1,
                        attention: true,
                        updated: shared.env.now(),
                        wakes: None,
                        output: Some(why),
                        ..row.projection
                    };
                    shared.send(Message::Marked(saga, marked));
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(saga.id = %saga, %error, "failed to mark a saga as set apart"),
            }
        }));
    }

    /// What is shown of a saga that is set apart: written like anything else, so that a shard is not given away before.
    pub(super) fn marked(&mut self, saga: SagaId, shown: Projection) {
        if self.quarantined.contains_key(&saga) && self.is_own(saga) {
            self.next.change(saga).projection = Some((saga, shown));
        }
    }

    /// Says no. What another node asked is dealt with by that; any other row stays in its inbox for as long as its saga is set apart.
    pub(super) fn refuse(&mut self, message: Message, error: EngineError) {
        match message {
            Message::Event(Incoming { saga, inbox: Some(row), reply: Some(reply), .. }) => {
                self.next.refuse(saga, row, reply, error);
            }
            Message::Event(Incoming { reply: Some(reply), .. }) | Message::Watch(_, _, reply) => {
                drop(reply.send(Err(error)));
            }
            Message::Event(Incoming { saga, what: Coming::Due(name), .. }) => {
                tracing::warn!(saga.id = %saga, timer = %name.0, %error, "a timer is due for a saga that cannot be read");
            }
            _ => {}
        }
    }
}

/// Why a saga that is there cannot be worked on.
enum Unread {
    /// Its definition is not here.
    Lacks { which: Which, why: String, is_end: bool },
    /// It cannot be read at all.
    Broken(String),
}

async fn read(shared: &Arc<Shared>, sagas: Vec<SagaId>) -> Vec<(SagaId, Result<Loaded, String>)> {
    loop {
        match read_all(shared, &sagas).await {
            Ok(loaded) => return sagas.into_iter().zip(loaded.into_iter().map(Ok)).collect(),
            Err(StoreError::Corrupt(_)) => break,
            Err(error) => pause(shared, &error).await,
        }
    }
    let mut loaded = Vec::with_capacity(sagas.len());
    for saga in sagas {
        loaded.push((saga, read_one(shared, saga).await));
    }
    loaded
}

/// One saga of a page in which one is damaged. Only damage is final.
async fn read_one(shared: &Arc<Shared>, saga: SagaId) -> Result<Loaded, String> {
    loop {
        match read_all(shared, &[saga]).await {
            Ok(mut one) => return one.pop().ok_or_else(|| "it is not there".to_owned()),
            Err(StoreError::Corrupt(why)) => return Err(why),
            Err(error) => pause(shared, &error).await,
        }
    }
}

async fn read_all(shared: &Shared, sagas: &[SagaId]) -> Result<Vec<Loaded>, StoreError> {
    let journals = shared.store.journals(sagas.to_vec()).await?;
    let mut loaded: Vec<Loaded> = journals.into_iter().map(|journal| Loaded { journal, timers: Vec::new() }).collect();
    for row in shared.store.timers_of(sagas.to_vec()).await? {
        if let Some(at) = sagas.iter().position(|saga| *saga == row.saga) {
            loaded[at].timers.push(row);
        }
    }
    Ok(loaded)
}
