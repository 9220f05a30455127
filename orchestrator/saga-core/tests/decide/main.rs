//! Scenarios of the decider: a script of events in, the facts of each entry and what is outstanding out.
//!
//! Every scenario also checks the laws that hold at each step: the journal's JSON folds to the state, an event that comes twice
//! yields no second entry, and a parked step is not asked.

#![expect(clippy::unwrap_used, reason = "a scenario that cannot be run is a failed test")]

mod children;
mod fan_out;
mod flow;
mod laws;
mod life;
mod operator;
mod pivot;
mod signals;
mod support;
