//! The simulator: engine, runner, barrier logic and core unchanged, in one thread, on seeded virtual time, with everything around
//! them made to fail.

mod bank;
mod canaries;
#[cfg(test)]
mod cases;
mod check;
mod contracts;
mod disk;
mod liveness;
mod models;
mod net;
mod nodes;
mod people;
mod run;
mod sagas;
mod series;
#[cfg(test)]
mod stage;
mod town;
#[cfg(test)]
mod traces;
mod waiters;
mod weather;
mod world;

pub use canaries::CANARIES;
pub use run::{Outcome, must_happen};
pub use series::{Series, attempt, series};
