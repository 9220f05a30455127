//! Money given back: the refund ledger and its ceiling, `refunded + reserved + amount <= received`, by compare-and-set on the payment's
//! row.

use super::{
    Payments, Receipt,
    received::book,
    rows::{Column, RefundColumn, RefundRow, RefundState, Refunds, Row, Rows, find},
};
use crate::{
    db::{Changing, insert_new, plus, to},
    ids::{PaymentId, RefundId},
    money::{Currency, Money},
    refusals::{duplicate, real, within},
};
use schemars::JsonSchema;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter,
    sea_query::{Expr, ExprTrait},
};
use serde::{Deserialize, Serialize};
use tercet_core::{Call, Operation, kind};
use tercet_participant::{Outcome, Retriable, Tcc, Transaction, retry};

/// `payments.hold_refund/1`: write the refund *processing* and reserve its amount; refunded when confirmed, else released.
pub struct HoldRefund;

impl Operation for HoldRefund {
    const NAME: &'static str = "payments.hold_refund/1";
    type Kind = kind::Tcc;
    type Request = RefundToHold;
    type Reply = RefundHeld;
}

/// `payments.book_refunded/1`: verified evidence that the channel gave money back, whatever the refund is held as.
pub struct BookRefunded;

impl Operation for BookRefunded {
    const NAME: &'static str = "payments.book_refunded/1";
    type Kind = kind::Retriable;
    type Request = Evidence;
    type Reply = Booked;
}

/// A refund whose amount is to be reserved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefundToHold {
    /// The refund request's id: it is held once, for ever.
    pub refund: RefundId,
    /// The payment it comes from.
    pub payment: PaymentId,
    /// How much, above zero and within what is left.
    pub amount: Money,
    /// Why, for people.
    pub reason: String,
    /// Money that is known to have arrived, to be booked first: a late or double payment's.
    pub received: Option<Receipt>,
}

/// A refund whose amount is reserved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefundHeld {
    /// The refund request's id.
    pub refund: RefundId,
    /// The payment: the reference of its charge at the channel.
    pub payment: PaymentId,
    /// How much is reserved.
    pub amount: Money,
}

/// What the channel is known to have done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// The refund request's id.
    pub refund: RefundId,
    /// The payment it came from.
    pub payment: PaymentId,
    /// How much.
    pub amount: Money,
    /// The channel's transaction number.
    pub transaction: String,
}

/// What evidence changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Booked {
    /// Nothing: the refund is refunded, or its confirm will make it so.
    Known,
    /// The refund was released, or never held: it is refunded now, and the payment asks for attention.
    Against,
}

impl Tcc<HoldRefund> for Payments {
    async fn try_(&self, tx: &Transaction, cx: &Call, request: RefundToHold) -> Outcome<RefundHeld> {
        hold(tx, cx, request).await
    }

    async fn confirm(&self, tx: &Transaction, _: &Call, request: RefundToHold, _: RefundHeld) -> Outcome<()> {
        end(tx, &request, RefundState::Refunded).await
    }

    async fn cancel(&self, tx: &Transaction, _: &Call, request: RefundToHold, _: Option<RefundHeld>) -> Outcome<()> {
        end(tx, &request, RefundState::Released).await
    }
}

impl Retriable<BookRefunded> for Payments {
    async fn execute(&self, tx: &Transaction, _: &Call, request: Evidence) -> Outcome<Booked> {
        book_refunded(tx, request).await
    }
}

