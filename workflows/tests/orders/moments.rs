//! A cancel at every moment, and the deadline: before the decision all is given back, after it nothing is.

use crate::{
    buyers::{PAY_WITHIN, Way, waits, waits_until, world},
    faults::but_for_its_end,
    support::{Delta, Fault, Holds, Kept, ended},
};
use std::time::Duration;
use tercet::EngineError;
use tercet_core::{Phase, Verdict};

#[tokio::test]
async fn a_cancel_while_any_step_is_tried_gives_everything_back() {
    let world = world(331, Kept::InMemory).await;
    for fault in [Fault::Late, Fault::LoseCall] {
        for step in ["goods", "coupon_worth", "points_worth", "order", "stock", "coupon", "points"] {
            let request = world.buyer().await;
            let before = world.ledger().await;
            world.wires.plan(step, Phase::Try, 1, fault.clone());
            let saga = world.orders(&request).await;
            world.time.quiet().await;
            world.asks_to_cancel(saga).await.unwrap();
            let again = world.asks_to_cancel(saga).await;
            assert!(matches!(again, Err(EngineError::TooLate { .. })), "{step}: {again:?}");
            assert_eq!(ended(&world.settled(saga).await), "cancelled", "{step}");
            let delta = world.slate(&before, Holds::None).await;
            let placed = !["goods", "coupon_worth", "points_worth"].contains(&step);
            // Of an order whose try is under way nobody has heard: it may be placed still, and it is told all the same.
            let told = i64::from(placed && (step != "order" || fault == Fault::Late));
            assert_eq!(delta.of("notices.order_cancelled"), told, "{fault:?} of {step}");
            assert_eq!(but_for_its_end(delta), Ok(Delta::nothing()), "{fault:?} of {step}");
            assert_eq!(world.wires.heal(), 0, "{step} was not asked");
        }
    }
}

#[tokio::test]
async fn a_cancel_while_payment_is_pending_gives_everything_back_and_the_buyer_is_told_once() {
    let world = world(332, Kept::InMemory).await;
    let (_, unpaid) = world.undisturbed_order(Way::Unpaid).await;
    let request = world.buyer().await;
    let before = world.ledger().await;
    let saga = world.orders(&request).await;
    world.until(saga, waits).await;
    world.asks_to_cancel(saga).await.unwrap();
    assert_eq!(ended(&world.settled(saga).await), "cancelled");
    assert_eq!(world.slate(&before, Holds::None).await, unpaid);
    assert_eq!(world.told(&request).await, ["Your order was cancelled. Nothing is held for it any more."]);
    assert_eq!(world.tells_paid(saga, request.shown).await, Some(Verdict::TooLate), "the money is to go back");
    assert_eq!(world.slate(&before, Holds::None).await, unpaid, "a cancelled order can never become paid");
}

#[tokio::test]
async fn a_cancel_after_the_decision_changes_nothing() {
    let world = world(333, Kept::InMemory).await;
    let (calls, whole) = world.undisturbed_order(Way::Paid).await;
    for (step, phase) in calls.iter().filter(|(step, phase)| *phase == Phase::Confirm || step == "ship") {
        let request = world.buyer().await;
        let before = world.ledger().await;
        world.wires.plan(step, *phase, 1, Fault::Late);
        let saga = world.orders(&request).await;
        world.until(saga, waits).await;
        assert_eq!(world.tells_paid(saga, request.shown).await, Some(Verdict::Accepted));
        world.time.quiet().await;
        let said = world.asks_to_cancel(saga).await;
        assert!(matches!(said, Err(EngineError::TooLate { .. })), "{step}: {said:?}");
        assert_eq!(ended(&world.settled(saga).await), "confirmed", "{step}");
        assert_eq!(world.slate(&before, Holds::None).await, whole, "{step}");
    }
}

#[tokio::test]
async fn the_payment_window_begins_with_the_last_hold_and_one_of_payment_and_deadline_wins() {
    let world = world(334, Kept::InMemory).await;
    let (_, paid) = world.undisturbed_order(Way::Paid).await;
    let (_, unpaid) = world.undisturbed_order(Way::Unpaid).await;
    for (early, verdict) in [(true, Verdict::Accepted), (false, Verdict::TooLate)] {
        let request = world.buyer().await;
        let before = world.ledger().await;
        world.wires.plan("stock", Phase::Try, 1, Fault::LoseReply);
        let saga = world.orders(&request).await;
        let begun = world.now();
        let state = world.until(saga, waits).await;
        let until = waits_until(&state).unwrap();
        assert!(until > begun.plus(PAY_WITHIN), "it begins when the stock is held at last, not before");
        let (left, moment) = (until.since(world.now()), Duration::from_millis(1));
        world.pass(if early { left - moment } else { left + moment }).await;
        assert_eq!(world.tells_paid(saga, request.shown).await, Some(verdict));
        let way = if early { Way::Paid } else { Way::Unpaid };
        assert_eq!(ended(&world.settled(saga).await), way.end());
        assert_eq!(world.slate(&before, Holds::None).await, if early { paid.clone() } else { unpaid.clone() });
    }
}

#[tokio::test]
async fn a_setting_of_the_shop_is_no_new_version_of_the_definition() {
    let world = world(335, Kept::InMemory).await;
    let mut request = world.buyer().await;
    request.pay_within_ms = 60_000;
    let saga = world.orders(&request).await;
    world.until(saga, waits).await;
    world.kill().await;
    world.pass(Duration::from_secs(61)).await;
    assert_eq!(ended(&world.saga_now(saga).await), "cancelled");
}
