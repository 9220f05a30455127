//! The orders' tables, and the one way in which a row is made or changed: compare-and-set on the order's row and version, published.

use super::{Awaiting, OrderState, events};
use crate::{
    db::{Change, Changing, create, insert_new, plus, table, to},
    ids::{ClaimId, OrderId},
    refusals::missing,
    shares::Hold,
};
use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter};
use serde::Serialize;
use tercet_core::{Millis, Refusal};
use tercet_participant::{Outcome, Transaction, retry};

table! {
    /// The orders.
    order "orders" {
        #[sea_orm(primary_key, auto_increment = false)]
        id: String,
        #[sea_orm(indexed)]
        user_id: String,
        payment_id: String,
        currency: String,
        goods_total: i64,
        paid: i64,
        refunded: i64,
        held: i64,
        coupon: Option<String>,
        points_spent: i64,
        red_packet: Option<String>,
        #[sea_orm(indexed)]
        state: OrderState,
        came_from: Option<OrderState>,
        claim: Option<String>,
        open_refunds: i64,
        leaves_by_refund: bool,
        after_sales_until_ms: Option<i64>,
        order_version: i64,
        saga_key: String,
    }
}

table! {
    /// Their goods, each variant once; `amount` is the line's share of the money paid.
    line "order_lines" {
        #[sea_orm(primary_key, auto_increment = false)]
        order_id: String,
        #[sea_orm(primary_key, auto_increment = false)]
        sku: String,
        quantity: i64,
        amount: i64,
        refunded_quantity: i64,
        refunded_amount: i64,
        held_quantity: i64,
        held_amount: i64,
    }
}

table! {
    /// Their refunds. The key is the refund request's id.
    refund "order_refunds" {
        #[sea_orm(primary_key, auto_increment = false)]
        id: String,
        #[sea_orm(indexed)]
        order_id: String,
        amount: i64,
        state: Hold,
    }
}

table! {
    /// The goods of each refund.
    refund_line "order_refund_lines" {
        #[sea_orm(primary_key, auto_increment = false)]
        refund_id: String,
        #[sea_orm(primary_key, auto_increment = false)]
        sku: String,
        quantity: i64,
        amount: i64,
    }
}

pub(super) use {
    line::Entity as Lines, order::Entity as Rows, refund::Entity as Refunds, refund_line::Entity as RefundLines,
};
pub(super) type Row = order::Model;
pub(super) type Column = order::Column;
pub(super) type LineRow = line::Model;
pub(super) type LineColumn = line::Column;
pub(super) type RefundRow = refund::Model;
pub(super) type RefundColumn = refund::Column;
pub(super) type RefundLineRow = refund_line::Model;
pub(super) type RefundLineColumn = refund_line::Column;

/// Makes the tables when they are not there.
///
/// # Errors
/// When the database fails.
pub async fn ensure_schema(db: &impl ConnectionTrait) -> Result<(), DbErr> {
    create(db, order::Entity).await?;
    create(db, line::Entity).await?;
    create(db, refund::Entity).await?;
    create(db, refund_line::Entity).await
}

pub(super) async fn find(db: &impl ConnectionTrait, id: &OrderId) -> Outcome<Row> {
    let row = order::Entity::find_by_id(id.as_str()).one(db).await?;
    Ok(row.ok_or_else(|| missing("no_order", format!("order {id}")))?)
}

/// Inserts the row, at version 1, unless the order is there, and publishes that. Says whether it did.
pub(super) async fn insert(tx: &Transaction, row: Row, now: Millis) -> Outcome<bool> {
    let id = row.id.clone();
    let is_new = insert_new(tx, Row { order_version: 1, ..row }).await?;
    if is_new {
        events::publish(tx, &id, None, now).await?;
    }
    Ok(is_new)
}

/// Writes changes to the row as it was read, raises its version and publishes that; *not now* when it moved since.
pub(super) async fn write<const N: usize>(
    tx: &Transaction, row: &Row, changes: [Change<Column>; N], now: Millis,
) -> Outcome<()> {
    let written = order::Entity::update_many()
        .changing(changes)
        .changing([plus(Column::OrderVersion, 1)])
        .filter(Column::Id.eq(&row.id))
        .filter(Column::OrderVersion.eq(row.order_version))
        .exec(tx)
        .await?;
    if written.rows_affected != 1 {
        return retry(format!("the order {} moved meanwhile", row.id));
    }
    events::publish(tx, &row.id, Some(row.state), now).await
}

