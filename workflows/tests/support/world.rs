//! A whole small world: a shop on SQLite files, a channel, an engine on a store, and one clock for all of them.

use super::{
    clock::{Process, ShopTime, Time},
    journal::Journal,
    sales::{Case, Shape},
    wires::Wires,
};
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;
use tercet::{
    Engine, EngineError, Environment, Parts, Registry, Settings, StartedSaga, Until,
    store::{MemoryStore, SqliteStore, Store},
    transport::InProcess,
};
use tercet_core::{DefinitionName, Entry, Life, Millis, Payload, SagaId, SagaKey, State};
use tercet_participant::{
    SeaOrm,
    database::Boxed,
    outbox::{Acknowledged, Completion, Ingress, Start, Told},
};
use tercet_shop::{
    Ledger, Shop,
    channel::{Behaviour, Behaviours, Buyer, Charges, Charging},
    ids::{PaymentId, RefundId},
};
use tercet_workflows::ingress::EngineIngress;

/// How long a saga may take, all waits included, before the test calls it stuck.
const PATIENCE: Duration = Duration::from_secs(14 * 24 * 3600);

/// Where the engine keeps its journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    InMemory,
    OnDisk,
}

/// A world.
pub(crate) struct World {
    pub(crate) time: Arc<Time>,
    pub(crate) shop: Arc<Shop>,
    pub(crate) wires: Arc<Wires>,
    pub(crate) store: Arc<Journal>,
    pub(crate) dir: TempDir,
    seed: u64,
    settings: Settings,
    registry: Registry,
    life: RefCell<Option<(Engine, Arc<Process>)>>,
    carries: bool,
    pub(super) numbers: Cell<u32>,
    /// Sales made in advance.
    pub(super) cases: RefCell<BTreeMap<Shape, Vec<Case>>>,
    /// How often the process died or was stopped.
    pub(crate) deaths: Cell<u32>,
}

/// How a world is set up.
pub(crate) struct Setup {
    pub(crate) kept: Kept,
    pub(crate) settings: Settings,
    pub(crate) registry: Registry,
    /// Whether the channel can close a refund.
    pub(crate) closes: bool,
    /// Participants beside the shop's.
    pub(crate) more: Vec<Arc<dyn tercet_core::Participant>>,
    /// Whether what the shop has to say is carried into the engine.
    pub(crate) carries: bool,
}

impl Default for Setup {
    fn default() -> Self {
        let settings = Settings { inbox_every: Duration::from_secs(60), ..Settings::of("shop".parse().unwrap()) };
        let registry = tercet_workflows::registry().unwrap();
        Self { kept: Kept::InMemory, settings, registry, closes: true, more: Vec::new(), carries: true }
    }
}

impl World {
    /// A world whose random numbers come from `seed`, its journal in memory.
    pub(crate) async fn new(seed: u64) -> Self {
        Self::with(seed, Setup::default()).await
    }

    /// The same, its journal in an SQLite file.
    pub(crate) async fn on_disk(seed: u64) -> Self {
        Self::with(seed, Setup { kept: Kept::OnDisk, ..Setup::default() }).await
    }

    pub(crate) async fn with(seed: u64, setup: Setup) -> Self {
        println!("seed {seed}");
        let dir = tempfile::tempdir().unwrap();
        let time = Time::new(seed);
        let shop = Arc::new(
            Shop::open(
                dir.path(),
                tercet_shop::Settings {
                    behaviours: Behaviours::always(Behaviour::Succeed),
                    charges: Charges::always(Charging::new(Buyer::Waits)),
                    closes: setup.closes,
                    clock: Arc::new(ShopTime(time.clone())),
                    patience: Duration::from_secs(60),
                    minor_per_point: 1,
                },
            )
            .await
            .unwrap(),
        );
        let store: Arc<dyn Store> = match setup.kept {
            Kept::InMemory => Arc::new(MemoryStore::new()),
            Kept::OnDisk => Arc::new(SqliteStore::create(dir.path().join("tercet.db")).await.unwrap()),
        };
        let inner = InProcess::new(shop.participants().into_iter().chain(setup.more));
        let world = Self {
            wires: Wires::new(inner, &time),
            store: Journal::new(store, &time),
            shop,
            dir,
            seed,
            settings: setup.settings,
            registry: setup.registry,
            life: RefCell::new(None),
            carries: setup.carries,
            numbers: Cell::new(0),
            cases: RefCell::default(),
            deaths: Cell::new(0),
            time,
        };
        world.live().await;
        world
    }

