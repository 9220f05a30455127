//! The orders that wait for their money, as the sweep reads them: out of the database where the shop is in this process, and from the
//! orders participant where it is in another.

use std::{fmt, sync::Arc, time::Duration};
use tercet::transport::{CallError, Transport};
use tercet_core::{Answer, BadName, Call, Millis, Operation, Payload, Phase, SagaId};
use tercet_shop::{
    Shop,
    orders::{Cursor, FindOrders, OrderPage, OrderQuery, OrderState, PAGE_MAX, Unpaid},
    shop::ShopError,
};

/// How long the orders participant may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Where orders are read.
#[derive(Clone)]
pub enum OrderBook {
    /// In this process.
    Here(Arc<Shop>),
    /// At the orders participant, by `orders.find/1`.
    There(Arc<dyn Transport>),
}

/// Why orders cannot be read now.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// The database of this process.
    #[error(transparent)]
    Shop(#[from] ShopError),
    /// Nobody answers for the orders.
    #[error("failed to ask for orders: {0}")]
    Unanswered(#[from] CallError),
    /// The orders participant says no, or not now.
    #[error("failed to ask for orders: the participant answers {0}")]
    No(String),
    /// What was asked, or answered, is not what this release knows.
    #[error("failed to ask for orders: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// A bug.
    #[error("a bug in the order book: {0}")]
    Name(#[from] BadName),
}

impl From<Arc<Shop>> for OrderBook {
    fn from(shop: Arc<Shop>) -> Self {
        Self::Here(shop)
    }
}

impl OrderBook {
    /// At most `limit` orders that are *pending payment* and were placed before `before`, from behind `after` on; none when there are
    /// no more.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn unpaid(
        &self, before: Millis, after: Option<&Unpaid>, limit: u64, now: Millis,
    ) -> Result<Vec<Unpaid>, BookError> {
        let transport = match self {
            Self::Here(shop) => return Ok(shop.unpaid_orders(before, after, limit).await?),
            Self::There(transport) => transport,
        };
        let after = after.map(|last| Cursor::Newest { placed_at_ms: last.placed_at.0, order: last.order.clone() });
        let limit = u32::try_from(limit).unwrap_or(PAGE_MAX).min(PAGE_MAX);
        let query = OrderQuery { before_ms: Some(before.0), after, limit, ..pending() };
        ask(&**transport, &query, now).await
    }

    /// Whether that order waits for its money at this moment.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn is_unpaid(&self, order: &Unpaid, now: Millis) -> Result<bool, BookError> {
        let transport = match self {
            Self::Here(shop) => return Ok(shop.is_unpaid(&order.order).await?),
            Self::There(transport) => transport,
        };
        // Those of its millisecond.
        let (since_ms, before_ms) = (Some(order.placed_at.0), Some(order.placed_at.0 + 1));
        let query = OrderQuery { since_ms, before_ms, limit: PAGE_MAX, ..pending() };
        let same = ask(&**transport, &query, now).await?;
        Ok(same.iter().any(|found| found.order == order.order))
    }
}

fn pending() -> OrderQuery {
    OrderQuery { state: Some(OrderState::PendingPayment), ..OrderQuery::default() }
}

/// Asks as a saga's step does, and on behalf of none: a read leaves nothing behind.
async fn ask(transport: &dyn Transport, query: &OrderQuery, now: Millis) -> Result<Vec<Unpaid>, BookError> {
    let call = Call {
        saga: SagaId::from_bytes([0; 16]),
        step: "sweep".parse()?,
        key: "sweep".parse()?,
        contract: FindOrders::NAME.parse()?,
        phase: Phase::Try,
        attempt: 1,
        issued: now,
        timeout: ANSWER_MAX,
        expires: None,
        fence: false,
        request: Payload::of(query)?,
        reply: None,
    };
    let page: OrderPage = match transport.call(call).await? {
        Answer::Done(reply) => reply.parse()?,
        Answer::Refused(refusal) => return Err(BookError::No(refusal.to_string())),
        Answer::Retry { reason, .. } => return Err(BookError::No(format!("not now: {reason}"))),
        other => return Err(BookError::No(other.as_str().to_owned())),
    };
    let found = page.orders.into_iter();
    Ok(found
        .map(|found| Unpaid { order: found.order, key: found.key, placed_at: Millis(found.placed_at_ms) })
        .collect())
}

impl fmt::Debug for OrderBook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Here(_) => "Here",
            Self::There(_) => "There",
        })
    }
}
