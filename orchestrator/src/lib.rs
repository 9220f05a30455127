//! Tercet, a saga orchestrator: the shell around the pure core of `tercet-core`.

pub mod engine;
pub mod env;
pub mod registry;
pub mod store;
pub mod transport;

pub use engine::{Engine, EngineError, Health, Parts, Settings, Snapshot, StartedSaga, Until};
pub use env::{Env, Environment, Machine};
pub use registry::{Registry, RegistryError};
pub use tercet_core as core;
