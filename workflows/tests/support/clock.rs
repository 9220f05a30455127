//! When every world of the shop begins.

use tercet_core::Millis;

/// A day in 2026.
pub(crate) const BEGINS: Millis = Millis(1_780_000_000_000);