async fn hold(db: &impl ConnectionTrait, cx: &Call, request: RefundToHold) -> Outcome<RefundHeld> {
    if let Some(received) = &request.received {
        book(db, &request.payment, received).await?;
    }
    let (payment, currency) = find(db, &request.payment).await?;
    within(request.amount, left(&payment, currency))?;
    let amount = request.amount.minor.0;
    let row = RefundRow {
        id: request.refund.to_string(),
        payment_id: payment.id,
        amount,
        state: RefundState::Processing,
        reason: request.reason,
        saga: cx.saga.to_string(),
        channel_transaction: None,
    };
    if !insert_new(db, row).await? {
        return Err(duplicate(&request.refund).into());
    }
    let reserved = Rows::update_many()
        .changing([plus(Column::Reserved, amount)])
        .filter(Column::Id.eq(request.payment.as_str()))
        .filter(
            Expr::col(Column::Refunded).add(Expr::col(Column::Reserved)).add(amount).lte(Expr::col(Column::Received)),
        )
        .exec(db)
        .await?;
    if reserved.rows_affected != 1 {
        let (payment, currency) = find(db, &request.payment).await?;
        within(request.amount, left(&payment, currency))?;
        return retry("the payment moved meanwhile");
    }
    Ok(RefundHeld { refund: request.refund, payment: request.payment, amount: request.amount })
}

fn left(row: &Row, currency: Currency) -> Money {
    Money::new(row.received - row.refunded - row.reserved, currency)
}

async fn end(db: &impl ConnectionTrait, request: &RefundToHold, as_: RefundState) -> Outcome<()> {
    let moved = Refunds::update_many()
        .changing([to(RefundColumn::State, as_)])
        .filter(RefundColumn::Id.eq(request.refund.as_str()))
        .filter(RefundColumn::State.eq(RefundState::Processing))
        .exec(db)
        .await?;
    if moved.rows_affected == 1 {
        let amount = request.amount.minor.0;
        let refunded = if as_ == RefundState::Refunded { amount } else { 0 };
        let moves = [plus(Column::Reserved, -amount), plus(Column::Refunded, refunded)];
        let this = Column::Id.eq(request.payment.as_str());
        Rows::update_many().changing(moves).filter(this).exec(db).await?;
    }
    Ok(())
}

/// Money that has moved is booked, even beyond the ceiling: the ledger says what is, and a person is called.
async fn book_refunded(db: &impl ConnectionTrait, evidence: Evidence) -> Outcome<Booked> {
    let amount = evidence.amount.minor.0;
    let (payment, currency) = find(db, &evidence.payment).await?;
    real(evidence.amount, currency)?;
    let unheard_of = RefundRow {
        id: evidence.refund.to_string(),
        payment_id: payment.id,
        amount,
        state: RefundState::Released,
        reason: "evidence of the channel".to_owned(),
        saga: String::new(),
        channel_transaction: None,
    };
    insert_new(db, unheard_of).await?;
    let of_refund = RefundColumn::Id.eq(evidence.refund.as_str());
    let released = Refunds::update_many()
        .changing([
            to(RefundColumn::State, RefundState::Refunded),
            to(RefundColumn::Amount, amount),
            to(RefundColumn::ChannelTransaction, evidence.transaction.clone()),
        ])
        .filter(of_refund.clone())
        .filter(RefundColumn::State.eq(RefundState::Released))
        .exec(db)
        .await?;
    if released.rows_affected == 0 {
        let known = [to(RefundColumn::ChannelTransaction, evidence.transaction)];
        Refunds::update_many().changing(known).filter(of_refund).exec(db).await?;
        return Ok(Booked::Known);
    }
    let attention = format!("{} of refund {} moved although it was released", evidence.amount, evidence.refund);
    Rows::update_many()
        .changing([plus(Column::Refunded, amount), to(Column::Attention, attention)])
        .filter(Column::Id.eq(evidence.payment.as_str()))
        .exec(db)
        .await?;
    Ok(Booked::Against)
}

/// What of a payment can still be given back.
///
/// # Errors
/// A refusal when there is no such payment.
pub async fn left_of(db: &impl ConnectionTrait, id: &PaymentId) -> Outcome<Money> {
    let (row, currency) = find(db, id).await?;
    Ok(left(&row, currency))
}

/// Where a refund stands, once it was held.
///
/// # Errors
/// When the database fails.
pub async fn refund_state(db: &impl ConnectionTrait, id: &RefundId) -> Result<Option<RefundState>, DbErr> {
    Ok(Refunds::find_by_id(id.as_str()).one(db).await?.map(|row| row.state))
}
