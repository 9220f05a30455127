//! The transport: how a call reaches its participant and how its answer comes back.

mod in_process;
#[cfg(feature = "nats")]
mod mixed;
#[cfg(feature = "nats")]
mod nats;

pub use in_process::InProcess;
#[cfg(feature = "nats")]
pub use mixed::Mixed;
#[cfg(feature = "nats")]
pub use nats::{Discovered, Nats, Operation};

use std::{future::Future, pin::Pin};
use tercet_core::{Answer, Call};

/// An answer to come, or why there is none.
pub type Calling = Pin<Box<dyn Future<Output = Result<Answer, CallError>> + Send>>;

/// Carries calls. The journal makes them durable, not the transport: a call without an answer is made again.
pub trait Transport: Send + Sync + 'static {
    /// Makes one call. The engine stops waiting when the call's `timeout` is over, but lets the future run to its end: an answer
    /// that comes later is evidence. It must end by itself in the end.
    fn call(&self, call: Call) -> Calling;
}

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Nobody is there to be asked: nothing was sent. Spends no attempt.
    #[error("no participant answers for `{contract}`: start it, or check its name and version")]
    NoResponder {
        /// What was to be asked.
        contract: String,
    },
    /// It could not be sent: there is no connection, say. Spends no attempt.
    #[error("{0}")]
    Unsent(String),
    /// It may have arrived; no answer that could be read came back.
    #[error("{0}")]
    Silent(String),
}