    /// Starts the engine's process.
    async fn live(&self) {
        let process = Process::new(&self.time);
        let engine = Engine::run(Parts {
            store: self.store.clone(),
            transport: self.wires.clone(),
            registry: self.registry.clone(),
            env: process.clone(),
            settings: self.settings.clone(),
        })
        .await
        .unwrap();
        if self.carries {
            process.spawn(Box::pin(carry(self.shop.clone(), engine.clone(), self.time.clone())));
        }
        *self.life.borrow_mut() = Some((engine, process));
    }

    /// Kills the engine's process, and starts it again.
    pub(crate) async fn kill(&self) {
        let life = self.life.borrow_mut().take();
        if let Some((_, process)) = life {
            process.kill();
        }
        self.deaths.set(self.deaths.get() + 1);
        self.time.recover();
        self.live().await;
    }

    /// Stops the engine as `SIGTERM` does, and starts it again.
    pub(crate) async fn stop(&self) {
        let engine = self.engine();
        self.drive(async move { engine.shut_down().await }).await;
        self.kill().await;
    }

    pub(crate) fn engine(&self) -> Engine {
        self.life.borrow().as_ref().map(|(engine, _)| engine.clone()).unwrap()
    }

    pub(crate) fn process(&self) -> Arc<Process> {
        self.life.borrow().as_ref().map(|(_, process)| process.clone()).unwrap()
    }

    /// Lets time go on until `task` is done. The process must not die meanwhile.
    pub(crate) async fn drive<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> T {
        let task = tokio::spawn(task);
        loop {
            self.time.quiet().await;
            if task.is_finished() {
                return task.await.unwrap();
            }
            assert!(self.time.advance(), "seed {}: what is waited for never comes", self.seed);
        }
    }

    /// Asks the engine; when its process dies over it, asks the next one.
    pub(crate) async fn ask<T, F>(&self, ask: impl Fn(Engine) -> F) -> Result<T, EngineError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, EngineError>> + Send + 'static,
    {
        let begun = self.time.now();
        loop {
            let task = tokio::spawn(ask(self.engine()));
            while !task.is_finished() {
                self.time.quiet().await;
                if self.time.has_crashed() {
                    break;
                }
                if !task.is_finished() {
                    assert!(self.time.advance(), "seed {}: the engine never answers", self.seed);
                    assert!(self.time.now().since(begun) < PATIENCE, "seed {}: the engine does not answer", self.seed);
                }
            }
            if self.time.has_crashed() {
                task.abort();
                self.kill().await;
                continue;
            }
            match task.await.unwrap() {
                Err(EngineError::Unavailable(_) | EngineError::Stopped(_)) => self.turn().await,
                answer => return answer,
            }
        }
    }

    /// Lets what is under way go on, then time by one step.
    pub(crate) async fn turn(&self) {
        self.time.quiet().await;
        if self.time.has_crashed() {
            return self.kill().await;
        }
        assert!(self.time.advance(), "seed {}: nothing is ever due again", self.seed);
    }

    /// Lets that much time pass.
    pub(crate) async fn pass(&self, time: Duration) {
        let until = self.time.now().plus(time);
        let sleep = self.time.sleep(time);
        self.drive(sleep).await;
        assert!(self.time.now() >= until);
    }

    pub(crate) async fn start(&self, definition: &str, key: &str, input: &Payload) -> Result<StartedSaga, EngineError> {
        let (definition, key): (DefinitionName, SagaKey) = (definition.parse().unwrap(), key.parse().unwrap());
        let input = input.clone();
        self.ask(|engine| {
            let (definition, key, input) = (definition.clone(), key.clone(), input.clone());
            async move { engine.start(definition, None, key, input).await }
        })
        .await
    }

    /// The saga as it is now.
    pub(crate) async fn state(&self, saga: SagaId) -> Arc<State> {
        self.ask(move |engine| async move { engine.wait(saga, Until::Now).await }).await.unwrap().state
    }

    /// Lets time go on until the saga is so.
    pub(crate) async fn until(&self, saga: SagaId, is_so: impl Fn(&State) -> bool) -> Arc<State> {
        let begun = self.time.now();
        loop {
            let state = self.state(saga).await;
            if is_so(&state) {
                return state;
            }
            if self.time.now().since(begun) > PATIENCE {
                panic!("seed {}: the saga is stuck: {state:#?}", self.seed);
            }
            self.turn().await;
        }
    }

    /// Lets time go on until the saga has ended, or a step of it is parked and all else is done.
    pub(crate) async fn settled(&self, saga: SagaId) -> Arc<State> {
        self.until(saga, |state| state.life.is_ended() || is_parked(state)).await
    }

