//! The sweep against what timers should have done: nothing in normal running, and each order that was left behind is found, ended by
//! its saga where it has one, and counted.

#![expect(clippy::unwrap_used, reason = "a world that cannot be set up is a failed test")]

#[expect(dead_code, unused_imports, unused_macros, reason = "the kit serves other sagas, too")]
#[path = "../support/mod.rs"]
mod support;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use std::{sync::Arc, time::Duration};
use support::{Kept, Setup, World, ended, eur, id};
use tercet::{
    Environment,
    config::{Config, Sources},
    transport::InProcess,
};
use tercet_core::{Payload, SagaId, State, Status, minutes};
use tercet_participant::{
    Database,
    database::{Access, Tx},
    sea_orm::{self, ConnectionTrait},
};
use tercet_shop::{
    catalog::Ware,
    ids::OrderId,
    lines::Line,
    orders::{self, OrderState, SeedLine, SeedOrder},
};
use tercet_workflows::{
    create_order::{self, OrderRequest},
    order_book::OrderBook,
    sweep::{Settings, Sweep, Swept},
};

/// A world with cups on sale, its journal in a file, and what the sweep counts.
struct Town {
    world: World,
    recorder: PrometheusRecorder,
}

impl Town {
    async fn new(seed: u64) -> Self {
        let world = World::with(seed, Setup { kept: Kept::OnDisk, ..Setup::default() }).await;
        let cups = Ware {
            sku: id("cup"),
            good: "cups".to_owned(),
            price: eur(1_000),
            on_sale: true,
            pieces: 100,
            promotions: Vec::new(),
        };
        world.shop.put_on_sale(&[cups]).await.unwrap();
        Self { world, recorder: PrometheusBuilder::new().build_recorder() }
    }

    /// Places an order that is paid for within `window`, or not at all. Its saga waits for the money when this comes back.
    async fn order(&self, key: &str, window: Duration) -> SagaId {
        let request = OrderRequest {
            key: id(key),
            user: id(&format!("user-{key}")),
            address: "1 Main Street".to_owned(),
            invoice_title: None,
            lines: vec![Line { sku: id("cup"), quantity: 1 }],
            coupon: None,
            points: 0,
            shown: eur(1_000),
            pay_within_ms: u64::try_from(window.as_millis()).unwrap(),
        };
        let saga = self.world.start(create_order::NAME, key, &Payload::of(&request).unwrap()).await.unwrap().id;
        self.world.until(saga, waits).await;
        saga
    }

    async fn orders(&self, count: usize) -> Vec<SagaId> {
        let mut sagas = Vec::new();
        for number in 0..count {
            sagas.push(self.order(&format!("k-{number}"), minutes(30)).await);
        }
        sagas
    }

    async fn state_of(&self, saga: SagaId) -> OrderState {
        let db = self.world.database("orders").await;
        orders::view(db.reader(), &orders::order_of(saga)).await.unwrap().state
    }

    /// An order without a saga.
    async fn orphan(&self, orphan: &OrderId) {
        let seed = SeedOrder {
            id: orphan.clone(),
            user: id("mia"),
            payment: id("pay-orphan"),
            lines: vec![SeedLine { sku: id("cup"), quantity: 1, price: eur(1_000).minor }],
            paid: eur(1_000),
            coupon: None,
            points_spent: 0,
            red_packet: None,
            state: OrderState::PendingPayment,
            after_sales_until: None,
        };
        let db = self.world.database("orders").await;
        let tx = db.begin(Access::Write).await.unwrap();
        orders::seed(&tx, &seed, self.world.now()).await.unwrap();
        Tx::commit(tx).await.unwrap();
    }

    /// A sweep with three orders a page.
    fn sweep(&self) -> Sweep {
        self.sweep_of(self.world.shop.clone())
    }

    fn sweep_of(&self, orders: impl Into<OrderBook>) -> Sweep {
        let settings = Settings { page: 3, ..Settings::default() };
        let (engine, process) = (self.world.engine(), self.world.process());
        metrics::with_local_recorder(&self.recorder, || Sweep::new(orders, engine, process, settings))
    }

    /// One round of it.
    async fn round(&self) -> Swept {
        self.round_of(self.world.shop.clone()).await
    }

