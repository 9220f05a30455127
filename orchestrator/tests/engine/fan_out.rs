//! A big fan-out through the engine: it ends, holds up nobody for long, and says what it took (printed, asserted nowhere).

use super::support::{Hold, World, ended, start, start_with};
use std::time::Instant;
use tercet_core::{Operation, Phase};

#[tokio::test(start_paused = true)]
async fn a_fan_out_of_a_thousand_ends_and_a_small_saga_beside_it_as_well() {
    let world = World::new();
    let engine = world.run().await;
    let began = Instant::now();
    let big = start_with(&engine, "many", 0, 1_000).await;
    let small = start(&engine, "gift", 0).await;
    assert_eq!(ended(&engine, small).await, "confirmed");
    let beside = began.elapsed();
    assert_eq!(ended(&engine, big).await, "confirmed");
    println!("a small saga beside it took {beside:?}, a thousand items took {:?}", began.elapsed());
    assert_eq!(world.calls(Hold::NAME, Phase::Try).len(), 1_000);
    assert_eq!(engine.sagas_in_memory().await.unwrap(), 0);
}
