//! Money that comes when nobody wants it any more: it goes back by itself, once, whoever hears of it first.

use crate::{
    bills::{Bill, Money, PATIENCE, PRICE, waits, world},
    callbacks::{arrives, callback},
    support::{Fault, Setup, World, ended, parked},
};
use std::{sync::Arc, time::Duration};
use tercet_core::{Action, Phase, SagaId, minutes};
use tercet_shop::{
    channel::{Buyer, ChargeOutcome, Charging, Paying},
    payments::{self, PaymentState},
};
use tercet_workflows::ingress::Courier;

/// The saga that gives the money of a charge back, if it was started under the payment's own key.
async fn undoing(world: &World, bill: &Bill) -> Option<SagaId> {
    let key: tercet_core::SagaKey = bill.payment().as_str().parse().unwrap();
    let found = world
        .ask(move |engine| {
            let key = key.clone();
            async move { engine.find("refund_money".parse().unwrap(), key).await }
        })
        .await;
    found.unwrap().map(|row| row.id)
}

async fn state(world: &World, bill: &Bill) -> PaymentState {
    let db = world.database("payments").await;
    payments::state(db.reader(), bill.payment()).await.unwrap().unwrap()
}

/// Given back once: one refund at the channel, one saga, one receipt.
async fn is_given_back(world: &World, bill: &Bill) {
    world.calms_down().await;
    assert_eq!(world.money_of(std::slice::from_ref(bill)).await, [Money::GivenBack]);
    let ledger = world.ledger().await;
    assert_eq!(ledger.mismatches(), Vec::<String>::new());
    assert_eq!((ledger.holds(), ledger.payments.refunds["refunded"], ledger.channel.refunds["succeeded"]), (0, 1, 1));
    assert_eq!(ledger.payments.money["EUR"].received, PRICE);
}

#[tokio::test]
async fn a_payment_for_an_order_that_was_cancelled_is_given_back() {
    let world = world(241, Setup::default()).await;
    let bill = world.bill().await;
    world.charge_goes(bill.payment(), Charging::paid(minutes(10)));
    let saga = world.pays(&bill).await;
    world.until(saga, |state| state.steps.values().any(|step| step.pending.is_some())).await;
    world.gives_up(&bill).await;
    assert_eq!(ended(&world.settled(saga).await), "confirmed");
    is_given_back(&world, &bill).await;
    assert_eq!(state(&world, &bill).await, PaymentState::Paid, "it was paid, in vain");
    assert_eq!(undoing(&world, &bill).await, None, "its own saga gave it back");
}

#[tokio::test]
async fn a_payment_after_the_order_has_closed_by_its_timer_is_given_back() {
    let world = world(242, Setup::default()).await;
    let bill = world.bill().await;
    world.pass(PATIENCE - minutes(5)).await;
    world.charge_goes(bill.payment(), Charging::paid(minutes(10)));
    assert_eq!(ended(&world.settled(world.pays(&bill).await).await), "confirmed");
    assert_eq!(ended(&world.state(bill.order).await), "cancelled");
    is_given_back(&world, &bill).await;
}

#[tokio::test]
async fn a_channel_that_takes_money_under_a_link_it_had_closed_gives_it_back() {
    let world = world(243, Setup::default()).await;
    let (bill, ended_as) = world.paid(waits().lax()).await;
    assert_eq!(ended(&ended_as), "cancelled");
    assert_eq!(state(&world, &bill).await, PaymentState::Closed);
    assert!(matches!(world.buyer_pays(&bill).await, Paying::Paid { .. }));
    is_given_back(&world, &bill).await;
    assert!(undoing(&world, &bill).await.is_some());
    assert_eq!(state(&world, &bill).await, PaymentState::Closed, "no word of the channel's changes that");
}

#[tokio::test]
async fn a_channel_that_keeps_to_its_close_takes_nothing() {
    let world = world(244, Setup::default()).await;
    let (bill, ended_as) = world.paid(waits()).await;
    assert_eq!(ended(&ended_as), "cancelled");
    assert_eq!(world.buyer_pays(&bill).await, Paying::NotOpen);
    world.calms_down().await;
    assert_eq!(world.money_of(&[bill]).await, [Money::NeverCame]);
}

