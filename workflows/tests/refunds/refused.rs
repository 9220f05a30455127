//! Every step refused in turn: what was held is let go, and the databases are as they were; after the decision it is parked, the
//! rest goes on, and a person sends it on its way.

use crate::support::{Delta, Fault, Shape, World, each_shape};
use tercet_core::{Action, Phase, Status};

/// Whether the buyer hears of it: nobody is told of a `refund_money` that a person cancelled.
fn failed(shape: Shape) -> Delta {
    if shape == Shape::PaidTwice { Delta::nothing() } else { Delta::told_of_failure() }
}

async fn check_tries(shape: Shape) {
    let world = World::new(2).await;
    let (calls, _) = world.undisturbed(shape).await;
    for (step, _) in calls.iter().filter(|(step, phase)| *phase == Phase::Try && !step.starts_with("tell")) {
        let mut trial = world.trial(shape, |world, _| world.wires.plan(step, Phase::Try, 1, Fault::refuse())).await;
        if shape == Shape::PaidTwice {
            assert_eq!(
                trial.parked(),
                format!("{step}: its try was refused: refused_on_purpose: this test refuses it")
            );
            world.cancel(trial.saga()).await.unwrap();
            trial = world.goes_on(trial).await;
        }
        assert_eq!(trial.ended(), "cancelled", "{step}");
        assert_eq!(trial.delta.without_traces(), failed(shape), "{step}");
        assert_eq!(world.wires.heal(), 0, "{step} was not refused");
    }
}
each_shape!(a_refused_try_leaves_everything_as_it_was, check_tries);

async fn check_third_party(shape: Shape) {
    let world = World::new(3).await;
    let (_, delta) = world.refused(shape).await;
    assert_eq!(delta.without_traces(), failed(shape));
}
each_shape!(a_third_party_that_refuses_for_good_leaves_everything_as_it_was, check_third_party);

async fn check_confirms(shape: Shape) {
    let world = World::new(4).await;
    let (calls, whole) = world.undisturbed(shape).await;
    for (step, phase) in calls.iter().filter(|(step, phase)| *phase == Phase::Confirm || step.starts_with("tell")) {
        let trial = world.trial(shape, |world, _| world.wires.plan(step, *phase, 1, Fault::refuse())).await;
        let why = format!("{step}: its {phase} was refused: refused_on_purpose: this test refuses it");
        assert_eq!(trial.parked(), why);
        let stuck: Vec<_> = trial.state.steps.iter().filter(|(_, at)| at.status == Status::Confirming).collect();
        assert!(stuck.iter().all(|(other, _)| other.as_str() == step), "{step} holds up others: {stuck:#?}");
        world.operate(trial.saga(), step, Action::RetryNow).await.unwrap();
        let trial = world.goes_on(trial).await;
        assert_eq!((trial.ended(), &trial.delta), ("confirmed", &whole), "{step}");
    }
}
each_shape!(after_the_decision_a_no_parks_its_step_alone, check_confirms);

async fn check_cancels(shape: Shape) {
    let world = World::new(5).await;
    let (calls, _) = world.refused(shape).await;
    for (step, _) in calls.iter().filter(|(_, phase)| *phase == Phase::Cancel) {
        let fault = |world: &World| world.wires.plan(step, Phase::Cancel, 1, Fault::refuse());
        let trial = world.refused_by_third_party(shape, |world, _| fault(world)).await;
        let why = format!("{step}: its cancel was refused: refused_on_purpose: this test refuses it");
        assert_eq!(trial.parked(), why);
        world.operate(trial.saga(), step, Action::RetryNow).await.unwrap();
        let trial = world.goes_on(trial).await;
        assert_eq!(trial.ended(), "cancelled", "{step}");
        assert_eq!(trial.delta.without_traces(), failed(shape), "{step}");
    }
}
each_shape!(a_refused_cancel_is_parked_and_never_given_up, check_cancels);
