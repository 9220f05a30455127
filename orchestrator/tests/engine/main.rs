//! The engine on its own: a store in memory, participants that do as they are told, virtual time.
#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

mod between;
mod breaker;
mod due;
mod fan_out;
mod memory;
mod mended;
mod nodes;
mod panics;
mod support;
mod together;
