//! Payments to begin with, their figures, and what must add up.

use super::{
    Receipt,
    received::book,
    rows::{Callbacks, Column, PaymentState, ReceiptRow, Receipts, RefundState, Refunds, Row, Rows, Slots},
};
use crate::{
    channel::How,
    db::insert_new,
    equation::{Violation, must_equal, must_not_be_negative, sums},
    ids::{OrderId, PaymentId, UserId},
};
use sea_orm::{ConnectionTrait, DbErr, EntityTrait, QueryOrder};
use serde::Serialize;
use std::collections::BTreeMap;
use tercet_participant::Outcome;

/// Adds an order's payment, with the money that the channel received for it.
///
/// # Errors
/// When the database fails, or the amount is not above zero.
pub async fn seed_paid(
    db: &impl ConnectionTrait, id: &PaymentId, order: &OrderId, user: &UserId, receipt: &Receipt,
) -> Outcome<()> {
    let row = Row {
        id: id.to_string(),
        order_id: order.to_string(),
        user_id: user.to_string(),
        currency: receipt.amount.currency.to_string(),
        amount: receipt.amount.minor.0,
        how: How::PayLink,
        state: PaymentState::Paid,
        received: 0,
        refunded: 0,
        reserved: 0,
        failure: None,
        ticket: None,
        attention: None,
    };
    insert_new(db, row).await?;
    book(db, id, receipt).await?;
    Ok(())
}

/// The figures of one currency, in minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MoneyLedger {
    /// Came in.
    pub received: i64,
    /// Went back.
    pub refunded: i64,
    /// Held by refunds that are not decided.
    pub reserved: i64,
}

/// All payments, summed up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PaymentLedger {
    /// By currency.
    pub money: BTreeMap<String, MoneyLedger>,
    /// How many payments stand where.
    pub states: BTreeMap<String, u64>,
    /// How many refunds stand where.
    pub refunds: BTreeMap<String, u64>,
    /// What asks for a person, by payment.
    pub attention: BTreeMap<String, String>,
    /// Reports of charges that came, copies counted.
    pub callbacks: i64,
    /// Of these, the copies.
    pub copies: i64,
}

/// The figures of the participant's database.
///
/// # Errors
/// When the database fails.
pub async fn ledger(db: &impl ConnectionTrait) -> Result<PaymentLedger, DbErr> {
    let mut ledger = PaymentLedger::default();
    for row in Rows::find().order_by_asc(Column::Id).all(db).await? {
        let money = ledger.money.entry(row.currency).or_default();
        money.received += row.received;
        money.refunded += row.refunded;
        money.reserved += row.reserved;
        *ledger.states.entry(row.state.as_str().to_owned()).or_default() += 1;
        ledger.attention.extend(row.attention.map(|attention| (row.id, attention)));
    }
    for row in Refunds::find().all(db).await? {
        *ledger.refunds.entry(row.state.as_str().to_owned()).or_default() += 1;
    }
    for row in Callbacks::find().all(db).await? {
        ledger.callbacks += row.copies;
        ledger.copies += row.copies - 1;
    }
    Ok(ledger)
}

/// What payments count is what their receipts and refunds say, no more goes back than came in, and what is paid was received, unless a
/// person was called.
///
/// # Errors
/// The equation that does not hold.
pub async fn check_equation(db: &impl ConnectionTrait) -> Result<(), Violation> {
    let refunds = Refunds::find().all(db).await?;
    let of = |state: RefundState| {
        sums(refunds.iter().filter(|r| r.state == state).map(|r| (r.payment_id.clone(), r.amount)))
    };
    let (refunded, reserved) = (of(RefundState::Refunded), of(RefundState::Processing));
    let receipts = Receipts::find().all(db).await?;
    let slots = sums(Slots::find().all(db).await?.into_iter().map(|slot| (slot.payment_id, 1)));
    let firsts = sums(receipts.iter().filter(|r| !r.excess).map(|r| (r.payment_id.clone(), 1)));
    let received = sums(receipts.into_iter().map(|ReceiptRow { payment_id, amount, .. }| (payment_id, amount)));
    for row in Rows::find().all(db).await? {
        let name = |what: &str| format!("payment {}: {what}", row.id);
        let of = |sums: &BTreeMap<String, i64>| sums.get(&row.id).copied().unwrap_or(0);
        must_equal(name("received = receipts"), row.received, of(&received))?;
        must_equal(name("refunded = refunds refunded"), row.refunded, of(&refunded))?;
        must_equal(name("reserved = refunds processing"), row.reserved, of(&reserved))?;
        must_not_be_negative(name("one receipt at most is its own"), 1 - of(&firsts))?;
        match row.state {
            PaymentState::Processing => must_equal(name("open = has its order's slot"), of(&slots), 1)?,
            PaymentState::Failed | PaymentState::Closed => must_equal(name("given up = has none"), of(&slots), 0)?,
            PaymentState::Paid => {}
        }
        if row.attention.is_none() {
            must_not_be_negative(name("left"), row.received - row.refunded - row.reserved)?;
            let unpaid = row.state == PaymentState::Paid && row.received < row.amount;
            must_equal(name("paid and not received"), i64::from(unpaid), 0)?;
        }
    }
    Ok(())
}

/// Where a payment stands.
///
/// # Errors
/// When the database fails.
pub async fn state(db: &impl ConnectionTrait, id: &PaymentId) -> Result<Option<PaymentState>, DbErr> {
    Ok(Rows::find_by_id(id.as_str()).one(db).await?.map(|row| row.state))
}
