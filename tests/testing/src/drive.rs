//! Letting time go on: until the engine answers, until a saga is so, until nothing is left to happen.

use crate::world::{World, named};
use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};
use tercet::{
    Engine, EngineError, StartedSaga, Until,
    store::{Shards, Store},
};
use tercet_core::{Command, Entry, Payload, SagaId, State, outstanding};
use tokio::task::JoinHandle;

/// How long a hook waits before it asks again an engine that was not there.
const AGAIN: Duration = Duration::from_millis(1);

/// A saga to be started: its definition, key and input.
pub type Start<'a> = (&'a str, &'a str, Payload);

impl<P> World<P> {
    /// Lets time go on until `task` is done. The process must not die meanwhile.
    ///
    /// # Panics
    /// When nothing is ever due again, and it is not done.
    pub async fn drive<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> T {
        if self.within {
            let _waiting = self.time.waiting();
            return task.await;
        }
        let task = tokio::spawn(task);
        loop {
            self.time.quiet().await;
            if task.is_finished() {
                return joined(task.await);
            }
            assert!(self.time.advance(), "{}: what is waited for never comes", self.seed());
        }
    }

    /// Asks the engine; when its process dies over it, asks the next one.
    ///
    /// # Errors
    /// The engine's own, but that it is not there.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn ask<T, F>(&self, ask: impl Fn(Engine) -> F) -> Result<T, EngineError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, EngineError>> + Send + 'static,
    {
        let begun = self.time.now();
        loop {
            let answer = if self.within { self.ask_within(&ask).await } else { self.ask_once(&ask).await };
            match answer {
                Some(Err(EngineError::Unavailable(_) | EngineError::Stopped(_))) => self.turn().await,
                Some(answer) => return answer,
                None => {}
            }
            let patience = self.inner.setup.patience;
            assert!(self.time.now().since(begun) < patience, "{}: the engine does not answer", self.seed());
        }
    }

    async fn ask_within<T, F>(&self, ask: impl Fn(Engine) -> F) -> Option<Result<T, EngineError>>
    where
        F: Future<Output = Result<T, EngineError>>,
    {
        let Some(engine) = self.try_engine() else {
            self.turn().await;
            return None;
        };
        let _waiting = self.time.waiting();
        Some(ask(engine).await)
    }

    /// `None` when the process died over it.
    async fn ask_once<T, F>(&self, ask: impl Fn(Engine) -> F) -> Option<Result<T, EngineError>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, EngineError>> + Send + 'static,
    {
        let task = tokio::spawn(ask(self.engine()));
        self.finish([&task]).await;
        if self.time.has_crashed() {
            task.abort();
            self.kill().await;
            return None;
        }
        Some(joined(task.await))
    }

    /// Lets time go on until all of these are done, or the process is to die.
    async fn finish<'a, T: 'a>(&self, tasks: impl IntoIterator<Item = &'a JoinHandle<T>>) {
        let mut open: Vec<_> = tasks.into_iter().collect();
        loop {
            self.time.quiet().await;
            open.retain(|task| !task.is_finished());
            if open.is_empty() || self.time.has_crashed() {
                return;
            }
            assert!(self.time.advance(), "{}: the engine never answers", self.seed());
        }
    }

    /// Lets what is under way go on, then time by one step.
    ///
    /// # Panics
    /// When nothing is ever due again.
    pub async fn turn(&self) {
        if self.within {
            return self.time.sleep_within(AGAIN).await;
        }
        self.time.quiet().await;
        if self.time.has_crashed() {
            return self.kill().await;
        }
        assert!(self.time.advance(), "{}: nothing is ever due again", self.seed());
    }

    /// Lets that much time pass.
    pub async fn pass(&self, time: Duration) {
        if self.within {
            return self.time.sleep_within(time).await;
        }
        let until = self.time.now().plus(time);
        let sleep = self.time.sleep(time);
        self.drive(sleep).await;
        assert!(self.time.now() >= until);
    }

    /// Starts a saga.
    ///
    /// # Errors
    /// The engine's: an unknown definition, a bad input, a taken key.
    pub async fn start(&self, definition: &str, key: &str, input: &Payload) -> Result<StartedSaga, EngineError> {
        let (definition, key, input) = (named(definition), named(key), input.clone());
        self.ask(|engine| start(engine, &definition, &key, &input)).await
    }