    async fn round_of(&self, orders: impl Into<OrderBook>) -> Swept {
        let (sweep, busy) = (self.sweep_of(orders), self.world.time.busy());
        let round = async move {
            let _busy = busy;
            sweep.round().await.unwrap()
        };
        self.world.drive(round).await
    }

    /// What was counted in all rounds.
    fn counted(&self) -> Swept {
        let text = self.recorder.handle().render();
        let count = |found: &str| {
            let name = format!("tercet_shop_sweep_total{{found=\"{found}\"}} ");
            text.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
        };
        Swept {
            overdue: count("overdue"),
            no_saga: count("no_saga"),
            ended: count("ended"),
            unreadable: count("unreadable"),
        }
    }

    /// Changes what the engine's own tables say of a saga, behind its back.
    async fn behind_the_engine(&self, change: &str, saga: SagaId) {
        let file = self.world.folder().join("tercet.db");
        let db = sea_orm::Database::connect(format!("sqlite://{}", file.display())).await.unwrap();
        let change = format!("{change} WHERE saga_id = x'{}'", saga.to_string().replace('-', ""));
        assert_ne!(db.execute_unprepared(&change).await.unwrap().rows_affected(), 0);
    }

    async fn lose_timer(&self, saga: SagaId) {
        self.behind_the_engine("DELETE FROM timers", saga).await;
    }
}

fn waits(state: &State) -> bool {
    state.steps.values().any(|step| matches!(step.status, Status::Waiting(_)))
}

#[tokio::test]
async fn in_normal_running_it_finds_nothing() {
    let town = Town::new(301).await;
    let sagas = town.orders(8).await;
    let patient = town.order("patient", minutes(90)).await;
    town.world.process().spawn(Box::pin(town.sweep().run()));
    for _ in 0..8 {
        town.world.pass(minutes(10)).await;
        assert_eq!(town.round().await, Swept::default());
    }
    for saga in sagas {
        assert_eq!(town.state_of(saga).await, OrderState::Cancelled);
    }
    assert_eq!(town.state_of(patient).await, OrderState::PendingPayment, "its own window is longer, and its own");
    town.world.pass(minutes(20)).await;
    assert_eq!(town.state_of(patient).await, OrderState::Cancelled);
    assert_eq!(town.round().await, Swept::default());
    assert_eq!(town.counted(), Swept::default());
}

#[tokio::test]
async fn an_order_whose_timer_is_lost_is_found_and_cancelled_by_its_saga() {
    let town = Town::new(302).await;
    let lost = town.orders(4).await;
    let fine = town.order("fine", minutes(30)).await;
    for saga in &lost {
        town.lose_timer(*saga).await;
    }
    town.world.pass(minutes(34)).await;
    assert_eq!(town.state_of(fine).await, OrderState::Cancelled);
    assert_eq!(town.state_of(lost[0]).await, OrderState::PendingPayment, "nothing has ended it");
    assert_eq!(town.round().await, Swept::default(), "within the margin it may be on its way");
    town.world.pass(minutes(2)).await;
    assert_eq!(town.round().await, Swept { overdue: 4, ..Swept::default() });
    for saga in lost {
        assert_eq!(ended(&town.world.settled(saga).await), "cancelled");
        assert_eq!(town.state_of(saga).await, OrderState::Cancelled);
    }
    assert_eq!(town.round().await, Swept::default(), "each is found once");
    assert_eq!(town.counted(), Swept { overdue: 4, ..Swept::default() });
    assert_eq!(town.world.ledger().await.stock.held, 0, "and what it held is given back");
}

#[tokio::test]
async fn it_goes_round_by_itself() {
    let town = Town::new(303).await;
    let saga = town.order("lost", minutes(30)).await;
    town.lose_timer(saga).await;
    town.world.process().spawn(Box::pin(town.sweep().run()));
    // Nobody asks for the saga meanwhile: a saga that is looked at is in memory, and has its timer again.
    let latest = town.world.now().plus(minutes(24 * 60));
    while town.counted() == Swept::default() {
        assert!(town.world.now() < latest, "the sweep never came");
        town.world.turn().await;
    }
    assert_eq!(ended(&town.world.settled(saga).await), "cancelled");
    assert_eq!(town.state_of(saga).await, OrderState::Cancelled);
    assert_eq!(town.counted(), Swept { overdue: 1, ..Swept::default() });
}

