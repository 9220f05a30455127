//! Tercet, a saga orchestrator: the shell around the pure core of `tercet-core`.

#[cfg(feature = "api")]
pub mod api;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cli")]
pub mod config;
pub mod engine;
pub mod env;
#[cfg(feature = "nats")]
pub mod ingress;
#[cfg(feature = "api")]
mod nearest;
#[cfg(feature = "api")]
pub mod published;
pub mod registry;
#[cfg(feature = "api")]
mod secret;
pub mod store;
pub mod transport;

#[cfg(feature = "cli")]
pub use cli::Tercet;
pub use engine::{Engine, EngineError, Health, Parts, Settings, Snapshot, StartedSaga, Until};
pub use env::{Env, Environment, Machine};
pub use registry::{Registry, RegistryError};
#[cfg(feature = "api")]
pub use secret::Secret;
pub use tercet_core as core;
