//! A conformance kit for any participant's tests: the orders in which calls can come, and what must hold after each.
//!
//! Give it a way to make a fresh participant, a request, and what an observer sees of the participant's state; it plays each case
//! on a participant of its own and says in which one, and why, something did not hold.

mod calls;

pub use calls::{Calls, CallsError, at};