    /// Starts these at once; their ids, in their order. The process may die meanwhile.
    ///
    /// # Panics
    /// When one cannot be started.
    pub async fn start_all(&self, starts: &[Start<'_>]) -> Vec<SagaId> {
        let mut sagas = BTreeMap::new();
        while sagas.len() < starts.len() {
            let unstarted = starts.iter().enumerate().filter(|(at, _)| !sagas.contains_key(at));
            let tasks: Vec<_> = unstarted
                .map(|(at, (definition, key, input))| {
                    (at, tokio::spawn(start(self.engine(), &named(definition), &named(key), input)))
                })
                .collect();
            self.finish(tasks.iter().map(|(_, task)| task)).await;
            if self.time.has_crashed() {
                self.kill().await;
            }
            for (at, task) in tasks {
                match joined(task.await) {
                    Ok(started) => drop(sagas.insert(at, started.id)),
                    Err(EngineError::Unavailable(_) | EngineError::Stopped(_)) => {}
                    Err(error) => panic!("failed to start {}: {error}", starts[at].1),
                }
            }
        }
        sagas.into_values().collect()
    }

    /// The saga as it is now.
    ///
    /// # Panics
    /// When it is not known.
    pub async fn state(&self, saga: SagaId) -> Arc<State> {
        let asked = self.ask(move |engine| async move { engine.wait(saga, Until::Now).await }).await;
        asked.unwrap_or_else(|error| panic!("failed to read saga {saga}: {error}")).state
    }

    /// Lets time go on until the saga is so.
    ///
    /// # Panics
    /// When it does not become so.
    pub async fn until(&self, saga: SagaId, is_so: impl Fn(&State) -> bool) -> Arc<State> {
        let begun = self.time.now();
        loop {
            let state = self.state(saga).await;
            if is_so(&state) {
                return state;
            }
            if self.time.now().since(begun) > self.inner.setup.patience {
                panic!("{}: the saga is stuck: {state:#?}", self.seed());
            }
            self.turn().await;
        }
    }

    /// Lets time go on until the saga has ended, or a step of it is parked and all else is done.
    pub async fn settled(&self, saga: SagaId) -> Arc<State> {
        self.until(saga, |state| state.life.is_ended() || is_parked(state)).await
    }

    /// Starts a saga and lets it go to its end, or until it is parked.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn run(&self, definition: &str, key: &str, input: &Payload) -> Arc<State> {
        let started = self.start(definition, key, input).await;
        let started = started.unwrap_or_else(|error| panic!("failed to start {definition}: {error}"));
        self.settled(started.id).await
    }

    /// A saga's journal.
    ///
    /// # Panics
    /// When the saga is not known.
    pub async fn entries(&self, saga: SagaId) -> Vec<Entry> {
        let shown = self.ask(move |engine| async move { engine.show(saga).await }).await;
        shown.unwrap_or_else(|error| panic!("failed to read saga {saga}: {error}")).entries
    }

    /// Lets time go on until every saga has ended or waits for a person, and nothing is on the wires any more. Says which sagas are
    /// stuck when they never come there.
    pub(crate) async fn come_to_rest(&self) -> Result<(), String> {
        let begun = self.time.now();
        loop {
            self.time.quiet().await;
            if self.time.has_crashed() {
                self.kill().await;
                continue;
            }
            if self.wires.under_way() == 0 && self.inner.hooks.acting() == 0 && self.is_at_rest().await {
                return Ok(());
            }
            if self.time.now().since(begun) > self.inner.setup.patience || !self.time.advance() {
                return Err(self.stuck());
            }
        }
    }

    async fn is_at_rest(&self) -> bool {
        let states = self.store.states();
        if states.iter().all(|state| state.life.is_ended()) {
            return true;
        }
        let idle = |state: &State| state.life.is_ended() || outstanding(state).is_empty();
        let parked = states.iter().any(|state| state.parked().next().is_some());
        parked
            && states.iter().all(idle)
            && self.store.inbox(Shards::ALL, Vec::new(), 1).await.is_ok_and(|rows| rows.is_empty())
    }

    fn stuck(&self) -> String {
        let name = |state: &State| self.inner.log.name(state.saga());
        let open = self.store.states().into_iter().filter(|state| !state.life.is_ended());
        let words = |state: &State| {
            let calls = outstanding(state);
            let waits: Vec<_> = calls.iter().map(waits_for).collect();
            format!("{} is {} and waits for {}", name(state), state.life.as_str(), waits.join(", "))
        };
        let open: Vec<_> = open.map(|state| words(&state)).collect();
        format!("it never ends: {}", open.join("; "))
    }

    fn seed(&self) -> String {
        format!("seed {}", self.inner.setup.seed)
    }
}

fn waits_for(command: &Command) -> String {
    match command {
        Command::Call(call) => format!("the {} of {}", call.phase, call.step),
        Command::Tell { step, .. } => format!("the verdict of {step}"),
        Command::Wake { timer, .. } => format!("{timer:?}"),
    }
}

fn start(
    engine: Engine, definition: &tercet_core::DefinitionName, key: &tercet_core::SagaKey, input: &Payload,
) -> impl Future<Output = Result<StartedSaga, EngineError>> + Send + use<> {
    let (definition, key, input) = (definition.clone(), key.clone(), input.clone());
    async move { engine.start(definition, None, key, input).await }
}

/// What a task came to; its panic is this one's.
fn joined<T>(done: Result<T, tokio::task::JoinError>) -> T {
    done.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(error) => panic!("{error}"),
    })
}

/// A step is parked, and no other call is outstanding.
fn is_parked(state: &State) -> bool {
    state.parked().next().is_some() && !outstanding(state).iter().any(|command| matches!(command, Command::Call(_)))
}
