//! The whole shop: seeded once, whatever is run again, and its figures side by side.

use super::{bench, bench_with, eur, id, reply, sale};
use crate::{
    Settings, Shop,
    channel::Behaviour,
    gateway::{Refund, RefundMoney},
    orders::OrderState,
    payments::{HoldRefund, RefundToHold},
};
use std::time::Duration;

#[tokio::test]
async fn sales_are_seeded_once() {
    let bench = bench(Behaviour::Succeed).await;
    let states = [OrderState::Paid, OrderState::AwaitingShipment, OrderState::Shipped, OrderState::Completed];
    let sales: Vec<_> = states.iter().map(|&state| sale(&format!("o-{state}"), state)).collect();
    bench.shop.seed(&sales).await.unwrap();
    let first = bench.shop.ledger().await.unwrap();
    bench.shop.seed(&sales).await.unwrap();
    assert_eq!(bench.shop.ledger().await.unwrap(), first);
    assert_eq!((first.holds(), first.mismatches()), (0, vec![]));
    bench.is_sound().await;
    let figures = serde_json::to_value(&first).unwrap();
    let figures: Vec<_> = figures.as_object().unwrap().iter().map(|(who, what)| format!("{who} {what}")).collect();
    insta::assert_snapshot!(figures.join("\n"), @r#"
    channel {"accounts":{"EUR":{"balance":71700,"given_back":0,"received":71700}},"behaviours":{},"charges":{"paid":4},"over_charge":0,"refunds":{},"requests":0}
    coupons {"deducted":0,"holds":0,"vouchers":{"spent":4,"usable":4}}
    gateway {"attempts":0,"callbacks":0,"copies":0,"given_back":{},"refunds":{}}
    minor_per_point 1
    notices {}
    orders {"awaited":{},"held":{"EUR":0},"noted":4,"open_refunds":0,"paid":{"EUR":71700},"refunded":{"EUR":0},"states":{"awaiting_shipment":1,"completed":1,"paid":1,"shipped":1}}
    payments {"attention":{},"callbacks":0,"copies":0,"money":{"EUR":{"received":71700,"refunded":0,"reserved":0}},"refunds":{},"states":{"paid":4}}
    points {"balance":716,"deducted":0,"frozen":0,"given_back":0,"granted":716,"holds":0,"spent":300,"taken":0}
    red_packets {"deducted":0,"holds":0,"vouchers":{"usable":4}}
    shipments {"holds":0,"shipments":{"shipped":2,"waiting":1},"stopped":0}
    stock {"available":0,"held":0,"holds":0,"returned":0,"returning":0,"sold":24,"stocked":24}
    "#);
}

#[tokio::test]
async fn money_the_channel_gave_back_and_payments_did_not_book_is_a_mismatch() {
    let bench = bench_with(Behaviour::Succeed, true).await;
    bench.shop.seed(&[sale("o-1", OrderState::Paid)]).await.unwrap();
    let amount = eur(8_963);
    let hold =
        RefundToHold { refund: id("r-1"), payment: id("pay-o-1"), amount, reason: String::new(), received: None };
    let hold = bench.step::<HoldRefund>(1, &hold);
    hold.try_().await;
    let money = RefundMoney { refund: id("r-1"), payment: id("pay-o-1"), amount };
    bench.step::<Refund>(1, &money).try_().await;
    let under_way = bench.shop.ledger().await.unwrap();
    assert_eq!((under_way.holds(), under_way.mismatches()), (1, vec![]));
    hold.cancel().await;
    let wrong = bench.shop.ledger().await.unwrap().mismatches();
    insta::assert_snapshot!(wrong.join("\n"), @"EUR: 8963 given back by the channel, 0 booked as refunded and 0 reserved");
}

#[tokio::test]
async fn b37_two_equal_partial_refunds_are_paid_twice_and_a_repeat_is_answered_with_the_second() {
    let bench = bench(Behaviour::Succeed).await;
    bench.shop.seed(&[sale("o-1", OrderState::Shipped)]).await.unwrap();
    let pay = async |saga, refund: &str| {
        let (refund, payment, amount) = (id(refund), id("pay-o-1"), eur(1_000));
        let hold = RefundToHold { refund, payment, amount, reason: String::new(), received: None };
        let held = bench.step::<HoldRefund>(saga, &hold);
        held.try_().await;
        let (refund, payment) = (hold.refund.clone(), hold.payment.clone());
        let paid = bench.step::<Refund>(saga, &RefundMoney { refund, payment, amount });
        let back = reply::<Refund>(&paid.try_().await);
        held.confirm().await;
        back.transaction
    };
    let first = pay(1, "r-1").await;
    let second = pay(2, "r-2").await;
    assert_ne!(first, second);
    assert_eq!(pay(2, "r-2").await, second);
    let ledger = bench.shop.ledger().await.unwrap();
    assert_eq!((ledger.channel.accounts["EUR"].given_back.0, ledger.payments.money["EUR"].refunded), (2_000, 2_000));
    assert_eq!((ledger.holds(), ledger.mismatches()), (0, vec![]));
    bench.is_sound().await;
}

#[tokio::test]
async fn a_database_that_is_none_is_a_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("points.db"), "this is no database, whatever its name says".repeat(50)).unwrap();
    let Err(error) = Shop::open(dir.path(), Settings::seeded(7, Duration::from_millis(1))).await else {
        panic!("opened");
    };
    insta::assert_snapshot!(error, @"failed to open the participant's database: Connection Error: error returned from database: (code: 26) file is not a database (the database of `points`: mend it, or move it away, or open the shop elsewhere)");
}

#[tokio::test]
async fn a_shop_is_opened_again_where_it_was_left() {
    let dir = tempfile::tempdir().unwrap();
    let open = async || Shop::open(dir.path(), Settings::seeded(7, Duration::from_millis(1))).await.unwrap();
    let shop = open().await;
    shop.seed(&[sale("o-1", OrderState::Shipped)]).await.unwrap();
    let before = shop.ledger().await.unwrap();
    drop(shop);
    let again = open().await;
    assert_eq!(again.ledger().await.unwrap(), before);
    let names: Vec<_> = again.participants().iter().map(|p| p.name().to_owned()).collect();
    insta::assert_snapshot!(names.join(" "), @"catalog orders inventory points coupons red_packets warehouse push payments gateway");
}
