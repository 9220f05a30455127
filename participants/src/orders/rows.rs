//! The orders' tables, and the one way in which a row is made or changed: compare-and-set on the order's row and version, published.

use super::{Awaiting, OrderState, events};
use crate::{
    db::{Change, Changing, create, create_index, insert_new, plus, table, to},
    ids::{ClaimId, ClientKey, OrderId, PaymentId, Sku, UserId},
    money::{Minor, Money},
    refusals::missing,
    shares::Hold,
};
use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, sea_query::Index};
use serde::Serialize;
use tercet_core::{Millis, Refusal};
use tercet_participant::{Outcome, Transaction, retry};

table! {
    /// The orders.
    order "orders" {
        #[sea_orm(primary_key, auto_increment = false)]
        id: String,
        user_id: String,
        payment_id: Option<String>,
        #[sea_orm(column_type = "Text")]
        address: Option<String>,
        #[sea_orm(column_type = "Text")]
        invoice_title: Option<String>,
        currency: String,
        goods_total: i64,
        amount: i64,
        paid: i64,
        refunded: i64,
        held: i64,
        coupon: Option<String>,
        points_spent: i64,
        red_packet: Option<String>,
        state: OrderState,
        came_from: Option<OrderState>,
        claim: Option<String>,
        open_refunds: i64,
        leaves_by_refund: bool,
        after_sales_until_ms: Option<i64>,
        placed_at_ms: i64,
        order_version: i64,
        saga_key: String,
    }
}

table! {
    /// Their goods, each variant once; `amount` is the line's share of the money to be paid.
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
    /// Their natural keys: who placed which goods in which second. The last line against a double click, freed by a cancel.
    natural "order_natural_keys" {
        #[sea_orm(primary_key, auto_increment = false)]
        user_id: String,
        #[sea_orm(primary_key, auto_increment = false)]
        goods: String,
        #[sea_orm(primary_key, auto_increment = false)]
        second: i64,
        #[sea_orm(indexed)]
        order_id: String,
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

/// The ways in which orders are found, each an index whose rows stand as they are shown: see [`find`](super::find).
const WAYS: [(&str, &[Column]); 4] = [
    ("idx-orders-user-placed", &[Column::UserId, Column::PlacedAtMs, Column::Id]),
    ("idx-orders-state-placed", &[Column::State, Column::PlacedAtMs, Column::Id]),
    ("idx-orders-amount", &[Column::Currency, Column::Amount, Column::Id]),
    ("idx-orders-placed", &[Column::PlacedAtMs, Column::Id]),
];

/// Makes the tables when they are not there.
///
/// # Errors
/// When the database fails.
pub async fn ensure_schema(db: &impl ConnectionTrait) -> Result<(), DbErr> {
    create(db, order::Entity).await?;
    for (name, columns) in WAYS {
        let mut index = Index::create();
        index.name(name).table(order::Entity);
        for column in columns {
            index.col(*column);
        }
        create_index(db, index).await?;
    }
    create(db, line::Entity).await?;
    create(db, natural::Entity).await?;
    create(db, refund::Entity).await?;
    create(db, refund_line::Entity).await
}

impl Row {
    /// An order that waits for its money.
    pub(super) fn pending(id: &OrderId, user: &UserId, goods_total: Minor, amount: Money) -> Self {
        Self {
            id: id.to_string(),
            user_id: user.to_string(),
            payment_id: None,
            address: None,
            invoice_title: None,
            currency: amount.currency.to_string(),
            goods_total: goods_total.0,
            amount: amount.minor.0,
            paid: 0,
            refunded: 0,
            held: 0,
            coupon: None,
            points_spent: 0,
            red_packet: None,
            state: OrderState::PendingPayment,
            came_from: None,
            claim: None,
            open_refunds: 0,
            leaves_by_refund: false,
            after_sales_until_ms: None,
            placed_at_ms: 0,
            order_version: 1,
            saga_key: id.to_string(),
        }
    }
}

impl LineRow {
    /// A line of which nothing is refunded.
    pub(super) fn of(order: &OrderId, sku: &Sku, quantity: u32, amount: Minor) -> Self {
        Self {
            order_id: order.to_string(),
            sku: sku.to_string(),
            quantity: i64::from(quantity),
            amount: amount.0,
            refunded_quantity: 0,
            refunded_amount: 0,
            held_quantity: 0,
            held_amount: 0,
        }
    }
}

/// Takes a natural key for an order; the order that has it already, if one has.
pub(super) async fn take_natural(
    db: &impl ConnectionTrait, user: &UserId, goods: &str, second: i64, order: &OrderId,
) -> Result<Option<String>, DbErr> {
    let (user_id, goods) = (user.to_string(), goods.to_owned());
    let key = (user_id.clone(), goods.clone(), second);
    if insert_new(db, natural::Model { user_id, goods, second, order_id: order.to_string() }).await? {
        return Ok(None);
    }
    Ok(natural::Entity::find_by_id(key).one(db).await?.map(|row| row.order_id))
}

/// Frees the natural keys of an order.
pub(super) async fn free_natural(db: &impl ConnectionTrait, order: &OrderId) -> Result<(), DbErr> {
    natural::Entity::delete_many().filter(natural::Column::OrderId.eq(order.as_str())).exec(db).await.map(drop)
}

pub(super) async fn find(db: &impl ConnectionTrait, id: &OrderId) -> Outcome<Row> {
    let row = order::Entity::find_by_id(id.as_str()).one(db).await?;
    Ok(row.ok_or_else(|| missing("no_order", format!("order {id}")))?)
}

/// Inserts the row, at version 1, unless the order is there, and publishes that. Says whether it did.
pub(super) async fn insert(tx: &Transaction, row: Row, now: Millis) -> Outcome<bool> {
    let id = row.id.clone();
    let is_new = insert_new(tx, Row { placed_at_ms: now.0, order_version: 1, ..row }).await?;
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
    let [state, came_from, claim] = stand.changes();
    let paid = if next == OrderState::Paid { row.amount } else { row.paid };
    write(tx, &row, [state, came_from, claim, to(Column::Paid, paid)], now).await
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
    /// What it costs, in minor units.
    pub amount: i64,
    /// Money paid, in minor units: nothing while payment is pending, then all of it.
    pub paid: i64,
    /// What paid for it, once that is noted.
    pub payment: Option<PaymentId>,
    /// Of it, refunded.
    pub refunded: i64,
    /// Of it, held by refunds that are not decided.
    pub held: i64,
    /// Raised by each change: of two events of an order, the one with the larger version is the later.
    pub order_version: i64,
    /// The key of its saga.
    pub saga_key: ClientKey,
}

/// Looks at an order.
///
/// # Errors
/// A refusal when there is no such order.
pub async fn view(db: &impl ConnectionTrait, id: &OrderId) -> Outcome<View> {
    let row = find(db, id).await?;
    let Row { state, came_from, claim, amount, paid, refunded, held, order_version, saga_key, .. } = row;
    let (payment, saga_key) = (row.payment_id.map(PaymentId::stored), ClientKey::stored(saga_key));
    let claim = claim.map(ClaimId::stored);
    Ok(View { state, came_from, claim, amount, paid, payment, refunded, held, order_version, saga_key })
}
