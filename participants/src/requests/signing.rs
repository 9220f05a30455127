//! The shop's side: the channel as gateway and payments ask it, each request signed as it leaves.

use super::{Ask, Credentials, Door};
use crate::{
    channel::{Asking, Cashier, ChargeOrder, RefundOrder, Said, ThirdParty},
    clock::Clock,
    ids::{PaymentId, RefundId},
};
use std::sync::Arc;

/// A channel that is asked by signed requests.
#[derive(Clone)]
pub struct Signing {
    credentials: Credentials,
    clock: Arc<dyn Clock>,
    door: Arc<Door>,
}

impl Signing {
    /// Asks at that door, signed with those credentials at the time that `clock` shows.
    #[must_use]
    pub fn new(credentials: Credentials, clock: Arc<dyn Clock>, door: Arc<Door>) -> Self {
        Self { credentials, clock, door }
    }

    fn ask(&self, ask: Ask) -> Asking<'_> {
        Box::pin(async move {
            match self.credentials.sign(&ask, self.clock.now()) {
                Ok(request) => self.door.asked(&request).await,
                // Nothing left.
                Err(why) => Ok(Said::Rejected { code: "not_signed".to_owned(), message: why.to_string() }),
            }
        })
    }
}

impl ThirdParty for Signing {
    fn refund(&self, order: RefundOrder) -> Asking<'_> {
        self.ask(Ask::Refund(order))
    }

    fn query<'a>(&'a self, reference: &'a RefundId) -> Asking<'a> {
        self.ask(Ask::QueryRefund(reference.clone()))
    }

    fn close<'a>(&'a self, reference: &'a RefundId) -> Asking<'a> {
        self.ask(Ask::CloseRefund(reference.clone()))
    }
}

impl Cashier for Signing {
    fn request_charge(&self, order: ChargeOrder) -> Asking<'_> {
        self.ask(Ask::Charge(order))
    }

    fn query_charge<'a>(&'a self, reference: &'a PaymentId) -> Asking<'a> {
        self.ask(Ask::QueryCharge(reference.clone()))
    }

    fn close_charge<'a>(&'a self, reference: &'a PaymentId) -> Asking<'a> {
        self.ask(Ask::CloseCharge(reference.clone()))
    }
}

impl std::fmt::Debug for Signing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signing").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}
