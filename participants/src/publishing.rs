//! What the shop shows of its orders to who looks after them: every change, in order, and those that wait for their money.

use crate::{
    Shop,
    ids::OrderId,
    orders::{self, Unpaid},
    shop::ShopError,
};
use tercet_core::{Millis, Namespace};
use tercet_participant::{
    Database, Fault, SeaOrm,
    nats::{EventRelay, Settings},
    outbox::{EventFilter, Published},
};

/// Who publishes the changes of orders.
pub const ORDERS: &str = "orders";

impl Shop {
    /// At most `limit` of the changes of orders that are wanted, in the order in which they were made.
    ///
    /// # Errors
    /// When the orders' database fails.
    pub async fn order_events(&self, wanted: &EventFilter, limit: u32) -> Result<Vec<Published>, Fault> {
        self.databases.orders.events(wanted, limit).await
    }

    /// What carries the changes of orders to a broker's stream, where the orders are hosted here.
    #[must_use]
    pub fn event_relay(&self, nats: Settings, namespace: Namespace) -> Option<EventRelay<SeaOrm>> {
        self.hosts(ORDERS).then(|| EventRelay::new(self.databases.orders.clone(), ORDERS, nats, namespace))
    }

    /// At most `limit` orders that wait for their money and were placed before `before`, the oldest first, from behind `after` on.
    ///
    /// # Errors
    /// When the orders' database fails.
    pub async fn unpaid_orders(
        &self, before: Millis, after: Option<&Unpaid>, limit: u64,
    ) -> Result<Vec<Unpaid>, ShopError> {
        Ok(orders::unpaid(self.databases.orders.reader(), before, after, limit).await?)
    }

    /// Whether that order waits for its money at this moment.
    ///
    /// # Errors
    /// When the orders' database fails.
    pub async fn is_unpaid(&self, order: &OrderId) -> Result<bool, ShopError> {
        Ok(orders::is_unpaid(self.databases.orders.reader(), order).await?)
    }
}
