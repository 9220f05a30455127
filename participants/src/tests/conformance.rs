//! The SDK's conformance kit against every operation of the shop.

use super::{Bench, bench, eur, id, reply, sale};
use crate::{
    channel::{Behaviour, How},
    coupons::{IssueCoupon, SpendCoupon, TakeCouponBack},
    gateway::{Refund, RefundMoney, RefundWithoutClose},
    ids::OrderId,
    inventory::{self, PutBack, Reserve},
    lines::{Line, OrderLines, RefundLines},
    orders::{
        AwaitShipment, Goods, NotePayment, OrderState, PaidBy, Part, Place, PlacedLine, RefundOrder, ToPlace, ToRefund,
    },
    payments::{BookRefunded, Charge, Evidence, HoldRefund, Record, RefundToHold, ToCharge, ToRecord},
    points::{Grant, GrantPoints, SpendPoints, Spending, TakePointsBack},
    push::{self, Notify},
    red_packets::{IssueRedPacket, TakeRedPacketBack},
    shares::{OnSpent, TakeBack},
    shop::Ledger,
    vouchers::{self, Issue},
    warehouse::{Ship, Stop},
};
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};
use tercet_core::{Answering, Call, ContractName, Namespace, Operation, Participant};
use tercet_participant::{
    conformance::{Calls, Executing, Holding, Subject, executing, holding},
    nats::{Caller, Serving, Settings},
};
use tercet_servers::nats::{Nats, Version};

/// A participant of the shop, as the kit takes it.
struct Shared(Arc<dyn Participant>);

impl Participant for Shared {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn contracts(&self) -> Vec<ContractName> {
        self.0.contracts()
    }

    fn call(&self, call: Call) -> Answering<'_> {
        self.0.call(call)
    }
}

/// What an undo must bring back: balances and holds. Which refunds there ever were, and how often the channel was asked, is history.
fn at_rest(mut ledger: Ledger) -> String {
    ledger.payments.refunds.retain(|state, _| state != "released");
    ledger.payments.states.retain(|state, _| state != "closed");
    ledger.orders.states.retain(|state, _| state != "cancelled");
    (ledger.channel.behaviours, ledger.channel.requests) = Default::default();
    serde_json::to_string(&ledger).unwrap()
}

/// A payment that is open, to be made by direct debit.
fn open_payment() -> ToRecord {
    let (payment, order, user) = (id("pay-1"), id("o-9"), id("mia"));
    ToRecord { payment, order, user, amount: eur(1_000), attempt: 1, how: How::DirectDebit }
}

fn to_place(amount: i64) -> ToPlace {
    ToPlace {
        key: id("k-1"),
        user: id("mia"),
        address: "1 Quay Street".to_owned(),
        invoice_title: None,
        lines: vec![PlacedLine { sku: id("cup"), quantity: 1, amount: eur(500).minor }],
        goods_total: eur(500).minor,
        amount: eur(amount),
        coupon: None,
        points: 0,
        with_red_packet: false,
    }
}

/// An order whose payment is not noted yet.
async fn placed_and_paid(bench: &Bench) -> OrderId {
    let request = ToPlace { user: id("tom"), ..to_place(500) };
    let step = bench.step::<Place>(98, &request);
    let placed = reply::<Place>(&step.try_().await);
    assert_eq!(step.confirm().await.as_str(), "done");
    placed.order
}

/// A participant in this process, with a shop behind it.
async fn fresh<O: Operation>() -> Subject {
    let (participant, bench) = prepared::<O>().await;
    observed(Shared(participant), bench)
}

