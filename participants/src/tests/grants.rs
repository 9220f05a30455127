//! What payments grant and orders cost: points, coupons, red packets, shipments; taken back, given back, or stopped before they came.

use super::{Bench, bench, eur, id, line, reply, sale};
use crate::{
    Sale,
    channel::Behaviour,
    coupons::{self, IssueCoupon, TakeCouponBack},
    lines::{Line, OrderLines, RefundLines},
    orders::OrderState,
    points::{self, Grant, GrantPoints, PointLedger, TakePointsBack},
    push::{self, Notify},
    red_packets::{self, TakeRedPacketBack},
    shares::{Granting, OnSpent, TakeBack},
    vouchers::Issue,
    warehouse::{self, Ship, Shipped, Shipping, Stop},
};
use tercet_core::Operation;

const WHOLE: i64 = 17_925;

fn take_back(saga: u64, part: i64, on_spent: OnSpent) -> TakeBack {
    let (refund, order, user) = (id(&format!("r-{saga}")), id("o-1"), id("mia"));
    TakeBack { refund, order, user, part: eur(part), whole: eur(WHOLE), on_spent }
}

async fn sold() -> Bench {
    let bench = bench(Behaviour::Succeed).await;
    bench.shop.seed(&[sale("o-1", OrderState::Paid)]).await.unwrap();
    bench
}

/// A sale whose payment has granted nothing yet.
async fn bare() -> Bench {
    let bench = bench(Behaviour::Succeed).await;
    let mut bare: Sale = sale("o-1", OrderState::Paid);
    (bare.coupon_granted, bare.order.red_packet) = (None, None);
    bench.shop.seed(&[bare]).await.unwrap();
    bench
}

async fn points_of(bench: &Bench) -> PointLedger {
    points::ledger(bench.shop.databases.points.reader()).await.unwrap()
}

async fn coupons_of(bench: &Bench) -> String {
    format!("{:?}", coupons::ledger(bench.shop.databases.coupons.reader()).await.unwrap().vouchers)
}

#[tokio::test]
async fn a_refund_takes_the_points_granted_and_gives_back_those_spent() {
    let bench = sold().await;
    let before = points_of(&bench).await;
    let cancelled = bench.step::<TakePointsBack>(1, &take_back(1, WHOLE, OnSpent::Refuse));
    cancelled.try_().await;
    let held = points_of(&bench).await;
    assert_eq!((held.balance, held.frozen), (0, 179));
    bench.is_sound().await;
    cancelled.cancel().await;
    assert_eq!(points_of(&bench).await, before);

    bench.step::<TakePointsBack>(2, &take_back(2, WHOLE, OnSpent::Refuse)).through().await;
    let after = points_of(&bench).await;
    assert_eq!((after.balance, after.frozen, after.taken, after.given_back), (75, 0, 179, 75));
    bench.is_sound().await;
}

#[tokio::test]
async fn parts_take_and_give_points_in_proportion_and_add_up() {
    let bench = sold().await;
    let mut steps = Vec::new();
    for (saga, part) in [(1, 5_000), (2, 5_000), (3, 7_925)] {
        let step = bench.step::<TakePointsBack>(saga, &take_back(saga, part, OnSpent::Refuse));
        step.try_().await;
        if saga == 2 {
            step.cancel().await;
        } else {
            steps.push(step);
        }
        bench.is_sound().await;
    }
    for step in steps {
        step.confirm().await;
    }
    let partly = points_of(&bench).await;
    assert_eq!((partly.taken, partly.given_back), (179 * 12_925 / 17_925, 75 * 12_925 / 17_925));
    bench.step::<TakePointsBack>(4, &take_back(4, 5_000, OnSpent::Refuse)).through().await;
    let all = points_of(&bench).await;
    assert_eq!((all.taken, all.given_back, all.balance, all.frozen), (179, 75, 75, 0));
    let beyond = bench.step::<TakePointsBack>(5, &take_back(5, 1, OnSpent::Refuse)).try_().await;
    insta::assert_snapshot!(line(&beyond), @"refused above_left: 0.01 EUR is more than the 0.00 EUR that is left");
    bench.is_sound().await;
}

