//! The kit itself, on a toy saga that is right, and on several that are wrong on purpose.

#![expect(clippy::unwrap_used, reason = "a toy that cannot be set up is a failed test")]

mod right;
mod toy;
mod waits;
mod wrong;
