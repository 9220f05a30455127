//! What of an order is refunded, as a participant that follows the parts sees it: points, coupons and red packets give and
//! take in proportion, by what is confirmed and held of the whole.

use crate::{
    db::{Changing, create, insert_new, plus, states, table},
    equation::{Violation, must_equal, must_not_be_negative, sums},
    ids::{OrderId, RefundId, UserId},
    money::{Minor, Money, share},
    refusals::within,
};
use schemars::JsonSchema;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter,
    sea_query::{Expr, ExprTrait},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tercet_core::Refusal;
use tercet_participant::Outcome;

/// Takes back what an order's payment granted, for one refund of it, and gives back what was spent on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TakeBack {
    /// The refund's own id.
    pub refund: RefundId,
    /// The order.
    pub order: OrderId,
    /// Whose it is.
    pub user: UserId,
    /// The money of this refund.
    pub part: Money,
    /// The money paid for the whole order: parts that add up to it are all of it.
    pub whole: Money,
    /// What to do about a grant that the buyer has spent already.
    pub on_spent: OnSpent,
}

/// What to do about a grant that the buyer has spent already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnSpent {
    /// Its worth is to be deducted from the money; the reply says how much.
    #[default]
    Deduct,
    /// The refund is refused.
    Refuse,
}

/// What a take-back is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TakenBack {
    /// What is to be deducted from the money, for what was spent already.
    pub deduct: Money,
}

/// What became of a grant after the payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Granting {
    /// It, or what the refunds left of it, reached the buyer.
    Granted,
    /// A refund came before it: nothing reached the buyer. What a refund that is cancelled had held reaches the buyer then.
    Stopped,
}

states! {
    /// What became of a refund's hold.
    pub(crate) enum Hold {
        /// It stands.
        Held = "held",
        /// It is final.
        Confirmed = "confirmed",
        /// It was given up.
        Released = "released",
    }
}

table! {
    /// The parts of an order's money that are refunded or about to be.
    shares "refund_shares" {
        #[sea_orm(primary_key, auto_increment = false)]
        order_id: String,
        whole: i64,
        held: i64,
        confirmed: i64,
    }
}

/// What of an order is refunded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shares {
    whole: Minor,
    held: Minor,
    confirmed: Minor,
}

impl Shares {
    /// What of `total` belongs to all parts, held and confirmed.
    pub(crate) fn of_all(self, total: i64) -> Result<i64, Refusal> {
        Ok(share(total, self.held.plus(self.confirmed)?, self.whole)?)
    }

    /// What of `total` belongs to the confirmed parts.
    pub(crate) fn of_confirmed(self, total: i64) -> Result<i64, Refusal> {
        Ok(share(total, self.confirmed, self.whole)?)
    }

    /// The same, were `more` of the held parts confirmed too.
    pub(crate) fn of_confirmed_and(self, more: Minor, total: i64) -> Result<i64, Refusal> {
        Ok(share(total, self.confirmed.plus(more)?, self.whole)?)
    }

    /// Every part is confirmed.
    pub(crate) fn is_whole(self) -> bool {
        self.confirmed == self.whole
    }
}

pub(crate) async fn ensure_schema(db: &impl ConnectionTrait) -> Result<(), DbErr> {
    create(db, shares::Entity).await
}

/// The order's shares, once a refund of it was heard of.
pub(crate) async fn of(db: &impl ConnectionTrait, order: &OrderId) -> Result<Option<Shares>, DbErr> {
    let row = shares::Entity::find_by_id(order.as_str()).one(db).await?;
    Ok(row.map(|row| Shares { whole: Minor(row.whole), held: Minor(row.held), confirmed: Minor(row.confirmed) }))
}

/// Holds one more part, if it fits in the whole.
pub(crate) async fn hold(db: &impl ConnectionTrait, request: &TakeBack) -> Outcome<Shares> {
    let (part, whole) = (request.part.minor.0, request.whole.minor.0);
    within(request.part, request.whole)?;
    insert_new(db, shares::Model { order_id: request.order.to_string(), whole, held: 0, confirmed: 0 }).await?;
    let held = shares::Entity::update_many()
        .changing([plus(shares::Column::Held, part)])
        .filter(shares::Column::OrderId.eq(request.order.as_str()))
        .filter(shares::Column::Whole.eq(whole))
        .filter(
            Expr::col(shares::Column::Held)
                .add(Expr::col(shares::Column::Confirmed))
                .add(part)
                .lte(Expr::col(shares::Column::Whole)),
        )
        .exec(db)
        .await?;
    let now = expected(db, &request.order).await?;
    if held.rows_affected == 1 {
        return Ok(now);
    }
    let left = now.whole.minus(now.held).and_then(|left| left.minus(now.confirmed)).map_err(Refusal::from)?;
    within(request.part, Money { minor: left, ..request.part })?;
    let known = Money { minor: now.whole, ..request.whole };
    Err(Refusal::new("other_whole", format!("the order's whole is {known}, not {}", request.whole)).into())
}

/// A held part is confirmed.
pub(crate) async fn confirm(db: &impl ConnectionTrait, order: &OrderId, part: Minor) -> Result<Shares, DbErr> {
    let moves = [plus(shares::Column::Held, -part.0), plus(shares::Column::Confirmed, part.0)];
    shares::Entity::update_many().changing(moves).filter(shares::Column::OrderId.eq(order.as_str())).exec(db).await?;
    expected(db, order).await
}

/// A held part is given up.
pub(crate) async fn release(db: &impl ConnectionTrait, order: &OrderId, part: Minor) -> Result<(), DbErr> {
    let moves = [plus(shares::Column::Held, -part.0)];
    shares::Entity::update_many().changing(moves).filter(shares::Column::OrderId.eq(order.as_str())).exec(db).await?;
    Ok(())
}

async fn expected(db: &impl ConnectionTrait, order: &OrderId) -> Result<Shares, DbErr> {
    of(db, order).await?.ok_or_else(|| DbErr::RecordNotFound(format!("the refunded shares of order {order}")))
}

/// The shares hold exactly what the holds say; `parts` are the refunds' (order, part, state).
pub(crate) async fn check(
    db: &impl ConnectionTrait, who: &str, parts: &[(String, i64, Hold)],
) -> Result<(), Violation> {
    let of = |state: Hold| sums(parts.iter().filter(|p| p.2 == state).map(|(order, part, _)| (order.clone(), *part)));
    let (held, confirmed) = (of(Hold::Held), of(Hold::Confirmed));
    let figure = |sums: &BTreeMap<String, i64>, order: &String| sums.get(order).copied().unwrap_or(0);
    for row in shares::Entity::find().all(db).await? {
        let name = |what: &str| format!("{who}, order {}: {what}", row.order_id);
        must_equal(name("held = parts held"), row.held, figure(&held, &row.order_id))?;
        must_equal(name("confirmed = parts confirmed"), row.confirmed, figure(&confirmed, &row.order_id))?;
        must_not_be_negative(name("left to refund"), row.whole - row.held - row.confirmed)?;
    }
    Ok(())
}
