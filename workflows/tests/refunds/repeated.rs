//! Every call repeated: at once, and long after the end. Each effect is there once.

use crate::support::{Befalls, Fault, Holds, Shape, World, each_shape};
use tercet_core::Phase;

fn each_doubled(calls: &[(String, Phase)]) -> Vec<Befalls> {
    calls.iter().map(|(step, phase)| (step.clone(), *phase, Fault::Double)).collect()
}

async fn check_doubled(shape: Shape) {
    let world = World::new(11).await;
    let (calls, whole) = world.undisturbed(shape).await;
    world.confirmed_despite(shape, &each_doubled(&calls), &whole).await;
}
each_shape!(a_doubled_call_counts_once, check_doubled);

async fn check_doubled_undo(shape: Shape) {
    let world = World::new(12).await;
    let (calls, whole) = world.refused(shape).await;
    world.cancelled_despite(shape, &each_doubled(&calls), &whole).await;
}
each_shape!(a_doubled_call_of_a_saga_that_is_undone_counts_once, check_doubled_undo);

async fn check_copies(shape: Shape) {
    let world = World::new(13).await;
    let trial = world.trial(shape, |_, _| {}).await;
    let calls = world.wires.made(trial.saga());
    let backwards = calls.iter().rev().cloned().collect::<Vec<_>>();
    for (made, again) in world.wires.send_again(calls.into_iter().chain(backwards)).await {
        assert_eq!(Some(again), made.answer, "{} of {}", made.call.phase, made.call.step);
    }
    assert_eq!(world.slate(&trial.before, Holds::None).await, trial.delta);
}
each_shape!(a_copy_that_comes_after_the_end_is_answered_as_the_first_and_changes_nothing, check_copies);

async fn check_copies_undone(shape: Shape) {
    let world = World::new(14).await;
    let trial = world.refused_by_third_party(shape, |_, _| {}).await;
    let calls = world.wires.made(trial.saga());
    let backwards = calls.iter().rev().cloned().collect::<Vec<_>>();
    for (made, again) in world.wires.send_again(calls.into_iter().chain(backwards)).await {
        if made.call.phase == Phase::Cancel {
            assert_eq!(Some(again), made.answer, "cancel of {}", made.call.step);
        }
    }
    assert_eq!(world.slate(&trial.before, Holds::None).await, trial.delta);
}
each_shape!(a_copy_that_comes_after_an_undo_holds_nothing, check_copies_undone);
