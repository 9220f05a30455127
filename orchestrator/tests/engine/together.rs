//! Two batches at the store at a time: never about the same saga, and neither before what it rests on.

use super::support::{World, cancels, now, pass, start};
use std::time::Duration;
use tercet::store::{Store, memory};
use tercet_core::Life;

const SECOND: Duration = Duration::from_secs(1);

fn world() -> World {
    let mut world = World::new();
    world.settings.second_batch = 0;
    world
}

#[tokio::test(start_paused = true)]
async fn a_saga_goes_on_while_another_is_being_written() {
    let world = world();
    let engine = world.run().await;
    world.store.faults().before_next_commit(None);
    world.store.faults().before_next_commit(memory::Fault::Stall);
    let stalls = start(&engine, "wait", 1).await;
    let begins = cancels(&engine, stalls);
    pass(SECOND).await;
    assert_eq!(world.store.faults().stalled(), 1);
    let other = start(&engine, "gift", 2).await;
    assert_eq!(world.store.saga(other).await.unwrap().unwrap().id, other);
    world.store.faults().release();
    assert_eq!(begins.await.unwrap().unwrap().state.life, Life::Cancelled);
}

/// What a parent tells its child is not written before the child is.
#[tokio::test(start_paused = true)]
async fn a_child_is_there_before_it_is_cancelled() {
    let world = world();
    let engine = world.run().await;
    world.store.faults().before_next_commit(None);
    world.store.faults().before_next_commit(memory::Fault::Stall);
    let saga = start(&engine, "keeper", 1).await;
    pass(SECOND).await;
    assert_eq!(world.store.faults().stalled(), 1, "the child's start");
    let cancelled = cancels(&engine, saga);
    pass(5 * SECOND).await;
    assert!(!cancelled.is_finished(), "the child is not there yet that it would cancel");
    world.store.faults().release();
    cancelled.await.unwrap().unwrap();
    // By itself the child would end, too, but in two hours.
    pass(5 * SECOND).await;
    assert_eq!(now(&engine, saga).await.state.life, Life::Cancelled);
}
