//! The order desk: what a face of the shop asks the engine on a buyer's behalf. It never writes an order; the order's saga does.

use crate::create_order::{self, OrderRequest};
use std::time::Duration;
use tercet::{Engine, EngineError, Env, Until};
use tercet_core::{BadName, DefinitionName, Payload, Refusal, SagaId, SagaKey, State, entry::Abort};
use tercet_shop::{
    ids::{ClientKey, OrderId},
    orders::{self, OrderState, Placed},
};

/// What a submission is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// The order is placed and waits for its money, or has gone on from there. Every duplicate is answered with the first order.
    Placed {
        /// The order.
        order: OrderId,
        /// This is not the submission that placed it.
        duplicate: bool,
    },
    /// It is not placed, and nothing of it is held: no stock, another price, a coupon that is not usable.
    Refused(Refusal),
    /// It is under way still: submit the same again, or look at its saga, to hear how it ends.
    UnderWay {
        /// Its saga.
        saga: SagaId,
    },
}

/// Why the desk cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// There is no such order.
    #[error("there is no order under the key `{key}`: give the key that it was submitted with")]
    NoOrder {
        /// The key.
        key: ClientKey,
    },
    /// The payment is not pending any more.
    #[error("the order under the key `{key}` is {}: only one that is pending payment can be cancelled{}", .state, then(*.state))]
    NotPending {
        /// The key.
        key: ClientKey,
        /// Where the order stands, as its saga decided; a paid one may be further on its way by now.
        state: OrderState,
    },
    /// The engine says no, or not now.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A bug.
    #[error("a bug in the order desk: {0}")]
    Bug(String),
}

fn then(state: OrderState) -> &'static str {
    if state == OrderState::Paid { "; ask for after-sales" } else { "" }
}

impl From<BadName> for DeskError {
    fn from(error: BadName) -> Self {
        Self::Bug(error.to_string())
    }
}

impl DeskError {
    /// The stable code, for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoOrder { .. } => "no_order",
            Self::NotPending { .. } => "not_pending_payment",
            Self::Engine(error) => error.code(),
            Self::Bug(_) => "bug",
        }
    }
}

/// Submits an order and waits, `limit` at most, for what becomes of its tries. The same key with the same request is the same order,
/// however often it is submitted; so are two requests of one buyer for the same goods within a second.
///
/// # Errors
/// When the key belongs to another request, or the engine takes no orders now. Nothing was placed then; submit it again.
pub async fn submit(
    engine: &Engine, env: &Env, request: &OrderRequest, limit: Duration,
) -> Result<Submitted, DeskError> {
    let input = Payload::of(request).map_err(|e| DeskError::Bug(e.to_string()))?;
    let started = engine.start(definition()?, None, saga_key(&request.key)?, input).await?;
    let latest = env.sleep_until(env.now().plus(limit));
    tokio::select! {
        answer = answer(engine, started.id, !started.new) => answer,
        () = latest => Ok(Submitted::UnderWay { saga: started.id }),
    }
}

/// Asks the saga of a submitted order to cancel it, on the user's behalf. The order is cancelled by its saga, once what it holds is
/// given back.
///
/// # Errors
/// When there is no such order, or it is not pending payment any more: the error says where it stands.
pub async fn cancel(engine: &Engine, key: &ClientKey, by: &str, reason: &str) -> Result<(), DeskError> {
    let row = engine.find(definition()?, saga_key(key)?).await?;
    let saga = row.ok_or_else(|| DeskError::NoOrder { key: key.clone() })?.id;
    let Err(error) = engine.cancel(saga, by.to_owned(), reason.to_owned()).await else { return Ok(()) };
    let EngineError::TooLate { .. } = error else { return Err(error.into()) };
    let state = engine.wait(saga, Until::Now).await?.state;
    let state = if state.abort.is_some() { OrderState::Cancelled } else { OrderState::Paid };
    Err(DeskError::NotPending { key: key.clone(), state })
}

fn definition() -> Result<DefinitionName, BadName> {
    create_order::NAME.parse()
}

fn saga_key(key: &ClientKey) -> Result<SagaKey, BadName> {
    key.as_str().parse()
}

/// What became of the tries. A duplicate is answered as its first order is.
async fn answer(engine: &Engine, saga: SagaId, duplicate: bool) -> Result<Submitted, DeskError> {
    let state = engine.wait(saga, Until::Tried).await?.state;
    let Some(first) = refusal(&state).and_then(orders::first_of) else { return tried(&state, duplicate) };
    let Ok(first_saga) = first.as_str().parse::<SagaId>() else {
        return Err(DeskError::Bug(format!("the order {first} is no saga's")));
    };
    match engine.wait(first_saga, Until::Tried).await {
        Ok(snapshot) => tried(&snapshot.state, true),
        // The first order was placed, or this one would not be its duplicate.
        Err(EngineError::UnknownSaga { .. }) => Ok(Submitted::Placed { order: first, duplicate: true }),
        Err(error) => Err(error.into()),
    }
}

fn refusal(state: &State) -> Option<&Refusal> {
    match &state.abort {
        Some(Abort::Refused { refusal, .. }) => Some(refusal),
        _ => None,
    }
}

fn tried(state: &State, duplicate: bool) -> Result<Submitted, DeskError> {
    if let Some(refusal) = refusal(state) {
        return Ok(Submitted::Refused(refusal.clone()));
    }
    let order = state.steps.iter().find(|(step, _)| step.as_str() == "order").map(|(_, at)| at);
    if let Some(placed) = order.filter(|at| at.replied) {
        let placed: Placed = placed.reply.parse().map_err(|e: serde_json::Error| DeskError::Bug(e.to_string()))?;
        return Ok(Submitted::Placed { order: placed.order, duplicate });
    }
    match &state.abort {
        Some(why) => Ok(Submitted::Refused(Refusal::new("cancelled", why.to_string()))),
        // A step that is parked before the decision waits for a person.
        None => Ok(Submitted::UnderWay { saga: state.saga() }),
    }
}
