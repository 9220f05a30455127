//! Orders that wait for their money, for whoever looks after them: by an index, a page at a time, never all of them.

use super::{
    OrderState,
    rows::{Column, Rows},
};
use crate::ids::{ClientKey, OrderId};
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use tercet_core::Millis;

/// An order that waits for its money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpaid {
    /// The order.
    pub order: OrderId,
    /// The key of its saga.
    pub key: ClientKey,
    /// When it was placed.
    pub placed_at: Millis,
}

/// At most `limit` orders that are *pending payment* and were placed before `before`, the oldest first, from behind `after` on.
///
/// # Errors
/// When the database fails.
pub async fn unpaid(
    db: &impl ConnectionTrait, before: Millis, after: Option<&Unpaid>, limit: u64,
) -> Result<Vec<Unpaid>, DbErr> {
    let behind = |last: &Unpaid| {
        let same =
            Condition::all().add(Column::PlacedAtMs.eq(last.placed_at.0)).add(Column::Id.gt(last.order.as_str()));
        Condition::any().add(Column::PlacedAtMs.gt(last.placed_at.0)).add(same)
    };
    let from = after.map_or(i64::MIN, |last| last.placed_at.0);
    let rows = Rows::find()
        .filter(Column::State.eq(OrderState::PendingPayment))
        .filter(Column::PlacedAtMs.between(from, before.0.saturating_sub(1)))
        .filter(after.map_or_else(Condition::all, behind))
        .order_by_asc(Column::PlacedAtMs)
        .order_by_asc(Column::Id)
        .limit(limit)
        .all(db)
        .await?;
    let of = |row: super::rows::Row| Unpaid {
        order: OrderId::stored(row.id),
        key: ClientKey::stored(row.saga_key),
        placed_at: Millis(row.placed_at_ms),
    };
    Ok(rows.into_iter().map(of).collect())
}

/// Whether that order waits for its money at this moment.
///
/// # Errors
/// When the database fails.
pub async fn is_unpaid(db: &impl ConnectionTrait, order: &OrderId) -> Result<bool, DbErr> {
    let waits = Rows::find_by_id(order.as_str()).filter(Column::State.eq(OrderState::PendingPayment));
    Ok(waits.one(db).await?.is_some())
}
