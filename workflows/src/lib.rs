//! Tercet's reference sagas, their registry, and what the `tercet` command adds for them.

pub mod bench;
