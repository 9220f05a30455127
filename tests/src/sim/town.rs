//! A town: one engine on one store, participants on their databases, a bank and a depot, wired over the network.

use super::{
    bank::{Bank, CalledBack},
    check::Checker,
    models::{
        Model, WorldClock,
        carrier::{Bills, Carrier, Depot},
        desk::{Clerk, Crier, Desk, Pricer},
        pay::{Cashier, Pay, callback},
        shelf::{Accounts, Keeper, Stock, Teller},
    },
    net::{Host, Net},
    nodes::Nodes,
    sagas,
    waiters::Waiters,
    weather::{Fault, Weather},
    world::{Process, Stepped, World},
};
use crate::sim::contracts::{
    CLOSING, Charge, EXPIRING, GiveBack, HoldPoints, HoldRefund, PLAIN, Payout, PlaceOrder, PutBack, Quote,
    RecordPayment, TakeStock, Tell, Waybill,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock, Weak, atomic::AtomicBool, atomic::Ordering},
    time::Duration,
};
use tercet::{Registry, store::MemoryStore};
use tercet_core::{Millis, Participant, SagaId};
use tercet_participant::{Database, Memory, Service, database::Access, database::memory::CommitFault};

/// What is held, by the saga that holds it.
type Holds = Vec<(SagaId, String)>;

/// A participant's database, seen by the checkers.
trait Looked: Send + Sync {
    /// Its equation, and what it holds; `None` while a transaction is open.
    fn look(&self) -> Option<(Result<(), String>, Holds)>;
    fn name(&self) -> &'static str;
    fn is_changed(&self) -> bool;
}

struct Watched<M> {
    name: &'static str,
    database: Memory<M>,
    changed: Arc<AtomicBool>,
}

impl<M: Model> Looked for Watched<M> {
    fn look(&self) -> Option<(Result<(), String>, Holds)> {
        let seen = self.database.try_look(|model| (model.check(), model.held()))?;
        self.changed.store(false, Ordering::Relaxed);
        Some(seen)
    }

    fn name(&self) -> &'static str {
        self.name
    }

    fn is_changed(&self) -> bool {
        self.changed.load(Ordering::Relaxed)
    }
}

pub(crate) struct Town {
    pub(crate) world: Arc<World>,
    pub(crate) weather: Arc<Weather>,
    pub(crate) store: MemoryStore,
    pub(crate) checker: Arc<Checker>,
    pub(crate) bank: Arc<Bank>,
    pub(crate) depot: Arc<Depot>,
    pub(crate) pay: Memory<Pay>,
    pub(crate) desk: Memory<Desk>,
    pub(crate) stock: Memory<Stock>,
    pub(crate) pay_host: Arc<Host>,
    pub(crate) stock_host: Arc<Host>,
    pub(crate) people: Process,
    pub(crate) database: Process,
    pub(crate) net: Arc<Net>,
    pub(crate) nodes: Nodes,
    pub(crate) waiters: Waiters,
    watched: Vec<Box<dyn Looked>>,
}

/// Participants under construction.
struct Founding {
    world: Arc<World>,
    weather: Arc<Weather>,
    elsewhere: Process,
    participants: BTreeMap<String, (Arc<dyn Participant>, Arc<Host>)>,
    watched: Vec<Box<dyn Looked>>,
}

impl Founding {
    /// A database whose commits the weather may spoil.
    fn database<M: Model>(&mut self, name: &'static str, model: M) -> (Memory<M>, Arc<Host>) {
        let host = Host::new(&self.world, name);
        let (database, changed) = (Memory::new(model), Arc::new(AtomicBool::new(true)));
        let (weather, owner, elsewhere, dirty) = (self.weather.clone(), host.clone(), self.elsewhere, changed.clone());
        database.inject(move || {
            dirty.store(true, Ordering::Relaxed);
            commit_fault(&weather, &owner, elsewhere)
        });
        self.watched.push(Box::new(Watched { name, database: database.clone(), changed }));
        (database, host)
    }

    fn opens(&mut self, service: impl Participant, host: &Arc<Host>) {
        let service: Arc<dyn Participant> = Arc::new(service);
        for contract in service.contracts() {
            self.participants.insert(contract.to_string(), (service.clone(), host.clone()));
        }
    }

    fn clock(&self) -> WorldClock {
        WorldClock(self.world.clone())
    }
}

