//! What the engine's tasks share: store, transport, environment, settings, health.

use super::{
    EngineError,
    message::{Heard, Message},
};
use crate::{
    env::Env,
    registry::Registry,
    store::{InboxId, Store},
    transport::Transport,
};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tercet_core::{DefinitionName, Graph, Namespace};
use tokio::sync::{Notify, mpsc};

/// An engine's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whose sagas it runs.
    pub namespace: Namespace,
    /// How far ahead durable timers are kept in memory.
    pub look_ahead: Duration,
    /// How often the inbox is looked at, should a wake-up be lost.
    pub inbox_every: Duration,
    /// How long an ended saga's journal is kept; for ever without.
    pub retention: Option<Duration>,
    /// Starts that may wait to be written at once; more are refused for now.
    pub starts_waiting: usize,
}

impl Settings {
    /// The defaults, for one namespace.
    #[must_use]
    pub fn of(namespace: Namespace) -> Self {
        Self {
            namespace,
            look_ahead: Duration::from_secs(60),
            inbox_every: Duration::from_secs(1),
            retention: None,
            starts_waiting: 10_000,
        }
    }
}

/// Whether an engine takes work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It does.
    Ready,
    /// The store is out of reach, and why: what is under way waits, starts are refused.
    Unavailable(String),
    /// It has stopped, and why.
    Stopped(String),
}

pub(super) struct Shared {
    pub(super) store: Arc<dyn Store>,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) registry: Registry,
    pub(super) env: Env,
    pub(super) settings: Settings,
    worker: mpsc::UnboundedSender<Message>,
    health: Mutex<Health>,
    /// Inbox rows that the worker has, until they are deleted.
    inbox_in_hand: Mutex<BTreeSet<InboxId>>,
    pub(super) inbox: Notify,
}

impl Shared {
    pub(super) fn new(
        store: Arc<dyn Store>, transport: Arc<dyn Transport>, registry: Registry, env: Env, settings: Settings,
        worker: mpsc::UnboundedSender<Message>,
    ) -> Self {
        Self {
            store,
            transport,
            registry,
            env,
            settings,
            worker,
            health: Mutex::new(Health::Ready),
            inbox_in_hand: Mutex::default(),
            inbox: Notify::new(),
        }
    }

    /// Gives the worker a message. A worker that has stopped needs none.
    pub(super) fn send(&self, message: Message) {
        drop(self.worker.send(message));
    }

    pub(super) fn heard(&self, heard: Heard) {
        self.send(Message::Heard(heard));
    }

    pub(super) fn graph(&self, name: &DefinitionName, version: Option<u32>) -> Result<Arc<Graph>, EngineError> {
        let found = match version {
            Some(version) => self.registry.get(name, version),
            None => self.registry.newest(name),
        };
        found.cloned().ok_or_else(|| {
            let name = version.map_or_else(|| name.to_string(), |version| format!("{name} version {version}"));
            let known: Vec<_> = self.registry.iter().map(|g| format!("{} {}", g.name(), g.version())).collect();
            EngineError::UnknownDefinition { name, known: known.join(", ") }
        })
    }

    pub(super) fn health(&self) -> Health {
        locked(&self.health).clone()
    }

    pub(super) fn ready(&self) {
        let mut health = locked(&self.health);
        if matches!(*health, Health::Unavailable(_)) {
            tracing::info!("the store is back");
            *health = Health::Ready;
        }
    }

    pub(super) fn unavailable(&self, why: &str) {
        let mut health = locked(&self.health);
        if *health == Health::Ready {
            tracing::error!(error = why, "the store is out of reach: starts are refused until it is back");
            *health = Health::Unavailable(why.to_owned());
        }
    }

    /// No start is taken any more.
    pub(super) fn draining(&self) {
        *locked(&self.health) = Health::Stopped("it is being shut down".to_owned());
    }

    pub(super) fn stop(&self, why: &str) {
        *locked(&self.health) = Health::Stopped(why.to_owned());
        self.inbox.notify_one();
    }

    pub(super) fn is_stopped(&self) -> bool {
        matches!(*locked(&self.health), Health::Stopped(_))
    }

    pub(super) fn poke_inbox(&self) {
        self.inbox.notify_one();
    }

    pub(super) fn inbox_in_hand(&self) -> Vec<InboxId> {
        locked(&self.inbox_in_hand).iter().copied().collect()
    }

    /// These rows are the worker's now.
    pub(super) fn hand_over(&self, id: InboxId) {
        locked(&self.inbox_in_hand).insert(id);
    }

    /// These rows are deleted.
    pub(super) fn taken(&self, ids: &[InboxId]) {
        if !ids.is_empty() {
            let mut in_hand = locked(&self.inbox_in_hand);
            in_hand.retain(|id| !ids.contains(id));
        }
    }

    /// What the worker had may be lost with a batch: all of it is looked at again, and what was dealt with agrees.
    pub(super) fn release_inbox(&self) {
        locked(&self.inbox_in_hand).clear();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
