//! What is on its way between nodes while a shard, a loan or a node itself goes: asks, reads, answers, waits.

use super::support::{Says, World, cancels, done, ended, now, pass, registry_of, signal, start};
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tercet::{
    Engine, Until,
    store::{Store, memory},
};
use tercet_core::{Life, Millis, SagaId};

const SECOND: Duration = Duration::from_secs(1);

/// Two nodes, once they share.
async fn two_of(world: &World, other: &World) -> (Engine, Engine) {
    let nodes = (world.run().await, other.run().await);
    pass(3 * SECOND).await;
    nodes
}

async fn twenty(engine: &Engine) -> Vec<SagaId> {
    let mut sagas = Vec::new();
    for key in 0..20 {
        sagas.push(start(engine, "wait", key).await);
    }
    pass(SECOND).await;
    sagas
}

/// One of the node's own in its last shards: what it gives away are its first.
async fn one_that_stays(engine: &Engine) -> SagaId {
    twenty(engine).await.into_iter().max_by_key(|saga| saga.shard().get()).unwrap()
}

async fn one_that_goes(engine: &Engine) -> SagaId {
    twenty(engine).await.into_iter().min_by_key(|saga| saga.shard().get()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_ask_is_answered_with_what_was_done_though_other_shards_go_meanwhile() {
    let world = World::shared();
    let (one, two) = two_of(&world, &world).await;
    let saga = one_that_stays(&one).await;
    world.store.faults().before_next_commit(memory::Fault::Stall);
    let asked = cancels(&two, saga);
    pass(SECOND).await;
    assert_eq!(world.store.faults().stalled(), 1);
    let three = world.run().await;
    pass(2 * SECOND).await;
    assert!(world.view().await.owned_by(three.node()).len() > 300);
    world.store.faults().release();
    assert_eq!(asked.await.unwrap().unwrap().state.life, Life::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn an_ask_whose_batch_was_not_answered_is_answered_with_what_was_done() {
    for fault in [memory::Fault::AmbiguousLost, memory::Fault::AmbiguousWritten] {
        let world = World::shared();
        let (one, two) = two_of(&world, &world).await;
        let saga = one_that_stays(&one).await;
        world.store.faults().before_next_commit(fault);
        let answer = cancels(&two, saga).await.unwrap();
        assert_eq!(answer.unwrap().state.life, Life::Cancelled, "{fault:?}");
        assert_eq!(world.store.audit(saga).await.unwrap().len(), 1, "{fault:?}");
    }
}

/// A node says no to an ask for the sake of what it has not written yet, and dies: nothing of that was so.
#[tokio::test(start_paused = true)]
async fn a_no_is_said_when_what_it_rests_on_is_written() {
    let world = World::shared();
    let dead = world.mortal();
    let (one, two) = two_of(&dead, &world).await;
    let saga = one_that_stays(&one).await;
    world.store.faults().before_next_commit(memory::Fault::Stall);
    let _never_heard = cancels(&one, saga);
    pass(SECOND).await;
    let asked = cancels(&two, saga);
    pass(SECOND).await;
    dead.die();
    assert_eq!(asked.await.unwrap().unwrap().state.life, Life::Cancelled);
}

/// A journal that was read before another node wrote it is not what it says.
#[tokio::test(start_paused = true)]
async fn what_was_read_before_a_shard_went_and_came_back_is_not_believed() {
    let world = World::shared();
    let one = world.run().await;
    let saga = one_that_goes(&one).await;
    let looks = |engine: &Engine| {
        let engine = engine.clone();
        tokio::spawn(async move { now(&engine, saga).await })
    };
    world.store.faults().hold_next(memory::Read::Journals);
    let before = looks(&one);
    pass(SECOND / 10).await;
    let two = world.run().await;
    pass(2 * SECOND).await;
    assert!(world.view().await.owned_by(two.node()).have(saga));
    signal(&two, saga).await;
    two.shut_down().await;
    pass(SECOND).await;
    world.store.faults().hold_next(memory::Read::Journals);
    let after = looks(&one);
    pass(SECOND / 10).await;
    world.store.faults().release();
    assert_eq!(after.await.unwrap().state.signals.len(), 1);
    assert_eq!(before.await.unwrap().state.signals.len(), 0, "it was answered when the shard went");
}

/// All who wait at a node for sagas of another's are one question to the database, at each look.
#[tokio::test(start_paused = true)]
async fn who_waits_for_other_nodes_sagas_waits_together() {
    let world = World::shared();
    let (one, two) = two_of(&world, &world).await;
    let mut waiting = Vec::new();
    let mut sagas = Vec::new();
    for key in 0..300 {
        let saga = start(&one, "wait", key).await;
        sagas.push(saga);
        for _ in 0..2 {
            let two = two.clone();
            waiting.push(tokio::spawn(async move { ended(&two, saga).await }));
        }
    }
    pass(5 * SECOND).await;
    let before = world.store.counters().journals;
    pass(10 * SECOND).await;
    let looks = world.store.counters().journals - before;
    assert!((10..=40).contains(&looks), "{looks} reads in 10 s");
    let gone = tokio::time::timeout(SECOND, two.wait(sagas[0], Until::End)).await;
    assert!(gone.is_err());
    for saga in sagas {
        cancels(&one, saga).await.unwrap().unwrap();
    }
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap(), "cancelled");
    }
    pass(2 * SECOND).await;
    let before = world.store.counters().journals;
    pass(10 * SECOND).await;
    assert_eq!(world.store.counters().journals, before, "nobody waits any more");
}

/// A mark that a saga is set apart, made of what was read before another node took it, is not written over what that one wrote.
#[tokio::test(start_paused = true)]
async fn a_saga_set_apart_is_not_marked_past_a_hand_over() {
    let world = World::shared();
    let first = world.run().await;
    let saga = one_that_goes(&first).await;
    let lacks = world.run_with(registry_of(&["gift"])).await;
    pass(3 * SECOND).await;
    first.shut_down().await;
    pass(SECOND).await;
    world.store.faults().hold_next(memory::Read::Row);
    assert_eq!(lacks.wait(saga, Until::Now).await.unwrap_err().code(), "quarantined");
    let knows = world.run().await;
    pass(3 * SECOND).await;
    assert!(world.view().await.owned_by(knows.node()).have(saga));
    signal(&knows, saga).await;
    world.store.faults().release();
    pass(SECOND).await;
    let shown = world.store.saga(saga).await.unwrap().unwrap().projection;
    assert_eq!((shown.parked, shown.attention), (0, false), "{shown:?}");
}

/// What was lent to a node that dies is lent to another one that can run it.
#[tokio::test(start_paused = true)]
async fn what_was_lent_to_a_node_that_dies_is_lent_to_another() {
    let world = World::shared();
    let dead = world.mortal();
    let host = dead.run().await;
    world.say(|_| Says::Never);
    let mut sagas = Vec::new();
    for key in 0..20 {
        sagas.push(start(&host, "purchase", key).await);
    }
    let owner = world.run_with(registry_of(&["gift"])).await;
    pass(3 * SECOND).await;
    let lent = world.view().await.lent;
    assert!(!lent.is_empty() && lent.values().all(|to| *to == host.node()), "{lent:?}");
    let other = world.run().await;
    world.say(|_| done());
    dead.die();
    pass(60 * SECOND).await;
    for saga in sagas {
        assert_eq!(now(&owner, saga).await.state.life, Life::Confirmed);
    }
    assert!(world.view().await.lent.values().all(|to| *to == other.node()));
}

/// By a database's clock that jumps, leases run out that nobody has left, or never: nobody is taken over for that.
#[tokio::test(start_paused = true)]
async fn nobody_is_taken_over_when_the_databases_clock_jumps() {
    let ahead = Arc::new(AtomicI64::new(0));
    let clock = ahead.clone();
    let world = World::shared_with(move |now| Millis(now.0 + clock.load(Ordering::Relaxed)));
    let one = world.run().await;
    pass(SECOND / 3).await;
    let two = world.run().await;
    pass(5 * SECOND).await;
    let nodes = [one.node(), two.node()];
    for jump in [3_600_000, 60_000, -3_600_000, 10_000, 86_400_000] {
        ahead.fetch_add(jump, Ordering::Relaxed);
        pass(7 * SECOND + SECOND / 4).await;
        assert_eq!([one.node(), two.node()], nodes, "after a jump of {jump} ms");
    }
    let view = world.view().await;
    assert_eq!(nodes.map(|node| view.owned_by(node).len()), [512, 512]);
    for (key, engine) in [&one, &two].into_iter().enumerate() {
        let saga = start(engine, "gift", key).await;
        assert_eq!(ended(engine, saga).await, "confirmed");
    }
}
