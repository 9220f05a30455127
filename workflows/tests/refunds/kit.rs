//! The kit itself: a fault that does harm is noticed.

use crate::support::{Fault, Shape, World};
use tercet_core::{Answer, Payload, Phase};

/// A participant that says *done* and has done nothing.
fn lie() -> Fault {
    Fault::Answer(Answer::Done(Payload::null()))
}

async fn check(step: &str, refused: bool) {
    let world = World::new(101).await;
    let (end, phase) = if refused { ("cancelled", Phase::Cancel) } else { ("confirmed", Phase::Confirm) };
    let (calls, whole) = if refused { world.refused(Shape::Full).await } else { world.undisturbed(Shape::Full).await };
    assert!(calls.contains(&(step.to_owned(), phase)));
    let case = world.case(Shape::Full).await;
    let before = world.ledger().await;
    world.wires.plan_for(&case.refund, step, phase, lie());
    if refused {
        world.behave(&case.refund, tercet_shop::channel::Behaviour::Refuse);
    }
    let state = world.refund(&case).await;
    assert_eq!(crate::support::ended(&state), end, "the engine believes it");
    let after = world.ledger().await;
    let delta = crate::support::Delta::between(&before, &after);
    assert_ne!(delta, whole, "the {phase} of {step} was left out, and no figure shows it");
}

#[tokio::test]
async fn a_confirm_that_was_left_out_shows_in_the_figures_whichever_step_it_is() {
    for step in ["order", "points", "coupon", "red_packet", "warehouse", "stock", "hold"] {
        check(step, false).await;
    }
}

#[tokio::test]
async fn a_cancel_that_was_left_out_shows_in_the_figures_whichever_step_it_is() {
    for step in ["order", "points", "coupon", "red_packet", "warehouse", "stock", "hold"] {
        check(step, true).await;
    }
}
