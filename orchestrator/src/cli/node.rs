//! A node in this process: store, engine, participants and API together, from start to a graceful end.

use super::{Failure, Output, failure::Exit};
use crate::{
    Engine, Env, Health, Machine, Parts, Registry, Settings,
    api::{Listening, Routes, record_metrics},
    config::{Config, Setting, Sources},
    ingress::{Ingress, Waits},
    published::EventSource,
    store::{ServerStore, SqliteOptions, SqliteStore, Store, StoreError},
    transport::{InProcess, Mixed, Nats, Transport},
};
use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::Duration,
};
use tercet_core::Participant;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// How often a running node is asked whether its engine still runs.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long what runs beside an engine may take to end.
const BESIDE_MAX: Duration = Duration::from_secs(5);

type Beside = Box<dyn FnOnce(Engine, CancellationToken) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

type Routing = Box<dyn FnOnce(SocketAddr) -> Result<Routes, Failure> + Send>;

/// What a process hosts beside its engine: participants, and what they need done.
#[derive(Default)]
pub struct Hosted {
    participants: Vec<Arc<dyn Participant>>,
    env: Option<Env>,
    database: Option<PathBuf>,
    beside: Vec<Beside>,
    events: Option<Arc<dyn EventSource>>,
    routes: Option<Routing>,
}

impl Hosted {
    /// Hosts these participants.
    #[must_use]
    pub fn new(participants: Vec<Arc<dyn Participant>>) -> Self {
        Self { participants, ..Self::default() }
    }

    /// Runs `work` beside the engine (an outbox's relay, say) until the token is cancelled; what has not ended some seconds later is
    /// dropped.
    #[must_use]
    pub fn beside<F, W>(mut self, work: F) -> Self
    where
        F: FnOnce(Engine, CancellationToken) -> W + Send + 'static,
        W: Future<Output = ()> + Send + 'static,
    {
        self.beside.push(Box::new(|engine, stop| Box::pin(work(engine, stop))));
        self
    }

    /// Runs the engine in `env` instead of on the machine's clock.
    #[must_use]
    pub fn env(mut self, env: Env) -> Self {
        self.env = Some(env);
        self
    }

    /// Shows what the participants publish, at `/v1/events`.
    #[must_use]
    pub fn events(mut self, source: Arc<dyn EventSource>) -> Self {
        self.events = Some(source);
        self
    }

    /// Serves routes of the participants' own (for a third party's callbacks, say) at `participants.listen`, wherever the API is
    /// served; `routes` is told the address.
    #[must_use]
    pub fn routes<F>(mut self, routes: F) -> Self
    where
        F: FnOnce(SocketAddr) -> Result<Routes, Failure> + Send + 'static,
    {
        self.routes = Some(Box::new(routes));
        self
    }

    /// Keeps the journal in this file instead of the configured one.
    #[must_use]
    pub fn database(mut self, file: PathBuf) -> Self {
        self.database = Some(file);
        self
    }
}

impl std::fmt::Debug for Hosted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.participants.iter().map(|participant| participant.name()).collect();
        f.debug_struct("Hosted").field("participants", &names).finish_non_exhaustive()
    }
}

/// What a command is given to work with.
#[derive(Debug)]
pub struct Context {
    /// The settings.
    pub config: Config,
    /// How to answer.
    pub output: Output,
    /// The definitions.
    pub registry: Registry,
}

/// Whether the database may be made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Database {
    MustBeThere,
    MadeAndMigrated,
}

impl Context {
    /// Makes and migrates the database where that is needed, and runs engine and API on it.
    ///
    /// # Errors
    /// When the address or the database is in use or cannot be used, or a definition was edited under its old version.
    pub async fn start(&self, hosted: Hosted) -> Result<Node, Failure> {
        self.run(hosted, Database::MadeAndMigrated, true).await
    }

