//! The command line as people run it: a built binary, its output and its exit codes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod brokers;
mod cluster;
mod nodes;
mod offline;
mod sagas;
mod servers;
mod streams;
mod support;
