//! The process dies at every journal write of an order, before and after it is on disk. The next one goes on, on the same SQLite file,
//! to the same end.

use crate::{
    buyers::{Way, world},
    support::{Dies, Holds, Kept, ended},
};

/// More writes than any of these sagas makes.
const WRITES_MAX: u32 = 60;

async fn check(way: Way) {
    let world = world(321, Kept::OnDisk).await;
    let (_, whole) = world.undisturbed_order(way).await;
    for dies in [Dies::Before, Dies::After] {
        for nth in 1.. {
            assert!(nth < WRITES_MAX, "it dies at every write and never ends");
            let request = world.buyer().await;
            let before = world.ledger().await;
            world.store.die_at(nth, dies);
            let state = world.goes(&request, way).await;
            assert_eq!(ended(&state), way.end(), "dies {dies:?} write {nth}");
            assert_eq!(world.slate(&before, Holds::None).await, whole, "dies {dies:?} write {nth}");
            if world.store.heal() {
                break;
            }
        }
    }
    assert!(world.deaths.get() >= 8, "it died {} times only", world.deaths.get());
}

#[tokio::test]
async fn a_process_that_dies_at_a_write_of_an_order_that_is_paid_is_gone_on_with() {
    check(Way::Paid).await;
}

#[tokio::test]
async fn a_process_that_dies_at_a_write_of_an_order_that_nobody_pays_is_gone_on_with() {
    check(Way::Unpaid).await;
}
