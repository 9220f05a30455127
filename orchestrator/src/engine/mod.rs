//! The engine: sagas are started, told, cancelled, operated and waited for through an [`Engine`]; behind it one worker decides, one
//! batch at a time is written, and calls leave when what caused them is durable.

mod active;
mod breaker;
mod clockwork;
mod draft;
mod elsewhere;
mod error;
mod events;
mod gates;
mod hands;
mod lending;
mod loading;
mod message;
mod meters;
mod ownership;
mod shards;
mod shared;
mod spread;
mod starts;
mod tell;
mod waking;
mod watching;
mod worker;
mod writing;

pub use breaker::Breaker;
pub use error::EngineError;
pub use gates::ParticipantState;
pub use message::{Snapshot, StartedSaga, Until};
pub use shared::{Health, Limits, Settings};

use crate::{
    env::Env,
    registry::Registry,
    store::{Count, DefinitionRow, NodeId, SagaRow, Shards, Store},
    transport::Transport,
};
use message::{Coming, Incoming, Message, NewSaga};
use ownership::Ownership;
use shared::Shared;
use std::sync::{Arc, atomic::AtomicUsize, atomic::Ordering};
use tercet_core::{
    Action, Answer, DefinitionName, Entry, Operated, Payload, Phase, SagaId, SagaKey, Signalled, State, StepInstance,
    What,
};
use tokio::sync::{mpsc, oneshot};
use worker::Worker;

/// A running engine. Clones are the same one; it stops with [`Engine::shut_down`].
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
    starts_waiting: Arc<AtomicUsize>,
}

/// What an engine is made of.
pub struct Parts {
    /// Where its journal is.
    pub store: Arc<dyn Store>,
    /// How its calls reach participants.
    pub transport: Arc<dyn Transport>,
    /// What it runs.
    pub registry: Registry,
    /// What it runs in.
    pub env: Env,
    /// How.
    pub settings: Settings,
}

/// A saga with its history.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Its row.
    pub row: SagaRow,
    /// Its entries, in order; none when they are past their retention.
    pub entries: Vec<Entry>,
    /// Their fold; `None` when the entries are gone, or cannot be read: then `unreadable` says why.
    pub state: Option<State>,
    /// Why the journal cannot be read.
    pub unreadable: Option<String>,
}

