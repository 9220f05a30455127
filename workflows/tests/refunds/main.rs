//! The refund sagas against everything that may go wrong, on real databases.

#![expect(clippy::unwrap_used, reason = "a world that cannot be set up is a failed test")]

#[path = "../support/mod.rs"]
mod support;

mod channel;
mod crashed;
mod drawing;
mod ingress;
mod kit;
mod lost;
mod paths;
mod refused;
mod repeated;
mod restart;
mod shapes;
mod together;
mod undo;
