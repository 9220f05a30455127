//! Buyers with points and a coupon, what they order, and how it goes.

use crate::support::{Kept, Setup, World, ended, eur, id};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tercet::{EngineError, Until};
use tercet_core::{Life, Millis, Payload, Phase, SagaId, Signalled, State, Status, Verdict};
use tercet_shop::{
    Wallet,
    catalog::Ware,
    ids::OrderId,
    lines::Line,
    money::{Minor, Money},
    orders::{self, Paid, View},
};
use tercet_workflows::{
    create_order::{NAME, OrderRequest, PAY_WITHIN_MS},
    desk::{self, DeskError, Submitted},
};

/// What an order of these tests costs: 150.00, less 7.50 of promotions, a coupon of 10.00 and points worth 0.75.
pub(crate) const PRICE: Money = eur(13_175);

/// The points that are spent on it.
const POINTS: u32 = 75;

/// How long its payment is waited for.
pub(crate) const PAY_WITHIN: Duration = Duration::from_millis(PAY_WITHIN_MS);

/// A world with cups and pots on sale.
pub(crate) async fn world(seed: u64, kept: Kept) -> World {
    let world = World::with(seed, Setup { kept, ..Setup::default() }).await;
    world
        .shop
        .put_on_sale(&[ware("cup", 3_000, 100_000), ware("pot", 6_000, 100_000), ware("last", 900, 1)])
        .await
        .unwrap();
    world
}

pub(crate) fn ware(sku: &str, price: i64, pieces: u32) -> Ware {
    let promotions = if sku == "cup" { vec![(3, Minor(250))] } else { Vec::new() };
    Ware { sku: id(sku), good: "crockery".to_owned(), price: eur(price), on_sale: true, pieces, promotions }
}

/// Somebody without points or a coupon who orders one piece.
pub(crate) fn one_piece(number: u32, sku: &str, shown: Money) -> OrderRequest {
    OrderRequest {
        key: id(&format!("key-{number}")),
        user: id(&format!("buyer-{number}")),
        address: "1 Quay Street".to_owned(),
        invoice_title: Some("Mia".to_owned()),
        lines: vec![Line { sku: id(sku), quantity: 1 }],
        coupon: None,
        points: 0,
        shown,
        pay_within_ms: PAY_WITHIN_MS,
    }
}

/// How an order is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It is paid.
    Paid,
    /// Nobody pays.
    Unpaid,
}

impl Way {
    pub(crate) const ALL: [Self; 2] = [Self::Paid, Self::Unpaid];

    pub(crate) fn end(self) -> &'static str {
        if self == Self::Paid { "confirmed" } else { "cancelled" }
    }
}

/// The saga holds everything, and waits for the money.
pub(crate) fn waits(state: &State) -> bool {
    waits_until(state).is_some()
}

/// Until when it does.
pub(crate) fn waits_until(state: &State) -> Option<Millis> {
    let paid = state.steps.iter().find(|(step, _)| step.as_str() == "paid").map(|(_, at)| at)?;
    match paid.status {
        Status::Waiting(until) => Some(until),
        _ => None,
    }
}

impl World {
    /// Buyers with 75 points and a coupon of 10.00 each, and what they want for them: three cups and a pot.
    pub(crate) async fn buyers(&self, count: usize) -> Vec<OrderRequest> {
        let requests: Vec<_> = (0..count).map(|_| rich(self.number())).collect();
        let wallet = |r: &OrderRequest| Wallet {
            user: r.user.clone(),
            points: POINTS,
            coupons: r.coupon.iter().map(|coupon| (coupon.clone(), eur(1_000))).collect(),
        };
        self.shop.endow(&requests.iter().map(wallet).collect::<Vec<_>>()).await.unwrap();
        requests
    }

    pub(crate) async fn buyer(&self) -> OrderRequest {
        self.buyers(1).await.remove(0)
    }

    /// Starts the order's saga.
    pub(crate) async fn orders(&self, request: &OrderRequest) -> SagaId {
        self.start(NAME, request.key.as_str(), &Payload::of(request).unwrap()).await.unwrap().id
    }

    /// Submits an order at the desk; the answer is waited for as long as it takes.
    pub(crate) async fn submits(&self, request: &OrderRequest) -> Result<Submitted, DeskError> {
        self.submits_within(request, Duration::from_secs(24 * 3600)).await
    }