#[tokio::test]
async fn an_order_without_a_saga_is_reported_and_left_as_it_is() {
    let town = Town::new(304).await;
    let orphan: OrderId = id("orphan");
    town.orphan(&orphan).await;
    town.world.pass(minutes(36)).await;
    for _ in 0..2 {
        assert_eq!(town.round().await, Swept { no_saga: 1, ..Swept::default() });
    }
    assert_eq!(town.counted(), Swept { no_saga: 2, ..Swept::default() }, "until somebody has looked");
    let db = town.world.database("orders").await;
    let view = orders::view(db.reader(), &orphan).await.unwrap();
    assert_eq!((view.state, view.order_version), (OrderState::PendingPayment, 1), "the sweep writes no order");
}

#[tokio::test]
async fn what_only_a_person_can_mend_keeps_no_other_order_waiting() {
    let town = Town::new(305).await;
    let sagas = town.orders(4).await;
    let [no_key, broken, over, lost] = sagas[..] else { panic!("four were placed") };
    let db = town.world.database("orders").await;
    let order = |change: &str, saga| format!("UPDATE orders SET {change} WHERE id = '{}'", orders::order_of(saga));
    for saga in [no_key, lost] {
        town.lose_timer(saga).await;
    }
    town.behind_the_engine("UPDATE journal SET entry = x'00'", broken).await;
    town.world.pass(minutes(36)).await;
    assert_eq!(town.state_of(over).await, OrderState::Cancelled);
    for change in [order("saga_key = ''", no_key), order("state = 'pending_payment'", over)] {
        let tx = db.begin(Access::Write).await.unwrap();
        assert_eq!(tx.execute_unprepared(&change).await.unwrap().rows_affected(), 1);
        Tx::commit(tx).await.unwrap();
    }
    assert_eq!(town.round().await, Swept { overdue: 1, no_saga: 1, ended: 1, unreadable: 1 });
    assert_eq!(ended(&town.world.settled(lost).await), "cancelled");
    assert_eq!(town.round().await, Swept { overdue: 0, no_saga: 1, ended: 1, unreadable: 1 });
    assert_eq!(town.counted(), Swept { overdue: 1, no_saga: 2, ended: 2, unreadable: 2 });
}

/// Where the shop is in another process its orders are asked for, and found alike.
#[tokio::test]
async fn orders_that_a_participant_is_asked_for_are_found_alike() {
    let town = Town::new(306).await;
    let asked = || OrderBook::There(Arc::new(InProcess::new(town.world.shop.participants())));
    let sagas = town.orders(7).await;
    let [broken, over, ref lost @ ..] = sagas[..] else { panic!("seven were placed") };
    for saga in lost {
        town.lose_timer(*saga).await;
    }
    town.orphan(&id("orphan")).await;
    town.behind_the_engine("UPDATE journal SET entry = x'00'", broken).await;
    assert_eq!(town.round_of(asked()).await, Swept::default(), "none is overdue");
    town.world.pass(minutes(36)).await;
    let back = format!("UPDATE orders SET state = 'pending_payment' WHERE id = '{}'", orders::order_of(over));
    let db = town.world.database("orders").await;
    let tx = db.begin(Access::Write).await.unwrap();
    assert_eq!(tx.execute_unprepared(&back).await.unwrap().rows_affected(), 1);
    Tx::commit(tx).await.unwrap();
    assert_eq!(town.round_of(asked()).await, Swept { overdue: 5, no_saga: 1, ended: 1, unreadable: 1 });
    for saga in lost {
        assert_eq!(ended(&town.world.settled(*saga).await), "cancelled");
    }
    assert_eq!(town.round_of(asked()).await, Swept { overdue: 0, no_saga: 1, ended: 1, unreadable: 1 });
}

#[test]
fn it_goes_about_it_as_it_is_told_and_as_the_business_has_it_when_it_is_told_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let told = |file: &str| {
        std::fs::write(folder.path().join("tercet.toml"), file).unwrap();
        let sources =
            Sources { folder: folder.path().to_owned(), own: Settings::declared().into(), ..Sources::default() };
        Settings::of(&Config::load(&sources).unwrap().own)
    };
    assert_eq!(told(""), Settings::default());
    let told = told("[sweep]\nevery = '1min'\nmargin = '10s'\npage = 7\nwindow = '2h'\n");
    let seconds = Duration::from_secs;
    assert_eq!(told, Settings { every: seconds(60), window: seconds(7_200), margin: seconds(10), page: 7 });
}
