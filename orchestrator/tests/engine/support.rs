//! Sagas of a few kinds, participants that do as a test tells them, and an engine over both.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};
use tercet::{
    Engine, EngineError, Environment, Machine, Parts, Registry, Settings, Snapshot, StartedSaga, Until,
    env::Task,
    store::{MemoryStore, Store, View},
    transport::InProcess,
};
use tercet_core::{
    Answer, Answering, Call, ContractName, Definition, Millis, OnExhausted, Operation, Participant, Payload, Phase,
    Retry, Saga, SagaId, Signal, Signalled, hours, kind, minutes, schemars,
};
use tokio::time::Instant;

macro_rules! operations { ($($name:ident $contract:literal $kind:ident $closes:literal)+) => { $(
    pub(crate) struct $name;
    impl Operation for $name {
        const NAME: &'static str = $contract;
        type Kind = kind::$kind;
        type Request = u32;
        type Reply = u32;
        const CLOSES: bool = $closes;
    }
)+
    const CONTRACTS: &[&str] = &[$($contract),+];
} }

operations! {
    Hold "stock.hold/1" Compensable false
    Take "wallet.take/1" Compensable false
    Pay "bank.pay/1" Pivot true
    Tell "mail.send/1" Retriable false
}

#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct Go {}
impl Signal for Go {
    const NAME: &'static str = "people.go/1";
}

/// Holds stock, then takes from a wallet.
fn purchase() -> Definition<u32, u32> {
    let saga = Saga::<u32>::new("purchase", 1);
    let held = saga.compensable("hold", Hold).request(saga.input(), |n| n);
    let taken = saga.compensable("take", Take).request(held, |n| n);
    saga.output(taken, |n| n)
}

/// Takes from a wallet.
fn gift() -> Definition<u32, u32> {
    let saga = Saga::<u32>::new("gift", 1);
    let taken = saga.compensable("take", Take).request(saga.input(), |n| n);
    saga.output(taken, |n| n)
}

/// Holds stock, three attempts at most.
fn impatient() -> Definition<u32, u32> {
    let saga = Saga::<u32>::new("impatient", 1);
    let retry = Retry::backoff(Duration::from_millis(200), minutes(1)).attempts(3);
    let held = saga.compensable("hold", Hold).retry(retry).request(saga.input(), |n| n);
    saga.output(held, |n| n)
}

/// Pays, and tells somebody.
fn payment() -> Definition<u32, u32> {
    let saga = Saga::<u32>::new("payment", 1);
    let paid = saga.pivot("pay", Pay).on_exhausted(OnExhausted::Park).request(saga.input(), |n| n);
    saga.on_confirmed(|then| then.retriable("tell", Tell).query_every(hours(6)).request(paid, |n| n));
    saga.output(paid, |n| n)
}

/// Tells somebody, as late as six hours after it could not.
fn letter() -> Definition<u32, u32> {
    let saga = Saga::<u32>::new("letter", 1);
    let input = saga.input();
    let retry = Retry::backoff(hours(6), hours(6));
    saga.on_confirmed(|then| then.retriable("tell", Tell).retry(retry).query_every(hours(6)).request(input, |n| n));
    saga.output(input, |n| n)
}

/// Waits to be told, two hours at most, and then a day.
fn wait() -> Definition<u32, u32> {
    let saga = Saga::<u32>::new("wait", 1);
    let go = saga.wait_for::<Go>("go").within(hours(2));
    let slept = saga.sleep_after("sleep", hours(24), go);
    let taken = saga.compensable("take", Take).after(slept).request(saga.input(), |n| n);
    saga.output(taken, |n| n)
}

/// Holds each of so many.
fn many() -> Definition<u32, u32> {
    let saga = Saga::<u32>::new("many", 1);
    let held = saga.for_each(
        "lines",
        saga.input(),
        |n| (0..n).collect::<Vec<u32>>(),
        |each, line| each.compensable("hold", Hold).request(line, |n| n),
    );
    saga.output(held, |held| held.into_iter().sum())
}

/// Gives, as a saga of its own.
fn parent() -> Definition<u32, u32> {
    let saga = Saga::<u32>::new("parent", 1);
    let input = saga.input();
    saga.on_confirmed(|then| then.child("give", gift).input(input, |n| n));
    saga.output(input, |n| n)
}

/// Has another saga wait to be told.
fn keeper() -> Definition<u32, u32> {
    let saga = Saga::<u32>::new("keeper", 1);
    let kept = saga.child("kept", wait).undone_by(gift, |(n, _)| n).input(saga.input(), |n| n);
    saga.output(kept, |n| n)
}