impl Engine {
    /// Registers the definitions, joins the store's nodes, takes up what had not ended, and runs.
    ///
    /// # Errors
    /// When an edited definition stands under an old version's name, or the store does not answer.
    pub async fn run(parts: Parts) -> Result<Self, EngineError> {
        let Parts { store, transport, registry, env, settings } = parts;
        register(&*store, &registry).await?;
        let (sender, inbound) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared::new(store, transport, registry, env, settings, sender));
        let node = ownership::new_node(&shared);
        let incarnation = ownership::join(&shared, node).await?;
        shared.set_node(node);
        let env = &shared.env;
        env.spawn(Box::pin(Worker::new(shared.clone(), incarnation, inbound).run()));
        if shared.store.cluster().is_some() {
            env.spawn(Box::pin(Ownership::new(shared.clone(), node).run()));
            ownership::first_shards(&shared).await;
        } else {
            // A process that has its store to itself.
            ownership::gain(&shared, Shards::ALL);
        }
        env.spawn(Box::pin(clockwork::timers(shared.clone())));
        env.spawn(Box::pin(clockwork::inbox(shared.clone())));
        env.spawn(Box::pin(clockwork::purging(shared.clone())));
        Ok(Self { shared, starts_waiting: Arc::default() })
    }

    /// Starts a saga of a definition, its newest version unless one is named. When this returns, the start is durable. The same key
    /// and input return the same saga, however often and from wherever.
    ///
    /// # Errors
    /// When the definition is not known, the input does not fit it, the key is taken by another input, or it cannot be written now.
    pub async fn start(
        &self, definition: DefinitionName, version: Option<u32>, key: SagaKey, input: Payload,
    ) -> Result<StartedSaga, EngineError> {
        self.available()?;
        let waiting = Waiting::enter(&self.starts_waiting);
        if waiting.before >= self.shared.settings.starts_waiting {
            return Err(EngineError::Unavailable("too many starts wait to be written: try again later".to_owned()));
        }
        let new = NewSaga { definition, version, key, input };
        if let Err(unknown) = self.shared.graph(&new.definition, new.version) {
            return elsewhere::start(&self.shared, &new).await.unwrap_or(Err(unknown));
        }
        self.ask(|reply| Message::Start(new, reply)).await
    }

    /// Tells a saga something. When this returns, the signal is in the saga's journal: that is its receipt. Its verdict is in the
    /// snapshot once it is given; ask again with the same id to hear it later.
    ///
    /// # Errors
    /// When the saga is not known, waits for no such signal, or the payload does not fit.
    pub async fn signal(&self, saga: SagaId, signal: Signalled) -> Result<Snapshot, EngineError> {
        self.event(saga, Coming::Event(What::Signalled(signal))).await
    }

    /// Asks a saga to undo itself.
    ///
    /// # Errors
    /// When it has decided already, or ended: the error says where it is.
    pub async fn cancel(&self, saga: SagaId, by: String, reason: String) -> Result<Snapshot, EngineError> {
        self.event(saga, Coming::Event(What::CancelRequested { by, reason })).await
    }

    /// Does what a person decided about a step.
    ///
    /// # Errors
    /// When the step does not offer that now, or the value does not fit.
    pub async fn operate(
        &self, saga: SagaId, step: StepInstance, action: Action, by: String, reason: String,
    ) -> Result<Snapshot, EngineError> {
        self.event(saga, Coming::Event(What::Operated(Operated { step, action, by, reason }))).await
    }

    /// Reports what became of a step that answered *pending*.
    ///
    /// # Errors
    /// When the saga is not known.
    pub async fn complete(
        &self, saga: SagaId, step: StepInstance, phase: Phase, answer: Answer,
    ) -> Result<Snapshot, EngineError> {
        self.event(saga, Coming::Answer { step, phase, answer }).await
    }

    /// Waits until a saga has come so far. Waiting keeps it out of nobody's way: it stays in memory only while it has something in
    /// hand.
    ///
    /// # Errors
    /// When the saga is not known or cannot be handled.
    pub async fn wait(&self, saga: SagaId, until: Until) -> Result<Snapshot, EngineError> {
        let mut leaving = Leaving { shared: Some(self.shared.clone()), saga };
        let reached = self.ask(|reply| Message::Watch(saga, until, reply)).await;
        leaving.shared = None;
        reached
    }

    /// A saga with its history, as it is durably; also one whose definition is gone.
    ///
    /// # Errors
    /// When the saga is not known, or the store does not answer.
    pub async fn show(&self, saga: SagaId) -> Result<Shown, EngineError> {
        let row = self.shared.store.saga(saga).await?.ok_or(EngineError::UnknownSaga { saga })?;
        let journal = match self.shared.store.journals(vec![saga]).await {
            Ok(journals) => journals.into_iter().next().unwrap_or_default(),
            Err(crate::store::StoreError::Corrupt(why)) => {
                return Ok(Shown { row, entries: Vec::new(), state: None, unreadable: Some(why) });
            }
            Err(error) => return Err(error.into()),
        };
        let entries: Result<Vec<Entry>, String> = journal.iter().map(active::read_entry).collect();
        let (entries, unreadable) = match entries {
            Ok(entries) => (entries, None),
            Err(why) => (Vec::new(), Some(why)),
        };
        let state = if entries.is_empty() { None } else { active::unfold(&journal).ok() };
        Ok(Shown { row, entries, state, unreadable })
    }

    /// The saga under a key.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn find(&self, definition: DefinitionName, key: SagaKey) -> Result<Option<SagaRow>, EngineError> {
        Ok(self.shared.store.find(self.shared.settings.namespace.clone(), definition, key).await?)
    }

    /// How many sagas of this engine's namespace there are of each kind.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn counts(&self) -> Result<Vec<Count>, EngineError> {
        Ok(self.shared.store.counts(Some(self.shared.settings.namespace.clone())).await?)
    }

    /// The store, for lists.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.shared.store
    }

    /// What it runs.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.shared.registry
    }

    /// Whose sagas it runs.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// Which node it is on its store, now: another one after it was taken over.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.shared.node()
    }

    /// Whether it takes work.
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared.health()
    }

    /// The participants that were asked since the start, by name: whether each is asked now, and what waits for it.
    ///
    /// # Errors
    /// When the engine has stopped.
    pub async fn participants(&self) -> Result<Vec<ParticipantState>, EngineError> {
        Ok(self.ask(Message::Look).await?.participants)
    }

    /// How many sagas are in memory: those with something in hand, not those that only wait.
    ///
    /// # Errors
    /// When the engine has stopped.
    pub async fn sagas_in_memory(&self) -> Result<usize, EngineError> {
        Ok(self.ask(Message::Look).await?.sagas)
    }

    /// Writes what is decided, hands over to other nodes where there are any, and stops. What is outstanding is asked again by the
    /// next owner.
    pub async fn shut_down(&self) {
        if self.shared.store.cluster().is_none() {
            return self.shared.stop_worker().await;
        }
        let mut gone = self.shared.gone.subscribe();
        self.shared.draining();
        self.shared.going.notify_one();
        drop(gone.wait_for(|gone| *gone).await);
    }

    fn available(&self) -> Result<(), EngineError> {
        match self.shared.health() {
            Health::Ready => Ok(()),
            Health::Unavailable(why) => Err(EngineError::Unavailable(why)),
            Health::Stopped(why) => Err(EngineError::Stopped(why)),
        }
    }

    async fn event(&self, saga: SagaId, what: Coming) -> Result<Snapshot, EngineError> {
        self.ask(|reply| Message::Event(Incoming { saga, what, inbox: None, reply: Some(reply) })).await
    }

    /// A reply that never comes is a worker that stopped, or a batch that was lost: ask again.
    async fn ask<T>(&self, message: impl FnOnce(message::Reply<T>) -> Message) -> Result<T, EngineError> {
        if let Health::Stopped(why) = self.shared.health() {
            return Err(EngineError::Stopped(why));
        }
        let (reply, answer) = oneshot::channel();
        self.shared.send(message(reply));
        answer.await.unwrap_or_else(|_| Err(EngineError::Unavailable(writing::UNSURE.to_owned())))
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("health", &self.health()).finish_non_exhaustive()
    }
}