/// The same at the other end of a connection, in a namespace of its own.
async fn fresh_over_nats<O: Operation>(server: &Nats) -> Subject {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let (participant, bench) = prepared::<O>().await;
    let namespace: Namespace = id(&format!("kit-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
    let settings = Settings::of(&server.url()).unwrap();
    let caller = Caller::of(&settings, namespace.clone(), participant.name(), participant.contracts()).await.unwrap();
    let serving = Serving::of([participant], namespace).start(settings).await.unwrap();
    observed(caller, bench).keeping(serving)
}

async fn prepared<O: Operation>() -> (Arc<dyn Participant>, Bench) {
    let bench: Bench = Box::pin(bench(Behaviour::Succeed)).await;
    let sales = [sale("o-1", OrderState::AwaitingShipment), sale("o-paid", OrderState::Paid)];
    bench.shop.seed(&sales).await.unwrap();
    let spare = Line { sku: id("spare"), quantity: 1 };
    inventory::seed_stock(bench.shop.databases.inventory.writer(), &spare).await.unwrap();
    Box::pin(bench.step::<Record>(99, &open_payment()).try_()).await;
    placed_and_paid(&bench).await;
    (bench.participant::<O>(), bench)
}

fn observed(participant: impl Participant, bench: Bench) -> Subject {
    let bench = Arc::new(bench);
    Subject::new(participant, move || {
        let bench = bench.clone();
        async move {
            bench.is_sound().await;
            at_rest(bench.shop.ledger().await.unwrap())
        }
    })
}

async fn holds<O: Operation>(accepted: &O::Request, refused: &O::Request) {
    let (accepted, refused) = (Calls::of::<O>(accepted).unwrap(), Calls::of::<O>(refused).unwrap());
    let held = holding(|| Box::pin(fresh::<O>()), &Holding::tcc(accepted).refusing(refused)).await;
    assert_eq!(held.map_err(|violation| violation.to_string()), Ok(()), "{}", O::NAME);
}

async fn executes<O: Operation>(request: &O::Request, kind: fn(Calls) -> Executing) {
    let held = executing(|| Box::pin(fresh::<O>()), &kind(Calls::of::<O>(request).unwrap())).await;
    assert_eq!(held.map_err(|violation| violation.to_string()), Ok(()), "{}", O::NAME);
}

fn lines(quantity: u32) -> Vec<Line> {
    vec![Line { sku: id("cup"), quantity }]
}

fn goods(quantity: u32) -> RefundLines {
    RefundLines { refund: id("r-1"), order: id("o-1"), lines: lines(quantity) }
}

fn take_back(part: i64) -> TakeBack {
    let (refund, order, user) = (id("r-1"), id("o-1"), id("mia"));
    TakeBack { refund, order, user, part: eur(part), whole: eur(17_925), on_spent: OnSpent::Deduct }
}

#[tokio::test]
async fn orders_refund() {
    let part =
        |part| ToRefund { refund: id("r-1"), order: id("o-1"), claim: id("c-1"), part, goods: Goods::NotShipped };
    holds::<RefundOrder>(&part(Part::Whole), &part(Part::Amount(eur(17_926)))).await;
}

#[tokio::test]
async fn payments_hold_refund() {
    let hold = |amount| RefundToHold {
        refund: id("r-1"),
        payment: id("pay-o-1"),
        amount: eur(amount),
        reason: "test".to_owned(),
        received: None,
    };
    holds::<HoldRefund>(&hold(17_925), &hold(17_926)).await;
}

#[tokio::test]
async fn payments_record() {
    let to_record = |amount| ToRecord { payment: id("pay-2"), amount: eur(amount), attempt: 2, ..open_payment() };
    holds::<Record>(&to_record(500), &to_record(0)).await;
}

#[tokio::test]
async fn payments_charge() {
    let ToRecord { payment, order, user, amount, how, .. } = open_payment();
    let request = ToCharge { payment, order, user, amount, how, expires_at_ms: None };
    executes::<Charge>(&request, Executing::closing).await;
}

#[tokio::test]
async fn points_take_back() {
    holds::<TakePointsBack>(&take_back(17_925), &take_back(17_926)).await;
}

#[tokio::test]
async fn coupons_take_back() {
    holds::<TakeCouponBack>(&take_back(17_925), &take_back(0)).await;
}

#[tokio::test]
async fn red_packets_take_back() {
    holds::<TakeRedPacketBack>(&take_back(17_925), &take_back(-1)).await;
}

#[tokio::test]
async fn inventory_put_back() {
    holds::<PutBack>(&goods(3), &goods(4)).await;
}

#[tokio::test]
async fn orders_place() {
    holds::<Place>(&to_place(500), &to_place(501)).await;
}

#[tokio::test]
async fn orders_note_payment() {
    let order = placed_and_paid(&Box::pin(bench(Behaviour::Succeed)).await).await;
    let paid_by = PaidBy { order, payment: id("pay-9"), amount: eur(500) };
    executes::<NotePayment>(&paid_by, Executing::retriable).await;
}

#[tokio::test]
async fn points_spend() {
    let spending = |points| Spending { order: id("o-2"), user: id("mia"), points };
    holds::<SpendPoints>(&spending(50), &spending(50_000)).await;
}

#[tokio::test]
async fn coupons_spend() {
    let spending = |voucher: &str| vouchers::Spending { voucher: id(voucher), order: id("o-2"), user: id("mia") };
    holds::<SpendCoupon>(&spending("granted-o-1"), &spending("spent-o-1")).await;
}

#[tokio::test]
async fn inventory_reserve() {
    let order = |quantity| OrderLines { order: id("o-2"), lines: vec![Line { sku: id("spare"), quantity }] };
    holds::<Reserve>(&order(1), &order(2)).await;
}

#[tokio::test]
async fn warehouse_stop() {
    holds::<Stop>(&goods(3), &goods(4)).await;
}

#[tokio::test]
async fn gateway_refund() {
    let request = RefundMoney { refund: id("r-1"), payment: id("pay-o-1"), amount: eur(8_963) };
    executes::<Refund>(&request, Executing::closing).await;
    executes::<RefundWithoutClose>(&request, Executing::querying).await;
}

#[tokio::test]
async fn retriables() {
    let issue = Issue { voucher: id("new"), order: id("o-2"), user: id("mia"), value: eur(5) };
    executes::<IssueCoupon>(&issue, Executing::retriable).await;
    executes::<IssueRedPacket>(&issue, Executing::retriable).await;
    let grant = Grant { order: id("o-2"), user: id("mia"), points: 7 };
    executes::<GrantPoints>(&grant, Executing::retriable).await;
    executes::<Ship>(&OrderLines { order: id("o-2"), lines: lines(1) }, Executing::retriable).await;
    executes::<Notify>(&push::refund_failed(id("mia"), None, id("r-1"), None), Executing::retriable).await;
    let evidence =
        Evidence { refund: id("r-1"), payment: id("pay-o-1"), amount: eur(1), transaction: "t-1".to_owned() };
    executes::<BookRefunded>(&evidence, Executing::retriable).await;
    executes::<AwaitShipment>(&id("o-paid"), Executing::retriable).await;
}

#[tokio::test]
async fn a_hold_over_nats() {
    let server = Nats::start(Version::Floor).unwrap();
    let order = |quantity| OrderLines { order: id("o-2"), lines: vec![Line { sku: id("spare"), quantity }] };
    let (accepted, refused) = (Calls::of::<Reserve>(&order(1)).unwrap(), Calls::of::<Reserve>(&order(2)).unwrap());
    let with = Holding::tcc(accepted).refusing(refused);
    let held = holding(|| Box::pin(fresh_over_nats::<Reserve>(&server)), &with).await;
    assert_eq!(held.map_err(|violation| violation.to_string()), Ok(()));
}

#[tokio::test]
async fn a_pivot_over_nats() {
    let server = Nats::start(Version::Current).unwrap();
    let request = RefundMoney { refund: id("r-1"), payment: id("pay-o-1"), amount: eur(8_963) };
    let with = Executing::closing(Calls::of::<Refund>(&request).unwrap());
    let held = executing(|| Box::pin(fresh_over_nats::<Refund>(&server)), &with).await;
    assert_eq!(held.map_err(|violation| violation.to_string()), Ok(()));
}

#[tokio::test]
async fn a_retriable_over_nats() {
    let server = Nats::start(Version::Floor).unwrap();
    let with = Executing::retriable(Calls::of::<AwaitShipment>(&id("o-paid")).unwrap());
    let held = executing(|| Box::pin(fresh_over_nats::<AwaitShipment>(&server)), &with).await;
    assert_eq!(held.map_err(|violation| violation.to_string()), Ok(()));
}
