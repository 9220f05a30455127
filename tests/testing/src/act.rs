//! What a test, or a hook, does to sagas: signals, completions, cancels, what a person decides.

use crate::{
    locked,
    log::Mark,
    world::{World, named},
};
use serde::Serialize;
use std::sync::atomic::{AtomicU32, Ordering};
use tercet::{EngineError, engine::Shown};
use tercet_core::{
    Action, Answer, DefinitionName, Payload, Phase, SagaId, SagaKey, Signal, SignalId, Signalled, State, StepInstance,
};

/// Who does what the kit does.
const KIT: &str = "the test";

impl<P> World<P> {
    /// The saga under test.
    ///
    /// # Panics
    /// Before it was started.
    #[must_use]
    pub fn saga(&self) -> SagaId {
        self.try_saga().unwrap_or_else(|| panic!("the saga under test is not started yet"))
    }

    pub(crate) fn try_saga(&self) -> Option<SagaId> {
        let (definition, key) = locked(&self.inner.under_test).clone()?;
        let is_it = |state: &State| *state.definition() == definition && *state.key() == key;
        self.store.states().iter().find(|state| is_it(state)).map(State::saga)
    }

    /// The saga of a definition under a key, if there is one.
    ///
    /// # Panics
    /// When the store cannot be read.
    pub async fn find(&self, definition: &str, key: &str) -> Option<SagaId> {
        let (definition, key): (DefinitionName, SagaKey) = (named(definition), named(key));
        let asked = self.ask(|engine| {
            let (definition, key) = (definition.clone(), key.clone());
            async move { engine.find(definition, key).await }
        });
        asked.await.unwrap_or_else(|error| panic!("failed to read the store: {error}")).map(|row| row.id)
    }

    /// Asks a saga to undo itself. That it is being undone already is as good.
    ///
    /// # Errors
    /// The engine's: that it has decided to commit, say.
    pub async fn cancel(&self, saga: SagaId) -> Result<(), EngineError> {
        self.hook_did(format!("cancel {}", self.inner.log.name(saga)));
        let repeated = AtomicU32::new(0);
        let asked = self.ask(|engine| {
            repeated.fetch_add(1, Ordering::Relaxed);
            async move { engine.cancel(saga, KIT.to_owned(), "a test wants it".to_owned()).await }
        });
        match asked.await {
            // The process died when it was written and before it was answered: asked again, it is under way.
            Err(EngineError::TooLate { state: "cancelling" | "cancelled", .. })
                if repeated.load(Ordering::Relaxed) > 1 =>
            {
                Ok(())
            }
            answer => answer.map(drop),
        }
    }

    /// Does what a person decided about a step.
    ///
    /// # Errors
    /// The engine's: that the step does not offer that, say.
    pub async fn operate(&self, saga: SagaId, step: &str, action: Action) -> Result<(), EngineError> {
        self.hook_did(format!("{:?} {step}", action.choice()));
        let step: StepInstance = named(step);
        let asked = self.ask(|engine| {
            let (step, action) = (step.clone(), action.clone());
            async move { engine.operate(saga, step, action, KIT.to_owned(), "looked into it".to_owned()).await }
        });
        asked.await.map(drop)
    }

    /// Tells the saga under test something, as a participant that sends the same signal until it is taken.
    ///
    /// # Errors
    /// The engine's: that the saga waits for no such signal, say.
    pub async fn signal<S: Signal>(&self, signal: &S) -> Result<(), EngineError> {
        let signalled = Signalled {
            id: named::<SignalId>(&format!("test/{}", S::NAME)),
            name: S::NAME.to_owned(),
            payload: payload(signal),
            from: None,
        };
        self.tell(self.saga(), signalled).await
    }

    /// Tells a saga something.
    ///
    /// # Errors
    /// As for [`World::signal`].
    pub async fn tell(&self, saga: SagaId, signal: Signalled) -> Result<(), EngineError> {
        self.hook_did(format!("signal {} to {}", signal.name, self.inner.log.name(saga)));
        let asked = self.ask(|engine| {
            let signal = signal.clone();
            async move { engine.signal(saga, signal).await }
        });
        asked.await.map(drop)
    }

    /// Reports what became of a step of the saga under test that answered *pending*: done, with that reply.
    ///
    /// # Errors
    /// The engine's.
    pub async fn complete<T: Serialize + ?Sized + Sync>(&self, step: &str, reply: &T) -> Result<(), EngineError> {
        self.report(self.saga(), step, Answer::Done(payload(reply))).await
    }

    /// Reports an answer to a step's pending try.
    ///
    /// # Errors
    /// The engine's.
    pub async fn report(&self, saga: SagaId, step: &str, answer: Answer) -> Result<(), EngineError> {
        self.hook_did(format!("report {} for {step}", answer.as_str()));
        let step: StepInstance = named(step);
        let asked = self.ask(|engine| {
            let (step, answer) = (step.clone(), answer.clone());
            async move { engine.complete(saga, step, Phase::Try, answer).await }
        });
        asked.await.map(drop)
    }

    pub(crate) async fn show(&self, saga: SagaId) -> Result<Shown, EngineError> {
        self.ask(move |engine| async move { engine.show(saga).await }).await
    }

    fn hook_did(&self, what: String) {
        self.inner.log.of_world(Mark::Hook, what);
    }
}

/// A value as JSON.
pub(crate) fn payload<T: Serialize + ?Sized>(value: &T) -> Payload {
    Payload::of(value).unwrap_or_else(|error| panic!("a value cannot be written as JSON: {error}"))
}
