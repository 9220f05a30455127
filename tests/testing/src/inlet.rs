//! The way into a world's engine for what participants tell it: their outboxes, emptied by a pump.

use crate::{place::Participants, world::World};
use tercet::EngineError;
use tercet_core::Signalled;
use tercet_participant::{
    Database, Fault,
    database::Boxed,
    outbox::{Acknowledged, Completion, Ingress, Relay, Start, Swept, Told},
};

/// An [`Ingress`] into a world's engine, across its deaths. While the engine is asked, time goes on.
#[derive(Clone, Debug)]
pub struct Inlet<P>(World<P>);

impl<P: Participants> World<P> {
    /// The way into the engine, for a relay that a [pump](World::pump) turns.
    #[must_use]
    pub fn inlet(&self) -> Inlet<P> {
        Inlet(self.clone())
    }

    /// Sends what waits in the outbox of `database`, once: for a [pump](World::pump).
    ///
    /// # Errors
    /// When the database fails; what was not sent is sent by the next sweep.
    pub async fn sweep<D: Database>(&self, database: &D) -> Result<Swept, Fault> {
        Relay::new(database.clone(), self.inlet()).sweep().await
    }
}

impl<P: Participants> Ingress for Inlet<P> {
    fn complete(&self, completion: Completion) -> Boxed<'_, Acknowledged> {
        let Completion { saga, step, phase, answer } = completion;
        Box::pin(async move {
            let asked = self.0.ask(|engine| {
                let (step, answer) = (step.clone(), answer.clone());
                async move { engine.complete(saga, step, phase, answer).await }
            });
            acknowledged(asked.await)
        })
    }

    fn start(&self, start: Start) -> Boxed<'_, Acknowledged> {
        let Start { definition, key, input } = start;
        Box::pin(async move { acknowledged(self.0.start(definition.as_str(), key.as_str(), &input).await) })
    }

    fn signal(&self, told: Told) -> Boxed<'_, Acknowledged> {
        Box::pin(async move {
            let Told { id, definition, key, signal: name, payload } = told;
            let found = self.0.ask(|engine| {
                let (definition, key) = (definition.clone(), key.clone());
                async move { engine.find(definition, key).await }
            });
            match found.await {
                Ok(Some(row)) => acknowledged(self.0.tell(row.id, Signalled { id, name, payload, from: None }).await),
                // Its start may still be on the way.
                Ok(None) => Acknowledged::Unavailable(format!("no saga `{definition}` is known under the key `{key}`")),
                Err(error) => acknowledged::<()>(Err(error)),
            }
        })
    }
}

/// An engine that was not there was asked again: what it says now, it says for good, unless the fault is its own.
fn acknowledged<T>(said: Result<T, EngineError>) -> Acknowledged {
    match said {
        Ok(_) => Acknowledged::Yes,
        Err(error @ (EngineError::Quarantined { .. } | EngineError::Bug(_))) => {
            Acknowledged::Unavailable(error.to_string())
        }
        Err(error) => Acknowledged::Never(error.to_string()),
    }
}
