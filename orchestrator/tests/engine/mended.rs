//! What could not be read and can be again shows as what it is, at once (B07).

use super::support::{World, ended, pass, registry, signal, start};
use std::time::Duration;
use tercet::{EngineError, Registry, Until};
use tercet_core::hours;

#[tokio::test(start_paused = true)]
async fn b07_a_saga_set_apart_shows_parked_and_once_it_can_be_read_no_longer_though_nothing_else_happens() {
    let world = World::new();
    let engine = world.run().await;
    let saga = start(&engine, "wait", 0).await;
    let fine = engine.show(saga).await.unwrap().row.projection;
    assert!(fine.parked == 0 && fine.wakes.is_some());
    engine.shut_down().await;

    // A build that has lost the definition: somebody asks, and the saga is set apart.
    let engine = world.run_with(Registry::new()).await;
    let asked = engine.wait(saga, Until::Now).await;
    assert!(matches!(asked, Err(EngineError::Quarantined { .. })), "{asked:?}");
    pass(Duration::from_secs(1)).await;
    let apart = engine.show(saga).await.unwrap().row.projection;
    assert!(apart.parked == 1 && apart.attention && apart.output.unwrap().contains("not registered here"));
    engine.shut_down().await;

    let engine = world.run_with(registry()).await;
    pass(Duration::from_secs(1)).await;
    let mended = engine.show(saga).await.unwrap().row.projection;
    assert_eq!(tercet::store::Projection { updated: fine.updated, ..mended }, fine);
    signal(&engine, saga).await;
    pass(hours(25)).await;
    assert_eq!(ended(&engine, saga).await, "confirmed");
}
