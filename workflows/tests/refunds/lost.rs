//! Every call and every reply lost, late, or answered *not now*, once, of a saga that is confirmed and of one that is undone: the same
//! end, and every effect once.

use crate::support::{Befalls, Fault, Shape, World, each_shape};
use tercet_core::Phase;

fn faults() -> [Fault; 5] {
    [Fault::LoseCall, Fault::LoseReply, Fault::Late, Fault::NoResponder, Fault::not_now()]
}

/// Every fault for every call.
fn each(calls: &[(String, Phase)]) -> Vec<Befalls> {
    let of = |(step, phase): &(String, Phase)| faults().map(|fault| (step.clone(), *phase, fault));
    calls.iter().flat_map(of).collect()
}

async fn check(shape: Shape) {
    let world = World::new(21).await;
    let (calls, whole) = world.undisturbed(shape).await;
    world.confirmed_despite(shape, &each(&calls), &whole).await;
}
each_shape!(what_is_lost_is_asked_again, check);

async fn check_undo(shape: Shape) {
    let world = World::new(22).await;
    let (calls, whole) = world.refused(shape).await;
    world.cancelled_despite(shape, &each(&calls), &whole).await;
}
each_shape!(what_is_lost_of_an_undo_is_asked_again, check_undo);
