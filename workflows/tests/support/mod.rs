//! The kit: a small world in which sagas run for real, on a clock that jumps, with faults where a test wants them.

pub(crate) mod clock;
pub(crate) mod journal;
pub(crate) mod sales;
pub(crate) mod slate;
pub(crate) mod trial;
pub(crate) mod wires;
pub(crate) mod world;

pub(crate) use journal::Dies;
pub(crate) use sales::{Shape, eur, id, piece};
pub(crate) use slate::{Delta, Holds};
pub(crate) use trial::{Befalls, each_shape, parked};
pub(crate) use wires::Fault;
pub(crate) use world::{Kept, Setup, World, ended};
