//! Points spent on an order: their worth, frozen while the order waits for its money, then spent or unfrozen.

use super::{Points, Why, account, entered, order, record};
use crate::{
    db::{Changing, plus},
    ids::{OrderId, UserId},
    money::Minor,
};
use schemars::JsonSchema;
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter,
    sea_query::{Expr, ExprTrait},
};
use serde::{Deserialize, Serialize};
use tercet_core::{Call, Operation, Refusal, kind};
use tercet_participant::{Outcome, Read, Tcc, Transaction};

/// `points.worth/1`: does the buyer have so many points, and what are they worth?
pub struct WorthOfPoints;

impl Operation for WorthOfPoints {
    const NAME: &'static str = "points.worth/1";
    type Kind = kind::Read;
    type Request = SomePoints;
    type Reply = Minor;
}

/// `points.spend/1`: freeze points for an order, spend them, or unfreeze them.
pub struct SpendPoints;

impl Operation for SpendPoints {
    const NAME: &'static str = "points.spend/1";
    type Kind = kind::Tcc;
    type Request = Spending;
    type Reply = ();
}

/// Points of a buyer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SomePoints {
    /// Whose.
    pub user: UserId,
    /// How many.
    pub points: u32,
}

/// Points to be spent on an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Spending {
    /// The order.
    pub order: OrderId,
    /// Whose.
    pub user: UserId,
    /// How many, above zero.
    pub points: u32,
}

impl Read<WorthOfPoints> for Points {
    /// Whether the buyer has them is the hold's to say: of one order submitted twice, the second must get as far as the orders,
    /// which know the first, though the first has these points.
    async fn read(&self, _: &Transaction, _: &Call, request: SomePoints) -> Outcome<Minor> {
        Ok(Minor(self.minor_per_point).times(i64::from(request.points)).map_err(Refusal::from)?)
    }
}

impl Tcc<SpendPoints> for Points {
    async fn try_(&self, tx: &Transaction, _: &Call, request: Spending) -> Outcome<()> {
        freeze(tx, &request).await
    }

    async fn confirm(&self, tx: &Transaction, _: &Call, request: Spending, (): ()) -> Outcome<()> {
        let points = i64::from(request.points);
        if unfreeze(tx, &request, 0, points).await? {
            record(tx, &request.user, &request.order, Why::Spent, -points).await?;
        }
        Ok(())
    }

    async fn cancel(&self, tx: &Transaction, _: &Call, request: Spending, _: Option<()>) -> Outcome<()> {
        unfreeze(tx, &request, i64::from(request.points), 0).await.map(drop)
    }
}

pub(super) fn too_few(user: &UserId, points: u32) -> Refusal {
    Refusal::new("too_few_points", format!("{user} has less than {points} points"))
}

async fn freeze(db: &impl ConnectionTrait, request: &Spending) -> Outcome<()> {
    let points = i64::from(request.points);
    entered(db, &request.order, &request.user).await?;
    let frozen = account::Entity::update_many()
        .changing([plus(account::Column::Balance, -points), plus(account::Column::Frozen, points)])
        .filter(account::Column::UserId.eq(request.user.as_str()))
        .filter(account::Column::Balance.gte(points))
        .exec(db)
        .await?;
    if frozen.rows_affected != 1 {
        return Err(too_few(&request.user, request.points).into());
    }
    let first = order::Entity::update_many()
        .changing([plus(order::Column::Frozen, points)])
        .filter(order::Column::OrderId.eq(request.order.as_str()))
        .filter(Expr::col(order::Column::Frozen).add(Expr::col(order::Column::Spent)).eq(0))
        .exec(db)
        .await?;
    if first.rows_affected != 1 {
        let message = format!("the order {} freezes or spent points already", request.order);
        return Err(Refusal::new("duplicate", message).into());
    }
    Ok(())
}

/// Ends what the order froze: so many go back to the balance, so many are spent. Says whether anything was frozen.
async fn unfreeze(db: &impl ConnectionTrait, request: &Spending, back: i64, spent: i64) -> Outcome<bool> {
    let points = i64::from(request.points);
    let ended = order::Entity::update_many()
        .changing([plus(order::Column::Frozen, -points), plus(order::Column::Spent, spent)])
        .filter(order::Column::OrderId.eq(request.order.as_str()))
        .filter(order::Column::Frozen.eq(points))
        .exec(db)
        .await?;
    if ended.rows_affected != 1 {
        return Ok(false);
    }
    account::Entity::update_many()
        .changing([plus(account::Column::Frozen, -points), plus(account::Column::Balance, back)])
        .filter(account::Column::UserId.eq(request.user.as_str()))
        .exec(db)
        .await?;
    Ok(true)
}
