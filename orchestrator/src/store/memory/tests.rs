//! The store in memory: conformance, and each way in which it fails.

use super::*;
use crate::store::{
    Change, NodeId,
    conformance::{self, Tested},
    join, limit,
};
use std::{
    future::poll_fn,
    pin::pin,
    task::{Context, Poll, Waker},
};

crate::store_conformance!(async { (Arc::new(MemoryStore::new()) as Tested, ()) });

crate::store_conformance!(shared fn every_check_of_nodes);

#[tokio::test]
async fn conformance_of_a_shared_one() {
    every_check_of_nodes(|| async { (Arc::new(MemoryStore::shared(Arc::new(|| Millis(1_000)))) as Tested, ()) }).await;
}

/// One poll, on no runtime.
fn now<T>(stored: Stored<'_, T>) -> Result<T, StoreError> {
    match pin!(stored).as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("the store in memory waits for nothing"),
    }
}

fn batch(seq: u32) -> Batch {
    let saga = SagaId::from_bytes([1; 16]);
    let entry = JournalRow { saga, seq, at: Millis(0), entry: b"{}".to_vec() };
    conformance::batch(Vec::new(), vec![Change { entries: vec![entry], ..Change::default() }])
}

fn rows(store: &MemoryStore) -> u64 {
    store.counters().rows
}

#[test]
fn unavailable_writes_nothing() {
    let store = MemoryStore::new();
    let node = now(Box::pin(join(&store, NodeId(1)))).unwrap();
    store.faults().before_next_commit(None);
    store.faults().before_next_commit(Fault::Unavailable);
    now(store.commit(node, batch(1))).unwrap();
    assert!(matches!(now(store.commit(node, batch(2))), Err(StoreError::Unavailable(_))));
    assert_eq!(rows(&store), 1);
    now(store.commit(node, batch(2))).unwrap();
}

#[test]
fn an_ambiguous_commit_is_written_or_lost_as_it_was_told() {
    let store = MemoryStore::new();
    let node = now(Box::pin(join(&store, NodeId(1)))).unwrap();
    store.faults().before_next_commit(Fault::AmbiguousLost);
    store.faults().before_next_commit(Fault::AmbiguousWritten);
    assert!(matches!(now(store.commit(node, batch(1))), Err(StoreError::Ambiguous(_))));
    assert_eq!(rows(&store), 0);
    assert!(matches!(now(store.commit(node, batch(1))), Err(StoreError::Ambiguous(_))));
    assert_eq!(rows(&store), 1);
}

#[test]
fn a_late_commit_lands_unless_the_incarnation_was_raised() {
    let store = MemoryStore::new();
    let node = now(Box::pin(join(&store, NodeId(1)))).unwrap();
    let faults = store.faults();
    faults.before_next_commit(Fault::AmbiguousLate);
    assert!(matches!(now(store.commit(node, batch(1))), Err(StoreError::Ambiguous(_))));
    assert_eq!((rows(&store), faults.land_late(), rows(&store)), (0, 1, 1));
    faults.before_next_commit(Fault::AmbiguousLate);
    assert!(matches!(now(store.commit(node, batch(2))), Err(StoreError::Ambiguous(_))));
    now(store.raise(node, node.later(0))).unwrap();
    assert_eq!((faults.land_late(), rows(&store)), (0, 1));
}

#[test]
fn a_stalled_commit_goes_on_when_released_and_is_lost_with_its_engine() {
    let store = MemoryStore::new();
    let node = now(Box::pin(join(&store, NodeId(1)))).unwrap();
    let faults = store.faults();
    faults.before_next_commit(Fault::Stall);
    faults.before_next_commit(Fault::Stall);
    let mut waits = store.commit(node, batch(1));
    let mut dies = store.commit(node, batch(1));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(waits.as_mut().poll(&mut cx).is_pending());
    assert!(dies.as_mut().poll(&mut cx).is_pending());
    assert_eq!((faults.stalled(), rows(&store)), (2, 0));
    drop(dies);
    faults.release();
    assert!(matches!(waits.as_mut().poll(&mut cx), Poll::Ready(Ok(_))));
    drop(waits);
    assert_eq!(rows(&store), 1);
}

#[tokio::test]
async fn a_release_wakes_who_waits() {
    let store = MemoryStore::new();
    let node = join(&store, NodeId(1)).await.unwrap();
    let faults = store.faults();
    faults.before_next_commit(Fault::Stall);
    let mut waits = store.commit(node, batch(1));
    let mut released = false;
    poll_fn(|cx| {
        let answer = waits.as_mut().poll(cx);
        if !std::mem::replace(&mut released, true) {
            assert!(answer.is_pending());
            faults.release();
        }
        answer
    })
    .await
    .unwrap();
}

#[test]
fn a_store_that_is_down_fails_every_method_until_it_is_healed() {
    let store = MemoryStore::new();
    let node = now(Box::pin(join(&store, NodeId(1)))).unwrap();
    store.faults().set_down(true);
    assert!(matches!(now(store.commit(node, batch(1))), Err(StoreError::Unavailable(_))));
    assert!(matches!(now(store.raise(node, node.later(0))), Err(StoreError::Unavailable(_))));
    assert!(matches!(now(store.unfinished(Shards::ALL, None, 1)), Err(StoreError::Unavailable(_))));
    store.faults().heal();
    now(store.commit(node, batch(1))).unwrap();
}

#[test]
fn what_was_written_outlives_the_engine_and_is_counted() {
    let store = MemoryStore::new();
    let engines = store.clone();
    let node = now(Box::pin(join(&engines, NodeId(1)))).unwrap();
    now(engines.commit(node, batch(1))).unwrap();
    assert!(now(engines.commit(node, batch(1))).is_err());
    drop(engines);
    assert_eq!(store.counters(), Counters { commits: 1, rows: 1, projections: 0, timers: 0, journals: 0 });
    assert_eq!(store.inspect(|all| all.written.clone()), [(SagaId::from_bytes([1; 16]), 1)]);
}

#[test]
fn the_limit_is_measured_through_commits_of_the_asked_size() {
    let store = MemoryStore::new();
    let limit = now(Box::pin(limit::measure(&store, 256, 250, 21))).unwrap();
    assert!(limit.rows_per_s > 0.0 && limit.commit_ms_p50 > 0.0, "{limit:?}");
    assert_eq!(store.counters(), Counters { commits: 21, rows: 21 * 256, projections: 0, timers: 0, journals: 0 });
    store.inspect(|all| {
        assert_eq!(all.journals.len(), 3 * 256);
        assert!(all.journals.values().flatten().all(|row| row.entry.len() == 250));
    });
}
