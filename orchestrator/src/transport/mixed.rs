//! Participants in this process beside others over NATS.

use super::{Calling, InProcess, Nats, Transport};
use tercet_core::Call;

/// Whom a node calls: whoever is hosted in its process there, everybody else over NATS.
#[derive(Clone, Debug)]
pub struct Mixed {
    here: InProcess,
    there: Nats,
}

impl Mixed {
    /// These, and over NATS all others.
    #[must_use]
    pub fn new(here: InProcess, there: Nats) -> Self {
        Self { here, there }
    }
}

impl Transport for Mixed {
    fn call(&self, call: Call) -> Calling {
        if self.here.offers(&call.contract) { self.here.call(call) } else { self.there.call(call) }
    }
}
