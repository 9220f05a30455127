//! From the shop into the engine, in one process: what participants report, start and tell, and the task that carries it.

use std::{sync::Arc, time::Duration};
use tercet::{Engine, EngineError, Env, engine::Health};
use tercet_core::{Millis, Signalled};
use tercet_participant::{
    database::Boxed,
    outbox::{Acknowledged, Completion, Ingress, Start, Told},
};
use tercet_shop::{
    Shop,
    shop::{Relays, ShopError},
};

/// Between two rounds at most.
const ROUND_EVERY: Duration = Duration::from_secs(1);

/// The way into an engine of this process.
#[derive(Clone, Debug)]
pub struct EngineIngress(pub Engine);

impl Ingress for EngineIngress {
    fn complete(&self, completion: Completion) -> Boxed<'_, Acknowledged> {
        let Completion { saga, step, phase, answer } = completion;
        Box::pin(async move { acknowledged(self.0.complete(saga, step, phase, answer).await) })
    }

    fn start(&self, start: Start) -> Boxed<'_, Acknowledged> {
        let Start { definition, key, input } = start;
        Box::pin(async move { acknowledged(self.0.start(definition, None, key, input).await) })
    }

    fn signal(&self, told: Told) -> Boxed<'_, Acknowledged> {
        Box::pin(async move {
            let Told { id, definition, key, signal, payload } = told;
            match self.0.find(definition.clone(), key.clone()).await {
                Ok(Some(row)) => {
                    let signalled = Signalled { id, name: signal, payload, from: None };
                    acknowledged(self.0.signal(row.id, signalled).await)
                }
                // Its start may still be on the way.
                Ok(None) => Acknowledged::Unavailable(format!("no saga `{definition}` is known under the key `{key}`")),
                Err(error) => acknowledged::<()>(Err(error)),
            }
        })
    }
}

/// Only what can never succeed is set aside; all else is sent again.
fn acknowledged<T>(result: Result<T, EngineError>) -> Acknowledged {
    let Err(error) = result else { return Acknowledged::Yes };
    if error.may_pass() { Acknowledged::Unavailable(error.to_string()) } else { Acknowledged::Never(error.to_string()) }
}

/// Carries what the shop has to say: the channel's reports into the gateway, and outboxes into the engine.
pub struct Courier {
    shop: Arc<Shop>,
    engine: Engine,
    relay: Relays<EngineIngress>,
    env: Env,
}

impl Courier {
    /// A courier between that shop and that engine.
    #[must_use]
    pub fn new(shop: Arc<Shop>, engine: Engine, env: Env) -> Self {
        let relay = shop.relay(EngineIngress(engine.clone()));
        Self { shop, engine, relay, env }
    }

    /// One round; says when the channel has something due next, if it has.
    ///
    /// # Errors
    /// When a database fails; nothing is lost, go again.
    pub async fn round(&self) -> Result<Option<Millis>, ShopError> {
        self.shop.turn(&self.relay).await
    }

    /// Goes round every second, when the channel has something due, and when a callback was kept, until the engine has stopped.
    pub async fn run(self) {
        while !matches!(self.engine.health(), Health::Stopped(_)) {
            let latest = self.env.now().plus(ROUND_EVERY);
            let next = match self.round().await {
                Ok(due) => due.map_or(latest, |due| due.min(latest)),
                Err(error) => {
                    tracing::warn!(%error, "failed to carry what the shop has to say; it is tried again");
                    latest
                }
            };
            tokio::select! {
                () = self.env.sleep_until(next) => {}
                () = self.shop.kept() => {}
            }
        }
    }
}

impl std::fmt::Debug for Courier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Courier").field("engine", &self.engine).finish_non_exhaustive()
    }
}
