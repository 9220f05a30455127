//! Orders to begin with, their figures, and what must add up.

use super::{
    OrderState,
    rows::{Column, LineColumn, LineRow, Lines, RefundColumn, Refunds, Row, Rows, insert},
};
use crate::{
    db::insert_new,
    equation::{Violation, must_equal, must_not_be_negative, sums},
    ids::{OrderId, PaymentId, Sku, UserId, VoucherId},
    money::{Minor, Money},
    shares::Hold,
};
use sea_orm::{ConnectionTrait, DbErr, EntityTrait, QueryOrder};
use serde::Serialize;
use std::collections::BTreeMap;
use tercet_core::{Millis, Refusal};
use tercet_participant::{Outcome, Transaction};

/// An order to begin with.
#[derive(Clone, Debug)]
pub struct SeedOrder {
    /// Its id.
    pub id: OrderId,
    /// Whose.
    pub user: UserId,
    /// What paid for it.
    pub payment: PaymentId,
    /// Its goods.
    pub lines: Vec<SeedLine>,
    /// The money paid: the goods less coupon and points. It is split over the lines by largest remainder.
    pub paid: Money,
    /// The coupon that was spent on it.
    pub coupon: Option<VoucherId>,
    /// The points that were spent on it.
    pub points_spent: u32,
    /// The red packet that came with it.
    pub red_packet: Option<VoucherId>,
    /// Where it stands.
    pub state: OrderState,
    /// Until when a completed order may go into after-sales.
    pub after_sales_until: Option<Millis>,
}

/// A line of it.
#[derive(Clone, Debug)]
pub struct SeedLine {
    /// Of what.
    pub sku: Sku,
    /// How many.
    pub quantity: u32,
    /// The line's price, all pieces together.
    pub price: Minor,
}

/// Adds an order, as it was at `now`.
///
/// # Errors
/// When the database fails, or the lines cannot carry the money paid.
pub async fn seed(tx: &Transaction, order: &SeedOrder, now: Millis) -> Outcome<()> {
    let prices: Vec<u64> = order.lines.iter().map(|l| u64::try_from(l.price.0).unwrap_or(0)).collect();
    let parts = order.paid.minor.split(&prices).map_err(Refusal::from)?;
    let total = Minor::sum(order.lines.iter().map(|l| l.price)).map_err(Refusal::from)?;
    let row = Row {
        payment_id: Some(order.payment.to_string()),
        paid: if order.state.is_before_payment() { 0 } else { order.paid.minor.0 },
        coupon: order.coupon.as_ref().map(ToString::to_string),
        points_spent: i64::from(order.points_spent),
        red_packet: order.red_packet.as_ref().map(ToString::to_string),
        state: order.state,
        after_sales_until_ms: order.after_sales_until.map(|until| until.0),
        ..Row::pending(&order.id, &order.user, total, order.paid)
    };
    if !insert(tx, row, now).await? {
        return Ok(());
    }
    for (line, amount) in order.lines.iter().zip(parts) {
        insert_new(tx, LineRow::of(&order.id, &line.sku, line.quantity, amount)).await?;
    }
    Ok(())
}

/// All orders, summed up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OrderLedger {
    /// How many stand where.
    pub states: BTreeMap<String, u64>,
    /// Money that orders wait for, by currency, in minor units.
    pub awaited: BTreeMap<String, i64>,
    /// Money paid, by currency, in minor units.
    pub paid: BTreeMap<String, i64>,
    /// Of it, refunded.
    pub refunded: BTreeMap<String, i64>,
    /// Of it, held by refunds that are not decided.
    pub held: BTreeMap<String, i64>,
    /// Orders whose payment is noted.
    pub noted: u64,
    /// Refunds that are not decided.
    pub open_refunds: i64,
}

/// The figures of the participant's database.
///
/// # Errors
/// When the database fails.
pub async fn ledger(db: &impl ConnectionTrait) -> Result<OrderLedger, DbErr> {
    let mut ledger = OrderLedger::default();
    for row in Rows::find().order_by_asc(Column::Id).all(db).await? {
        *ledger.states.entry(row.state.as_str().to_owned()).or_default() += 1;
        if row.state == OrderState::PendingPayment {
            *ledger.awaited.entry(row.currency.clone()).or_default() += row.amount;
        }
        *ledger.paid.entry(row.currency.clone()).or_default() += row.paid;
        *ledger.refunded.entry(row.currency.clone()).or_default() += row.refunded;
        *ledger.held.entry(row.currency).or_default() += row.held;
        ledger.open_refunds += row.open_refunds;
        ledger.noted += u64::from(row.payment_id.is_some());
    }
    Ok(ledger)
}

/// Orders, lines and refunds tell the same story, and an order is in after-sales exactly while it has a claim and a way back.
///
/// # Errors
/// The equation that does not hold.
pub async fn check_equation(db: &impl ConnectionTrait) -> Result<(), Violation> {
    let refunds = Refunds::find().order_by_asc(RefundColumn::Id).all(db).await?;
    let of = |state| sums(refunds.iter().filter(|r| r.state == state).map(|r| (r.order_id.clone(), r.amount)));
    let (held, refunded) = (of(Hold::Held), of(Hold::Confirmed));
    let open = sums(refunds.iter().filter(|r| r.state == Hold::Held).map(|r| (r.order_id.clone(), 1)));
    let lines = Lines::find().order_by_asc(LineColumn::OrderId).all(db).await?;
    let line_sums = |figure: fn(&LineRow) -> i64| sums(lines.iter().map(|l| (l.order_id.clone(), figure(l))));
    let (amounts, line_held) = (line_sums(|l| l.amount), line_sums(|l| l.held_amount));
    let line_refunded = line_sums(|l| l.refunded_amount);
    for row in Rows::find().all(db).await? {
        let name = |what: &str| format!("order {}: {what}", row.id);
        let of = |sums: &BTreeMap<String, i64>| sums.get(&row.id).copied().unwrap_or(0);
        must_equal(name("held = refunds held"), row.held, of(&held))?;
        must_equal(name("held = held of its lines"), row.held, of(&line_held))?;
        must_equal(name("refunded = refunds confirmed"), row.refunded, of(&refunded))?;
        must_equal(name("refunded = refunded of its lines"), row.refunded, of(&line_refunded))?;
        must_equal(name("to be paid = its lines"), row.amount, of(&amounts))?;
        let due = if row.state.is_before_payment() { 0 } else { row.amount };
        must_equal(name("paid = to be paid, once it is"), row.paid, due)?;
        must_equal(name("open refunds = refunds held"), row.open_refunds, of(&open))?;
        must_not_be_negative(name("left"), row.paid - row.refunded - row.held)?;
        let inside = i64::from(row.state == OrderState::InAfterSales);
        must_equal(name("in after-sales = has a way back"), inside, i64::from(row.came_from.is_some()))?;
        must_equal(name("in after-sales = has a claim"), inside, i64::from(row.claim.is_some()))?;
        let done = row.state == OrderState::AfterSalesDone;
        must_equal(name("done = all refunded"), i64::from(done && row.refunded != row.paid), 0)?;
    }
    for line in &lines {
        let name = format!("order {}, {}: pieces left", line.order_id, line.sku);
        must_not_be_negative(name, line.quantity - line.refunded_quantity - line.held_quantity)?;
    }
    Ok(())
}
