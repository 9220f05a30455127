//! Versions side by side: a saga finishes on the definition that it began with, and an edited one is refused (G15, B32).
#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex};
use tercet::{
    Engine, EngineError, Machine, Parts, Registry, Settings, Until, store::MemoryStore, transport::InProcess,
};
use tercet_core::{
    Answer, Answering, Call, ContractName, Definition, Life, Operation, Participant, Payload, Saga, SagaId, Signal,
    Signalled, hours, kind,
    schemars::{self, JsonSchema},
};

struct Work;
impl Operation for Work {
    const NAME: &'static str = "hands.work/1";
    type Kind = kind::Compensable;
    type Request = u32;
    type Reply = u32;
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Go {}
impl Signal for Go {
    const NAME: &'static str = "hands.go/1";
}

/// A, a wait, then `between` in order, then C.
fn flow(version: u32, between: &[&str]) -> Definition<u32, u32> {
    let saga = Saga::<u32>::new("flow", version);
    let mut last = saga.compensable("a", Work).request(saga.input(), |n| n);
    let go = saga.wait_for::<Go>("go").after(last).within(hours(1));
    for name in between.iter().chain(&["c"]) {
        last = saga.compensable(name, Work).after(go).request(last, |n| n);
    }
    saga.output(last, |n| n)
}

/// Notes who asked for which step.
#[derive(Default)]
struct Hands(Mutex<Vec<(SagaId, String)>>);

impl Participant for Hands {
    fn name(&self) -> &str {
        "hands"
    }

    fn contracts(&self) -> Vec<ContractName> {
        vec![Work::NAME.parse().unwrap()]
    }

    fn call(&self, call: Call) -> Answering<'_> {
        self.0.lock().unwrap().push((call.saga, call.step.to_string()));
        Box::pin(async move { Answer::Done(call.request) })
    }
}

struct Installation {
    store: MemoryStore,
    hands: Arc<Hands>,
}

impl Installation {
    async fn run(&self, definitions: Vec<Definition<u32, u32>>) -> Result<Engine, EngineError> {
        let mut registry = Registry::new();
        for definition in definitions {
            registry = registry.with(definition).unwrap();
        }
        let participants: [Arc<dyn Participant>; 1] = [self.hands.clone()];
        Engine::run(Parts {
            store: Arc::new(self.store.clone()),
            transport: Arc::new(InProcess::new(participants)),
            registry,
            env: Arc::new(Machine::new()),
            settings: Settings::of("default".parse().unwrap()),
        })
        .await
    }

    fn steps_of(&self, saga: SagaId) -> String {
        let asked = self.hands.0.lock().unwrap();
        asked.iter().filter(|(of, _)| *of == saga).map(|(_, step)| step.as_str()).collect::<Vec<_>>().join(" ")
    }
}

async fn start(engine: &Engine, key: &str) -> SagaId {
    let input = Payload::of(&7).unwrap();
    let id = engine.start("flow".parse().unwrap(), None, key.parse().unwrap(), input).await.unwrap().id;
    engine.wait(id, Until::Step("a".parse().unwrap())).await.unwrap();
    id
}

async fn go(engine: &Engine, saga: SagaId) -> Life {
    let payload = Payload::of(&Go {}).unwrap();
    let signal = Signalled { id: "go".parse().unwrap(), name: Go::NAME.to_owned(), payload, from: None };
    engine.signal(saga, signal).await.unwrap();
    engine.wait(saga, Until::End).await.unwrap().state.life
}

#[tokio::test]
async fn b32_a_saga_finishes_on_the_definition_that_it_began_with() {
    let here = Installation { store: MemoryStore::new(), hands: Arc::default() };
    let old = here.run(vec![flow(1, &["b"])]).await.unwrap();
    let began = start(&old, "old").await;
    old.shut_down().await;

    let new = here.run(vec![flow(1, &["b"]), flow(2, &["x", "b"])]).await.unwrap();
    let later = start(&new, "new").await;
    assert_eq!((go(&new, began).await, go(&new, later).await), (Life::Confirmed, Life::Confirmed));
    assert_eq!((here.steps_of(began), here.steps_of(later)), ("a b c".to_owned(), "a x b c".to_owned()));
    new.shut_down().await;
}

#[tokio::test]
async fn b32_an_edited_definition_under_its_old_version_is_refused_with_the_sagas_that_would_break() {
    let here = Installation { store: MemoryStore::new(), hands: Arc::default() };
    let old = here.run(vec![flow(1, &["b"])]).await.unwrap();
    let began = start(&old, "old").await;
    old.shut_down().await;

    let edited = here.run(vec![flow(1, &["x", "b"])]).await.unwrap_err();
    assert_eq!(edited, EngineError::Edited { name: "flow".to_owned(), version: 1, unfinished: 1 });
    let again = here.run(vec![flow(1, &["b"])]).await.unwrap();
    assert_eq!(go(&again, began).await, Life::Confirmed);
    assert_eq!(here.steps_of(began), "a b c");
    again.shut_down().await;
}