/// The channel says no for good, and takes the money all the same.
#[tokio::test]
async fn a_verified_success_for_a_payment_held_as_failed_starts_one_refund_whoever_is_first() {
    for (way, reports) in [("with a callback", 1), ("without one", 0)] {
        let world = world(245, Setup::default()).await;
        let declined = Charging::new(Buyer::Declines { after: minutes(1) }).lax();
        let (bill, ended_as) = world.paid(declined.reported(reports, Duration::ZERO)).await;
        assert_eq!(ended(&ended_as), "cancelled", "{way}");
        assert_eq!(state(&world, &bill).await, PaymentState::Failed, "{way}");
        assert!(matches!(world.buyer_pays(&bill).await, Paying::Paid { .. }));
        if reports == 0 {
            // Nobody reports it, and nobody asks any more: a person does.
            let late = world.wires.made(ended_as.saga());
            let query = late.iter().find(|made| made.call.phase == Phase::Query).unwrap().clone();
            world.wires.send_again([query]).await;
        }
        is_given_back(&world, &bill).await;
        assert!(undoing(&world, &bill).await.is_some(), "{way}");
        assert_eq!(state(&world, &bill).await, PaymentState::Failed, "{way}");
    }
}

/// The engine's own contradiction and the participant's start meet in one saga.
#[tokio::test]
async fn a_forced_not_done_that_turns_out_done_is_given_back_once() {
    let world = world(246, Setup::default()).await;
    let bill = world.bill().await;
    world.charge_goes(bill.payment(), Charging::paid(minutes(90)).lax().reported(0, Duration::ZERO));
    let saga = world.pays(&bill).await;
    world.until(saga, |state| state.steps.values().any(|step| step.pending.is_some())).await;
    world.operate(saga, "charge", Action::MarkNotDone { force: true }).await.unwrap();
    let state_now = world.settled(saga).await;
    assert_eq!(ended(&state_now), "cancelled", "{}", parked(&state_now));
    assert!(matches!(world.buyer_pays(&bill).await, Paying::Paid { .. }));
    let state_now = world.until(saga, |state| state.steps.values().any(|step| step.contradicted.0)).await;
    assert!(state_now.steps[&"charge".parse().unwrap()].attention.is_some());
    is_given_back(&world, &bill).await;
    assert!(undoing(&world, &bill).await.is_some());
    assert_eq!(world.ledger().await.notices["refunded"], 1);
}

/// The channel's report is booked and its completion still waits in the outbox when a query is answered with a final no. The saga
/// aborts, and the cancel of its record sends the money back; the completion that comes then contradicts the journal, and asks for the
/// same refund.
#[tokio::test]
async fn money_that_was_booked_before_the_saga_gave_up_goes_back_with_the_cancel() {
    let world = world(247, Setup { carries: false, ..Setup::default() }).await;
    let bill = world.bill().await;
    world.charge_goes(bill.payment(), waits().reported(0, Duration::ZERO));
    world.wires.plan_for(bill.payment(), "charge", Phase::Query, Fault::refuse());
    let saga = world.pays(&bill).await;
    world.until(saga, |state| state.steps.values().any(|step| step.pending.is_some())).await;
    assert!(matches!(world.buyer_pays(&bill).await, Paying::Paid { .. }));
    arrives(&world, callback(&bill, ChargeOutcome::Paid)).await;
    assert_eq!(ended(&world.settled(saga).await), "cancelled");
    assert_eq!(state(&world, &bill).await, PaymentState::Closed);
    assert_eq!(undoing(&world, &bill).await, None, "the outbox has not been emptied");
    let courier = Arc::new(Courier::new(world.shop.clone(), world.engine(), world.process()));
    for _ in 0..2 {
        let (courier, busy) = (courier.clone(), world.time.busy());
        world
            .drive(async move {
                courier.round().await.unwrap();
                drop(busy);
            })
            .await;
    }
    assert!(world.state(saga).await.steps[&"charge".parse().unwrap()].contradicted.0);
    is_given_back(&world, &bill).await;
    assert!(undoing(&world, &bill).await.is_some());
}