pub(crate) fn registry() -> Registry {
    registry_of(&["purchase", "gift", "impatient", "payment", "letter", "wait", "many", "parent", "keeper"])
}

type Make = fn() -> Definition<u32, u32>;

/// Of these definitions alone, and their children.
pub(crate) fn registry_of(names: &[&str]) -> Registry {
    let all: [(&str, Make); 9] = [
        ("purchase", purchase),
        ("gift", gift),
        ("impatient", impatient),
        ("payment", payment),
        ("letter", letter),
        ("wait", wait),
        ("many", many),
        ("parent", parent),
        ("keeper", keeper),
    ];
    let some = all.into_iter().filter(|(name, _)| names.contains(name));
    some.fold(Registry::new(), |registry, (_, definition)| registry.with(definition()).unwrap())
}

/// What a participant does about a call.
pub(crate) enum Says {
    Now(Answer),
    After(Duration, Answer),
    Never,
    Panic(&'static str),
}

pub(crate) fn done() -> Says {
    Says::Now(Answer::Done(Payload::of(&1).unwrap()))
}

/// What a participant says to each call.
type Script = Box<dyn Fn(&Call) -> Says + Send>;

/// Every participant there is: what it says is a test's.
pub(crate) struct Crowd {
    says: Mutex<Script>,
    /// Calls as they arrived, and when.
    calls: Mutex<Vec<(Instant, Call)>>,
    /// Calls that are with a participant now, and the most there were at once.
    busy: Mutex<BTreeMap<String, (usize, usize)>>,
}

fn participant(call: &Call) -> String {
    call.contract.parts().unwrap().0.to_owned()
}

impl Participant for Crowd {
    fn name(&self) -> &str {
        "crowd"
    }

    fn contracts(&self) -> Vec<ContractName> {
        CONTRACTS.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn call(&self, call: Call) -> Answering<'_> {
        let says = (self.says.lock().unwrap())(&call);
        self.calls.lock().unwrap().push((Instant::now(), call.clone()));
        Box::pin(async move {
            let Says::After(time, answer) = says else {
                return match says {
                    Says::Now(answer) => answer,
                    Says::Panic(text) => panic!("{text}"),
                    _ => std::future::pending().await,
                };
            };
            {
                let mut busy = self.busy.lock().unwrap();
                let (now, most) = busy.entry(participant(&call)).or_default();
                *now += 1;
                *most = (*most).max(*now);
            }
            tokio::time::sleep(time).await;
            self.busy.lock().unwrap().get_mut(&participant(&call)).unwrap().0 -= 1;
            answer
        })
    }
}

/// An installation: its store and participants outlive its engine.
pub(crate) struct World {
    pub(crate) store: MemoryStore,
    pub(crate) crowd: Arc<Crowd>,
    pub(crate) settings: Settings,
    /// One clock, whoever runs.
    env: Arc<Machine>,
    /// What befalls this process alone.
    fate: Option<Arc<Fate>>,
}

/// A process that a test may end, or stop for a while.
#[derive(Default)]
pub(crate) struct Fate {
    dead: AtomicBool,
    still_until: Mutex<Option<Instant>>,
}

impl Fate {
    fn is_still(&self) -> Option<Instant> {
        self.still_until.lock().unwrap().filter(|until| *until > Instant::now())
    }

    /// Goes on with a task only while the process does.
    async fn of(self: Arc<Self>, mut task: Task) {
        std::future::poll_fn(|cx| {
            if self.dead.load(Ordering::Relaxed) {
                return Poll::Ready(());
            }
            match self.is_still() {
                Some(until) => {
                    let waker = cx.waker().clone();
                    tokio::spawn(async move {
                        tokio::time::sleep_until(until).await;
                        waker.wake();
                    });
                    Poll::Pending
                }
                None => task.as_mut().poll(cx),
            }
        })
        .await;
    }
}

/// The machine, for the tasks of one process.
struct Process(Arc<Machine>, Arc<Fate>);

impl Environment for Process {
    fn now(&self) -> Millis {
        self.0.now()
    }

    fn random(&self) -> u64 {
        self.0.random()
    }

    fn sleep_until(&self, at: Millis) -> Task {
        self.0.sleep_until(at)
    }

    fn spawn(&self, task: Task) {
        tokio::spawn(self.1.clone().of(task));
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let crowd = Crowd { says: Mutex::new(Box::new(|_| done())), calls: Mutex::default(), busy: Mutex::default() };
        let settings = Settings::of("default".parse().unwrap());
        Self { store: MemoryStore::new(), crowd: Arc::new(crowd), settings, env: Arc::default(), fate: None }
    }