    /// As [`start`](Self::start), without an API: nobody else can see the node, and no port is needed.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_unheard(&self, hosted: Hosted) -> Result<Node, Failure> {
        self.run(hosted, Database::MadeAndMigrated, false).await
    }

    pub(super) async fn run(&self, hosted: Hosted, database: Database, heard: bool) -> Result<Node, Failure> {
        if heard {
            // First: what is made before it, of the participants' routes, too, counts nothing.
            record_metrics();
        }
        let listening = if heard { Some(listen(self.config.listen, "--listen").await?) } else { None };
        let routes = match hosted.routes.filter(|_| heard) {
            Some(routes) => {
                let listening = listen(self.config.participants_listen, "`participants.listen`").await?;
                tracing::info!(address = %listening.address(), "the participants listen");
                let routes = routes(listening.address())?;
                Some((listening, routes))
            }
            None => None,
        };
        let store = match &hosted.database {
            Some(file) => Box::pin(open_file(file, database)).await?,
            None => Box::pin(open(&self.config, database)).await?,
        };
        let settings = Settings {
            look_ahead: self.config.look_ahead,
            lease: self.config.lease,
            retention: self.config.retention,
            limits: self.config.limits,
            label: match &listening {
                Some(listening) => format!("process {} at {}", std::process::id(), listening.address()),
                None => format!("process {}", std::process::id()),
            },
            ..Settings::of(self.config.namespace.clone())
        };
        let here = InProcess::new(hosted.participants);
        let nats = match &self.config.nats {
            Some(nats) => {
                let started = Nats::start(nats.clone(), self.config.namespace.clone()).await;
                Some(started.map_err(|error| Failure::unavailable(error.to_string()))?)
            }
            None => None,
        };
        let transport: Arc<dyn Transport> = match &nats {
            Some(nats) => Arc::new(Mixed::new(here, nats.clone())),
            None => Arc::new(here),
        };
        let parts = Parts {
            store: store.clone(),
            transport,
            registry: self.registry.clone(),
            env: hosted.env.unwrap_or_else(|| Arc::new(Machine::new())),
            settings,
        };
        let engine = Engine::run(parts).await?;
        let stop = CancellationToken::new();
        let mut beside = JoinSet::new();
        if let Some(nats) = &self.config.nats {
            let waits = Waits { for_saga: self.config.wait, ..Waits::default() };
            beside.spawn(Ingress::new(engine.clone()).waits(waits).serve(nats.clone(), stop.clone()));
        }
        for work in hosted.beside {
            beside.spawn(work(engine.clone(), stop.clone()));
        }
        if let Some((listening, routes)) = routes {
            beside.spawn(listening.serve_routes(routes, stop.clone()));
        }
        let address = listening.as_ref().map(Listening::address);
        let listening = listening.map(|listening| listening.events(hosted.events).nats(nats.clone()));
        let token = self.config.token.clone();
        let api = listening.map(|listening| tokio::spawn(listening.serve(engine.clone(), token, stop.clone())));
        let own = self.config.own.settings.clone();
        Ok(Node { engine, store, nats, address, api, beside, stop, own })
    }
}

async fn listen(address: SocketAddr, by: &str) -> Result<Listening, Failure> {
    Listening::at(address).await.map_err(|error| {
        let what_to_do = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "another program listens there, a tercet perhaps: stop it, or choose another address"
            }
            _ => "choose an address of this machine",
        };
        Failure::unavailable(format!("failed to listen at {address}: {error}; {what_to_do} with {by}"))
    })
}

/// Between two looks at whether a server is there.
const KNOCK_EVERY: Duration = Duration::from_secs(2);

