//! The one place where the SDK reads a clock: for the ages of rows, never for what is safe.

use std::time::{SystemTime, UNIX_EPOCH};
use tercet_core::Millis;

/// Where the SDK's time comes from.
pub trait Clock: Send + Sync + 'static {
    /// Now, in milliseconds since 1970, UTC.
    fn now(&self) -> Millis;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        Millis(0).plus(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}
