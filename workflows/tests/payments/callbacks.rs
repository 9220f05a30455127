//! Callbacks twice, before the payment is there, after its end, after a full refund, and such as speak of something else.

use crate::{
    bills::{Bill, Money, PRICE, pays, world},
    support::{Delta, Setup, World, ended, eur, id},
};
use std::time::Duration;
use tercet_core::{Millis, Phase, minutes};
use tercet_shop::channel::{
    Cashier, Channel, ChargeCallback, ChargeOrder, ChargeOutcome, ChargeSink, Charging, Paying, Said,
};
use tercet_workflows::payment::PaymentRequest;

pub(crate) fn callback(bill: &Bill, outcome: ChargeOutcome) -> ChargeCallback {
    ChargeCallback {
        reference: bill.payment().clone(),
        order: bill.request.order.clone(),
        transaction: Channel::charge_transaction(bill.payment()),
        amount: eur(PRICE),
        outcome,
        at: Millis(1_780_000_000_000),
    }
}

/// The channel's report arrives; it must be acknowledged.
pub(crate) async fn arrives(world: &World, callback: ChargeCallback) {
    let (shop, busy) = (world.shop.clone(), world.time.busy());
    let kept = world
        .drive(async move {
            let kept = shop.payments().charged(callback).await;
            drop(busy);
            kept
        })
        .await;
    assert!(kept, "a callback is stored before it is acknowledged, whatever it says");
}

#[tokio::test]
async fn a_callback_that_comes_twice_is_acknowledged_twice_and_counts_once() {
    let world = world(231, Setup::default()).await;
    let (bill, state) = world.paid(pays().reported(2, Duration::ZERO)).await;
    assert_eq!(ended(&state), "confirmed");
    arrives(&world, callback(&bill, ChargeOutcome::Paid)).await;
    let ledger = world.ledger().await;
    assert_eq!((ledger.payments.callbacks, ledger.payments.copies), (3, 2));
    assert_eq!(ledger.payments.money["EUR"].received, PRICE);
    assert_eq!(world.money_of(&[bill]).await, [Money::Kept]);
}

/// The report of a charge overtakes the payment itself: it is kept, starts nothing, and the payment finds the money booked.
#[tokio::test]
async fn a_callback_before_the_payment_is_there_is_kept_and_counts_when_it_is() {
    let world = world(232, Setup::default()).await;
    let bill = world.bill().await;
    world.charge_goes(bill.payment(), Charging::paid(minutes(1)));
    let (shop, busy, PaymentRequest { id, order, amount, how, .. }) =
        (world.shop.clone(), world.time.busy(), bill.request.clone());
    let charge = ChargeOrder { reference: id, order, amount, how, expires: None };
    let taken = world.drive(async move {
        let taken = shop.channel().request_charge(charge).await.unwrap();
        drop(busy);
        taken
    });
    assert!(matches!(taken.await, Said::Open { .. }));
    world.pass(minutes(2)).await;
    let ledger = world.ledger().await;
    assert_eq!((ledger.payments.callbacks, ledger.payments.states.len()), (1, 0), "no such payment, and it is kept");
    let counts = world.ask(|engine| async move { engine.counts().await }).await.unwrap();
    assert_eq!(counts.iter().map(|count| count.sagas).sum::<u64>(), 1, "the order's saga alone");
    let state = world.settled(world.pays(&bill).await).await;
    assert_eq!(ended(&state), "confirmed");
    assert_eq!(world.wires.counts(state.saga())[&("charge".to_owned(), Phase::Try)], 1);
    assert_eq!(world.money_of(&[bill]).await, [Money::Kept]);
    assert_eq!(world.ledger().await.payments.money["EUR"].received, PRICE);
}

#[tokio::test]
async fn a_callback_after_the_end_changes_nothing() {
    let world = world(233, Setup::default()).await;
    let (bill, state) = world.paid(pays().reported(0, Duration::ZERO)).await;
    assert_eq!(ended(&state), "confirmed");
    let before = world.ledger().await;
    for outcome in [ChargeOutcome::Paid, ChargeOutcome::Closed, ChargeOutcome::Failed] {
        arrives(&world, callback(&bill, outcome)).await;
    }
    assert_eq!(world.changed_since(&before).await, Delta::nothing());
    assert_eq!(world.money_of(&[bill]).await, [Money::Kept]);
}

#[tokio::test]
async fn b44_the_channel_calls_again_when_the_trade_closes_after_a_full_refund_and_nothing_starts() {
    let world = world(234, Setup::default()).await;
    let bill = world.bill().await;
    world.gives_up(&bill).await;
    world.charge_goes(bill.payment(), pays());
    assert_eq!(ended(&world.settled(world.pays(&bill).await).await), "confirmed");
    world.calms_down().await;
    let before = world.ledger().await;
    assert_eq!(before.payments.callbacks, 2, "paid, and closed once all of it was given back");
    for outcome in [ChargeOutcome::Paid, ChargeOutcome::Closed, ChargeOutcome::Paid] {
        arrives(&world, callback(&bill, outcome)).await;
    }
    assert_eq!(world.changed_since(&before).await, Delta::nothing());
    assert_eq!(world.money_of(&[bill]).await, [Money::GivenBack]);
}

#[tokio::test]
async fn a_callback_of_another_amount_or_order_is_kept_calls_a_person_and_pays_nothing() {
    for wrong in [
        |c: ChargeCallback| ChargeCallback { amount: eur(1), ..c },
        |c: ChargeCallback| ChargeCallback { order: id("another"), ..c },
    ] {
        let world = world(235, Setup::default()).await;
        let bill = world.bill().await;
        let saga = world.pays(&bill).await;
        world.until(saga, |state| state.steps.values().any(|step| step.pending.is_some())).await;
        arrives(&world, wrong(callback(&bill, ChargeOutcome::Paid))).await;
        world.pass(minutes(2)).await;
        let ledger = world.ledger().await;
        assert_eq!(ledger.payments.money["EUR"].received, 0);
        assert!(ledger.payments.attention[bill.payment().as_str()].starts_with("the channel speaks of"));
        assert_eq!(ended(&world.state(saga).await), "trying", "it goes on waiting for the buyer");
        assert!(matches!(world.buyer_pays(&bill).await, Paying::Paid { .. }));
        assert_eq!(ended(&world.settled(saga).await), "confirmed");
        assert_eq!(world.money_of(&[bill]).await, [Money::Kept]);
    }
}