/// The configured database. A server that is not there yet is waited for where a node is to serve: both may begin together.
pub(super) async fn open(config: &Config, database: Database) -> Result<Arc<dyn Store>, Failure> {
    let Some(url) = &config.database else { return open_file(&config.data, database).await };
    if database == Database::MadeAndMigrated {
        return Ok(Arc::new(ServerStore::create(url).await?));
    }
    loop {
        match ServerStore::open(url).await {
            Ok(store) => return Ok(Arc::new(store)),
            Err(error @ StoreError::Unavailable(_)) => tracing::warn!(%error, "waiting for the database"),
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(KNOCK_EVERY).await;
    }
}

async fn open_file(file: &Path, database: Database) -> Result<Arc<dyn Store>, Failure> {
    if database == Database::MustBeThere {
        return Ok(Arc::new(SqliteStore::open(file, SqliteOptions::default()).await?));
    }
    make_folder_of(file)?;
    Ok(Arc::new(SqliteStore::create(file).await?))
}

fn make_folder_of(file: &Path) -> Result<(), Failure> {
    match file.parent() {
        Some(folder) => make_folder(folder),
        None => Ok(()),
    }
}

pub(super) fn make_folder(folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder).map_err(|error| {
        Failure::unavailable(format!(
            "failed to make the folder {}: {error}; name another with --data",
            folder.display()
        ))
    })
}

/// A node that runs in this process.
pub struct Node {
    engine: Engine,
    store: Arc<dyn Store>,
    nats: Option<Nats>,
    address: Option<SocketAddr>,
    api: Option<JoinHandle<()>>,
    beside: JoinSet<()>,
    stop: CancellationToken,
    own: Vec<Setting>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Node {
    /// Its engine.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Where its API listens, if it has one.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// What a command in another terminal, in the same folder, needs to reach this node: ` --server …`, or nothing when it finds the
    /// node without.
    #[must_use]
    pub fn server_flag(&self) -> String {
        let Some(address) = self.address else { return String::new() };
        let server = format!("http://{address}");
        let sources = Sources { own: self.own.clone(), ..Sources::of_process(None, Vec::new()) };
        let found = Config::load(&sources).is_ok_and(|config| config.server == server);
        if found { String::new() } else { format!(" --server {server}") }
    }

    /// Runs until the process is told to end (SIGINT, SIGTERM), then [stops](Self::stop). A second signal ends it at once.
    ///
    /// # Errors
    /// When the API or the engine ends by itself.
    pub async fn until_stopped(self) -> Result<(), Failure> {
        let ended = self.ended().await;
        tracing::info!("stopping: what is decided is written, what is outstanding is asked again at the next start");
        tokio::select! {
            () = self.stop() => ended,
            () = told_to_end() => Err(Failure::new(Exit::Other, "stopped at once: the next start takes up what was under way")),
        }
    }

    async fn ended(&self) -> Result<(), Failure> {
        let told = told_to_end();
        tokio::pin!(told);
        loop {
            tokio::select! {
                () = &mut told => return Ok(()),
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            if let Health::Stopped(why) = self.engine.health() {
                return Err(Failure::unavailable(format!("the engine has stopped: {why}")));
            }
            if self.api.as_ref().is_some_and(JoinHandle::is_finished) {
                return Err(Failure::unavailable("the API has ended: look at the log"));
            }
        }
    }

    /// Ends the API, then what runs beside the engine, then the engine, then the store: what is decided is written.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Some(api) = self.api.take()
            && let Err(error) = api.await
        {
            tracing::error!(%error, "the API broke off");
        }
        let beside = async { while self.beside.join_next().await.is_some() {} };
        if tokio::time::timeout(BESIDE_MAX, beside).await.is_err() {
            tracing::warn!("what runs beside the engine has not ended: it is dropped");
        }
        self.beside.shutdown().await;
        self.engine.shut_down().await;
        if let Some(nats) = &self.nats {
            nats.close().await;
        }
        self.store.close().await;
    }
}

async fn told_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let told = |kind| async move {
        match signal(kind) {
            Ok(mut signals) => drop(signals.recv().await),
            Err(error) => {
                tracing::warn!(%error, "failed to listen for a signal");
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = told(SignalKind::interrupt()) => {}
        () = told(SignalKind::terminate()) => {}
    }
}
