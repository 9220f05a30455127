//! Coupons and points spent on an order: held while it waits for its money, then spent or back; and what refunds make of that.

use super::{Bench, bench, eur, id, line, reply};
use crate::{
    channel::Behaviour,
    coupons::{IssueCoupon, OneCoupon, SpendCoupon, TakeCouponBack, WorthOfCoupon},
    money::Minor,
    points::{self, Grant, GrantPoints, Level, SomePoints, SpendPoints, Spending, TakePointsBack, WorthOfPoints},
    sale::Wallet,
    shares::{OnSpent, TakeBack},
    vouchers::{self, Issue},
};
use std::collections::BTreeMap;

async fn rich() -> Bench {
    let bench = bench(Behaviour::Succeed).await;
    let wallet = Wallet { user: id("mia"), points: 100, coupons: vec![(id("ten"), eur(1_000))] };
    bench.shop.endow(&[wallet]).await.unwrap();
    bench
}

fn points(order: &str, points: u32) -> Spending {
    Spending { order: id(order), user: id("mia"), points }
}

fn coupon(order: &str, user: &str) -> vouchers::Spending {
    vouchers::Spending { voucher: id("ten"), order: id(order), user: id(user) }
}

/// Balance, frozen and spent points, and what holds.
async fn figures(bench: &Bench) -> (i64, i64, i64, u64) {
    bench.is_sound().await;
    let ledger = bench.shop.ledger().await.unwrap().points;
    (ledger.balance, ledger.frozen, ledger.spent, ledger.holds)
}

async fn coupons(bench: &Bench) -> BTreeMap<String, u64> {
    bench.is_sound().await;
    bench.shop.ledger().await.unwrap().coupons.vouchers
}

fn one(state: &str) -> BTreeMap<String, u64> {
    BTreeMap::from([(state.to_owned(), 1)])
}

#[tokio::test]
async fn points_are_frozen_for_an_order_then_spent_or_back() {
    let bench = rich().await;
    let worth = |number| bench.step::<WorthOfPoints>(1, &SomePoints { user: id("mia"), points: number });
    assert_eq!(reply::<WorthOfPoints>(&worth(100).try_().await), Minor(100));
    assert_eq!(
        reply::<WorthOfPoints>(&worth(101).try_().await),
        Minor(101),
        "whether she has them is the hold's to say"
    );
    let (spent, back) =
        (bench.step::<SpendPoints>(2, &points("o-1", 60)), bench.step::<SpendPoints>(3, &points("o-2", 40)));
    assert_eq!((spent.try_().await.as_str(), back.try_().await.as_str()), ("done", "done"));
    assert_eq!(figures(&bench).await, (0, 100, 0, 2));
    let said = line(&bench.step::<SpendPoints>(4, &points("o-3", 1)).try_().await);
    assert_eq!(said, "refused too_few_points: mia has less than 1 points");
    assert_eq!((spent.confirm().await.as_str(), back.cancel().await.as_str()), ("done", "done"));
    assert_eq!(figures(&bench).await, (40, 0, 60, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_orders_at_once_cannot_spend_the_same_points_or_coupon() {
    let bench = rich().await;
    let asked: Vec<_> = (0..20)
        .map(|saga| {
            let order = format!("o-{saga}");
            let points = bench.step::<SpendPoints>(saga, &points(&order, 60));
            let coupon = bench.step::<SpendCoupon>(saga, &coupon(&order, "mia"));
            tokio::spawn(
                async move { (points.try_().await.as_str() == "done", coupon.try_().await.as_str() == "done") },
            )
        })
        .collect();
    let mut held = (0, 0);
    for asked in asked {
        let (points, coupon) = asked.await.unwrap();
        held = (held.0 + u32::from(points), held.1 + u32::from(coupon));
    }
    assert_eq!(held, (1, 1));
    assert_eq!(figures(&bench).await, (40, 60, 0, 1));
}

#[tokio::test]
async fn a_coupon_is_held_for_an_order_of_its_owner_then_spent_or_usable_again() {
    let bench = rich().await;
    let worth = |user: &str| bench.step::<WorthOfCoupon>(1, &OneCoupon { coupon: id("ten"), user: id(user) });
    assert_eq!(reply::<WorthOfCoupon>(&worth("mia").try_().await), eur(1_000));
    assert_eq!(line(&worth("tom").try_().await), "refused not_usable: ten of tom is not there");
    let stolen = line(&bench.step::<SpendCoupon>(2, &coupon("o-1", "tom")).try_().await);
    assert_eq!(stolen, "refused not_usable: ten of tom is not there");
    let back = bench.step::<SpendCoupon>(3, &coupon("o-1", "mia"));
    assert_eq!(back.try_().await.as_str(), "done");
    assert_eq!(coupons(&bench).await, one("reserved"));
    assert_eq!(
        reply::<WorthOfCoupon>(&worth("mia").try_().await),
        eur(1_000),
        "whether it is to be had is the hold's to say"
    );
    back.cancel().await;
    assert_eq!(coupons(&bench).await, one("usable"));
    bench.step::<SpendCoupon>(4, &coupon("o-2", "mia")).through().await;
    assert_eq!(coupons(&bench).await, one("spent"));
    assert_eq!(bench.shop.ledger().await.unwrap().coupons.holds, 0);
}

fn take_back(saga: u64) -> TakeBack {
    let (refund, order, user) = (id(&format!("r-{saga}")), id("o-1"), id("mia"));
    TakeBack { refund, order, user, part: eur(1_000), whole: eur(1_000), on_spent: OnSpent::Deduct }
}

#[tokio::test]
async fn a_granted_coupon_that_an_unpaid_order_holds_is_taken_back_once_that_is_decided() {
    let bench = bench(Behaviour::Succeed).await;
    let issue = Issue { voucher: id("ten"), order: id("o-1"), user: id("mia"), value: eur(1_000) };
    bench.step::<IssueCoupon>(1, &issue).try_().await;
    let held = bench.step::<SpendCoupon>(2, &coupon("o-2", "mia"));
    held.try_().await;
    let refund = bench.step::<TakeCouponBack>(3, &take_back(3));
    let said = line(&refund.try_().await);
    assert_eq!(said, "retry the voucher ten is held by order o-2, which is not paid yet");
    held.confirm().await;
    let taken = reply::<TakeCouponBack>(&refund.ask(tercet_core::Phase::Try, 2).await);
    assert_eq!(taken.deduct, eur(1_000), "it was spent");
    bench.is_sound().await;
}

#[tokio::test]
async fn a_members_level_follows_what_is_granted_and_taken_back() {
    let bench = bench(Behaviour::Succeed).await;
    let level = async || points::level(bench.shop.databases.points.reader(), &id("mia")).await.unwrap();
    assert_eq!(level().await, Level::Plain);
    for (saga, points) in [(1, 999), (2, 9_001)] {
        let grant = Grant { order: id(&format!("o-{saga}")), user: id("mia"), points };
        bench.step::<GrantPoints>(saga, &grant).try_().await;
    }
    assert_eq!(level().await, Level::Gold);
    bench.step::<TakePointsBack>(3, &take_back(3)).through().await;
    assert_eq!(level().await, Level::Silver);
    bench.is_sound().await;
}
