//! Every single-fault world of an order that is paid, and of one that nobody pays: paid with all that it holds, or cancelled with
//! nothing left over.

use crate::{
    buyers::{Way, paid_for, world},
    faults::but_for_its_end,
    support::{
        Delta, Kept,
        kit::{self, Cast},
    },
};
use std::sync::Arc;
use tercet_core::Payload;
use tercet_shop::Ledger;
use tercet_testing::{End, Kind};
use tercet_workflows::create_order::NAME;

type Town = tercet_testing::World<Cast>;

async fn check(world: Town, before: Arc<Ledger>, whole: Arc<Delta>) -> Result<(), String> {
    let delta = world.participants().delta(&before).await?;
    let (delta, should) = match world.end() {
        End::Confirmed => (delta, (*whole).clone()),
        End::Cancelled => (but_for_its_end(delta)?, Delta::nothing()),
        End::Parked => return Err("it is parked".to_owned()),
    };
    if delta == should { Ok(()) } else { Err(format!("this has changed:\n{delta}\nand this should:\n{should}")) }
}

async fn check_way(way: Way) {
    let sold = world(371, Kept::InMemory).await;
    let (_, whole) = sold.undisturbed_order(Way::Paid).await;
    let request = sold.buyer().await;
    let (before, whole) = (Arc::new(sold.ledger().await), Arc::new(whole));
    let (registry, input) = (tercet_workflows::registry().unwrap(), Payload::of(&request).unwrap());
    let mut worlds = kit::worlds(registry, &sold, (NAME, request.key.as_str(), &input));
    if way == Way::Unpaid {
        // Nothing else comes while it waits; that the deadline races with a payment is the other way's.
        worlds = worlds.without(Kind::Timer);
    } else {
        worlds = worlds.when("paid", move |world| async move {
            // Too late in a world in which somebody cancelled: that is the saga's to say.
            world.signal(&paid_for(world.saga())).await.unwrap();
        });
    }
    let counted = before.clone();
    worlds = worlds.figures(move |world| {
        let before = counted.clone();
        async move { Delta::between(&before, world.participants().last().await).into_figures() }
    });
    worlds.clean_slate(move |world| check(world, before.clone(), whole.clone())).run().await;
}

#[tokio::test]
async fn every_single_fault_world_of_an_order_that_is_paid_ends_well() {
    check_way(Way::Paid).await;
}

#[tokio::test]
async fn every_single_fault_world_of_an_order_that_nobody_pays_ends_well() {
    check_way(Way::Unpaid).await;
}