#[tokio::test]
async fn points_spent_meanwhile_are_deducted_or_refused_by_the_requests_policy() {
    let bench = sold().await;
    let db = bench.shop.databases.points.writer();
    points::spend(db, &id("mia"), &id("o-other"), 100).await.unwrap();
    let refused = bench.step::<TakePointsBack>(1, &take_back(1, WHOLE, OnSpent::Refuse)).try_().await;
    insta::assert_snapshot!(line(&refused), @"refused points_spent: 100 of the 179 points to take back are spent already");
    let deducted = bench.step::<TakePointsBack>(2, &take_back(2, WHOLE, OnSpent::Deduct));
    assert_eq!(reply::<TakePointsBack>(&deducted.try_().await).deduct, eur(100));
    deducted.confirm().await;
    let after = points_of(&bench).await;
    assert_eq!((after.balance, after.taken, after.deducted), (75, 79, 100));
    bench.is_sound().await;
}

async fn grant_points(bench: &Bench, saga: u64) -> Granting {
    let request = Grant { order: id("o-new"), user: id("mia"), points: 100 };
    reply::<GrantPoints>(&bench.step::<GrantPoints>(saga, &request).try_().await)
}

fn of_new(saga: u64, part: i64) -> TakeBack {
    TakeBack { order: id("o-new"), ..take_back(saga, part, OnSpent::Refuse) }
}

#[tokio::test]
async fn points_not_yet_granted_are_stopped_by_a_refund_that_came_first() {
    let bench = bench(Behaviour::Succeed).await;
    bench.step::<TakePointsBack>(1, &of_new(1, WHOLE)).through().await;
    assert_eq!(grant_points(&bench, 2).await, Granting::Stopped);
    let now = points_of(&bench).await;
    assert_eq!((now.balance, now.frozen, now.taken), (0, 0, 100));
    bench.is_sound().await;
}

#[tokio::test]
async fn points_granted_under_a_refund_in_flight_reach_the_buyer_when_it_is_cancelled() {
    for confirms in [false, true] {
        let bench = bench(Behaviour::Succeed).await;
        let refund = bench.step::<TakePointsBack>(1, &of_new(1, WHOLE));
        refund.try_().await;
        assert_eq!(grant_points(&bench, 2).await, Granting::Stopped);
        assert_eq!(points_of(&bench).await.frozen, 100);
        bench.is_sound().await;
        if confirms {
            refund.confirm().await;
        } else {
            refund.cancel().await;
        }
        let now = points_of(&bench).await;
        assert_eq!((now.balance, now.frozen), (if confirms { 0 } else { 100 }, 0));
        bench.is_sound().await;
    }
}

#[tokio::test]
async fn a_part_confirmed_and_a_part_held_before_the_grant_take_their_shares_of_it() {
    let bench = bench(Behaviour::Succeed).await;
    bench.step::<TakePointsBack>(1, &of_new(1, WHOLE / 5)).through().await;
    let held = bench.step::<TakePointsBack>(2, &of_new(2, WHOLE / 5));
    held.try_().await;
    assert_eq!(grant_points(&bench, 3).await, Granting::Granted);
    let now = points_of(&bench).await;
    assert_eq!((now.balance, now.frozen, now.taken), (60, 20, 20));
    bench.is_sound().await;
    held.confirm().await;
    bench.step::<TakePointsBack>(4, &of_new(4, WHOLE / 5 * 3)).through().await;
    let all = points_of(&bench).await;
    assert_eq!((all.balance, all.frozen, all.taken), (0, 0, 100));
    bench.is_sound().await;
}

