//! Several nodes on one store: a start anywhere, a word for a saga of another node's, a node that goes, dies, stands still, comes back.

use super::support::{Says, World, done, ended, now, pass, registry_of, signal, start};
use std::{collections::BTreeMap, time::Duration};
use tercet::{Engine, EngineError, Health, Until, store::Store};
use tercet_core::{Action, Answer, Millis, Payload, Phase, SagaId, Signalled, StepInstance, hours};

const SAGAS: usize = 60;

/// So many of each node's own.
async fn started(nodes: &[&Engine], definition: &str) -> Vec<SagaId> {
    let mut sagas = Vec::new();
    for key in 0..SAGAS {
        sagas.push(start(nodes[key % nodes.len()], definition, key).await);
    }
    sagas
}

/// Shards of the nodes that the store knows.
async fn spread(world: &World) -> Vec<u32> {
    let view = world.view().await;
    view.members.iter().map(|member| view.owned_by(member.node).len()).collect()
}

async fn all_end(engine: &Engine, sagas: &[SagaId], outcome: &str) {
    for &saga in sagas {
        assert_eq!(ended(engine, saga).await, outcome);
    }
}

/// How often each step of each saga was asked to try.
fn tries(world: &World, contract: &str) -> BTreeMap<SagaId, usize> {
    let mut tries = BTreeMap::new();
    for (_, call) in world.calls(contract, Phase::Try) {
        *tries.entry(call.saga).or_default() += 1;
    }
    tries
}

#[tokio::test(start_paused = true)]
async fn nodes_that_come_share_evenly_and_whoever_is_asked_answers() {
    let world = World::shared();
    let one = world.run().await;
    assert_eq!(spread(&world).await, [1_024]);
    let two = world.run().await;
    let three = world.run().await;
    pass(Duration::from_secs(3)).await;
    assert_eq!(spread(&world).await, [342, 341, 341]);
    let sagas = started(&[&one, &two, &three], "purchase").await;
    for engine in [&three, &one, &two] {
        all_end(engine, &sagas, "confirmed").await;
    }
    let tries = tries(&world, "wallet.take/1");
    assert!(tries.len() == SAGAS && tries.values().all(|tries| *tries == 1), "{tries:?}");
    let again = start(&two, "purchase", 0).await;
    assert_eq!(again, sagas[0], "a key is one key, whoever is asked");
}

