//! What is published of an order: each change once, with the version that it led to.

use super::{
    OrderState,
    rows::{Row, Rows},
};
use crate::refusals::missing;
use sea_orm::EntityTrait;
use serde::{Deserialize, Serialize};
use tercet_core::Millis;
use tercet_participant::{
    Outbox, Outcome, Transaction,
    outbox::{EventVersion, Subject},
};

/// The state that a change of an order led to: an event's data. The event's kind says what happened: `order.created`, `order.` and the
/// new state when it changed, else `order.changed`. An order's events come from several sagas: of two, the one with the larger
/// version is the later, and consumers drop the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderEvent {
    /// The order.
    pub order: String,
    /// Whose.
    pub user: String,
    /// Raised by each change, from 1.
    pub order_version: i64,
    /// Where it stands.
    pub state: OrderState,
    /// Where it stood before this change; nothing when it was created.
    pub was: Option<OrderState>,
    /// Where it was before after-sales, while it is there.
    pub came_from: Option<OrderState>,
    /// The claim, while it is in after-sales.
    pub claim: Option<String>,
    /// In what its money is.
    pub currency: String,
    /// Money paid, in minor units.
    pub paid: i64,
    /// Of it, refunded.
    pub refunded: i64,
    /// Of it, held by refunds that are not decided.
    pub held: i64,
    /// The key of its saga.
    pub saga_key: String,
}

/// Publishes the order's row as it now is, in the transaction that made it so. Only what inserts or changes a row calls it.
pub(super) async fn publish(tx: &Transaction, id: &str, was: Option<OrderState>, now: Millis) -> Outcome<()> {
    let row = Rows::find_by_id(id).one(tx).await?.ok_or_else(|| missing("no_order", format!("order {id}")))?;
    let kind = match was {
        None => "order.created".to_owned(),
        Some(was) if was == row.state => "order.changed".to_owned(),
        Some(_) => format!("order.{}", row.state),
    };
    let (subject, version) = (Subject(row.id.clone()), EventVersion(row.order_version));
    Ok(Outbox::publish(tx, subject, version, &kind, &told(row, was), now).await?)
}

fn told(row: Row, was: Option<OrderState>) -> OrderEvent {
    OrderEvent {
        order: row.id,
        user: row.user_id,
        order_version: row.order_version,
        state: row.state,
        was,
        came_from: row.came_from,
        claim: row.claim,
        currency: row.currency,
        paid: row.paid,
        refunded: row.refunded,
        held: row.held,
        saga_key: row.saga_key,
    }
}