fn commit_fault(weather: &Weather, owner: &Arc<Host>, elsewhere: Process) -> CommitFault {
    let (fault, crashes) = if weather.strikes(Fault::CrashBeforeCommit) {
        (CommitFault::CrashBefore, true)
    } else if weather.strikes(Fault::CrashAfterCommit) {
        (CommitFault::CrashAfter, true)
    } else if weather.strikes(Fault::Conflict) {
        (CommitFault::Conflict, false)
    } else if weather.strikes(Fault::AnswerOfCommitLost) {
        (CommitFault::LostAnswer, false)
    } else {
        (CommitFault::None, false)
    };
    if crashes {
        owner.crash(elsewhere);
    }
    fault
}

/// A participant that cannot be built is a mistake of this simulator's.
pub(crate) fn built<T, E: std::fmt::Display>(what: Result<T, E>) -> T {
    match what {
        Ok(built) => built,
        Err(error) => panic!("the simulated town cannot be built: {error}"),
    }
}

/// Built once: a definition's schemas are the dearest thing about a town.
static REGISTRY: LazyLock<Registry> = LazyLock::new(|| built(sagas::registry()));
static NEWER: LazyLock<Registry> = LazyLock::new(|| built(sagas::newer(REGISTRY.clone())));

/// How long barrier rows are kept in a town.
const RETENTION: Duration = Duration::from_secs(2 * 3600);

impl Town {
    /// A town with that weather; no engine runs yet. In half of all towns several nodes share the store.
    pub(crate) fn found(world: &Arc<World>, weather: &Arc<Weather>) -> Arc<Self> {
        let nodes = world.chance(0.5).then(|| if world.chance(0.5) { 2 } else { 3 });
        Self::found_with(world, weather, Nodes::new(nodes), None)
    }

    /// The same, with a participant of a script's in place of those that offer its contracts.
    pub(crate) fn found_with(
        world: &Arc<World>, weather: &Arc<Weather>, nodes: Nodes, scripted: Option<Arc<dyn Participant>>,
    ) -> Arc<Self> {
        let (wires, database) = (world.process(), world.process());
        let participants = BTreeMap::new();
        let mut founding = Founding {
            world: world.clone(),
            weather: weather.clone(),
            elsewhere: wires,
            participants,
            watched: Vec::new(),
        };
        let (bank, depot) = (Bank::new(world, weather), Depot::new(world, weather));
        let (stock, stock_host) = founding.small_ones();
        let desk = founding.desks();
        let (pay, pay_host) = founding.cashier(&bank);
        founding.carrier(&depot);
        if let Some(scripted) = scripted {
            let host = Host::new(world, "script");
            let contracts = scripted.contracts().into_iter();
            founding.participants.extend(contracts.map(|c| (c.to_string(), (scripted.clone(), host.clone()))));
        }
        let store = nodes.store(world);
        let checker = Checker::new(world, &store);
        let Founding { participants, watched, .. } = founding;
        let (weather_of_net, checker_of_net) = (weather.clone(), checker.clone());
        let net = |town: &Weak<Self>| Net {
            world: world.clone(),
            weather: weather_of_net,
            checker: checker_of_net,
            wires,
            participants,
            town: town.clone(),
        };
        let town = Arc::new_cyclic(|town| Self {
            world: world.clone(),
            weather: weather.clone(),
            store,
            checker,
            bank: bank.clone(),
            depot,
            pay,
            desk,
            stock,
            pay_host,
            stock_host,
            people: world.process(),
            database,
            net: Arc::new(net(town)),
            nodes,
            waiters: Waiters::default(),
            watched,
        });
        let calls: Weak<dyn CalledBack> = Arc::downgrade(&town) as Weak<dyn CalledBack>;
        bank.calls_back(calls);
        town
    }

    // ---- the engine

    /// What the older release runs.
    pub(crate) fn older(&self) -> &'static Registry {
        &REGISTRY
    }

    /// What the newest release runs: all that any does.
    pub(crate) fn registry(&self) -> &'static Registry {
        &NEWER
    }

    /// Who answers for a contract.
    #[cfg(test)]
    pub(crate) fn participant(&self, contract: &str) -> Arc<dyn Participant> {
        self.net.participants[contract].0.clone()
    }

    // ---- running

    /// Runs until `until`, looking after every step; true when something is wrong.
    pub(crate) fn run_until(&self, until: Millis, mut done: impl FnMut() -> bool) -> bool {
        loop {
            let stepped = self.world.step(until);
            self.look();
            if self.world.violation().is_some() {
                return true;
            }
            if stepped == Stepped::Idle || done() {
                return false;
            }
        }
    }

    /// Looks at the journal and at each participant's books.
    pub(crate) fn look(&self) {
        self.checker.observe();
        for watched in self.watched.iter().filter(|watched| watched.is_changed()) {
            if let Some((Err(wrong), _)) = watched.look() {
                self.world.violate(format!("{}: {wrong}", watched.name()));
            }
        }
    }

    /// What is held at all participants, and loose at third parties.
    pub(crate) fn held(&self) -> Holds {
        let mut held: Holds = self.depot.loose();
        for watched in &self.watched {
            held.extend(watched.look().map(|(_, held)| held).unwrap_or_default());
        }
        held
    }
}