    /// Starts these at once, and lets all of them go to their end, or until they are parked. The process may die meanwhile.
    pub(crate) async fn run_all(&self, cases: &[Case]) -> Vec<Arc<State>> {
        let mut sagas = BTreeMap::new();
        while sagas.len() < cases.len() {
            let unstarted = cases.iter().enumerate().filter(|(at, _)| !sagas.contains_key(at));
            let starts: Vec<_> = unstarted.map(|(at, case)| (at, self.start_beside(case))).collect();
            while !self.time.has_crashed() && starts.iter().any(|(_, start)| !start.is_finished()) {
                self.time.quiet().await;
                if !self.time.has_crashed() && starts.iter().any(|(_, start)| !start.is_finished()) {
                    assert!(self.time.advance(), "seed {}: the engine never answers", self.seed);
                }
            }
            if self.time.has_crashed() {
                self.kill().await;
            }
            for (at, start) in starts {
                if let Ok(started) = start.await.unwrap() {
                    sagas.insert(at, started.id);
                }
            }
        }
        let mut states = Vec::with_capacity(sagas.len());
        for saga in sagas.into_values() {
            states.push(self.settled(saga).await);
        }
        states
    }

    fn start_beside(&self, case: &Case) -> tokio::task::JoinHandle<Result<StartedSaga, EngineError>> {
        let (engine, input) = (self.engine(), case.input.clone());
        let (definition, key) = (case.definition.parse().unwrap(), case.refund.as_str().parse().unwrap());
        tokio::spawn(async move { engine.start(definition, None, key, input).await })
    }

    /// Starts a saga and lets it go to its end, or until it is parked.
    pub(crate) async fn run(&self, definition: &str, key: &str, input: &Payload) -> Arc<State> {
        let started = self.start(definition, key, input).await.unwrap();
        self.settled(started.id).await
    }

    /// A saga's journal.
    pub(crate) async fn entries(&self, saga: SagaId) -> Vec<Entry> {
        self.ask(move |engine| async move { engine.show(saga).await }).await.unwrap().entries
    }

    pub(crate) fn behave(&self, refund: &RefundId, behaviour: Behaviour) {
        self.shop.channel().tell(refund.clone(), behaviour);
    }

    pub(crate) fn charge_goes(&self, payment: &PaymentId, charging: Charging) {
        self.shop.channel().tell_charge(payment.clone(), charging);
    }

    /// The figures of all databases. Nothing may be under way.
    pub(crate) async fn ledger(&self) -> Ledger {
        self.time.quiet().await;
        self.shop.ledger().await.unwrap()
    }

    /// A second way into a participant's database, for what the shop does not offer.
    pub(crate) async fn database(&self, participant: &str) -> SeaOrm {
        SeaOrm::sqlite(&self.dir.path().join(format!("{participant}.db"))).await.unwrap()
    }

    pub(crate) fn now(&self) -> Millis {
        self.time.now()
    }
}

/// A step is parked, and no other call is outstanding.
fn is_parked(state: &State) -> bool {
    let parked: BTreeSet<_> = state.parked().map(|(step, _)| step.clone()).collect();
    let calls = tercet_core::outstanding(state);
    !parked.is_empty() && !calls.iter().any(|command| matches!(command, tercet_core::Command::Call(_)))
}

/// How it ended, in a word.
pub(crate) fn ended(state: &Arc<State>) -> &'static str {
    match state.life {
        Life::Confirmed => "confirmed",
        Life::Cancelled => "cancelled",
        _ if state.parked().next().is_some() => "parked",
        life => life.as_str(),
    }
}

/// What the courier does, with its work counted as under way.
async fn carry(shop: Arc<Shop>, engine: Engine, time: Arc<Time>) {
    let relay = shop.relay(Counted(EngineIngress(engine), time.clone()));
    loop {
        let busy = time.busy();
        let due = shop.turn(&relay).await.unwrap();
        drop(busy);
        let wait = due.map_or(Duration::from_secs(30), |due| due.since(time.now()));
        time.sleep(wait.clamp(Duration::from_millis(1), Duration::from_secs(30))).await;
    }
}

/// The way into the engine, which counts its own work.
#[derive(Clone)]
struct Counted(EngineIngress, Arc<Time>);

impl Ingress for Counted {
    fn complete(&self, completion: Completion) -> Boxed<'_, Acknowledged> {
        Box::pin(async move {
            let _waiting = self.1.waiting();
            self.0.complete(completion).await
        })
    }

    fn start(&self, start: Start) -> Boxed<'_, Acknowledged> {
        Box::pin(async move {
            let _waiting = self.1.waiting();
            self.0.start(start).await
        })
    }

    fn signal(&self, told: Told) -> Boxed<'_, Acknowledged> {
        Box::pin(async move {
            let _waiting = self.1.waiting();
            self.0.signal(told).await
        })
    }
}
