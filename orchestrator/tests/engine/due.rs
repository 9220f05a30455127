//! Very many timers that are due at once: each is claimed once, and nobody else waits for them.

use super::support::{World, ended, pass, start};
use std::time::Duration;
use tercet::Until;
use tercet_core::{Life, hours};

const WAITING: usize = 10_000;

#[tokio::test(start_paused = true)]
async fn b14_ten_thousand_due_at_once_write_an_entry_each_and_a_saga_that_is_started_meanwhile_goes_on() {
    let world = World::new();
    let engine = world.run().await;
    let mut sagas = Vec::new();
    for key in 0..WAITING {
        sagas.push(start(&engine, "wait", key).await);
    }
    pass(hours(2) - Duration::from_millis(10)).await;
    assert_eq!(engine.sagas_in_memory().await.unwrap(), 0);
    tokio::time::advance(Duration::from_millis(11)).await;
    let meanwhile = start(&engine, "gift", 0).await;
    assert_eq!(ended(&engine, meanwhile).await, "confirmed");
    for &saga in &sagas {
        assert_eq!(engine.wait(saga, Until::End).await.unwrap().state.life, Life::Cancelled);
    }
    let journals = engine.store().journals(sagas.clone()).await.unwrap();
    assert!(journals.iter().all(|journal| journal.len() == 2), "one entry for each timer");
    assert_eq!(engine.store().timers_of(sagas).await.unwrap(), [], "and none is left");
    assert_eq!(engine.sagas_in_memory().await.unwrap(), 0);
}
