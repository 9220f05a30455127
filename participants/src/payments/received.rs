//! Money received: booked once for each of the channel's transactions, and what that starts.

use super::rows::{Column, PaymentState, ReceiptColumn, ReceiptRow, Receipts, Rows, find};
use crate::{
    db::{Changing, insert_new, plus, to},
    ids::{PaymentId, RefundId, UserId},
    money::Money,
    refusals::real,
};
use schemars::JsonSchema;
use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter};
use serde::{Deserialize, Serialize};
use tercet_core::{BadName, DefinitionName, Refusal, SagaKey};
use tercet_participant::{Outbox, Outcome, Transaction};

/// The saga that gives money back.
const REFUND_MONEY: &str = "refund_money";

/// Money that the channel received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Receipt {
    /// The channel's transaction number: it is booked once.
    pub transaction: String,
    /// How much.
    pub amount: Money,
}

/// A request to give money of a payment back: what the saga `refund_money` starts with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MoneyRequest {
    /// Its own id, and for ever the one key under which the money moves.
    pub id: RefundId,
    /// The payment that it comes from.
    pub payment: PaymentId,
    /// The buyer, who is told.
    pub user: UserId,
    /// How much.
    pub amount: Money,
    /// Why, for people.
    pub reason: String,
    /// The receipt of money that nobody may have booked yet: it is booked first, once.
    pub received: Option<Receipt>,
}

/// All of a payment's money back, under the payment's own id: whoever finds out that it is not ours to keep, the charge's undo, the
/// channel's late word or the order's saga, asks for the same, so it goes back once.
#[must_use]
pub fn give_back(payment: PaymentId, user: UserId, receipt: Receipt) -> MoneyRequest {
    MoneyRequest {
        id: RefundId::stored(payment.as_str()),
        payment,
        user,
        amount: receipt.amount,
        reason: "its order is not to be paid by it".to_owned(),
        received: Some(receipt),
    }
}

/// What booking a receipt found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Booking {
    /// It was booked before.
    Known,
    /// It is the payment's money.
    First,
    /// The payment had money of another transaction already.
    Excess,
}

/// Books money received, once for each of the channel's transactions.
pub(super) async fn book(db: &impl ConnectionTrait, id: &PaymentId, receipt: &Receipt) -> Outcome<Booking> {
    let (_, currency) = find(db, id).await?;
    real(receipt.amount, currency)?;
    let amount = receipt.amount.minor.0;
    let row = ReceiptRow {
        channel_transaction: receipt.transaction.clone(),
        payment_id: id.to_string(),
        amount,
        excess: false,
    };
    if !insert_new(db, row).await? {
        return Ok(Booking::Known);
    }
    // From here on the payment's row is locked: of two receipts, and of a receipt and a cancel, one comes first.
    Rows::update_many().changing([plus(Column::Received, amount)]).filter(Column::Id.eq(id.as_str())).exec(db).await?;
    if first_receipt(db, id, Some(&receipt.transaction)).await?.is_none() {
        return Ok(Booking::First);
    }
    Receipts::update_many()
        .changing([to(ReceiptColumn::Excess, true)])
        .filter(ReceiptColumn::ChannelTransaction.eq(&receipt.transaction))
        .exec(db)
        .await?;
    Ok(Booking::Excess)
}

/// The payment's money as it came first; other than that of `except`.
async fn first_receipt(
    db: &impl ConnectionTrait, id: &PaymentId, except: Option<&str>,
) -> Result<Option<ReceiptRow>, DbErr> {
    let of_payment =
        Receipts::find().filter(ReceiptColumn::PaymentId.eq(id.as_str())).filter(ReceiptColumn::Excess.eq(false));
    match except {
        Some(except) => of_payment.filter(ReceiptColumn::ChannelTransaction.ne(except)).one(db).await,
        None => of_payment.one(db).await,
    }
}

/// Books verified money. For a payment that is held as failed or closed it starts on its way back, and so does money that comes in
/// under a payment a second time.
pub(super) async fn receive(tx: &Transaction, id: &PaymentId, receipt: &Receipt) -> Outcome<()> {
    let booking = book(tx, id, receipt).await?;
    let (row, _) = find(tx, id).await?;
    let request = give_back(id.clone(), UserId::stored(row.user_id), receipt.clone());
    match (booking, row.state) {
        (Booking::First, PaymentState::Failed | PaymentState::Closed) => start(tx, &request).await,
        (Booking::Excess, _) => match receipt.transaction.parse() {
            Ok(transaction) => start(tx, &MoneyRequest { id: transaction, ..request }).await,
            Err(_) => attend(tx, id, format!("{} came in once more, and is to go back", receipt.amount)).await,
        },
        (Booking::Known | Booking::First, _) => Ok(()),
    }
}

/// Sends what has come in for a payment that is given up on its way back.
pub(super) async fn return_received(tx: &Transaction, id: &PaymentId, user: UserId) -> Outcome<()> {
    let Some(row) = first_receipt(tx, id, None).await? else { return Ok(()) };
    let (_, currency) = find(tx, id).await?;
    let receipt = Receipt { transaction: row.channel_transaction, amount: Money::new(row.amount, currency) };
    start(tx, &give_back(id.clone(), user, receipt)).await
}

/// Starts `refund_money` with this transaction, once for each id.
async fn start(tx: &Transaction, request: &MoneyRequest) -> Outcome<()> {
    let bad = |error: BadName| Refusal::new("bad_name", error.to_string());
    let definition: DefinitionName = REFUND_MONEY.parse().map_err(bad)?;
    let key: SagaKey = request.id.as_str().parse().map_err(bad)?;
    Ok(tx.start(&definition, &key, request).await?)
}

/// Calls a person to a payment.
pub(super) async fn attend(db: &impl ConnectionTrait, id: &PaymentId, why: String) -> Outcome<()> {
    tracing::warn!(payment.id = %id, %why, "a payment asks for attention");
    Rows::update_many()
        .changing([to(Column::Attention, Some(why))])
        .filter(Column::Id.eq(id.as_str()))
        .exec(db)
        .await?;
    Ok(())
}
