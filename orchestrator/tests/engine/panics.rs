//! A participant whose own code panics: its sagas wait for a person, are not hammered at, and go on when they are told to (B10).

use super::support::{Hold, Says, Take, Tell, World, done, ended, now, pass, start};
use std::time::Duration;
use tercet::{Engine, Until};
use tercet_core::{Action, Answer, Choice, Life, Operation, Phase, SagaId, StepInstance, choices, hours};

/// Whether the saga waits for a person at that step, and why.
async fn parked(engine: &Engine, saga: SagaId) -> Vec<String> {
    let state = now(engine, saga).await.state;
    state.parked().map(|(step, why)| format!("{step}: {why}")).collect()
}

async fn offered(engine: &Engine, saga: SagaId, step: &str) -> Vec<Choice> {
    let state = now(engine, saga).await.state;
    let graph = engine.registry().get(state.definition(), 1).unwrap();
    choices(graph, &state, &step.parse().unwrap())
}

fn panics() -> Says {
    Says::Now(Answer::retry("the handler panicked: index out of bounds"))
}

#[tokio::test(start_paused = true)]
async fn b10_an_undo_that_panics_parks_at_the_third_survives_restarts_and_is_retried_or_resolved_by_hand() {
    let world = World::new();
    let undo_panics = |call: &tercet_core::Call| match (call.contract.as_str(), call.phase) {
        (Hold::NAME, Phase::Cancel) => panics(),
        (Take::NAME, Phase::Try) => Says::Now(Answer::refused("no_money", "there is none")),
        _ => done(),
    };
    world.say(undo_panics);
    let mut engine = world.run().await;
    let (retried, resolved) = (start(&engine, "purchase", 0).await, start(&engine, "purchase", 1).await);
    let why = ["hold: its cancel panicked three times in a row: the handler panicked: index out of bounds"];
    pass(Duration::from_secs(10)).await;
    for _ in 0..3 {
        assert_eq!(parked(&engine, retried).await, why);
        assert_eq!(engine.show(resolved).await.unwrap().row.projection.parked, 1);
        pass(hours(2)).await;
        assert_eq!(world.calls(Hold::NAME, Phase::Cancel).len(), 6, "three for each, and no more");
        engine.shut_down().await;
        engine = world.run().await;
    }
    assert_eq!(offered(&engine, retried, "hold").await, [Choice::RetryNow, Choice::MarkDone]);
    world.say(|_| done());
    assert_eq!(ended(&engine, start(&engine, "gift", 0).await).await, "confirmed", "others go on");
    let step: StepInstance = "hold".parse().unwrap();
    let by = || ("ann".to_owned(), "mended".to_owned());
    engine.operate(retried, step.clone(), Action::RetryNow, by().0, by().1).await.unwrap();
    let null = tercet_core::Payload::null();
    engine.operate(resolved, step, Action::MarkDone { value: null, force: false }, by().0, by().1).await.unwrap();
    assert_eq!((ended(&engine, retried).await, ended(&engine, resolved).await), ("cancelled", "cancelled"));
    assert_eq!(world.calls(Hold::NAME, Phase::Cancel).len(), 7);
}

#[tokio::test(start_paused = true)]
async fn who_waits_until_a_saga_rests_hears_that_it_parks_and_later_that_it_ends() {
    let world = World::new();
    world.say(|call| match call.contract.as_str() {
        Tell::NAME => Says::After(hours(1), Answer::refused("no_address", "nobody lives there")),
        _ => done(),
    });
    let engine = world.run().await;
    let saga = start(&engine, "letter", 0).await;
    let rests = async || tokio::time::timeout(hours(2), engine.wait(saga, Until::Rest)).await.unwrap().unwrap().state;
    assert_eq!(rests().await.life, Life::Confirming);
    assert_eq!(parked(&engine, saga).await.len(), 1);
    world.say(|_| done());
    let (by, why) = ("ann".to_owned(), "moved in".to_owned());
    engine.operate(saga, "tell".parse().unwrap(), Action::RetryNow, by, why).await.unwrap();
    assert_eq!(ended(&engine, saga).await, "confirmed");
    assert_eq!(rests().await.life, Life::Confirmed);
}

#[tokio::test(start_paused = true)]
async fn a_try_that_panics_ends_as_its_policy_says() {
    let world = World::new();
    world.say(|call| if call.phase == Phase::Try { panics() } else { done() });
    let engine = world.run().await;
    let saga = start(&engine, "impatient", 0).await;
    assert_eq!(ended(&engine, saga).await, "cancelled");
    assert_eq!(world.calls(Hold::NAME, Phase::Try).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn two_panics_are_forgotten_over_an_answer() {
    let world = World::new();
    world.say(|call| match (call.contract.as_str(), call.attempt % 3) {
        (Tell::NAME, 0) => Says::Now(Answer::retry("not now")),
        (Tell::NAME, _) if call.attempt < 10 => panics(),
        _ => done(),
    });
    let engine = world.run().await;
    let saga = start(&engine, "payment", 0).await;
    assert_eq!(ended(&engine, saga).await, "confirmed");
    assert_eq!(world.calls(Tell::NAME, Phase::Try).len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_participant_that_panics_outside_of_its_barrier_is_unknown_and_parks_at_the_third() {
    let world = World::new();
    world.say(|call| if call.contract.as_str() == Tell::NAME { Says::Panic("torn") } else { done() });
    let engine = world.run().await;
    let saga = start(&engine, "payment", 0).await;
    pass(Duration::from_secs(60)).await;
    assert_eq!(
        parked(&engine, saga).await,
        ["tell: its try panicked three times in a row: the handler panicked: torn"]
    );
    assert_eq!(now(&engine, saga).await.state.life, Life::Confirming);
    assert_eq!(world.calls(Tell::NAME, Phase::Try).len(), 3);
}
