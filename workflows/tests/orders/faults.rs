//! What the [worlds](crate::worlds) of an order do not say: who is told when a step is refused, why a step parks, and that the figures show
//! each confirm and cancel that is left out. Lost, late and doubled calls, and processes that die, are theirs.

use crate::{
    buyers::{Way, world},
    support::{Delta, Fault, Holds, Kept, ended, parked},
};
use tercet_core::{Action, Phase};

/// What else has changed, where a cancelled order leaves that it was one, and that its buyer was told: each of them, and nobody whose
/// order was never placed.
pub(crate) fn but_for_its_end(delta: Delta) -> Result<Delta, String> {
    let (cancelled, told) = (delta.of("orders.states.cancelled"), delta.of("notices.order_cancelled"));
    if cancelled != told {
        return Err(format!("{cancelled} orders are cancelled, and {told} buyers were told"));
    }
    Ok(delta.without("orders.states.cancelled").without("notices.order_cancelled"))
}

#[tokio::test]
async fn a_refused_try_leaves_everything_as_it_was_and_nobody_is_told_of_an_order_that_was_none() {
    let world = world(312, Kept::InMemory).await;
    let (calls, _) = world.undisturbed_order(Way::Unpaid).await;
    let tries = calls.iter().filter(|(step, phase)| *phase == Phase::Try && step != "tell_cancelled");
    for (step, _) in tries {
        let request = world.buyer().await;
        let before = world.ledger().await;
        world.wires.plan(step, Phase::Try, 1, Fault::refuse());
        let state = world.goes(&request, Way::Unpaid).await;
        assert_eq!(ended(&state), "cancelled", "{step}");
        let delta = world.slate(&before, Holds::None).await;
        let told = world.told(&request).await.len();
        assert_eq!(told, usize::from(["stock", "coupon", "points"].contains(&step.as_str())), "{step}");
        assert_eq!(but_for_its_end(delta), Ok(Delta::nothing()), "{step}");
        assert_eq!(world.wires.heal(), 0, "{step} was not refused");
    }
}

#[tokio::test]
async fn after_the_decision_a_no_parks_its_step_alone_and_a_person_sends_it_on_its_way() {
    let world = world(313, Kept::InMemory).await;
    for way in Way::ALL {
        let (calls, whole) = world.undisturbed_order(way).await;
        let before_decision = ["goods", "coupon_worth", "points_worth", "order", "stock", "coupon", "points"];
        let after =
            |(step, phase): &&(String, Phase)| *phase != Phase::Try || !before_decision.contains(&step.as_str());
        for (step, phase) in calls.iter().filter(after) {
            let request = world.buyer().await;
            let before = world.ledger().await;
            world.wires.plan(step, *phase, 1, Fault::refuse());
            let state = world.goes(&request, way).await;
            let why = format!("{step}: its {phase} was refused: refused_on_purpose: this test refuses it");
            assert_eq!(parked(&state), why);
            world.operate(state.saga(), step, Action::RetryNow).await.unwrap();
            let state = world.settled(state.saga()).await;
            assert_eq!(ended(&state), way.end(), "{step}: {}", parked(&state));
            assert_eq!(world.slate(&before, Holds::None).await, whole, "{phase} of {step}");
        }
    }
}

#[tokio::test]
async fn a_copy_that_comes_after_the_end_changes_nothing() {
    let world = world(314, Kept::InMemory).await;
    for way in Way::ALL {
        let request = world.buyer().await;
        let before = world.ledger().await;
        let state = world.goes(&request, way).await;
        let delta = world.slate(&before, Holds::None).await;
        let calls = world.wires.made(state.saga());
        let backwards = calls.iter().rev().cloned().collect::<Vec<_>>();
        world.wires.send_again(calls.into_iter().chain(backwards)).await;
        assert_eq!(world.slate(&before, Holds::None).await, delta, "{way:?}");
    }
}

#[tokio::test]
async fn what_an_order_changes() {
    let world = world(315, Kept::InMemory).await;
    insta::assert_snapshot!(world.undisturbed_order(Way::Paid).await.1.to_string(), @"
    coupons.vouchers.spent +1
    notices.order_paid +1
    orders.noted +1
    orders.paid.EUR +13175
    orders.states.awaiting_shipment +1
    points.balance +56
    points.granted +131
    points.spent +75
    red_packets.vouchers.usable +1
    shipments.shipments.waiting +1
    stock.available -4
    stock.sold +4
    ");
    insta::assert_snapshot!(world.undisturbed_order(Way::Unpaid).await.1.to_string(), @"
    notices.order_cancelled +1
    orders.states.cancelled +1
    ");
}

#[tokio::test]
async fn a_confirm_or_cancel_that_was_left_out_shows_in_the_figures_whichever_step_it_is() {
    let world = world(316, Kept::InMemory).await;
    for way in Way::ALL {
        let (calls, whole) = world.undisturbed_order(way).await;
        for (step, phase) in calls.iter().filter(|(_, phase)| *phase != Phase::Try) {
            let request = world.buyer().await;
            let before = world.ledger().await;
            let lie = Fault::Answer(tercet_core::Answer::Done(tercet_core::Payload::null()));
            world.wires.plan(step, *phase, 1, lie);
            // The chain after an order that was never confirmed is refused: it parks, and the figures show that, too.
            world.goes(&request, way).await;
            let delta = Delta::between(&before, &world.ledger().await);
            assert_ne!(delta, whole, "the {phase} of {step} was left out, and no figure shows it");
        }
    }
}
