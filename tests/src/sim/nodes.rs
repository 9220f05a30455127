//! The nodes of a town: engines as processes, each with a clock and a way to the store of its own, and what befalls them. Alone on a
//! store, or two and three and now and then four on one.

use super::{
    disk::Disk,
    net::Wire,
    town::Town,
    weather::Fault,
    world::{Home, Process, World, locked},
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tercet::{
    Engine, Health, Parts, Settings,
    store::{MemoryStore, NodeId},
};
use tercet_core::{SHARDS, SagaId};

/// How long a node's word holds that it is there.
pub(crate) const LEASE: Duration = Duration::from_secs(15);

/// Most nodes at once.
const MOST: usize = 4;

/// A node's way to the store.
#[derive(Debug, Default)]
pub(crate) struct Link {
    cut: AtomicBool,
    node: Mutex<Option<NodeId>>,
}

impl Link {
    pub(crate) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    /// The process goes by that number from now on.
    pub(crate) fn is(&self, node: NodeId) {
        *locked(&self.node) = Some(node);
    }

    pub(crate) fn node(&self) -> Option<NodeId> {
        *locked(&self.node)
    }
}

/// An engine's process.
#[derive(Clone)]
struct Node {
    process: Process,
    link: Arc<Link>,
    /// Once it runs.
    engine: Option<Engine>,
}

/// The nodes of a town.
pub(crate) struct Nodes {
    all: Mutex<Vec<Node>>,
    /// As many there should be; none where an engine has the store to itself.
    wanted: AtomicUsize,
    /// Whoever is started now is of the newer release.
    newer: AtomicBool,
}

impl Nodes {
    /// So many on one store; or an engine that has the store to itself.
    pub(crate) fn new(nodes: Option<usize>) -> Self {
        Self { all: Mutex::default(), wanted: AtomicUsize::new(nodes.unwrap_or(0)), newer: AtomicBool::new(false) }
    }

    fn wanted(&self) -> usize {
        self.wanted.load(Ordering::Relaxed)
    }

    pub(crate) fn share(&self) -> bool {
        self.wanted() > 0
    }

    fn want(&self, nodes: usize) {
        self.wanted.store(nodes.clamp(1, MOST), Ordering::Relaxed);
    }

    /// The store that they work on.
    pub(crate) fn store(&self, world: &Arc<World>) -> MemoryStore {
        // Weak, since the world holds tasks that hold the store.
        let world = Arc::downgrade(world);
        let clock = move || world.upgrade().map_or_else(Default::default, |world| world.now());
        if self.share() { MemoryStore::shared(Arc::new(clock)) } else { MemoryStore::new() }
    }

    /// Nobody has taken its place for good: one that had the store to itself may not notice for ever.
    pub(crate) fn is_known(&self, process: Process) -> bool {
        locked(&self.all).iter().any(|node| node.process == process)
    }
}

/// How far a node's clock is from the database's, in milliseconds.
fn skew(world: &World, share: bool) -> i64 {
    let most = [0, 5_000, 3_600_000];
    let most = if share { world.pick(&most).copied().unwrap_or(0) } else { 0 };
    let off = i64::try_from(world.between(0, most)).unwrap_or(0);
    if world.chance(0.5) { off } else { -off }
}

impl Town {
    /// Starts an engine. One that has the store to itself is the only one that counts from now on; another that still runs is left to
    /// find out.
    pub(crate) fn start_engine(self: &Arc<Self>) {
        let process = self.world.process();
        let node = Node { process, link: Arc::default(), engine: None };
        let parts = self.parts(&node);
        {
            let mut all = locked(&self.nodes.all);
            if !self.nodes.share() {
                all.clear();
            }
            all.push(node);
        }
        let this = self.clone();
        self.world.spawn(process, async move {
            loop {
                match Engine::run(parts()).await {
                    Ok(engine) => {
                        let mut all = locked(&this.nodes.all);
                        if let Some(node) = all.iter_mut().find(|node| node.process == process) {
                            node.engine = Some(engine);
                        }
                        return;
                    }
                    Err(error) => this.world.note(|| format!("the engine does not start: {error}")),
                }
                this.world.some_time(200, 2_000).await;
            }
        });
    }

    /// What a process makes its engine of, at each attempt.
    fn parts(self: &Arc<Self>, node: &Node) -> impl Fn() -> Parts + Send + 'static {
        let (process, link) = (node.process, node.link.clone());
        let skew = skew(&self.world, self.nodes.share());
        let disk = Disk {
            world: self.world.clone(),
            weather: self.weather.clone(),
            store: self.store.clone(),
            engine: process,
            link: link.clone(),
            database: self.database,
        };
        let mut settings = Settings::of(super::town::built("sim".parse()));
        settings.inbox_every = Duration::from_secs(2);
        settings.limits = self.weather.limits;
        settings.lease = LEASE;
        settings.look_every = Duration::from_secs(4);
        // Two batches are under way whenever they can be.
        settings.second_batch = 0;
        let is_newer = self.nodes.newer.load(Ordering::Relaxed);
        let registry = if is_newer { self.registry() } else { self.older() };
        let (world, net) = (self.world.clone(), self.net.clone());
        move || Parts {
            store: Arc::new(disk.clone()),
            transport: Arc::new(Wire { net: net.clone(), engine: process, link: link.clone() }),
            registry: registry.clone(),
            env: Arc::new(Home { world: world.clone(), process, skew }),
            settings: settings.clone(),
        }
    }

    /// Starts the nodes that there should be.
    pub(crate) fn opens(self: &Arc<Self>) {
        (0..self.nodes.wanted().max(1)).for_each(|_| self.start_engine());
    }

    fn running(&self) -> Vec<Node> {
        let all = locked(&self.nodes.all).clone();
        all.into_iter().filter(|node| self.world.is_alive(node.process)).collect()
    }

    /// An engine that runs: any.
    pub(crate) fn engine(&self) -> Option<Engine> {
        self.a_node().map(|(_, engine)| engine)
    }

    /// The same, with its process.
    pub(crate) fn a_node(&self) -> Option<(Process, Engine)> {
        let engines = self.running().into_iter().filter_map(|node| Some((node.process, node.engine?)));
        let engines: Vec<(Process, Engine)> = engines.collect();
        self.world.pick(&engines).cloned()
    }

    /// Who works on the saga.
    pub(crate) fn owner(&self, saga: SagaId) -> Option<NodeId> {
        self.store.inspect(|all| all.owner(saga)).map(|owner| owner.node)
    }

    pub(crate) fn kill_engine(&self) {
        for node in locked(&self.nodes.all).iter() {
            self.world.note(|| "the engine is killed".to_owned());
            self.world.kill(node.process);
        }
    }

    /// Whoever makes a call does not work on the saga any more, and has not noticed yet.
    pub(crate) fn is_stale(&self, process: Process, link: &Link, saga: SagaId) -> bool {
        if self.nodes.share() {
            return self.owner(saga) != link.node();
        }
        !self.nodes.is_known(process)
    }

    /// Every shard is a node's that runs, and no node has two more than another.
    pub(crate) fn is_spread(&self) -> Result<(), String> {
        let view = self.store.inspect(|all| all.view(self.world.now()));
        let running: Vec<_> = self.running().iter().filter_map(|node| node.link.node()).collect();
        let spread: BTreeMap<NodeId, u32> = running.iter().map(|node| (*node, view.owned_by(*node).len())).collect();
        let most = spread.values().max().copied().unwrap_or(0);
        let all = spread.values().sum::<u32>() == u32::from(SHARDS);
        if !all || spread.values().any(|owned| owned + 1 < most) || view.members.len() != running.len() {
            return Err(format!("the shards are spread {spread:?} among {} members", view.members.len()));
        }
        Ok(())
    }
}

