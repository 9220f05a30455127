//! The payment's row: written *processing* before the channel is asked, and ended by its saga's decision alone.

use super::{
    Payments,
    callback::adopt,
    received::{attend, return_received},
    rows::{Column, PaymentState, Row, Rows, SlotColumn, SlotRow, Slots, find},
};
use crate::{
    channel::How,
    db::{Changing, insert_new, to},
    ids::{OrderId, PaymentId, UserId},
    money::Money,
};
use schemars::JsonSchema;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};
use serde::{Deserialize, Serialize};
use tercet_core::{Call, Operation, Refusal, kind, refuse};
use tercet_participant::{Outcome, Tcc, Transaction};

/// `payments.record/1`: the payment is open; paid when confirmed, else failed or closed.
pub struct Record;

impl Operation for Record {
    const NAME: &'static str = "payments.record/1";
    type Kind = kind::Tcc;
    type Request = ToRecord;
    type Reply = Recorded;
}

/// A payment to be opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ToRecord {
    /// The payment's own id, and what the channel will know its charge by.
    pub payment: PaymentId,
    /// What it pays for.
    pub order: OrderId,
    /// Who pays.
    pub user: UserId,
    /// How much, above zero.
    pub amount: Money,
    /// Which attempt of the order's: one payment is open for each.
    pub attempt: u32,
    /// How.
    pub how: How,
}

/// A payment that is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Recorded {
    /// The payment.
    pub payment: PaymentId,
    /// What it pays for.
    pub order: OrderId,
    /// Who pays.
    pub user: UserId,
    /// How much.
    pub amount: Money,
    /// How.
    pub how: How,
}

impl Tcc<Record> for Payments {
    async fn try_(&self, tx: &Transaction, _: &Call, request: ToRecord) -> Outcome<Recorded> {
        open(tx, request).await
    }

    async fn confirm(&self, tx: &Transaction, _: &Call, request: ToRecord, _: Recorded) -> Outcome<()> {
        confirm(tx, &request.payment).await
    }

    async fn cancel(&self, tx: &Transaction, _: &Call, request: ToRecord, _: Option<Recorded>) -> Outcome<()> {
        cancel(tx, &request).await
    }
}

async fn open(db: &impl ConnectionTrait, request: ToRecord) -> Outcome<Recorded> {
    let ToRecord { payment, order, user, amount, attempt, how } = request;
    if amount.minor.0 <= 0 {
        return Err(Refusal::new("bad_amount", format!("{amount} cannot be paid")).into());
    }
    let row = Row {
        id: payment.to_string(),
        order_id: order.to_string(),
        user_id: user.to_string(),
        currency: amount.currency.to_string(),
        amount: amount.minor.0,
        how,
        state: PaymentState::Processing,
        received: 0,
        refunded: 0,
        reserved: 0,
        failure: None,
        ticket: None,
        attention: None,
    };
    if !insert_new(db, row).await? {
        return refuse("duplicate", format!("the payment {payment} is or was open already"))?;
    }
    let slot = SlotRow { order_id: order.to_string(), attempt: i64::from(attempt), payment_id: payment.to_string() };
    if !insert_new(db, slot).await? {
        let text = format!("another payment of order {order} is open or paid as its attempt {attempt}");
        return refuse("attempt_taken", text)?;
    }
    adopt(db, &payment).await?;
    Ok(Recorded { payment, order, user, amount, how })
}

async fn confirm(db: &impl ConnectionTrait, id: &PaymentId) -> Outcome<()> {
    Rows::update_many()
        .changing([to(Column::State, PaymentState::Paid)])
        .filter(Column::Id.eq(id.as_str()))
        .filter(Column::State.eq(PaymentState::Processing))
        .exec(db)
        .await?;
    let (row, currency) = find(db, id).await?;
    if row.received >= row.amount {
        return Ok(());
    }
    // Marked as done by a person: the channel's own word is yet to come.
    let amount = Money::new(row.amount, currency);
    attend(db, id, format!("it is paid, and no receipt of {amount} is booked")).await
}

/// Money that has come in already is not ours to keep: it starts on its way back with the decision.
async fn cancel(tx: &Transaction, request: &ToRecord) -> Outcome<()> {
    let id = &request.payment;
    let (row, _) = find(tx, id).await?;
    let ended = if row.failure.is_some() { PaymentState::Failed } else { PaymentState::Closed };
    let moved = Rows::update_many()
        .changing([to(Column::State, ended)])
        .filter(Column::Id.eq(id.as_str()))
        .filter(Column::State.eq(PaymentState::Processing))
        .exec(tx)
        .await?;
    Slots::delete_many().filter(SlotColumn::PaymentId.eq(id.as_str())).exec(tx).await?;
    if moved.rows_affected == 1 { return_received(tx, id, request.user.clone()).await } else { Ok(()) }
}
