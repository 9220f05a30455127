//! The shop on SQLite files in a world of `tercet-testing`, to be driven by hand.

use super::{
    clock::BEGINS,
    kit::{Cast, carry},
    sales::{Case, Shape},
};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    ops::Deref,
    sync::Arc,
    time::Duration,
};
use tercet::{Registry, Settings};
use tercet_core::{Life, Participant, State};
use tercet_participant::SeaOrm;
use tercet_shop::{
    Ledger, Shop,
    channel::{Behaviour, Charging},
    ids::{PaymentId, RefundId},
};
use tercet_testing::Kept;

/// A world, and what the tests of the shop's sagas keep of it. All else is the kit's.
pub(crate) struct World {
    world: tercet_testing::World<Cast>,
    pub(crate) shop: Arc<Shop>,
    pub(crate) deaths: Deaths,
    pub(super) numbers: Cell<u32>,
    /// Sales made in advance.
    pub(super) cases: RefCell<BTreeMap<Shape, Vec<Case>>>,
}

/// How often the process died or was stopped.
pub(crate) struct Deaths(tercet_testing::World<Cast>);

impl Deaths {
    pub(crate) fn get(&self) -> u32 {
        self.0.deaths()
    }
}

/// How a world is set up.
pub(crate) struct Setup {
    pub(crate) kept: Kept,
    pub(crate) settings: Settings,
    pub(crate) registry: Registry,
    /// Whether the channel can close a refund.
    pub(crate) closes: bool,
    /// Participants beside the shop's.
    pub(crate) more: Vec<Arc<dyn Participant>>,
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

impl Deref for World {
    type Target = tercet_testing::World<Cast>;

    fn deref(&self) -> &Self::Target {
        &self.world
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
        let Setup { kept, settings, registry, closes, more, carries } = setup;
        let setup =
            tercet_testing::Setup { kept, settings, seed, begins: BEGINS, ..tercet_testing::Setup::of(registry) };
        let world = tercet_testing::World::open(setup, |place| Cast::open(place, closes, more)).await;
        if carries {
            world.pump(carry);
        }
        let shop = world.participants().shop.clone();
        let deaths = Deaths(world.clone());
        Self { world, shop, deaths, numbers: Cell::new(0), cases: RefCell::default() }
    }

    /// Starts these at once, and lets all of them go to their end, or until they are parked. The process may die meanwhile.
    pub(crate) async fn run_all(&self, cases: &[Case]) -> Vec<Arc<State>> {
        let start = |case: &Case| (case.definition, case.refund.to_string(), case.input.clone());
        let starts: Vec<_> = cases.iter().map(start).collect();
        let starts: Vec<_> = starts.iter().map(|(name, key, input)| (*name, key.as_str(), input.clone())).collect();
        let mut states = Vec::with_capacity(cases.len());
        for saga in self.start_all(&starts).await {
            states.push(self.settled(saga).await);
        }
        states
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
        SeaOrm::sqlite(&self.folder().join(format!("{participant}.db"))).await.unwrap()
    }
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
