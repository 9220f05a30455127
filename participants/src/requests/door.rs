//! The channel's door: what comes is verified, once, before the channel hears of it.

use super::{Ask, Demands, Request, Stamp};
use crate::{
    callbacks::{Forged, NotTaken, WINDOW},
    channel::{Cashier, Channel, Said, Silence, ThirdParty},
    clock::Clock,
};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};
use tercet_core::Millis;

/// A channel behind a door that opens to one merchant's signature.
pub struct Door {
    channel: Arc<Channel>,
    demands: Demands,
    clock: Arc<dyn Clock>,
    /// The stamps that were seen within the window. In memory: what is replayed to the next process meets the references.
    seen: Mutex<BTreeSet<Stamp>>,
}

impl Door {
    /// The door of that channel.
    #[must_use]
    pub fn new(channel: Arc<Channel>, demands: Demands, clock: Arc<dyn Clock>) -> Self {
        Self { channel, demands, clock, seen: Mutex::default() }
    }

    /// What the channel says to that request. One that is not the merchant's, is too old, or was there before, is rejected, and
    /// nothing is done.
    ///
    /// # Errors
    /// When the channel does not answer.
    pub async fn asked(&self, request: &Request) -> Result<Said, Silence> {
        let now = self.clock.now();
        let (ask, stamp) = match self.demands.open(request, now) {
            Ok(opened) => opened,
            Err(not_taken) => return Ok(refused(not_taken)),
        };
        if stamp.is_some_and(|stamp| !self.is_first(stamp, now)) {
            return Ok(rejected("request_replayed", "the same request was there before"));
        }
        self.pass_on(ask).await
    }

    async fn pass_on(&self, ask: Ask) -> Result<Said, Silence> {
        match ask {
            Ask::Charge(order) => self.channel.request_charge(order).await,
            Ask::QueryCharge(reference) => self.channel.query_charge(&reference).await,
            Ask::CloseCharge(reference) => self.channel.close_charge(&reference).await,
            Ask::Refund(order) => self.channel.refund(order).await,
            Ask::QueryRefund(reference) => self.channel.query(&reference).await,
            Ask::CloseRefund(reference) => self.channel.close(&reference).await,
        }
    }

    /// Older stamps are forgotten: what has them is refused as too old.
    fn is_first(&self, stamp: Stamp, now: Millis) -> bool {
        let oldest = now.0.div_euclid(1_000).saturating_sub_unsigned(WINDOW.as_secs());
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        while seen.first().is_some_and(|(seconds, _)| *seconds < oldest) {
            seen.pop_first();
        }
        seen.insert(stamp)
    }
}

fn refused(not_taken: NotTaken) -> Said {
    match not_taken {
        NotTaken::Forged(Forged::Stale) => rejected("request_stale", &not_taken.to_string()),
        // What exactly does not fit helps only who tries to make it fit.
        NotTaken::Forged(Forged::Signature | Forged::UnknownKey) => {
            rejected("signature_refused", "the signature does not fit")
        }
        NotTaken::Forged(why) => rejected("signature_refused", &why.to_string()),
        NotTaken::Unreadable(why) => rejected("request_unreadable", &why.to_string()),
    }
}

fn rejected(code: &str, message: &str) -> Said {
    Said::Rejected { code: code.to_owned(), message: message.to_owned() }
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").field("demands", &self.demands).finish_non_exhaustive()
    }
}
