//! What the engine's tasks share: store, transport, environment, settings, health.

use super::{
    EngineError,
    elsewhere::Asked,
    lending::Loans,
    message::{Heard, Message},
    meters::Meters,
    watching::Watching,
};
use crate::{
    env::{DatabaseTime, Env},
    registry::Registry,
    store::{InboxId, NodeId, Shards, Store, StoreError, Stored},
    transport::Transport,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tercet_core::{DefinitionName, Graph, Millis, Namespace, SagaId};
use tokio::sync::{Notify, mpsc, oneshot, watch};

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
    /// Starts that may wait to be written at once, and half as many of one definition for its participants; more are refused for now.
    pub starts_waiting: usize,
    /// How each participant is spared.
    pub limits: Limits,
    /// How long this node's word holds that it is there, where several nodes share a store: after that the others take over.
    pub lease: Duration,
    /// How often it looks at what the others have done: who owns what, and what they put into its inbox.
    pub look_every: Duration,
    /// Where it runs, for people who look at a cluster's nodes.
    pub label: String,
    /// So many sagas, and three eighths of those in memory, are worth a transaction while another is being written; fewer wait, and grow.
    /// With 0 any are.
    pub second_batch: usize,
}

/// How a participant is spared: calls out at once, and when it is left in peace for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Calls that are out to one participant at once; more wait in line.
    pub concurrent: u32,
    /// The share of its calls, in percent, from which on its breaker opens: of those that failed or could not be sent.
    pub errors_percent: u32,
    /// The same, of those that were not answered in their time.
    pub timeouts_percent: u32,
    /// Fewer calls than these within the window say nothing.
    pub calls_min: u32,
    /// How far back calls are counted.
    pub window: Duration,
    /// How long an open breaker rests before it is probed; twice as long after each probe that fails, up to a minute.
    pub rest: Duration,
}

impl Limits {
    /// What holds unless something else is said.
    pub const DEFAULT: Self = Self {
        concurrent: 512,
        errors_percent: 5,
        timeouts_percent: 20,
        calls_min: 100,
        window: Duration::from_secs(30),
        rest: Duration::from_secs(5),
    };
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
            limits: Limits::DEFAULT,
            lease: Duration::from_secs(10),
            look_every: Duration::from_millis(200),
            label: format!("process {}", std::process::id()),
            second_batch: 64,
        }
    }
}

/// A batch is waited for at least so long: longer than a lock of the database is.
const COMMIT_MAX: Duration = Duration::from_secs(15);

/// Why a node that is well takes no starts.
const NOTHING_OWNED: &str =
    "this node owns no shard yet: it has just joined, or the lease of one that died has not run out; try again soon";

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

/// What stands between the engine and its work: why writes fail, why reads fail, why it has stopped.
#[derive(Debug, Default)]
struct Reach {
    writes: Option<String>,
    reads: Option<String>,
    stopped: Option<String>,
}

impl Reach {
    fn health(&self) -> Health {
        match (&self.stopped, self.writes.as_ref().or(self.reads.as_ref())) {
            (Some(why), _) => Health::Stopped(why.clone()),
            (None, Some(why)) => Health::Unavailable(why.clone()),
            (None, None) => Health::Ready,
        }
    }
}

pub(super) struct Shared {
    pub(super) store: Arc<dyn Store>,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) registry: Registry,
    pub(super) env: Env,
    pub(super) settings: Settings,
    pub(super) meters: Meters,
    worker: mpsc::UnboundedSender<Message>,
    health: Mutex<Reach>,
    /// Inbox rows that the worker has, until they are deleted.
    inbox_in_hand: Mutex<BTreeMap<InboxId, SagaId>>,
    pub(super) inbox: Notify,
    /// The shards that this node works on: as the loop that sees to that has told the worker.
    pub(super) owned: watch::Sender<Shards>,
    /// The sagas of other nodes' shards that were lent to this node.
    pub(super) guests: watch::Sender<Vec<SagaId>>,
    loans: Mutex<Loans>,
    pub(super) lending: Notify,
    /// The clock of this process, whatever the database's says.
    pub(super) own_clock: Env,
    /// The database's clock, where several nodes go by it.
    time: Option<Arc<DatabaseTime>>,
    node: Mutex<NodeId>,
    /// The node that the worker has found to be taken over.
    found_fenced: Mutex<Option<NodeId>>,
    pub(super) fenced: Notify,
    /// This node is to go; it has gone.
    pub(super) going: Notify,
    pub(super) gone: watch::Sender<bool>,
    pub(super) asked: Asked,
    pub(super) watching: Watching,
}

impl Shared {
    pub(super) fn new(
        store: Arc<dyn Store>, transport: Arc<dyn Transport>, registry: Registry, env: Env, settings: Settings,
        worker: mpsc::UnboundedSender<Message>,
    ) -> Self {
        let time = store.cluster().is_some().then(|| Arc::new(DatabaseTime::new(env.clone())));
        let own_clock = env.clone();
        let env = time.clone().map_or(env, |time| time as Env);
        Self {
            meters: Meters::new(&registry),
            store,
            transport,
            registry,
            env,
            settings,
            worker,
            health: Mutex::default(),
            inbox_in_hand: Mutex::default(),
            inbox: Notify::new(),
            owned: watch::Sender::new(Shards::NONE),
            guests: watch::Sender::new(Vec::new()),
            loans: Mutex::default(),
            lending: Notify::new(),
            own_clock,
            time,
            node: Mutex::new(NodeId(0)),
            found_fenced: Mutex::default(),
            fenced: Notify::new(),
            going: Notify::new(),
            gone: watch::Sender::new(false),
            asked: Asked::default(),
            watching: Watching::default(),
        }
    }

