//! The refund sagas against everything that may go wrong, on real databases.

#![expect(clippy::unwrap_used, reason = "a world that cannot be set up is a failed test")]

#[expect(dead_code, unused_imports, reason = "the kit serves the other sagas, too")]
#[path = "../support/mod.rs"]
mod support;

mod channel;
mod drawing;
mod ingress;
mod kit;
mod paths;
mod restart;
mod shapes;
mod together;
mod undo;
mod worlds;
