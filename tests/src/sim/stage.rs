//! A town in fair weather, and a hand on its clock: for scenarios that follow a script.

use super::{
    nodes::Nodes,
    people::{self, serve},
    town::Town,
    weather::Weather,
    world::{World, locked},
};
use serde::Serialize;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tercet_core::{
    Action, Answer, Answering, Call, ContractName, IdempotencyKey, Life, Millis, Operation, Participant, Payload,
    Phase, SagaId, State, StepInstance,
};

/// A town in fair weather, and a hand on its clock.
pub(crate) struct Stage {
    pub(crate) world: Arc<World>,
    pub(crate) weather: Arc<Weather>,
    pub(crate) town: Arc<Town>,
    pub(crate) began: Millis,
}

/// A participant of a script's own: how long it takes, and what it says.
struct Script {
    world: Arc<World>,
    contract: &'static str,
    says: fn(&Call) -> (u64, Answer),
}

impl Participant for Script {
    fn name(&self) -> &str {
        "script"
    }

    fn contracts(&self) -> Vec<ContractName> {
        vec![self.contract.parse().unwrap()]
    }

    fn call(&self, call: Call) -> Answering<'_> {
        let (takes, answer) = (self.says)(&call);
        Box::pin(async move {
            self.world.sleep(Duration::from_millis(takes)).await;
            answer
        })
    }
}

impl Stage {
    pub(crate) fn set() -> Self {
        let world = World::new(7, false);
        Self::of(world, None)
    }

    pub(crate) fn with_script(contract: &'static str, says: fn(&Call) -> (u64, Answer)) -> Self {
        let world = World::new(7, false);
        let script = Arc::new(Script { world: world.clone(), contract, says });
        Self::of(world, Some(script))
    }

    fn of(world: Arc<World>, script: Option<Arc<dyn Participant>>) -> Self {
        let weather = Weather::fair(&world);
        let town = Town::found_with(&world, &weather, Nodes::new(None), script);
        town.start_engine();
        serve(&town);
        let began = world.now();
        let stage = Self { world, weather, town, began };
        stage.until(1);
        stage
    }

    /// Goes on to that second of the play.
    pub(crate) fn until(&self, second: u64) {
        let wrong = self.town.run_until(self.began.plus(Duration::from_secs(second)), || false);
        assert!(!wrong, "{:?}", self.world.violation());
    }

    /// Goes on to that moment.
    pub(crate) fn until_time(&self, at: Millis) {
        let wrong = self.town.run_until(at, || false);
        assert!(!wrong, "{:?}", self.world.violation());
    }

    /// Goes on until a step has been asked.
    pub(crate) fn until_asked(&self, saga: SagaId, step: &str) {
        let step: StepInstance = step.parse().unwrap();
        let asked = || self.town.checker.with_states(|all| all.get(&saga).is_some_and(|s| s.step(&step).is_some()));
        assert!(!self.town.run_until(self.world.now().plus(Duration::from_secs(600)), asked));
        assert!(asked());
    }

    /// Runs `work` beside what goes on, to its end.
    pub(crate) fn act<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        let done = Arc::new(Mutex::new(None));
        let told = done.clone();
        self.world.spawn(self.town.people, async move {
            let value = work.await;
            *locked(&told) = Some(value);
        });
        let wrong = self.town.run_until(self.world.now().plus(Duration::from_secs(600)), || locked(&done).is_some());
        assert!(!wrong, "{:?}", self.world.violation());
        locked(&done).take().expect("it ends within ten minutes")
    }

    pub(crate) fn start<T: Serialize + Clone + Send + Sync + 'static>(
        &self, definition: &'static str, key: &str, input: &T,
    ) -> SagaId {
        let (town, key, input) = (self.town.clone(), key.to_owned(), input.clone());
        self.act(async move { people::start(&town, definition, &key, &input).await }).unwrap()
    }

    pub(crate) fn operate(&self, saga: SagaId, step: &str, action: Action) {
        let (engine, step) = (self.town.engine().unwrap(), step.parse::<StepInstance>().unwrap());
        let done = self.act(async move { engine.operate(saga, step, action, "ann".into(), "asked".into()).await });
        done.unwrap();
    }

    pub(crate) fn cancel(&self, saga: SagaId) {
        let engine = self.town.engine().unwrap();
        self.act(async move { engine.cancel(saga, "ann".into(), "changed my mind".into()).await }).unwrap();
    }

    pub(crate) fn state(&self, saga: SagaId) -> State {
        self.town.checker.with_states(|states| states[&saga].clone())
    }

    pub(crate) fn life(&self, saga: SagaId) -> Life {
        self.state(saga).life
    }

    /// The sagas of a definition, with where they are.
    pub(crate) fn lives(&self, definition: &str) -> Vec<Life> {
        let of = |states: &std::collections::BTreeMap<SagaId, State>| {
            let fits = states.values().filter(|state| state.definition().as_str() == definition);
            fits.map(|state| state.life).collect()
        };
        self.town.checker.with_states(of)
    }

    pub(crate) fn is_parked(&self, saga: SagaId) -> bool {
        self.state(saga).parked().next().is_some()
    }

    /// One call to a participant, without an engine.
    pub(crate) fn call<O: Operation>(&self, call: Call) -> Answer {
        let participant = self.town.participant(O::NAME);
        self.act(async move { participant.call(call).await })
    }

    /// A call of an operation, as an engine would make it now.
    pub(crate) fn a_call<O: Operation>(&self, phase: Phase, attempt: u32, request: &O::Request) -> Call {
        let saga = SagaId::from_parts(1, [3; 10], tercet_core::ShardId::FIRST);
        let step: StepInstance = "step".parse().unwrap();
        Call {
            saga,
            key: IdempotencyKey::of_step(saga, &step),
            step,
            contract: O::NAME.parse().unwrap(),
            phase,
            attempt,
            issued: self.world.now(),
            timeout: Duration::from_secs(5),
            expires: None,
            fence: false,
            request: Payload::of(request).unwrap(),
            reply: None,
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.town.kill_engine();
        self.world.end();
    }
}
