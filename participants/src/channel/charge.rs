//! Charges: how a buyer may pay, and what the channel reports of one.

use super::{Acknowledging, Asking};
use crate::{
    db::states,
    ids::{OrderId, PaymentId},
    money::Money,
};
use serde::{Deserialize, Serialize};
use tercet_core::Millis;

states! {
    /// How a buyer pays.
    pub enum How {
        /// By a link or code that is given to the buyer; the outcome comes later, or never.
        PayLink = "pay_link",
        /// From an account that the buyer has authorised; the channel answers at once.
        DirectDebit = "direct_debit",
    }
}

/// A request to take money.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChargeOrder {
    /// The merchant's reference, and what the channel knows the charge by: the same in every attempt.
    pub reference: PaymentId,
    /// The order that it pays for: the channel names it in its reports.
    pub order: OrderId,
    /// How much.
    pub amount: Money,
    /// How the buyer pays.
    pub how: How,
    /// After this the buyer can pay no more.
    pub expires: Option<Millis>,
}

/// The channel as payments reach it: in this process, or over a connection.
pub trait Cashier: Send + Sync + 'static {
    /// Takes money, once per reference: a repeated request is answered with what became of the first.
    fn request_charge(&self, order: ChargeOrder) -> Asking<'_>;
    /// What became of a reference.
    fn query_charge<'a>(&'a self, reference: &'a PaymentId) -> Asking<'a>;
    /// Makes a reference unusable, if it is known and the money has not come.
    fn close_charge<'a>(&'a self, reference: &'a PaymentId) -> Asking<'a>;
}

states! {
    /// What became of a charge, as the channel reports it. All three are final by its own word.
    pub enum ChargeOutcome {
        /// The buyer's money has arrived.
        Paid = "paid",
        /// It failed, and no money will arrive.
        Failed = "failed",
        /// It was closed, or it expired; also reported once more when a paid one was given back in full.
        Closed = "closed",
    }
}

/// What the channel reports of a charge by itself, once, twice, late or never; signed on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChargeCallback {
    /// The merchant's reference.
    pub reference: PaymentId,
    /// The order that it pays for, as the merchant named it in the request.
    pub order: OrderId,
    /// The channel's own id of the charge; the same when it reports again.
    pub transaction: String,
    /// How much.
    pub amount: Money,
    /// What became of it.
    pub outcome: ChargeOutcome,
    /// When that was, by the channel's clock.
    pub at: Millis,
}

/// Where reports of charges go.
pub trait ChargeSink: Send + Sync + 'static {
    /// Keeps one; true once it is durable.
    fn charged(&self, callback: ChargeCallback) -> Acknowledging<'_>;
}

impl<T: ChargeSink + ?Sized> ChargeSink for std::sync::Arc<T> {
    fn charged(&self, callback: ChargeCallback) -> Acknowledging<'_> {
        (**self).charged(callback)
    }
}