    /// On a store that several nodes share, whose clock is two days ahead of theirs.
    pub(crate) fn shared() -> Self {
        Self::shared_with(|now| now.plus(hours(48)))
    }

    /// The same, with another clock, made of theirs.
    pub(crate) fn shared_with(clock: impl Fn(Millis) -> Millis + Send + Sync + 'static) -> Self {
        let own = Self::new();
        let env = own.env.clone();
        let store = MemoryStore::shared(Arc::new(move || clock(env.now())));
        Self { store, settings: Settings { lease: Duration::from_secs(3), ..own.settings.clone() }, ..own }
    }

    /// The same installation, with a process of its own.
    pub(crate) fn mortal(&self) -> Self {
        let (store, crowd, settings) = (self.store.clone(), self.crowd.clone(), self.settings.clone());
        Self { store, crowd, settings, env: self.env.clone(), fate: Some(Arc::default()) }
    }

    /// The process is killed.
    pub(crate) fn die(&self) {
        self.fate.as_ref().unwrap().dead.store(true, Ordering::Relaxed);
    }

    /// The process is stopped, and goes on some time later.
    pub(crate) async fn stand_still(&self, time: Duration) {
        *self.fate.as_ref().unwrap().still_until.lock().unwrap() = Some(Instant::now() + time);
        pass(time).await;
    }

    /// The nodes, and what they own.
    pub(crate) async fn view(&self) -> View {
        self.store.cluster().unwrap().view().await.unwrap()
    }

    pub(crate) async fn run(&self) -> Engine {
        self.run_with(registry()).await
    }

    pub(crate) async fn run_with(&self, registry: Registry) -> Engine {
        let participants: [Arc<dyn Participant>; 1] = [self.crowd.clone()];
        let parts = Parts {
            store: Arc::new(self.store.clone()),
            transport: Arc::new(InProcess::new(participants)),
            registry,
            env: match &self.fate {
                Some(fate) => Arc::new(Process(self.env.clone(), fate.clone())),
                None => self.env.clone(),
            },
            settings: self.settings.clone(),
        };
        Engine::run(parts).await.unwrap()
    }

    /// From now on the participants do this.
    pub(crate) fn say(&self, says: impl Fn(&Call) -> Says + Send + 'static) {
        *self.crowd.says.lock().unwrap() = Box::new(says);
    }

    /// Calls that fit, since the beginning.
    pub(crate) fn calls(&self, contract: &str, phase: Phase) -> Vec<(Instant, Call)> {
        let calls = self.crowd.calls.lock().unwrap();
        calls.iter().filter(|(_, call)| call.contract.as_str() == contract && call.phase == phase).cloned().collect()
    }

    /// The most calls that a participant ever had at once.
    pub(crate) fn most_at_once(&self, participant: &str) -> usize {
        self.crowd.busy.lock().unwrap()[participant].1
    }
}

pub(crate) async fn start(engine: &Engine, definition: &str, key: usize) -> SagaId {
    start_with(engine, definition, key, 7).await
}

pub(crate) async fn start_with(engine: &Engine, definition: &str, key: usize, input: u32) -> SagaId {
    try_start(engine, definition, key, input).await.unwrap().id
}

pub(crate) async fn try_start(
    engine: &Engine, definition: &str, key: usize, input: u32,
) -> Result<StartedSaga, EngineError> {
    let (name, key) = (definition.parse().unwrap(), format!("{definition}-{key}").parse().unwrap());
    engine.start(name, None, key, Payload::of(&input).unwrap()).await
}

pub(crate) async fn now(engine: &Engine, saga: SagaId) -> Snapshot {
    engine.wait(saga, Until::Now).await.unwrap()
}

pub(crate) async fn ended(engine: &Engine, saga: SagaId) -> &'static str {
    engine.wait(saga, Until::End).await.unwrap().state.life.as_str()
}

pub(crate) fn cancels(engine: &Engine, saga: SagaId) -> tokio::task::JoinHandle<Result<Snapshot, tercet::EngineError>> {
    let engine = engine.clone();
    tokio::spawn(async move { engine.cancel(saga, "me".to_owned(), "no more".to_owned()).await })
}

pub(crate) async fn signal(engine: &Engine, saga: SagaId) {
    let payload = Payload::of(&Go {}).unwrap();
    let signal = Signalled { id: "go".parse().unwrap(), name: Go::NAME.to_owned(), payload, from: None };
    engine.signal(saga, signal).await.unwrap();
}

/// Lets virtual time go on.
pub(crate) async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}
