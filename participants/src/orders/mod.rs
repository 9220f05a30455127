//! Orders: the eight states, how an order is placed, and what a refund does to it.
//!
//! Its own saga alone takes it out of *pending payment*, by the confirm or the cancel of [`Place`].
//!
//! An order goes into after-sales under one claim, by that claim's saga or by the first refund under it, and leaves with the last
//! refund under it that is open: done when all of it is refunded, else back to where it came from. Nothing else moves it.

mod events;
mod find;
mod ledger;
mod place;
mod refund;
mod rows;
mod state;
mod unpaid;

pub use events::OrderEvent;
#[cfg(test)]
pub(crate) use find::selected;
pub use find::{Amounts, Cursor, FindOrders, FoundOrder, OrderPage, OrderQuery, PAGE_MAX, find_orders};
pub use ledger::{OrderLedger, SeedLine, SeedOrder, check_equation, ledger, seed};
pub use place::{
    FindGivenUp, NotePayment, PaidBy, Place, Placed, PlacedLine, ToPlace, first_of, granted_coupon, granted_red_packet,
    order_of,
};
pub use rows::{View, change, ensure_schema, view};
pub use state::{OrderState, STATES};
pub use unpaid::{Unpaid, is_unpaid, unpaid};

use crate::{
    clock::Clock,
    ids::{ClaimId, OrderId, PaymentId, RefundId, Sku, UserId, VoucherId},
    lines::Line,
    money::Money,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tercet_core::{Call, Operation, Signal, kind};
use tercet_participant::{Outcome, Retriable, Tcc, Transaction};

/// `orders.refund/1`: the order into after-sales; done, or back where it was.
pub struct RefundOrder;

impl Operation for RefundOrder {
    const NAME: &'static str = "orders.refund/1";
    type Kind = kind::Tcc;
    type Request = ToRefund;
    type Reply = Refunding;
}

/// `orders.await_shipment/1`: the warehouse was told.
pub struct AwaitShipment;

impl Operation for AwaitShipment {
    const NAME: &'static str = "orders.await_shipment/1";
    type Kind = kind::Retriable;
    type Request = OrderId;
    type Reply = Awaiting;
}

/// What of an order is to be refunded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ToRefund {
    /// The refund request's id: it is taken once, for ever.
    pub refund: RefundId,
    /// The order.
    pub order: OrderId,
    /// Under which claim.
    pub claim: ClaimId,
    /// How much of it.
    pub part: Part,
    /// Where the goods are.
    pub goods: Goods,
}

/// How much of an order is to be refunded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// All that is left of it.
    Whole,
    /// Some of its goods.
    Lines(Vec<PartLine>),
    /// Some of its money, and none of its goods.
    Amount(Money),
}

/// Pieces of one line to be refunded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PartLine {
    /// Of what.
    pub sku: Sku,
    /// How many, above zero.
    pub quantity: u32,
    /// For how much money: by default their share of what is left of the line, so that all parts add up to it.
    pub amount: Option<Money>,
}

/// Where the goods of a refund are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Goods {
    /// With the merchant: the warehouse stops them, and the stock has them back.
    NotShipped,
    /// They came back.
    Returned,
    /// The buyer keeps them.
    Kept,
}

/// An order that is being refunded: what the other participants need to know of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Refunding {
    /// The order.
    pub order: OrderId,
    /// Whose.
    pub user: UserId,
    /// What paid for it.
    pub payment: PaymentId,
    /// The money of this refund.
    pub amount: Money,
    /// The money paid for all of the order.
    pub whole: Money,
    /// The goods of this refund.
    pub lines: Vec<Line>,
    /// The coupon that was spent on it.
    pub coupon: Option<VoucherId>,
    /// The points that were spent on it.
    pub points_spent: u32,
    /// The red packet that came with it.
    pub red_packet: Option<VoucherId>,
    /// Its goods have left.
    pub shipped: bool,
}

/// `orders.paid/1`: told to the order's saga by the saga that owns the charge. The verdict says who won: *accepted*, the order is
/// paid by it; *too late*, the money is to be given back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Paid {
    /// What paid for it.
    pub payment: PaymentId,
    /// How much was received.
    pub amount: Money,
    /// The channel's own id of the charge.
    pub transaction: String,
}

impl Signal for Paid {
    const NAME: &'static str = "orders.paid/1";
}

/// What *awaiting shipment* changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Awaiting {
    /// The order awaits shipment.
    Moved,
    /// It is in after-sales: if it goes back, then to *awaiting shipment*.
    Noted,
    /// It is done with after-sales: nothing.
    Nothing,
}

/// The participant.
pub struct Orders {
    clock: Arc<dyn Clock>,
}

impl Orders {
    /// The orders, with the clock by which after-sales windows close.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock }
    }
}

impl Tcc<RefundOrder> for Orders {
    async fn try_(&self, tx: &Transaction, _: &Call, request: ToRefund) -> Outcome<Refunding> {
        refund::hold(tx, request, self.clock.now()).await
    }

    async fn confirm(&self, tx: &Transaction, _: &Call, request: ToRefund, _: Refunding) -> Outcome<()> {
        refund::confirm(tx, &request, self.clock.now()).await
    }

    async fn cancel(&self, tx: &Transaction, _: &Call, request: ToRefund, _: Option<Refunding>) -> Outcome<()> {
        refund::cancel(tx, &request, self.clock.now()).await
    }
}

impl Retriable<AwaitShipment> for Orders {
    async fn execute(&self, tx: &Transaction, _: &Call, request: OrderId) -> Outcome<Awaiting> {
        rows::await_shipment(tx, &request, self.clock.now()).await
    }
}
