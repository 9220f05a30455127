//! The payment saga against everything that may go wrong, on real databases. Whatever happens, a charge that is done ends in exactly
//! one of *order confirmed* and *money given back*.

#![expect(clippy::unwrap_used, reason = "a world that cannot be set up is a failed test")]

#[expect(dead_code, unused_imports, unused_macros, reason = "the kit serves the refund sagas, too")]
#[path = "../support/mod.rs"]
mod support;

mod bills;
mod callbacks;
mod drawing;
mod faults;
mod late;
mod paths;
mod race;
mod real;
mod twice;
mod worlds;
