//! Two payments of one order: exactly one is accepted, the other goes back.

use crate::{
    bills::{Money, pays, waits, world},
    support::{Holds, Setup, ended},
};
use std::time::Duration;
use tercet_core::minutes;
use tercet_shop::channel::{Charging, Paying};

#[tokio::test]
async fn of_two_payments_of_one_order_one_is_accepted_and_the_other_given_back() {
    let world = world(251, Setup::default()).await;
    for round in 0..8 {
        let before = world.ledger().await;
        let first = world.bill().await;
        let second = first.again(2);
        // Before, at, and after the same moment.
        let gap = Duration::from_millis(25 * round);
        world.charge_goes(first.payment(), Charging::paid(minutes(2)));
        world.charge_goes(second.payment(), Charging::paid(minutes(2) - Duration::from_millis(100) + gap));
        let (one, two) = (world.pays(&first).await, world.pays(&second).await);
        for saga in [one, two] {
            assert_eq!(ended(&world.settled(saga).await), "confirmed");
        }
        world.calms_down().await;
        world.slate(&before, Holds::None).await;
        let mut money = world.money_of(&[first, second]).await;
        money.sort();
        assert_eq!(money, [Money::Kept, Money::GivenBack], "round {round}");
    }
}

#[tokio::test]
async fn a_link_is_paid_once_however_often_the_buyer_tries() {
    let world = world(252, Setup::default()).await;
    let bill = world.bill().await;
    world.charge_goes(bill.payment(), waits());
    let saga = world.pays(&bill).await;
    world.until(saga, |state| state.steps.values().any(|step| step.pending.is_some())).await;
    assert!(matches!(world.buyer_pays(&bill).await, Paying::Paid { .. }));
    assert_eq!(world.buyer_pays(&bill).await, Paying::Already);
    assert_eq!(ended(&world.settled(saga).await), "confirmed");
    assert_eq!(world.buyer_pays(&bill).await, Paying::Already);
    world.calms_down().await;
    assert_eq!(world.money_of(&[bill]).await, [Money::Kept]);
}

/// An abandoned payment, then one that is made: the order stands on the second alone.
#[tokio::test]
async fn b40_an_order_that_is_paid_with_its_second_payment_stands_on_that_alone() {
    let world = world(253, Setup::default()).await;
    let first = world.bill().await;
    world.charge_goes(first.payment(), waits().lax());
    let abandoned = world.pays(&first).await;
    world.until(abandoned, |state| state.steps.values().any(|step| step.pending.is_some())).await;
    let second = first.again(2);
    world.charge_goes(second.payment(), pays());
    assert_eq!(ended(&world.settled(world.pays(&second).await).await), "confirmed");
    assert_eq!(ended(&world.settled(abandoned).await), "cancelled");
    assert!(matches!(world.buyer_pays(&first).await, Paying::Paid { .. }), "the channel takes it all the same");
    world.calms_down().await;
    assert_eq!(world.money_of(&[first, second]).await, [Money::GivenBack, Money::Kept]);
    let ledger = world.ledger().await;
    assert_eq!(ledger.channel.accounts["EUR"].received.0, 2 * crate::bills::PRICE);
    assert_eq!(ledger.channel.accounts["EUR"].given_back.0, crate::bills::PRICE);
}
