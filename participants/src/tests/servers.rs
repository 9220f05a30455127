//! The shop on PostgreSQL and on MariaDB: what it does on files it does there, and many sagas at once want the same rows.

use super::{Bench, Step, at, eur, id, sale, settings};
use crate::{
    Shop,
    channel::{Behaviour, Ends, How, RefundOrder as Back, Said, ThirdParty},
    clock::HandClock,
    coupons::{SpendCoupon, TakeCouponBack},
    gateway::{Refund, RefundMoney},
    inventory::{self, PutBack, Reserve},
    lines::{Line, OrderLines, RefundLines},
    orders::{Goods, OrderState, Part, Place, PlacedLine, RefundOrder, ToPlace, ToRefund},
    payments::{Charge, HoldRefund, Record, RefundToHold, ToCharge, ToRecord},
    points::{Grant, GrantPoints, SpendPoints, Spending, TakePointsBack},
    red_packets::TakeRedPacketBack,
    shares::{OnSpent, TakeBack},
    shop::OpenError,
    vouchers,
    warehouse::{Ship, Stop},
};
use std::{sync::Arc, time::Duration};
use tercet_core::{Answer, Operation, Phase};
use tercet_servers::{MariaDb, Postgres};

const NAMES: [&str; 11] = [
    "catalog",
    "orders",
    "inventory",
    "points",
    "coupons",
    "red_packets",
    "warehouse",
    "push",
    "payments",
    "gateway",
    "channel",
];

async fn on(url: &str) -> Bench {
    let clock = Arc::new(HandClock::new(at()));
    let shop = Box::pin(Shop::open_at(url, settings(Behaviour::Succeed, true, &clock))).await.unwrap();
    // A second program that begins on the same databases finds its tables.
    drop(Box::pin(Shop::open_at(url, settings(Behaviour::Succeed, true, &clock))).await.unwrap());
    Bench { shop, clock, _dir: tempfile::tempdir().unwrap() }
}

/// Asks until it is answered one way or the other: *not now* is what somebody else's transaction leads to.
async fn settled(step: &Step, phase: Phase) -> String {
    for attempt in 1..=50 {
        match step.ask(phase, attempt).await {
            Answer::Retry { .. } => tokio::time::sleep(Duration::from_millis(5)).await,
            answer => return answer.as_str().to_owned(),
        }
    }
    "retry".to_owned()
}

/// How many of the steps, all asked at once, are done; all others are refused.
async fn done(steps: &[Arc<Step>], phase: Phase) -> usize {
    let asked: Vec<_> =
        steps.iter().cloned().map(|step| tokio::spawn(async move { settled(&step, phase).await })).collect();
    let mut done = 0;
    for answer in asked {
        let answer = answer.await.unwrap();
        assert!(matches!(&*answer, "done" | "refused"), "{answer}");
        done += usize::from(answer == "done");
    }
    done
}

fn steps<O: Operation>(bench: &Bench, from: u64, requests: impl IntoIterator<Item = O::Request>) -> Vec<Arc<Step>> {
    (from..).zip(requests).map(|(saga, request)| Arc::new(bench.step::<O>(saga, &request))).collect()
}

async fn through<O: Operation>(bench: &Bench, saga: u64, request: &O::Request) {
    let step = bench.step::<O>(saga, request);
    assert_eq!(settled(&step, Phase::Try).await, "done", "{}", O::NAME);
    assert_eq!(settled(&step, Phase::Confirm).await, "done", "{}", O::NAME);
}

async fn executed<O: Operation>(bench: &Bench, saga: u64, request: &O::Request) {
    assert_eq!(settled(&bench.step::<O>(saga, request), Phase::Try).await, "done", "{}", O::NAME);
}

fn cup(quantity: u32) -> Vec<Line> {
    vec![Line { sku: id("cup"), quantity }]
}

/// One order placed and paid by direct debit, one refunded in part by every participant of a refund.
async fn a_life(bench: &Bench) {
    let place = ToPlace {
        key: id("k-1"),
        user: id("tom"),
        address: "1 Quay Street, ".repeat(40),
        invoice_title: None,
        lines: vec![PlacedLine { sku: id("cup"), quantity: 1, amount: eur(500).minor }],
        goods_total: eur(500).minor,
        amount: eur(500),
        coupon: None,
        points: 0,
        with_red_packet: false,
    };
    through::<Place>(bench, 1, &place).await;
    let (payment, order, user, amount, how) = (id("pay-1"), id("o-9"), id("mia"), eur(1_000), How::DirectDebit);
    let record = ToRecord { payment, order, user, amount, attempt: 1, how };
    let recorded = bench.step::<Record>(2, &record);
    assert_eq!(settled(&recorded, Phase::Try).await, "done");
    let ToRecord { payment, order, user, amount, how, .. } = record;
    executed::<Charge>(bench, 2_002, &ToCharge { payment, order, user, amount, how, expires_at_ms: None }).await;
    let whole =
        ToRefund { refund: id("r-1"), order: id("o-1"), claim: id("c-1"), part: Part::Whole, goods: Goods::NotShipped };
    through::<RefundOrder>(bench, 3, &whole).await;
    let (refund, order, user) = (id("r-1"), id("o-1"), id("mia"));
    let back = TakeBack { refund, order, user, part: eur(17_925), whole: eur(17_925), on_spent: OnSpent::Deduct };
    through::<TakePointsBack>(bench, 4, &back).await;
    through::<TakeCouponBack>(bench, 5, &back).await;
    through::<TakeRedPacketBack>(bench, 6, &back).await;
    let goods = RefundLines { refund: id("r-1"), order: id("o-1"), lines: cup(3) };
    through::<Stop>(bench, 7, &goods).await;
    through::<PutBack>(bench, 8, &goods).await;
    executed::<Refund>(bench, 9, &RefundMoney { refund: id("r-1"), payment: id("pay-o-1"), amount: eur(17_925) }).await;
    executed::<GrantPoints>(bench, 10, &Grant { order: id("o-2"), user: id("mia"), points: 7 }).await;
    executed::<Ship>(bench, 11, &OrderLines { order: id("o-2"), lines: cup(1) }).await;
}

