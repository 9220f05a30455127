//! The process dies at every journal write of a payment, before and after it is on disk, and goes on to the same end.

use crate::{
    bills::world,
    faults::{Way, all_ended, billed, undisturbed},
    support::{Dies, Kept, Setup},
};

/// More writes than any of these sagas makes, the polling of one that nobody pays included.
const WRITES_MAX: u32 = 120;

async fn check(way: Way) {
    let world = world(221, Setup { kept: Kept::OnDisk, ..Setup::default() }).await;
    let (_, whole) = undisturbed(&world, way).await;
    for dies in [Dies::Before, Dies::After] {
        for nth in 1.. {
            assert!(nth < WRITES_MAX, "it dies at every write and never ends");
            let (bills, before) = billed(&world, way, 1).await;
            world.store.die_at(nth, dies);
            let saga = world.pays(&bills[0]).await;
            let state = world.settled(saga).await;
            all_ended(&world, way, (&bills, &before), &[state], &whole).await;
            if world.store.heal() {
                break;
            }
        }
    }
    assert!(world.deaths.get() >= 8, "it died {} times only", world.deaths.get());
}

#[tokio::test]
async fn a_payment_that_is_kept() {
    check(Way::Kept).await;
}

#[tokio::test]
async fn a_payment_that_comes_too_late() {
    check(Way::TooLate).await;
}

#[tokio::test]
async fn a_payment_that_nobody_makes() {
    check(Way::Abandoned).await;
}
