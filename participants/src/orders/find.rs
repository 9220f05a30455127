//! Finding orders: by user, amount, state and time, a page at a time. A query goes along the index of the first of these that it
//! names, from where the page before it ended, and reads nothing else of the table; what else it names is looked at row by row.
//!
//! Absent on purpose: an offset, a count of all, and an order of the rows that no index has.

use super::{
    OrderState, Orders,
    rows::{Column, Row, Rows},
};
use crate::{
    ids::{ClientKey, OrderId, UserId},
    money::{Currency, Minor, Money},
};
use schemars::JsonSchema;
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select};
use serde::{Deserialize, Serialize};
use tercet_core::{Call, Operation, Refusal, kind};
use tercet_participant::{Outcome, Read, Transaction};

/// The most orders in a page.
pub const PAGE_MAX: u32 = 500;

/// `orders.find/1`: a page of the orders that fit.
pub struct FindOrders;

impl Operation for FindOrders {
    const NAME: &'static str = "orders.find/1";
    type Kind = kind::Read;
    type Request = OrderQuery;
    type Reply = OrderPage;
}

/// Which orders are looked for: those that fit everything that is said. The newest come first; with an amount and without a user, the
/// largest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderQuery {
    /// Of this buyer.
    pub user: Option<UserId>,
    /// That stand there.
    pub state: Option<OrderState>,
    /// That cost so much.
    pub amount: Option<Amounts>,
    /// That were placed then or later: milliseconds since 1970.
    pub since_ms: Option<i64>,
    /// That were placed before: milliseconds since 1970.
    pub before_ms: Option<i64>,
    /// Go on behind the page that ended with this.
    pub after: Option<Cursor>,
    /// At most so many, 1 to [`PAGE_MAX`].
    pub limit: u32,
}

/// What orders cost, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Amounts {
    /// In what.
    pub currency: Currency,
    /// At least.
    pub least: Minor,
    /// At most.
    pub most: Minor,
}

/// Where a page ended. It belongs to queries whose orders come in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cursor {
    /// The newest first.
    Newest {
        /// When the last one was placed: milliseconds since 1970.
        placed_at_ms: i64,
        /// Which one it was.
        order: OrderId,
    },
    /// The largest first.
    Largest {
        /// What the last one costs.
        amount: Minor,
        /// Which one it was.
        order: OrderId,
    },
}

/// A page of orders.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderPage {
    /// The orders.
    pub orders: Vec<FoundOrder>,
    /// Where the next page begins; nothing when there is none.
    pub next: Option<Cursor>,
}

/// An order that fits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FoundOrder {
    /// The order.
    pub order: OrderId,
    /// Whose.
    pub user: UserId,
    /// Where it stands.
    pub state: OrderState,
    /// What it costs.
    pub amount: Money,
    /// When it was placed: milliseconds since 1970.
    pub placed_at_ms: i64,
    /// The key of its saga.
    pub key: ClientKey,
}

impl Read<FindOrders> for Orders {
    async fn read(&self, tx: &Transaction, _: &Call, request: OrderQuery) -> Outcome<OrderPage> {
        find_orders(tx, &request).await
    }
}

/// A page of the orders that fit.
///
/// # Errors
/// A refusal for a limit or a cursor that does not fit the query; or when the database fails.
pub async fn find_orders(db: &impl ConnectionTrait, query: &OrderQuery) -> Outcome<OrderPage> {
    if !(1..=PAGE_MAX).contains(&query.limit) {
        return Err(Refusal::new("bad_limit", format!("a page has 1 to {PAGE_MAX} orders")).into());
    }
    // One more than is shown says whether there is a next page.
    let mut rows = selected(query)?.limit(u64::from(query.limit) + 1).all(db).await?;
    let more = rows.len() > query.limit as usize;
    rows.truncate(query.limit as usize);
    let next = rows.last().filter(|_| more).map(|last| query.cursor(last));
    let orders = rows.into_iter().map(found).collect::<Result<_, _>>()?;
    Ok(OrderPage { orders, next })
}

impl OrderQuery {
    /// The largest first, instead of the newest.
    fn by_amount(&self) -> bool {
        self.amount.is_some() && self.user.is_none()
    }

    fn cursor(&self, last: &Row) -> Cursor {
        let order = OrderId::stored(last.id.as_str());
        if self.by_amount() {
            Cursor::Largest { amount: Minor(last.amount), order }
        } else {
            Cursor::Newest { placed_at_ms: last.placed_at_ms, order }
        }
    }

    /// What the page before ended with.
    fn last(&self) -> Result<Option<(i64, &OrderId)>, Refusal> {
        match &self.after {
            None => Ok(None),
            Some(Cursor::Largest { amount, order }) if self.by_amount() => Ok(Some((amount.0, order))),
            Some(Cursor::Newest { placed_at_ms, order }) if !self.by_amount() => Ok(Some((*placed_at_ms, order))),
            Some(_) => Err(Refusal::new("other_cursor", "the cursor is of a query whose orders come in another way")),
        }
    }
}

fn found(row: Row) -> Result<FoundOrder, Refusal> {
    Ok(FoundOrder {
        amount: Money::new(row.amount, row.currency.parse().map_err(Refusal::from)?),
        order: OrderId::stored(row.id),
        user: UserId::stored(row.user_id),
        state: row.state,
        placed_at_ms: row.placed_at_ms,
        key: ClientKey::stored(row.saga_key),
    })
}

/// The orders that fit, in their order, from behind the cursor on.
pub(crate) fn selected(query: &OrderQuery) -> Result<Select<Rows>, Refusal> {
    let last = query.last()?;
    let placed = (query.since_ms.unwrap_or(i64::MIN), query.before_ms.map_or(i64::MAX, |ms| ms.saturating_sub(1)));
    let costs = query.amount.map_or((i64::MIN, i64::MAX), |amounts| (amounts.least.0, amounts.most.0));
    let (along, (from, to)) = if query.by_amount() { (Column::Amount, costs) } else { (Column::PlacedAtMs, placed) };
    let currency = query.amount.map(|amounts| Column::Currency.eq(amounts.currency.as_str()));
    let fits = Condition::all()
        .add_option(query.user.as_ref().map(|user| Column::UserId.eq(user.as_str())))
        .add_option(query.state.map(|state| Column::State.eq(state)))
        .add_option(currency)
        .add(Column::PlacedAtMs.between(placed.0, placed.1))
        .add_option(query.amount.map(|_| Column::Amount.between(costs.0, costs.1)))
        .add(along.between(from, last.map_or(to, |(at, _)| at.min(to))))
        .add_option(last.map(|(at, order)| behind(along, at, order)));
    Ok(Rows::find().filter(fits).order_by_desc(along).order_by_desc(Column::Id))
}

/// Of those that are alike, the rest.
fn behind(along: Column, at: i64, order: &OrderId) -> Condition {
    let alike = Condition::all().add(along.eq(at)).add(Column::Id.lt(order.as_str()));
    Condition::any().add(along.lt(at)).add(alike)
}
