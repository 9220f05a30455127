//! The eight states of an order, and which may follow which.

use crate::db::states;
use tercet_core::Refusal;

states! {
    /// Where an order stands.
    pub enum OrderState {
        /// Submitted; its saga waits for the money.
        PendingPayment = "pending_payment",
        /// Paid for.
        Paid = "paid",
        /// Given up before it was paid. Final.
        Cancelled = "cancelled",
        /// The warehouse was told.
        AwaitingShipment = "awaiting_shipment",
        /// The goods have left.
        Shipped = "shipped",
        /// The buyer has them.
        Completed = "completed",
        /// A claim is open: the buyer sees *under review*, *returning* or *refunding*.
        InAfterSales = "in_after_sales",
        /// All of it was refunded. Final.
        AfterSalesDone = "after_sales_done",
    }
}

/// Every state, in the table's order.
pub const STATES: [OrderState; 8] = [
    OrderState::PendingPayment,
    OrderState::Paid,
    OrderState::Cancelled,
    OrderState::AwaitingShipment,
    OrderState::Shipped,
    OrderState::Completed,
    OrderState::InAfterSales,
    OrderState::AfterSalesDone,
];

impl OrderState {
    /// The order may go from this state to `to`; `came_from` is where it was before after-sales, while it is there, and the
    /// only state it may go back to.
    #[must_use]
    pub fn allows(self, to: Self, came_from: Option<Self>) -> bool {
        match self {
            Self::PendingPayment => matches!(to, Self::Paid | Self::Cancelled),
            Self::Paid => matches!(to, Self::AwaitingShipment | Self::InAfterSales),
            Self::AwaitingShipment => matches!(to, Self::Shipped | Self::InAfterSales),
            Self::Shipped => matches!(to, Self::Completed | Self::InAfterSales),
            Self::Completed => to == Self::InAfterSales,
            Self::InAfterSales => to == Self::AfterSalesDone || Some(to) == came_from,
            Self::Cancelled | Self::AfterSalesDone => false,
        }
    }

    /// It was never paid, as far as this state tells.
    #[must_use]
    pub const fn is_before_payment(self) -> bool {
        matches!(self, Self::PendingPayment | Self::Cancelled)
    }

    /// The goods have left, as far as this state tells.
    #[must_use]
    pub const fn is_shipped(self) -> bool {
        matches!(self, Self::Shipped | Self::Completed)
    }

    /// The refusal of a change from this state; its code names the state.
    #[must_use]
    pub fn refuse(self, to: Self) -> Refusal {
        Refusal::new(
            format!("order_is_{}", self.as_str()),
            format!("an order that is {} cannot become {}", self.as_str(), to.as_str()),
        )
    }
}
