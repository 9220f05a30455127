//! Tercet, a saga orchestrator: the shell around the pure core of `tercet-core`.

pub mod store;
