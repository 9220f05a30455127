//! The process dies: at every journal write, before and after it is on disk, and at every call, before it arrives and while its reply
//! is on the wire. The next one goes on, on the same SQLite file, to the same end.

use crate::support::{Befalls, Dies, Fault, Shape, World, each_shape};
use tercet_core::Phase;

/// More writes than any of these sagas makes.
const WRITES_MAX: u32 = 60;

async fn check_writes(shape: Shape) {
    let world = World::on_disk(31).await;
    let (_, whole) = world.undisturbed(shape).await;
    for dies in [Dies::Before, Dies::After] {
        for nth in 1.. {
            assert!(nth < WRITES_MAX, "it dies at every write and never ends");
            let trial = world.trial(shape, |world, _| world.store.die_at(nth, dies)).await;
            assert_eq!((trial.ended(), &trial.delta), ("confirmed", &whole), "dies {dies:?} write {nth}");
            if world.store.heal() {
                break;
            }
        }
    }
    assert!(world.deaths.get() >= 8, "it died {} times only", world.deaths.get());
}
each_shape!(a_process_that_dies_at_a_write_is_gone_on_with, check_writes);

async fn check_writes_of_undo(shape: Shape) {
    let world = World::on_disk(32).await;
    let (_, whole) = world.refused(shape).await;
    for dies in [Dies::Before, Dies::After] {
        for nth in 1.. {
            assert!(nth < WRITES_MAX, "it dies at every write and never ends");
            let trial = world.refused_by_third_party(shape, |world, _| world.store.die_at(nth, dies)).await;
            assert_eq!((trial.ended(), &trial.delta), ("cancelled", &whole), "dies {dies:?} write {nth}");
            if world.store.heal() {
                break;
            }
        }
    }
    assert!(world.deaths.get() >= 8, "it died {} times only", world.deaths.get());
}
each_shape!(a_process_that_dies_at_a_write_of_an_undo_is_gone_on_with, check_writes_of_undo);

/// The process dies at every call, before it arrives and while its reply is on the wire: once for each of as many sagas.
fn kills(calls: &[(String, Phase)]) -> Vec<Befalls> {
    let of = |(step, phase): &(String, Phase)| {
        [Fault::KillBefore, Fault::KillAfter].map(|fault| (step.clone(), *phase, fault))
    };
    calls.iter().flat_map(of).collect()
}

async fn check_calls(shape: Shape) {
    let world = World::on_disk(33).await;
    let (calls, whole) = world.undisturbed(shape).await;
    world.confirmed_despite(shape, &kills(&calls), &whole).await;
    assert!(world.deaths.get() >= 4, "it died {} times only", world.deaths.get());
}
each_shape!(a_process_that_dies_at_a_call_is_gone_on_with, check_calls);

async fn check_calls_of_undo(shape: Shape) {
    let world = World::on_disk(34).await;
    let (calls, whole) = world.refused(shape).await;
    world.cancelled_despite(shape, &kills(&calls), &whole).await;
    assert!(world.deaths.get() >= 4, "it died {} times only", world.deaths.get());
}
each_shape!(a_process_that_dies_at_a_call_of_an_undo_is_gone_on_with, check_calls_of_undo);