// ---- what befalls them

/// Sees to it that there are as many nodes as there should be.
pub(crate) async fn nanny(town: Arc<Town>) {
    loop {
        town.world.some_time(500, 6_000).await;
        let gone = |node: &Node| {
            let stopped = node.engine.as_ref().is_some_and(|engine| matches!(engine.health(), Health::Stopped(_)));
            stopped || !town.world.is_alive(node.process)
        };
        if town.nodes.share() {
            let here = {
                let mut all = locked(&town.nodes.all);
                all.retain(|node| !gone(node));
                all.len()
            };
            if here < town.nodes.wanted() {
                town.start_engine();
            }
        } else if locked(&town.nodes.all).iter().all(gone) || town.weather.strikes(Fault::TakenOver) {
            town.start_engine();
        }
    }
}

/// What befalls nodes that share a store.
pub(crate) async fn fate(town: Arc<Town>) {
    while town.nodes.share() {
        town.world.some_time(15_000, 120_000).await;
        let running = town.running();
        let Some(node) = town.world.pick(&running).cloned() else { continue };
        let wanted = town.nodes.wanted();
        if town.weather.strikes(Fault::NodeDied) {
            town.world.kill(node.process);
            // Not all are started again.
            town.nodes.want(if town.world.chance(0.4) { wanted - 1 } else { wanted });
        } else if town.weather.strikes(Fault::NodeStoodStill) {
            town.world.stand_still(node.process);
            let (world, time) = (town.world.clone(), any_time(&town.world));
            town.world.spawn(town.database, async move {
                world.sleep(time).await;
                world.go_on(node.process);
            });
        } else if town.weather.strikes(Fault::NodeCutOff) {
            node.link.cut.store(true, Ordering::Relaxed);
            let (world, time) = (town.world.clone(), any_time(&town.world));
            town.world.spawn(town.database, async move {
                world.sleep(time).await;
                node.link.cut.store(false, Ordering::Relaxed);
            });
        } else if town.weather.strikes(Fault::NodeLeft) {
            town.nodes.want(if town.world.chance(0.6) { wanted - 1 } else { wanted });
            leaves(&town, &node);
        } else if town.weather.strikes(Fault::NodeJoined) {
            town.nodes.want(wanted + 1);
        } else if town.weather.strikes(Fault::Deployed) && !town.nodes.newer.swap(true, Ordering::Relaxed) {
            town.world.spawn(town.people, rolls_out(town.clone(), running));
        }
    }
}

/// A newer release, node by node: a new one comes, an old one goes.
async fn rolls_out(town: Arc<Town>, old: Vec<Node>) {
    for node in old {
        town.start_engine();
        town.world.some_time(3_000, 60_000).await;
        leaves(&town, &node);
    }
}

/// Shorter than a lease, or some leases long.
fn any_time(world: &World) -> Duration {
    let lease = u64::try_from(LEASE.as_millis()).unwrap_or(1_000);
    let most = if world.chance(0.3) { lease } else { lease * 5 };
    Duration::from_millis(world.between(500, most))
}

/// In good order: it writes what is decided, hands over, and its process ends.
fn leaves(town: &Arc<Town>, node: &Node) {
    let Some(engine) = node.engine.clone() else { return };
    let (world, process) = (town.world.clone(), node.process);
    town.world.spawn(process, async move {
        engine.shut_down().await;
        world.note(|| format!("{process:?} has left"));
        world.kill(process);
    });
}