/// Sixteen sagas at once want five pieces, three refunds' worth of one payment, one coupon, two hundred points.
async fn a_rush(bench: &Bench) {
    let before = bench.shop.ledger().await.unwrap();
    let spare =
        |n: u64| OrderLines { order: id(&format!("o-{n}")), lines: vec![Line { sku: id("spare"), quantity: 1 }] };
    let reserve = steps::<Reserve>(bench, 100, (100..116).map(spare));
    assert_eq!(done(&reserve, Phase::Try).await, 5);
    let hold = |n: u64| RefundToHold {
        refund: id(&format!("r-{n}")),
        payment: id("pay-o-rush"),
        amount: eur(5_000),
        reason: "test".to_owned(),
        received: None,
    };
    let refunds = steps::<HoldRefund>(bench, 200, (200..216).map(hold));
    assert_eq!(done(&refunds, Phase::Try).await, 3);
    let spend =
        |n: u64| vouchers::Spending { voucher: id("granted-o-rush"), order: id(&format!("o-{n}")), user: id("mia") };
    let coupons = steps::<SpendCoupon>(bench, 300, (300..316).map(spend));
    assert_eq!(done(&coupons, Phase::Try).await, 1);
    let spend = |n: u64| Spending { order: id(&format!("o-{n}")), user: id("mia"), points: 100 };
    let points = steps::<SpendPoints>(bench, 400, (400..416).map(spend));
    let spent = done(&points, Phase::Try).await;
    assert!((1..16).contains(&spent), "{spent}");
    bench.is_sound().await;
    for all in [reserve, refunds, coupons, points] {
        assert_eq!(done(&all, Phase::Cancel).await, 16);
    }
    bench.is_sound().await;
    let after = bench.shop.ledger().await.unwrap();
    let free =
        |ledger: &crate::Ledger| serde_json::to_string(&(&ledger.stock, &ledger.points, &ledger.coupons)).unwrap();
    assert_eq!(free(&after), free(&before));
}

/// Two programs have the channel's database, as two processes of `tercet-shop` have: what falls due ends once, whoever sees it first.
async fn a_channel_of_two(url: &str) {
    const REFUNDS: u32 = 24;
    let clock = Arc::new(HandClock::new(at()));
    let after = Duration::from_secs(60);
    let takes = Behaviour::Accept { after, ends: Ends::Well, callbacks: 0 };
    let mut shops = Vec::new();
    for _ in 0..2 {
        shops.push(Arc::new(Box::pin(Shop::open_at(url, settings(takes, true, &clock))).await.unwrap()));
    }
    let channel = shops[0].channel();
    channel.charge(&[(id("pay-two"), eur(100_000))]).await.unwrap();
    let before = channel.ledger().await.unwrap().accounts["EUR"].given_back;
    for n in 0..REFUNDS {
        let order = Back { reference: id(&format!("two-{n}")), charge: id("pay-two"), amount: eur(100) };
        assert!(matches!(channel.refund(order).await, Ok(Said::Processing { .. })));
    }
    clock.advance(after);
    let settling = (0..16).map(|n| {
        let shop = shops[n % 2].clone();
        tokio::spawn(async move { shop.channel().settle().await })
    });
    for settled in settling.collect::<Vec<_>>() {
        settled.await.unwrap().unwrap();
    }
    let given_back = channel.ledger().await.unwrap().accounts["EUR"].given_back;
    assert_eq!(given_back.0 - before.0, 100 * i64::from(REFUNDS));
    channel.check_equation().await.unwrap();
}

async fn check(url: &str) {
    let bench = on(url).await;
    bench.shop.seed(&[sale("o-1", OrderState::AwaitingShipment), sale("o-rush", OrderState::Paid)]).await.unwrap();
    for _ in 0..5 {
        inventory::seed_stock(bench.shop.databases.inventory.writer(), &Line { sku: id("spare"), quantity: 1 })
            .await
            .unwrap();
    }
    Box::pin(a_life(&bench)).await;
    bench.is_sound().await;
    Box::pin(a_rush(&bench)).await;
    Box::pin(a_channel_of_two(url)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shop_on_postgres() {
    let server = Postgres::start().unwrap();
    NAMES.iter().for_each(|name| drop(server.create(&format!("shop_{name}")).unwrap()));
    check(&server.url_of("shop_{participant}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shop_on_mariadb() {
    let server = MariaDb::start().unwrap();
    NAMES.iter().for_each(|name| drop(server.create(&format!("shop_{name}")).unwrap()));
    check(&server.url_of("shop_{participant}")).await;
}

#[tokio::test]
async fn one_database_for_all_is_refused() {
    let clock = Arc::new(HandClock::new(at()));
    let opened = Box::pin(Shop::open_at("sqlite:all.db", settings(Behaviour::Succeed, true, &clock))).await;
    assert!(matches!(opened.err(), Some(OpenError::Shared)));
}