    pub(super) fn node(&self) -> NodeId {
        *locked(&self.node)
    }

    pub(super) fn set_node(&self, node: NodeId) {
        *locked(&self.node) = node;
    }

    /// The shards that this node works on now.
    pub(super) fn owns(&self) -> Shards {
        *self.owned.borrow()
    }

    /// An answer of the database has just come, with its time in it: how far that is from where it was thought to be.
    pub(super) fn sampled(&self, now: Millis) -> Duration {
        self.time.as_ref().map_or(Duration::ZERO, |time| time.sampled(now))
    }

    /// What the database says, if it says it in half a lease's time (two seconds at least): a connection may be dead without anybody's word.
    pub(super) async fn answered<T>(&self, asked: Stored<'_, T>) -> Result<T, StoreError> {
        let limit = (self.settings.lease / 2).max(Duration::from_secs(2));
        let late = self.own_clock.sleep_until(self.own_clock.now().plus(limit));
        tokio::select! {
            biased;
            answer = asked => answer,
            () = late => Err(StoreError::Unavailable(format!("it did not answer within {} s", limit.as_secs()))),
        }
    }

    /// Changes what is to be lent and given back.
    pub(super) fn loans<T>(&self, change: impl FnOnce(&mut Loans) -> T) -> T {
        let mut loans = locked(&self.loans);
        let changed = change(&mut loans);
        if !(loans.lend.is_empty() && loans.give_back.is_empty()) {
            self.lending.notify_one();
        }
        changed
    }

    /// What became of a batch on a database that others share: nobody knows of one that is not answered within a lease, and its transaction is
    /// waited for, or defeated, by whoever raises the incarnation.
    pub(super) async fn committed<T>(&self, written: Stored<'_, T>) -> Result<T, StoreError> {
        if self.store.cluster().is_none() {
            return written.await;
        }
        let late = self.own_clock.sleep_until(self.own_clock.now().plus(self.settings.lease.max(COMMIT_MAX)));
        tokio::select! {
            biased;
            written = written => written,
            () = late => Err(StoreError::Ambiguous("it has not answered for as long as a lease".to_owned())),
        }
    }

    /// The same of a raise, which may be tried again.
    pub(super) async fn raised(&self, raised: Stored<'_, ()>) -> Result<(), StoreError> {
        self.committed(raised).await.map_err(|error| match error {
            StoreError::Ambiguous(why) => StoreError::Unavailable(why),
            other => other,
        })
    }

    /// The worker has found that this node was taken over.
    pub(super) fn found_fenced(&self, node: NodeId) {
        *locked(&self.found_fenced) = Some(node);
        self.fenced.notify_one();
    }

    pub(super) fn is_fenced(&self, node: NodeId) -> bool {
        *locked(&self.found_fenced) == Some(node)
    }

    /// Has the worker write what is decided, and stop.
    pub(super) async fn stop_worker(&self) {
        let (done, stopped) = oneshot::channel();
        self.send(Message::Stop(done));
        drop(stopped.await);
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
        match locked(&self.health).health() {
            Health::Ready if self.owns().is_empty() => Health::Unavailable(NOTHING_OWNED.to_owned()),
            health => health,
        }
    }

    pub(super) fn can_write(&self) {
        self.change_health(|health| health.writes = None);
    }

    pub(super) fn cannot_write(&self, why: &str) {
        self.change_health(|health| health.writes = Some(why.to_owned()));
    }

    pub(super) fn can_read(&self) {
        self.change_health(|health| health.reads = None);
    }

    pub(super) fn cannot_read(&self, why: &str) {
        self.change_health(|health| health.reads = Some(why.to_owned()));
    }

    /// Says it once when the store goes out of reach, and once when it is back.
    fn change_health(&self, change: impl FnOnce(&mut Reach)) {
        let mut health = locked(&self.health);
        let before = health.health();
        change(&mut health);
        match (before, health.health()) {
            (Health::Ready, Health::Unavailable(why)) => {
                tracing::error!(error = why, "the store is out of reach: starts are refused until it is back");
            }
            (Health::Unavailable(_), Health::Ready) => tracing::info!("the store is back"),
            _ => {}
        }
    }

    /// No start is taken any more.
    pub(super) fn draining(&self) {
        locked(&self.health).stopped = Some("it is being shut down".to_owned());
    }

    pub(super) fn stop(&self, why: &str) {
        locked(&self.health).stopped = Some(why.to_owned());
        self.inbox.notify_one();
    }

    pub(super) fn is_stopped(&self) -> bool {
        locked(&self.health).stopped.is_some()
    }

    pub(super) fn poke_inbox(&self) {
        self.inbox.notify_one();
    }

    pub(super) fn inbox_in_hand(&self) -> Vec<InboxId> {
        locked(&self.inbox_in_hand).keys().copied().collect()
    }

    /// This row is the worker's now.
    pub(super) fn hand_over(&self, id: InboxId, saga: SagaId) {
        locked(&self.inbox_in_hand).insert(id, saga);
    }

    /// These rows are out of the worker's hands: deleted, or to be read again.
    pub(super) fn taken(&self, ids: &[InboxId]) {
        if !ids.is_empty() {
            let mut in_hand = locked(&self.inbox_in_hand);
            for id in ids {
                in_hand.remove(id);
            }
        }
    }

    /// The worker has not dealt with these rows, and will not: they are read again by whoever works on their sagas.
    pub(super) fn release_inbox(&self, are: impl Fn(InboxId, SagaId) -> bool) {
        locked(&self.inbox_in_hand).retain(|id, saga| !are(*id, *saga));
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
