//! The payments' tables.

use crate::{
    channel::How,
    db::{create, states, table},
    ids::PaymentId,
    money::Currency,
    refusals::missing,
};
use sea_orm::{ConnectionTrait, DbErr, EntityTrait};
use tercet_core::Refusal;
use tercet_participant::Outcome;

table! {
    /// What is, was or was not paid.
    payment "payments" {
        #[sea_orm(primary_key, auto_increment = false)]
        id: String,
        #[sea_orm(indexed)]
        order_id: String,
        user_id: String,
        currency: String,
        amount: i64,
        how: How,
        state: PaymentState,
        received: i64,
        refunded: i64,
        reserved: i64,
        #[sea_orm(column_type = "Text")]
        failure: Option<String>,
        #[sea_orm(column_type = "Text")]
        ticket: Option<String>,
        #[sea_orm(column_type = "Text")]
        attention: Option<String>,
    }
}

table! {
    /// The one payment of each order and attempt that is open or paid; freed when it is given up.
    slot "payment_slots" {
        #[sea_orm(primary_key, auto_increment = false)]
        order_id: String,
        #[sea_orm(primary_key, auto_increment = false)]
        attempt: i64,
        #[sea_orm(indexed)]
        payment_id: String,
    }
}

table! {
    /// What of it goes back. The key is the refund request's id.
    refund "payment_refunds" {
        #[sea_orm(primary_key, auto_increment = false)]
        id: String,
        #[sea_orm(indexed)]
        payment_id: String,
        amount: i64,
        state: RefundState,
        #[sea_orm(column_type = "Text")]
        reason: String,
        saga: String,
        channel_transaction: Option<String>,
    }
}

table! {
    /// What came in. The key is the channel's transaction number. `excess`: it came in under a payment that had money already.
    receipt "payment_receipts" {
        #[sea_orm(primary_key, auto_increment = false)]
        channel_transaction: String,
        #[sea_orm(indexed)]
        payment_id: String,
        amount: i64,
        excess: bool,
    }
}

table! {
    /// Every report of the channel, once for each reference, transaction and outcome, with the number of its copies.
    callback "payment_callbacks" {
        #[sea_orm(primary_key, auto_increment = false)]
        reference: String,
        #[sea_orm(primary_key, auto_increment = false)]
        channel_transaction: String,
        #[sea_orm(primary_key, auto_increment = false)]
        outcome: String,
        #[sea_orm(column_type = "Text")]
        body: String,
        received_at_ms: i64,
        copies: i64,
        forwarded: bool,
    }
}

states! {
    /// Where a payment stands: as its saga has decided, whatever the channel says.
    pub enum PaymentState {
        /// Its saga has not decided.
        Processing = "processing",
        /// Paid.
        Paid = "paid",
        /// Given up, after the channel had said a definite no.
        Failed = "failed",
        /// Given up.
        Closed = "closed",
    }
}

states! {
    /// Where a refund stands.
    pub enum RefundState {
        /// Its amount is reserved; the money may be moving.
        Processing = "processing",
        /// The money has moved.
        Refunded = "refunded",
        /// It did not come about.
        Released = "released",
    }
}

pub(super) use {
    callback::Entity as Callbacks, payment::Entity as Rows, receipt::Entity as Receipts, refund::Entity as Refunds,
    slot::Entity as Slots,
};
pub(super) type Row = payment::Model;
pub(super) type Column = payment::Column;
pub(super) type SlotRow = slot::Model;
pub(super) type SlotColumn = slot::Column;
pub(super) type RefundRow = refund::Model;
pub(super) type RefundColumn = refund::Column;
pub(super) type ReceiptRow = receipt::Model;
pub(super) type ReceiptColumn = receipt::Column;
pub(super) type CallbackRow = callback::Model;
pub(super) type CallbackColumn = callback::Column;

/// Makes the tables when they are not there.
///
/// # Errors
/// When the database fails.
pub async fn ensure_schema(db: &impl ConnectionTrait) -> Result<(), DbErr> {
    create(db, payment::Entity).await?;
    create(db, slot::Entity).await?;
    create(db, refund::Entity).await?;
    create(db, receipt::Entity).await?;
    create(db, callback::Entity).await
}

pub(super) async fn find(db: &impl ConnectionTrait, id: &PaymentId) -> Outcome<(Row, Currency)> {
    let row = Rows::find_by_id(id.as_str()).one(db).await?;
    let row = row.ok_or_else(|| missing("no_payment", format!("payment {id}")))?;
    let currency = row.currency.parse().map_err(Refusal::from)?;
    Ok((row, currency))
}