/// Where the order would stand: state, where it came from, and the claim it is under.
pub(super) struct Stand {
    pub(super) state: OrderState,
    pub(super) came_from: Option<OrderState>,
    pub(super) claim: Option<String>,
}

impl Stand {
    pub(super) fn changes(self) -> [Change<Column>; 3] {
        [to(Column::State, self.state), to(Column::CameFrom, self.came_from), to(Column::Claim, self.claim)]
    }
}

/// The order in `next`, if the table of states allows it.
pub(super) fn moved(row: &Row, next: OrderState, claim: Option<&ClaimId>, now: Millis) -> Result<Stand, Refusal> {
    if !row.state.allows(next, row.came_from) {
        return Err(row.state.refuse(next));
    }
    if next != OrderState::InAfterSales {
        return Ok(Stand { state: next, came_from: None, claim: None });
    }
    let claim = claim.ok_or_else(|| Refusal::new("no_claim", "an order is in after-sales under a claim"))?;
    let closed = row.after_sales_until_ms.is_some_and(|until| now.0 > until);
    if row.state == OrderState::Completed && closed {
        return Err(Refusal::new("window_closed", format!("the after-sales window of order {} is closed", row.id)));
    }
    Ok(Stand { state: next, came_from: Some(row.state), claim: Some(claim.to_string()) })
}

/// Changes an order's state, as DOMAIN's table has it; into after-sales it takes a claim.
///
/// # Errors
/// A refusal whose code names the current state, for every change that the table does not have, while refunds are open, and
/// for *after-sales done* before all of it is refunded.
pub async fn change(
    tx: &Transaction, id: &OrderId, next: OrderState, claim: Option<&ClaimId>, now: Millis,
) -> Outcome<()> {
    let row = find(tx, id).await?;
    let stand = moved(&row, next, claim, now)?;
    if row.open_refunds > 0 || (next == OrderState::AfterSalesDone && row.refunded < row.paid) {
        let (refunded, open) = (row.refunded, row.open_refunds);
        let why = format!("{refunded} of {} minor units are refunded, and {open} refunds are open", row.paid);
        let Refusal { code, message } = row.state.refuse(next);
        return Err(Refusal::new(code, format!("{message}: {why}")).into());
    }
    write(tx, &row, stand.changes(), now).await
}

/// The warehouse was told: the order awaits shipment, or will when it comes back from after-sales.
pub(super) async fn await_shipment(tx: &Transaction, id: &OrderId, now: Millis) -> Outcome<Awaiting> {
    let row = find(tx, id).await?;
    let next = OrderState::AwaitingShipment;
    match (row.state, row.came_from) {
        (OrderState::AwaitingShipment, _) => Ok(Awaiting::Moved),
        (OrderState::InAfterSales, Some(OrderState::Paid)) => {
            write(tx, &row, [to(Column::CameFrom, Some(next))], now).await?;
            Ok(Awaiting::Noted)
        }
        (OrderState::InAfterSales, Some(OrderState::AwaitingShipment)) => Ok(Awaiting::Noted),
        (OrderState::AfterSalesDone, _) => Ok(Awaiting::Nothing),
        _ => {
            let stand = moved(&row, next, None, now)?;
            write(tx, &row, stand.changes(), now).await?;
            Ok(Awaiting::Moved)
        }
    }
}

/// An order, as people and tests look at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct View {
    /// Where it stands.
    pub state: OrderState,
    /// Where it was before after-sales, while it is there.
    pub came_from: Option<OrderState>,
    /// The claim, while it is in after-sales.
    pub claim: Option<ClaimId>,
    /// Money paid, in minor units.
    pub paid: i64,
    /// Of it, refunded.
    pub refunded: i64,
    /// Of it, held by refunds that are not decided.
    pub held: i64,
    /// Raised by each change: of two events of an order, the one with the larger version is the later.
    pub order_version: i64,
    /// The key of its saga.
    pub saga_key: String,
}

/// Looks at an order.
///
/// # Errors
/// A refusal when there is no such order.
pub async fn view(db: &impl ConnectionTrait, id: &OrderId) -> Outcome<View> {
    let Row { state, came_from, claim, paid, refunded, held, order_version, saga_key, .. } = find(db, id).await?;
    let claim = claim.map(ClaimId::stored);
    Ok(View { state, came_from, claim, paid, refunded, held, order_version, saga_key })
}
