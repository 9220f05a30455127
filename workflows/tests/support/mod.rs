//! The shop in the worlds of `tercet-testing`: sagas run for real, on a clock that jumps, with faults where a test wants them.

pub(crate) mod clock;
pub(crate) mod facts;
pub(crate) mod kit;
pub(crate) mod sales;
pub(crate) mod slate;
pub(crate) mod trial;
pub(crate) mod world;

pub(crate) use sales::{Shape, eur, id, piece};
pub(crate) use slate::{Delta, Holds};
pub(crate) use tercet_testing::{Dies, Fault, Kept};
pub(crate) use trial::{each_shape, parked};
pub(crate) use world::{Setup, World, ended};