#[tokio::test(start_paused = true)]
async fn a_word_for_a_saga_of_another_node_is_heard_there() {
    let world = World::shared();
    let (one, two) = (world.run().await, world.run().await);
    pass(Duration::from_secs(3)).await;
    let sagas = started(&[&one, &two], "wait").await;
    for (n, &saga) in sagas.iter().enumerate() {
        let engine = [&one, &two][n % 3 / 2];
        match n % 4 {
            0 => drop(engine.cancel(saga, "me".to_owned(), "no more".to_owned()).await.unwrap()),
            _ => signal(engine, saga).await,
        }
    }
    let signalled: Vec<SagaId> = sagas.iter().enumerate().filter(|(n, _)| n % 4 > 0).map(|(_, saga)| *saga).collect();
    let cancelled: Vec<SagaId> = sagas.iter().enumerate().filter(|(n, _)| n % 4 == 0).map(|(_, saga)| *saga).collect();
    all_end(&one, &cancelled, "cancelled").await;
    // What cannot be is refused with the owner's own words.
    for (engine, &saga) in [&one, &two].into_iter().zip(&cancelled).chain([&two, &one].into_iter().zip(&cancelled)) {
        let again = engine.cancel(saga, "me".to_owned(), "again".to_owned()).await.unwrap_err();
        assert_eq!(again, EngineError::TooLate { saga, state: "cancelled", why: "it has ended" });
        let audit = engine.store().audit(saga).await.unwrap();
        assert_eq!(audit.len(), 1, "{audit:?}");
    }
    let unknown = SagaId::from_parts(1, [1; 10], sagas[0].shard());
    for engine in [&one, &two] {
        let no = engine.cancel(unknown, "me".to_owned(), "who".to_owned()).await.unwrap_err();
        assert_eq!(no, EngineError::UnknownSaga { saga: unknown });
        let signal = Signalled {
            id: "x".parse().unwrap(),
            name: "people.nothing/1".to_owned(),
            payload: Payload::null(),
            from: None,
        };
        let no = engine.signal(signalled[0], signal).await.unwrap_err();
        assert_eq!(no.code(), "unknown_signal");
        let step: StepInstance = "go".parse().unwrap();
        let no = engine.operate(signalled[0], step, Action::RetryNow, "me".to_owned(), "now".to_owned()).await;
        assert_eq!(no.unwrap_err().code(), "not_offered");
    }
    for saga in signalled {
        let heard = two.wait(saga, Until::Step("go".parse().unwrap())).await.unwrap();
        assert!(heard.state.step(&"sleep".parse().unwrap()).is_some(), "{:?}", heard.state.steps.keys());
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_goes_hands_over_at_once() {
    let world = World::shared();
    let (one, two) = (world.run().await, world.run().await);
    pass(Duration::from_secs(3)).await;
    world.say(|_| Says::Never);
    let sagas = started(&[&one, &two], "purchase").await;
    pass(Duration::from_secs(1)).await;
    world.say(|_| done());
    let before = tokio::time::Instant::now();
    one.shut_down().await;
    let took = before.elapsed();
    assert!(took < Duration::from_millis(900), "{took:?}");
    assert_eq!(spread(&world).await, [1_024]);
    assert!(matches!(one.health(), Health::Stopped(_)));
    let refused = one.start("gift".parse().unwrap(), None, "late".parse().unwrap(), Payload::of(&1).unwrap()).await;
    assert_eq!(refused.unwrap_err().code(), "stopped");
    all_end(&two, &sagas, "confirmed").await;
    two.shut_down().await;
    assert!(world.view().await.members.is_empty());
    // Nobody's lease has to run out.
    let three = world.run().await;
    assert_eq!(three.health(), Health::Ready);
    assert_eq!(start(&three, "purchase", 3).await, sagas[3]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_dies_is_taken_over_when_its_lease_has_run_out() {
    let world = World::shared();
    let one = world.run().await;
    let dead = world.mortal();
    let two = dead.run().await;
    pass(Duration::from_secs(3)).await;
    world.say(|_| Says::Never);
    let sagas = started(&[&one, &two], "purchase").await;
    pass(Duration::from_secs(1)).await;
    world.say(|_| done());
    dead.die();
    pass(world.settings.lease / 2).await;
    assert_eq!(spread(&world).await, [512, 512], "before its lease has run out nobody takes over");
    all_end(&one, &sagas, "confirmed").await;
    assert_eq!(spread(&world).await, [1_024]);
}

/// B17: whether others are there is judged by the database's clock alone; how far a node's own is ahead of it changes nothing.
#[tokio::test(start_paused = true)]
async fn b17_a_node_whose_clock_is_ahead_takes_over_in_time() {
    let world = World::shared_with(|now| Millis(now.0 - 7_200_000));
    let _one = world.run().await;
    let dead = world.mortal();
    let _two = dead.run().await;
    pass(Duration::from_secs(3)).await;
    dead.die();
    pass(world.settings.lease * 2).await;
    assert_eq!(spread(&world).await, [1_024]);
}

/// A node asks again in its own time, and goes on by itself.
#[tokio::test(start_paused = true)]
async fn a_store_that_refuses_at_once_is_not_asked_in_a_circle() {
    let world = World::shared();
    let one = world.run().await;
    world.store.faults().set_down(true);
    pass(world.settings.lease * 2).await;
    assert!(matches!(one.health(), Health::Unavailable(_)), "{:?}", one.health());
    world.store.faults().set_down(false);
    pass(Duration::from_secs(2)).await;
    assert_eq!(one.health(), Health::Ready);
}

/// G6: what a node writes that was away for longer than its lease is refused; it forgets all it had, and is a node like any other again.
#[tokio::test(start_paused = true)]
async fn b11_a_node_that_stood_still_past_its_lease_changes_nothing_and_joins_again() {
    let world = World::shared();
    let one = world.run().await;
    let slow = world.mortal();
    let two = slow.run().await;
    pass(Duration::from_secs(3)).await;
    world.say(|_| Says::After(Duration::from_secs(2), Answer::Done(Payload::of(&1).unwrap())));
    let sagas = started(&[&one, &two], "purchase").await;
    slow.stand_still(world.settings.lease * 3).await;
    all_end(&one, &sagas, "confirmed").await;
    pass(Duration::from_secs(5)).await;
    assert_eq!(two.health(), Health::Ready);
    assert_eq!(spread(&world).await, [512, 512]);
    let more = start(&two, "purchase", SAGAS).await;
    assert_eq!(ended(&two, more).await, "confirmed");
    for saga in sagas.into_iter().chain([more]) {
        let journal = world.store.journals(vec![saga]).await.unwrap().remove(0);
        assert!(journal.iter().enumerate().all(|(n, row)| row.seq as usize == n + 1), "{journal:?}");
        assert_eq!(now(&one, saga).await.state.life.as_str(), "confirmed");
    }
}

/// Timers and waits are whoever's the shards are.
#[tokio::test(start_paused = true)]
async fn timers_fire_wherever_their_shards_have_gone() {
    let world = World::shared();
    let one = world.run().await;
    let sagas = started(&[&one], "wait").await;
    let two = world.run().await;
    pass(Duration::from_secs(3)).await;
    let waiting = {
        let (two, sagas) = (two.clone(), sagas.clone());
        tokio::spawn(async move {
            for saga in sagas {
                two.wait(saga, Until::End).await.unwrap();
            }
        })
    };
    one.shut_down().await;
    let three = world.run().await;
    pass(hours(2) + Duration::from_secs(2)).await;
    waiting.await.unwrap();
    all_end(&three, &sagas, "cancelled").await;
    for saga in sagas {
        assert_eq!(world.store.journals(vec![saga]).await.unwrap()[0].len(), 2, "one entry for its timer");
    }
}

/// A saga whose shard is a node's that lacks its definition is run by one that has it; so is a start.
#[tokio::test(start_paused = true)]
async fn nodes_with_different_definitions_run_what_they_can() {
    let world = World::shared();
    let one = world.run_with(registry_of(&["wait", "parent"])).await;
    let two = world.run_with(registry_of(&["purchase", "gift"])).await;
    pass(Duration::from_secs(3)).await;
    assert_eq!(spread(&world).await, [512, 512]);
    let mut sagas = Vec::new();
    for definition in ["wait", "parent", "purchase", "gift"] {
        sagas.extend(started(&[&one, &two], definition).await);
    }
    let unknown = two.start("nothing".parse().unwrap(), None, "x".parse().unwrap(), Payload::null()).await;
    assert_eq!(unknown.unwrap_err().code(), "unknown_definition");
    let bad = two.start("wait".parse().unwrap(), None, "x".parse().unwrap(), Payload::of(&"text").unwrap()).await;
    assert_eq!(bad.unwrap_err().code(), "bad_input");
    // Each goes, and comes back, so that every shard changes hands.
    two.shut_down().await;
    let two = world.run_with(registry_of(&["purchase", "gift"])).await;
    pass(Duration::from_secs(3)).await;
    one.shut_down().await;
    pass(Duration::from_secs(3)).await;
    let one = world.run_with(registry_of(&["wait", "parent"])).await;
    pass(Duration::from_secs(5)).await;
    let (waits, others) = sagas.split_at(SAGAS);
    for (n, &saga) in waits.iter().enumerate() {
        signal([&one, &two][n % 2], saga).await;
    }
    all_end(&two, others, "confirmed").await;
    for &saga in waits {
        let heard = two.wait(saga, Until::Step("go".parse().unwrap())).await.unwrap();
        assert_eq!(heard.state.parked().count(), 0);
    }
    // What has ended is nobody's guest.
    pass(Duration::from_secs(5)).await;
    let view = world.view().await;
    assert!(view.lent.keys().all(|saga| waits.contains(saga)), "{:?}", view.lent.len());
}

/// A saga that was lent stays with its borrower, though its shard comes to it and goes on to a third; its call is not forgotten.
#[tokio::test(start_paused = true)]
async fn a_guest_stays_when_its_shard_passes_through_its_host() {
    let world = World::shared();
    let host = world.run_with(registry_of(&["purchase"])).await;
    let owner = world.run_with(registry_of(&["gift"])).await;
    pass(Duration::from_secs(3)).await;
    world.say(|_| Says::Never);
    let sagas = started(&[&host], "purchase").await;
    // Its shards go to the other node, which lends them.
    let third = world.run_with(registry_of(&["gift"])).await;
    pass(Duration::from_secs(3)).await;
    let lent = world.view().await.lent;
    assert!(!lent.is_empty() && lent.values().all(|to| *to == host.node()), "{lent:?}");
    // They come back with their shards, and go on to nodes that are new.
    owner.shut_down().await;
    third.shut_down().await;
    pass(Duration::from_secs(1)).await;
    let _new = [world.run_with(registry_of(&["gift"])).await, world.run_with(registry_of(&["gift"])).await];
    pass(Duration::from_secs(3)).await;
    let view = world.view().await;
    let passed = sagas.iter().filter(|saga| lent.contains_key(saga) && !view.owned_by(host.node()).have(**saga));
    assert!(passed.count() > 0, "no shard of a guest has passed through its host");
    world.say(|_| done());
    pass(hours(1)).await;
    for &saga in &sagas {
        assert_eq!(now(&host, saga).await.state.life.as_str(), "confirmed");
    }
}

/// Calls that take longer than everything that looks for lost work are made once all the same: whose they are is known, and a node that
/// finds them outstanding is the one that has made them.
#[tokio::test(start_paused = true)]
async fn b25_a_call_that_takes_its_time_is_made_once_whoever_looks() {
    let mut world = World::shared();
    world.settings.look_every = Duration::from_millis(100);
    world.settings.look_ahead = Duration::from_millis(100);
    world.settings.inbox_every = Duration::from_millis(100);
    let nodes = [world.run().await, world.run().await];
    pass(Duration::from_secs(3)).await;
    world.say(|_| Says::After(Duration::from_secs(1), Answer::Done(Payload::of(&1).unwrap())));
    let mut sagas = Vec::new();
    for key in 0..1_000 {
        sagas.push(start(&nodes[key % 2], "gift", key).await);
    }
    all_end(&nodes[0], &sagas, "confirmed").await;
    let bills = tries(&world, "wallet.take/1");
    assert!(bills.len() == 1_000 && bills.values().all(|bills| *bills == 1), "{} bills", bills.values().sum::<usize>());
}