#[tokio::test]
async fn a_coupon_granted_is_taken_and_one_spent_comes_back_with_the_last_part_only() {
    let bench = sold().await;
    assert_eq!(coupons_of(&bench).await, r#"{"spent": 1, "usable": 1}"#);
    let first = bench.step::<TakeCouponBack>(1, &take_back(1, 10_000, OnSpent::Refuse));
    first.try_().await;
    assert_eq!(coupons_of(&bench).await, r#"{"frozen": 1, "spent": 1}"#);
    let last = bench.step::<TakeCouponBack>(2, &take_back(2, 7_925, OnSpent::Refuse));
    last.try_().await;
    bench.is_sound().await;
    first.confirm().await;
    assert_eq!(coupons_of(&bench).await, r#"{"frozen": 1, "spent": 1}"#);
    last.cancel().await;
    assert_eq!(coupons_of(&bench).await, r#"{"spent": 1, "usable": 1}"#);
    bench.step::<TakeCouponBack>(3, &take_back(3, 7_925, OnSpent::Refuse)).through().await;
    assert_eq!(coupons_of(&bench).await, r#"{"taken": 1, "usable": 1}"#);
    bench.is_sound().await;
}

#[tokio::test]
async fn a_frozen_coupon_cannot_be_spent_and_a_spent_one_is_deducted_in_proportion() {
    let bench = sold().await;
    let db = bench.shop.databases.coupons.writer();
    let held = bench.step::<TakeCouponBack>(1, &take_back(1, 10_000, OnSpent::Refuse));
    held.try_().await;
    let spent = coupons::spend(db, &id("granted-o-1"), &id("o-other")).await;
    insta::assert_snapshot!(spent.unwrap_err(), @"not_usable: granted-o-1 is frozen");
    held.cancel().await;
    coupons::spend(db, &id("granted-o-1"), &id("o-other")).await.unwrap();
    let refused = bench.step::<TakeCouponBack>(2, &take_back(2, 10_000, OnSpent::Refuse)).try_().await;
    insta::assert_snapshot!(line(&refused), @"refused voucher_spent: granted-o-1 that the order granted is spent already");
    let deduct = async |saga, part| {
        let step = bench.step::<TakeCouponBack>(saga, &take_back(saga, part, OnSpent::Deduct));
        let deduct = reply::<TakeCouponBack>(&step.try_().await).deduct.minor.0;
        step.confirm().await;
        deduct
    };
    assert_eq!((deduct(3, 10_000).await, deduct(4, 7_925).await), (278, 222));
    bench.is_sound().await;
}

async fn issue<O: Operation<Request = Issue, Reply = Granting>>(bench: &Bench, saga: u64) -> Granting {
    let request = Issue { voucher: id("late"), order: id("o-1"), user: id("mia"), value: eur(500) };
    reply::<O>(&bench.step::<O>(saga, &request).try_().await)
}

#[tokio::test]
async fn a_voucher_not_yet_granted_is_stopped_by_a_refund_that_came_first() {
    let bench = bare().await;
    bench.step::<TakeCouponBack>(1, &take_back(1, WHOLE, OnSpent::Refuse)).through().await;
    assert_eq!(issue::<IssueCoupon>(&bench, 2).await, Granting::Stopped);
    assert_eq!(coupons_of(&bench).await, r#"{"usable": 1}"#); // the one that was spent on the order, and came back

    let refund = bench.step::<TakeRedPacketBack>(1, &take_back(1, WHOLE, OnSpent::Refuse));
    refund.try_().await;
    assert_eq!(issue::<red_packets::IssueRedPacket>(&bench, 2).await, Granting::Stopped);
    bench.is_sound().await;
    refund.cancel().await;
    let packets = red_packets::ledger(bench.shop.databases.red_packets.reader()).await.unwrap();
    assert_eq!(format!("{:?}", packets.vouchers), r#"{"usable": 1}"#);
    bench.is_sound().await;
}

fn stop(saga: u64, order: &str, lines: &[(&str, u32)]) -> RefundLines {
    RefundLines { refund: id(&format!("r-{saga}")), order: id(order), lines: goods(lines) }
}

fn goods(lines: &[(&str, u32)]) -> Vec<Line> {
    lines.iter().map(|&(sku, quantity)| Line { sku: id(sku), quantity }).collect()
}

async fn ship(bench: &Bench, saga: u64, order: &str) -> Shipping {
    let request = OrderLines { order: id(order), lines: goods(&[("cup", 3), ("pot", 1)]) };
    reply::<Ship>(&bench.step::<Ship>(saga, &request).try_().await)
}

async fn dispatch(bench: &Bench, order: &str) -> String {
    let sent = warehouse::dispatch(bench.shop.databases.warehouse.writer(), &id(order)).await;
    sent.map_or_else(|no| no.to_string(), |()| "left".to_owned())
}

async fn state(bench: &Bench, order: &str) -> Option<Shipped> {
    warehouse::state(bench.shop.databases.warehouse.reader(), &id(order)).await.unwrap()
}

#[tokio::test]
async fn an_intercepted_shipment_stays_until_the_refund_is_decided() {
    let bench = bench(Behaviour::Succeed).await;
    assert_eq!(ship(&bench, 1, "o-1").await, Shipping::Accepted);
    let refund = bench.step::<Stop>(2, &stop(2, "o-1", &[("cup", 3), ("pot", 1)]));
    refund.try_().await;
    insta::assert_snapshot!(dispatch(&bench, "o-1").await, @"cannot_leave: the shipment of order o-1 is intercepted");
    let more = bench.step::<Stop>(3, &stop(3, "o-1", &[("cup", 1)])).try_().await;
    insta::assert_snapshot!(line(&more), @"refused above_ordered: 1 of cup to stop, 0 to leave for o-1");
    refund.cancel().await;
    assert_eq!(state(&bench, "o-1").await, Some(Shipped::Waiting));
    bench.step::<Stop>(4, &stop(4, "o-1", &[("cup", 3)])).through().await;
    assert_eq!(dispatch(&bench, "o-1").await, "left"); // the pot alone
    let late = bench.step::<Stop>(5, &stop(5, "o-1", &[("pot", 1)])).try_().await;
    insta::assert_snapshot!(line(&late), @"refused shipped: the goods of order o-1 have left");
    bench.is_sound().await;
}

#[tokio::test]
async fn an_order_to_ship_that_comes_after_the_refund_is_stopped() {
    let bench = bench(Behaviour::Succeed).await;
    bench.step::<Stop>(1, &stop(1, "o-1", &[("cup", 3), ("pot", 1)])).through().await;
    assert_eq!(state(&bench, "o-1").await, Some(Shipped::Marked));
    assert_eq!(ship(&bench, 2, "o-1").await, Shipping::Stopped);
    insta::assert_snapshot!(dispatch(&bench, "o-1").await, @"cannot_leave: the shipment of order o-1 is stopped");

    let held = bench.step::<Stop>(3, &stop(3, "o-2", &[("cup", 3), ("pot", 1)]));
    held.try_().await;
    assert_eq!(ship(&bench, 4, "o-2").await, Shipping::Stopped);
    bench.is_sound().await;
    held.cancel().await;
    assert_eq!(dispatch(&bench, "o-2").await, "left");

    bench.step::<Stop>(5, &stop(5, "o-3", &[("cup", 3)])).through().await;
    assert_eq!(ship(&bench, 6, "o-3").await, Shipping::Accepted);
    assert_eq!(dispatch(&bench, "o-3").await, "left");
    bench.is_sound().await;
}

#[tokio::test]
async fn each_message_is_kept_once() {
    let bench = bench(Behaviour::Succeed).await;
    let done = bench.step::<Notify>(1, &push::refunded(id("mia"), Some(id("o-1")), id("r-1"), eur(8_963)));
    done.try_().await;
    done.try_().await;
    bench.step::<Notify>(2, &push::refund_failed(id("mia"), None, id("r-2"), None)).try_().await;
    let told = push::told(bench.shop.databases.push.reader(), &id("mia")).await.unwrap();
    insta::assert_snapshot!(told.join("\n"), @"
    89.63 EUR were refunded to you (refund r-1).
    The refund r-2 did not come about. Your order is as it was.
    ");
}
