//! Order creation against everything that may go wrong, on real databases: whatever happens, the order is paid with all that it
//! holds, or cancelled with nothing left over.

#![expect(clippy::unwrap_used, reason = "a world that cannot be set up is a failed test")]

#[expect(dead_code, unused_imports, unused_macros, reason = "the kit serves the refund sagas, too")]
#[path = "../support/mod.rs"]
mod support;

mod after;
mod buyers;
mod desk;
mod drawing;
mod duplicates;
mod faults;
mod moments;
mod rush;
mod worlds;
