//! What participants tell the engine: acknowledged when it is journaled, set aside when it can never succeed, else sent again.

use crate::support::{Setup, Shape, World, ended};
use std::sync::Arc;
use tercet_core::{Answer, Payload, Phase, SagaId, SignalId, minutes};
use tercet_participant::outbox::{Acknowledged, Completion, Ingress, Start, Told};
use tercet_shop::channel::{Behaviour, Ends};
use tercet_workflows::ingress::{Courier, EngineIngress};

async fn start(world: &World, definition: &str, key: &str, input: &Payload) -> Acknowledged {
    let ingress = EngineIngress(world.engine());
    let start = Start { definition: definition.parse().unwrap(), key: key.parse().unwrap(), input: input.clone() };
    world.drive(async move { ingress.start(start).await }).await
}

#[tokio::test]
async fn a_start_is_acknowledged_when_it_is_journaled_and_set_aside_when_it_never_can_be() {
    let world = World::new(91).await;
    let (case, other) = (world.case(Shape::Full).await, world.case(Shape::Full).await);
    assert_eq!(start(&world, "refund", "k", &case.input).await, Acknowledged::Yes);
    assert_eq!(start(&world, "refund", "k", &case.input).await, Acknowledged::Yes, "the same again");
    let never = |said: &Acknowledged| matches!(said, Acknowledged::Never(_));
    assert!(never(&start(&world, "refund", "k", &other.input).await), "another input under the key");
    assert!(never(&start(&world, "nobody_knows", "k", &case.input).await), "an unknown definition");
    assert!(never(&start(&world, "refund", "k-2", &Payload::of(&7).unwrap()).await), "an input that is none");
    let engine = world.engine();
    world.drive(async move { engine.shut_down().await }).await;
    let said = start(&world, "refund", "k-3", &other.input).await;
    assert!(matches!(said, Acknowledged::Unavailable(_)), "an engine that has stopped: {said:?}");
}

#[tokio::test]
async fn a_completion_of_a_saga_that_nobody_knows_and_a_signal_that_it_never_waits_for_are_set_aside() {
    let world = World::new(92).await;
    let trial = world.trial(Shape::Kept, |_, _| {}).await;
    let ingress = EngineIngress(world.engine());
    let completion = |saga| Completion {
        saga,
        step: "money".parse().unwrap(),
        phase: Phase::Try,
        answer: Answer::refused("late", "a late no"),
    };
    let (known, nobody) = (completion(trial.saga()), completion(SagaId::from_bytes([7; 16])));
    let told = |key: &str| Told {
        id: "s-1".parse::<SignalId>().unwrap(),
        definition: "refund".parse().unwrap(),
        key: key.parse().unwrap(),
        signal: "orders.paid/1".to_owned(),
        payload: Payload::null(),
    };
    let (unwanted, early) = (told(trial.case.refund.as_str()), told("not-yet-started"));
    let said = world
        .drive(async move {
            [
                ingress.complete(known).await,
                ingress.complete(nobody).await,
                ingress.signal(unwanted).await,
                ingress.signal(early).await,
            ]
        })
        .await;
    let words = said.each_ref().map(|said| match said {
        Acknowledged::Yes => "yes",
        Acknowledged::Never(_) => "never",
        Acknowledged::Unavailable(_) => "unavailable",
    });
    assert_eq!(words, ["yes", "never", "never", "unavailable"], "{said:?}");
}

#[tokio::test]
async fn the_courier_carries_a_callback_into_the_saga_that_waits_for_it() {
    let world = World::with(93, Setup { carries: false, ..Setup::default() }).await;
    let case = world.case(Shape::Full).await;
    world.behave(&case.refund, Behaviour::Accept { after: minutes(1), ends: Ends::Well, callbacks: 1 });
    let saga = world.start(case.definition, case.refund.as_str(), &case.input).await.unwrap().id;
    let courier = Arc::new(Courier::new(world.shop.clone(), world.engine(), world.process()));
    let round = || {
        let (courier, busy) = (courier.clone(), world.time.busy());
        world.drive(async move {
            let due = courier.round().await.unwrap();
            drop(busy);
            due
        })
    };
    world.until(saga, |state| state.steps.values().any(|step| step.pending.is_some())).await;
    let due = round().await.unwrap();
    world.pass(due.since(world.now())).await;
    assert_eq!(round().await, None, "nothing is due any more");
    assert_eq!(ended(&world.settled(saga).await), "confirmed");
    assert!(!world.wires.counts(saga).contains_key(&("money".to_owned(), Phase::Query)), "nobody had to ask");
}