    pub(crate) async fn submits_within(&self, request: &OrderRequest, limit: Duration) -> Result<Submitted, DeskError> {
        let (engine, process, request) = (self.engine(), self.process(), request.clone());
        self.drive(async move {
            let env: tercet::Env = process;
            desk::submit(&engine, &env, &request, limit).await
        })
        .await
    }

    /// Tells the order's saga that it is paid, and lets it come to rest; the verdict, if it has one.
    pub(crate) async fn tells_paid(&self, saga: SagaId, amount: Money) -> Option<Verdict> {
        let paid = Paid { amount, ..paid_for(saga) };
        let signalled = Signalled {
            id: format!("told-{saga}").parse().unwrap(),
            name: <Paid as tercet_core::Signal>::NAME.to_owned(),
            payload: Payload::of(&paid).unwrap(),
            from: None,
        };
        let told = self
            .ask(move |engine| {
                let signalled = signalled.clone();
                async move { engine.signal(saga, signalled).await }
            })
            .await
            .unwrap();
        told.state.signals.values().next().and_then(|signal| signal.verdict)
    }

    /// An order from its submission to its end, or until a step is parked.
    pub(crate) async fn goes(&self, request: &OrderRequest, way: Way) -> Arc<State> {
        let saga = self.orders(request).await;
        let state = self.until(saga, |state| waits(state) || state.life != Life::Trying).await;
        if way == Way::Paid && state.life == Life::Trying {
            assert_eq!(self.tells_paid(saga, request.shown).await, Some(Verdict::Accepted));
        }
        self.settled(saga).await
    }

    /// Which calls an order of that way makes, and what it changes.
    pub(crate) async fn undisturbed_order(&self, way: Way) -> (BTreeSet<(String, Phase)>, crate::support::Delta) {
        let request = self.buyer().await;
        let before = self.ledger().await;
        let state = self.goes(&request, way).await;
        assert_eq!(ended(&state), way.end(), "{state:#?}");
        let counts = self.wires.counts(state.saga());
        assert!(counts.values().all(|&count| count == 1), "asked more than once: {counts:?}");
        let delta = self.slate(&before, crate::support::Holds::None).await;
        (counts.into_keys().collect(), delta)
    }

    /// The order as it stands.
    pub(crate) async fn order(&self, order: &OrderId) -> View {
        let db = self.database("orders").await;
        orders::view(db.reader(), order).await.unwrap()
    }

    /// What the buyer was told.
    pub(crate) async fn told(&self, request: &OrderRequest) -> Vec<String> {
        let db = self.database("push").await;
        tercet_shop::push::told(db.reader(), &request.user).await.unwrap()
    }

    /// Asks the saga of an order to cancel it, as the desk does.
    pub(crate) async fn asks_to_cancel(&self, saga: SagaId) -> Result<(), EngineError> {
        self.ask(
            move |engine| async move { engine.cancel(saga, "mia".to_owned(), "changed her mind".to_owned()).await },
        )
        .await
        .map(drop)
    }

    /// The saga as it is durably.
    pub(crate) async fn saga_now(&self, saga: SagaId) -> Arc<State> {
        self.ask(move |engine| async move { engine.wait(saga, Until::Now).await }).await.unwrap().state
    }
}

/// What the order's saga is told when it is paid.
pub(crate) fn paid_for(saga: SagaId) -> Paid {
    Paid { payment: id(&format!("pay-{saga}")), amount: PRICE, transaction: format!("ch-{saga}") }
}

fn rich(number: u32) -> OrderRequest {
    OrderRequest {
        lines: vec![Line { sku: id("cup"), quantity: 3 }, Line { sku: id("pot"), quantity: 1 }],
        coupon: Some(id(&format!("ten-{number}"))),
        points: POINTS,
        ..one_piece(number, "cup", PRICE)
    }
}

/// The order that a submission placed, and whether it was a duplicate.
pub(crate) fn placed(submitted: Submitted) -> (OrderId, bool) {
    match submitted {
        Submitted::Placed { order, duplicate } => (order, duplicate),
        other => panic!("not placed: {other:?}"),
    }
}