/// Says so when somebody who waits goes away before the answer.
struct Leaving {
    shared: Option<Arc<Shared>>,
    saga: SagaId,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            shared.send(Message::Left(self.saga));
        }
    }
}

/// A start that waits, counted while it does.
struct Waiting<'a> {
    all: &'a AtomicUsize,
    before: usize,
}

impl<'a> Waiting<'a> {
    fn enter(all: &'a AtomicUsize) -> Self {
        Self { all, before: all.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Makes the registry's definitions known to the store. One that was edited under its old version is refused, with the sagas that
/// would break.
async fn register(store: &dyn Store, registry: &Registry) -> Result<(), EngineError> {
    let mut rows = Vec::new();
    for graph in registry.iter() {
        let description = serde_json::to_string(&graph.describe()).map_err(|e| EngineError::Bug(e.to_string()))?;
        let (name, version, fingerprint) = (graph.name().clone(), graph.version(), graph.fingerprint().to_owned());
        rows.push(DefinitionRow { name, version, fingerprint, description });
    }
    let Some(edited) = store.register(rows).await?.into_iter().next() else { return Ok(()) };
    let unfinished = |count: &Count| count.definition == edited.name && !count.status.is_end();
    let counts = store.counts(None).await?;
    let unfinished = counts.iter().filter(|count| unfinished(count)).map(|count| count.sagas).sum();
    Err(EngineError::Edited { name: edited.name.to_string(), version: edited.version, unfinished })
}
