//! The HTTP API over a real socket and engine: what it does, and every way to ask it wrongly.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod actions;
mod bad_input;
mod events;
mod guard;
mod reads;
mod support;
#[path = "../toy/mod.rs"]
mod toy;
