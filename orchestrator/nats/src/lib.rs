//! What both sides of Tercet share over NATS: [settings](Settings), [connecting](connect), the [protocol], the
//! [streams] of JetStream, and published [events](event).
//!
//! Nothing here keeps a call: the orchestrator's journal makes it durable, the participant's barrier makes a repetition harmless.

mod connect;
pub mod event;
mod moment;
pub mod protocol;
mod settings;
pub mod streams;

pub use async_nats;
pub use connect::{ConnectError, Patience, connect, settled};
pub use settings::{Login, Settings, Texts, TextsError, Tls, UrlError, urls};