impl Founding {
    fn small_ones(&mut self) -> (Memory<Stock>, Arc<Host>) {
        let (accounts, host) = self.database("accounts", Accounts::new());
        let teller = Service::builder("accounts", accounts, Teller(self.weather.clone()));
        self.opens(built(teller.clock(self.clock()).retention(RETENTION).tcc::<HoldPoints>().build()), &host);
        let (stock, host) = self.database("stock", Stock::new());
        let keeper = Service::builder("stock", stock.clone(), Keeper(self.weather.clone(), self.world.clone()));
        let keeper = keeper.clock(self.clock()).retention(RETENTION);
        self.opens(built(keeper.compensable::<TakeStock>().tcc::<PutBack>().build()), &host);
        (stock, host)
    }

    fn desks(&mut self) -> Memory<Desk> {
        let (orders, host) = self.database("orders", Desk::default());
        let clerk = Service::builder("orders", orders.clone(), Clerk(self.weather.clone()));
        self.opens(built(clerk.clock(self.clock()).retention(RETENTION).tcc::<PlaceOrder>().build()), &host);
        let (notes, host) = self.database("notify", Desk::default());
        let crier = Service::builder("notify", notes, Crier(self.weather.clone()));
        self.opens(built(crier.clock(self.clock()).retention(RETENTION).retriable::<Tell>().build()), &host);
        let (prices, host) = self.database("price", Desk::default());
        let pricer = Service::builder("price", prices, Pricer(self.weather.clone()));
        self.opens(built(pricer.clock(self.clock()).read::<Quote>().build()), &host);
        orders
    }

    fn cashier(&mut self, bank: &Arc<Bank>) -> (Memory<Pay>, Arc<Host>) {
        let mut books = Pay::default();
        for old in OLD_PAYMENTS {
            books.paid_before(old, OLD_MINOR);
            bank.charged_before(old, OLD_MINOR);
        }
        let (pay, host) = self.database("pay", books);
        let cashier = Cashier { weather: self.weather.clone(), bank: bank.clone() };
        let service = Service::builder("pay", pay.clone(), cashier)
            .clock(self.clock())
            .retention(RETENTION)
            .tcc::<RecordPayment>()
            .tcc::<HoldRefund>()
            .pivot::<Charge<PLAIN>>()
            .pivot::<Charge<CLOSING>>()
            .pivot::<Charge<EXPIRING>>()
            .pivot::<GiveBack<PLAIN>>()
            .pivot::<GiveBack<CLOSING>>()
            .pivot::<GiveBack<EXPIRING>>()
            .external::<Payout>();
        self.opens(built(service.build()), &host);
        (pay, host)
    }

    fn carrier(&mut self, depot: &Arc<Depot>) {
        let (bills, host) = self.database("carrier", Bills::default());
        let carrier = Carrier { weather: self.weather.clone(), depot: depot.clone() };
        let carrier = Service::builder("carrier", bills, carrier).clock(self.clock()).retention(RETENTION);
        self.opens(built(carrier.remote::<Waybill>().build()), &host);
    }
}

/// Payments from before the run, whose money may be asked back.
pub(crate) const OLD_PAYMENTS: [&str; 2] = ["old-1", "old-2"];
/// What each of them brought in.
pub(crate) const OLD_MINOR: i64 = 100;

impl CalledBack for Town {
    /// Dropped when the participant is not there to hear it, as a webhook is.
    fn called_back(&self, key: &str, done: Result<i64, &'static str>) {
        let Some(process) = self.pay_host.process() else { return };
        let (pay, world, key) = (self.pay.clone(), self.world.clone(), key.to_owned());
        self.world.spawn(process, async move {
            world.note(|| format!("the bank reports {key}: {done:?}"));
            for _ in 0..5 {
                let Ok(tx) = pay.begin(Access::Write).await else { return };
                let booked = callback(&tx, &key, done, world.now()).await;
                let ended = match booked {
                    Ok(()) => tercet_participant::database::Tx::commit(tx).await,
                    Err(_) => tercet_participant::database::Tx::rollback(tx).await,
                };
                if ended.is_ok() {
                    return;
                }
            }
        });
    }
}
