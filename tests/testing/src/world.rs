//! A whole small world: participants, an engine on a store, wires between them, and one clock for all of them.

use crate::{
    hooks::Hooks,
    journal::Journal,
    locked,
    log::{Log, Mark},
    place::{Participants, Place, folder},
    time::{Process, Time},
    wires::Wires,
};
use std::{
    future::Future,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tempfile::TempDir;
use tercet::{
    Engine, Parts, Registry, Settings,
    store::{MemoryStore, SqliteStore, Store},
    transport::InProcess,
};
use tercet_core::{DefinitionName, Millis, SagaKey};

/// How long a saga may take, all waits included, before it is called stuck.
const PATIENCE: Duration = Duration::from_secs(14 * 24 * 3600);

/// Between two looks at the inbox: nobody is awake meanwhile, and every wake-up arrives in one process.
const INBOX_EVERY: Duration = Duration::from_secs(60);

/// Where the engine keeps its journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// In memory: it outlives the engine's process, not the world.
    InMemory,
    /// In an SQLite file.
    OnDisk,
}

/// How a world is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What it runs.
    pub registry: Registry,
    /// Where the journal is.
    pub kept: Kept,
    /// The engine's settings.
    pub settings: Settings,
    /// Where random numbers come from.
    pub seed: u64,
    /// When it begins: the machine's time, unless told otherwise.
    pub begins: Millis,
    /// How long a saga may take, all waits included, before it is called stuck.
    pub patience: Duration,
    /// A folder with whose copy it begins.
    pub template: Option<PathBuf>,
}

impl Setup {
    /// A world of those definitions, its journal in memory.
    #[must_use]
    pub fn of(registry: Registry) -> Self {
        let namespace = named("test");
        let settings = Settings { inbox_every: INBOX_EVERY, ..Settings::of(namespace) };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let begins = Millis(0).plus(now);
        let (kept, seed, patience, template) = (Kept::InMemory, 1, PATIENCE, None);
        Self { registry, kept, settings, seed, begins, patience, template }
    }
}

/// A world. Clones are the same one.
pub struct World<P> {
    /// Its clock.
    pub time: Arc<Time>,
    /// The wires between engine and participants.
    pub wires: Arc<Wires>,
    /// The engine's store.
    pub store: Arc<Journal>,
    pub(crate) inner: Arc<Inner>,
    participants: Arc<P>,
    /// It is in a hook's hands: time goes on by itself.
    pub(crate) within: bool,
}

pub(crate) struct Inner {
    pub(crate) setup: Setup,
    pub(crate) log: Arc<Log>,
    dir: TempDir,
    life: Mutex<Option<(Engine, Arc<Process>)>>,
    deaths: AtomicU32,
    /// The saga under test.
    pub(crate) under_test: Arc<Mutex<Option<(DefinitionName, SagaKey)>>>,
    pub(crate) hooks: Arc<Hooks>,
}

impl<P> Clone for World<P> {
    fn clone(&self) -> Self {
        Self {
            time: self.time.clone(),
            wires: self.wires.clone(),
            store: self.store.clone(),
            inner: self.inner.clone(),
            participants: self.participants.clone(),
            within: self.within,
        }
    }
}

impl<P: Participants> World<P> {
    /// Opens a world and starts its engine.
    ///
    /// # Panics
    /// When it cannot be set up.
    pub async fn open<F>(setup: Setup, participants: impl FnOnce(Place) -> F) -> Self
    where
        F: Future<Output = P>,
    {
        let dir = folder(setup.template.as_deref()).unwrap_or_else(|error| panic!("failed to make a folder: {error}"));
        let time = Time::new(setup.begins, setup.seed);
        let log = Log::new(&time);
        let participants = participants(Place { folder: dir.path().to_owned(), time: time.clone() }).await;
        let store: Arc<dyn Store> = match setup.kept {
            Kept::InMemory => Arc::new(MemoryStore::new()),
            Kept::OnDisk => match SqliteStore::create(dir.path().join("tercet.db")).await {
                Ok(store) => Arc::new(store),
                Err(error) => panic!("failed to create the journal's file: {error}"),
            },
        };
        let store = Journal::new(store, &time, &log);
        let wires = Wires::new(InProcess::new(participants.all()), &time, &store, &log);
        let (life, deaths) = (Mutex::default(), AtomicU32::new(0));
        let inner = Inner { setup, log, dir, life, deaths, under_test: Arc::default(), hooks: Arc::default() };
        let inner = Arc::new(inner);
        let world = Self { time, wires, store, inner, participants: Arc::new(participants), within: false };
        world.live().await;
        // What the engine does first is no part of any saga.
        world.time.quiet().await;
        world
    }
}

impl<P> World<P> {
    /// What the test opened as its participants.
    #[must_use]
    pub fn participants(&self) -> &P {
        &self.participants
    }

    /// The world's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.inner.dir.path()
    }

    /// How often the engine's process died or was stopped.
    #[must_use]
    pub fn deaths(&self) -> u32 {
        self.inner.deaths.load(Ordering::Relaxed)
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.time.now()
    }

    /// The same world in a hook's hands.
    pub(crate) fn within(&self) -> Self {
        Self { within: true, ..self.clone() }
    }

    /// Starts the engine's process.
    async fn live(&self) {
        let process = Process::new(&self.time);
        let engine = Engine::run(Parts {
            store: self.store.clone(),
            transport: self.wires.clone(),
            registry: self.inner.setup.registry.clone(),
            env: process.clone(),
            settings: self.inner.setup.settings.clone(),
        })
        .await
        .unwrap_or_else(|error| panic!("the engine does not start: {error}"));
        *locked(&self.inner.life) = Some((engine, process));
    }

    /// Kills the engine's process, and starts it again.
    pub async fn kill(&self) {
        let life = locked(&self.inner.life).take();
        if let Some((_, process)) = life {
            process.kill();
        }
        self.inner.deaths.fetch_add(1, Ordering::Relaxed);
        self.time.recover();
        self.inner.log.of_world(Mark::Fault, "the process is killed, and another one takes over".to_owned());
        self.live().await;
    }

    /// Stops the engine as `SIGTERM` does, and starts it again.
    pub async fn stop(&self) {
        let engine = self.engine();
        self.drive(async move { engine.shut_down().await }).await;
        self.kill().await;
    }

    /// The engine that lives now.
    ///
    /// # Panics
    /// Between two lives.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.try_engine().unwrap_or_else(|| panic!("no engine is alive"))
    }

    /// The engine, once one lives: a hook may act between two lives.
    pub async fn alive(&self) -> Engine {
        loop {
            if let Some(engine) = self.try_engine() {
                return engine;
            }
            self.time.sleep_within(Duration::from_millis(1)).await;
        }
    }

    pub(crate) fn try_engine(&self) -> Option<Engine> {
        locked(&self.inner.life).as_ref().map(|(engine, _)| engine.clone())
    }

    /// The process of the engine that lives now.
    ///
    /// # Panics
    /// Between two lives.
    #[must_use]
    pub fn process(&self) -> Arc<Process> {
        let process = locked(&self.inner.life).as_ref().map(|(_, process)| process.clone());
        process.unwrap_or_else(|| panic!("no process is alive"))
    }
}

impl<P> std::fmt::Debug for World<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("now", &self.now()).field("deaths", &self.deaths()).finish_non_exhaustive()
    }
}

/// A name that a test's author wrote.
pub(crate) fn named<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> T {
    text.parse().unwrap_or_else(|error| panic!("`{text}`: {error}"))
}
