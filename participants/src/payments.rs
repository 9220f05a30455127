//! Payments: money received and given back, with the refund ledger and its ceiling: `refunded + reserved + amount <= received`,
//! by compare-and-set on the payment's row.

use crate::{
    db::{Changing, create, insert_new, plus, states, table, to},
    equation::{Violation, must_equal, must_not_be_negative, sums},
    ids::{OrderId, PaymentId, RefundId},
    money::{Currency, Money},
    refusals::{duplicate, missing, real, within},
};
use schemars::JsonSchema;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder,
    sea_query::{Expr, ExprTrait},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tercet_core::{Call, Operation, Refusal, kind};
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

/// Money that the channel received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Receipt {
    /// The channel's transaction number: it is booked once.
    pub transaction: String,
    /// How much.
    pub amount: Money,
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

/// The participant.
pub struct Payments;

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

table! {
    /// What was paid.
    payment "payments" {
        #[sea_orm(primary_key, auto_increment = false)]
        id: String,
        #[sea_orm(indexed)]
        order_id: String,
        currency: String,
        received: i64,
        refunded: i64,
        reserved: i64,
        attention: Option<String>,
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
        reason: String,
        saga: String,
        channel_transaction: Option<String>,
    }
}

table! {
    /// What came in. The key is the channel's transaction number.
    receipt "payment_receipts" {
        #[sea_orm(primary_key, auto_increment = false)]
        channel_transaction: String,
        #[sea_orm(indexed)]
        payment_id: String,
        amount: i64,
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

/// Makes the tables when they are not there.
///
/// # Errors
/// When the database fails.
pub async fn ensure_schema(db: &impl ConnectionTrait) -> Result<(), DbErr> {
    create(db, payment::Entity).await?;
    create(db, refund::Entity).await?;
    create(db, receipt::Entity).await
}

async fn find(db: &impl ConnectionTrait, id: &PaymentId) -> Outcome<(payment::Model, Currency)> {
    let row = payment::Entity::find_by_id(id.as_str()).one(db).await?;
    let row = row.ok_or_else(|| missing("no_payment", format!("payment {id}")))?;
    let currency = row.currency.parse().map_err(Refusal::from)?;
    Ok((row, currency))
}

async fn hold(db: &impl ConnectionTrait, cx: &Call, request: RefundToHold) -> Outcome<RefundHeld> {
    if let Some(received) = &request.received {
        book_received(db, &request.payment, received).await?;
    }
    let (payment, currency) = find(db, &request.payment).await?;
    within(request.amount, left(&payment, currency))?;
    let amount = request.amount.minor.0;
    let row = refund::Model {
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
    let reserved = payment::Entity::update_many()
        .changing([plus(payment::Column::Reserved, amount)])
        .filter(payment::Column::Id.eq(request.payment.as_str()))
        .filter(
            Expr::col(payment::Column::Refunded)
                .add(Expr::col(payment::Column::Reserved))
                .add(amount)
                .lte(Expr::col(payment::Column::Received)),
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

fn left(row: &payment::Model, currency: Currency) -> Money {
    Money::new(row.received - row.refunded - row.reserved, currency)
}

/// Books money received, once for each of the channel's transactions.
async fn book_received(db: &impl ConnectionTrait, id: &PaymentId, receipt: &Receipt) -> Outcome<()> {
    let (_, currency) = find(db, id).await?;
    real(receipt.amount, currency)?;
    let amount = receipt.amount.minor.0;
    let row = receipt::Model { channel_transaction: receipt.transaction.clone(), payment_id: id.to_string(), amount };
    if insert_new(db, row).await? {
        payment::Entity::update_many()
            .changing([plus(payment::Column::Received, amount)])
            .filter(payment::Column::Id.eq(id.as_str()))
            .exec(db)
            .await?;
    }
    Ok(())
}

async fn end(db: &impl ConnectionTrait, request: &RefundToHold, as_: RefundState) -> Outcome<()> {
    let moved = refund::Entity::update_many()
        .changing([to(refund::Column::State, as_)])
        .filter(refund::Column::Id.eq(request.refund.as_str()))
        .filter(refund::Column::State.eq(RefundState::Processing))
        .exec(db)
        .await?;
    if moved.rows_affected == 1 {
        let amount = request.amount.minor.0;
        let refunded = if as_ == RefundState::Refunded { amount } else { 0 };
        let moves = [plus(payment::Column::Reserved, -amount), plus(payment::Column::Refunded, refunded)];
        let this = payment::Column::Id.eq(request.payment.as_str());
        payment::Entity::update_many().changing(moves).filter(this).exec(db).await?;
    }
    Ok(())
}

/// Money that has moved is booked, even beyond the ceiling: the ledger says what is, and a person is called.
async fn book_refunded(db: &impl ConnectionTrait, evidence: Evidence) -> Outcome<Booked> {
    let amount = evidence.amount.minor.0;
    let (payment, currency) = find(db, &evidence.payment).await?;
    real(evidence.amount, currency)?;
    let unheard_of = refund::Model {
        id: evidence.refund.to_string(),
        payment_id: payment.id,
        amount,
        state: RefundState::Released,
        reason: "evidence of the channel".to_owned(),
        saga: String::new(),
        channel_transaction: None,
    };
    insert_new(db, unheard_of).await?;
    let of_refund = refund::Column::Id.eq(evidence.refund.as_str());
    let released = refund::Entity::update_many()
        .changing([
            to(refund::Column::State, RefundState::Refunded),
            to(refund::Column::Amount, amount),
            to(refund::Column::ChannelTransaction, evidence.transaction.clone()),
        ])
        .filter(of_refund.clone())
        .filter(refund::Column::State.eq(RefundState::Released))
        .exec(db)
        .await?;
    if released.rows_affected == 0 {
        let known = [to(refund::Column::ChannelTransaction, evidence.transaction)];
        refund::Entity::update_many().changing(known).filter(of_refund).exec(db).await?;
        return Ok(Booked::Known);
    }
    let attention = format!("{} of refund {} moved although it was released", evidence.amount, evidence.refund);
    payment::Entity::update_many()
        .changing([plus(payment::Column::Refunded, amount), to(payment::Column::Attention, attention)])
        .filter(payment::Column::Id.eq(evidence.payment.as_str()))
        .exec(db)
        .await?;
    Ok(Booked::Against)
}

/// Adds an order's payment, with the money that the channel received for it.
///
/// # Errors
/// When the database fails, or the amount is not above zero.
pub async fn seed_paid(db: &impl ConnectionTrait, id: &PaymentId, order: &OrderId, receipt: &Receipt) -> Outcome<()> {
    let row = payment::Model {
        id: id.to_string(),
        order_id: order.to_string(),
        currency: receipt.amount.currency.to_string(),
        received: 0,
        refunded: 0,
        reserved: 0,
        attention: None,
    };
    insert_new(db, row).await?;
    book_received(db, id, receipt).await
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
    Ok(refund::Entity::find_by_id(id.as_str()).one(db).await?.map(|row| row.state))
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
    /// How many refunds stand where.
    pub refunds: BTreeMap<String, u64>,
    /// What asks for a person, by payment.
    pub attention: BTreeMap<String, String>,
}

/// The figures of the participant's database.
///
/// # Errors
/// When the database fails.
pub async fn ledger(db: &impl ConnectionTrait) -> Result<PaymentLedger, DbErr> {
    let mut ledger = PaymentLedger::default();
    for row in payment::Entity::find().order_by_asc(payment::Column::Id).all(db).await? {
        let money = ledger.money.entry(row.currency).or_default();
        money.received += row.received;
        money.refunded += row.refunded;
        money.reserved += row.reserved;
        ledger.attention.extend(row.attention.map(|attention| (row.id, attention)));
    }
    for row in refund::Entity::find().all(db).await? {
        *ledger.refunds.entry(row.state.as_str().to_owned()).or_default() += 1;
    }
    Ok(ledger)
}

/// What payments count is what their receipts and refunds say, and no more goes back than came in, unless a person was called.
///
/// # Errors
/// The equation that does not hold.
pub async fn check_equation(db: &impl ConnectionTrait) -> Result<(), Violation> {
    let refunds = refund::Entity::find().all(db).await?;
    let of = |state: RefundState| {
        sums(refunds.iter().filter(|r| r.state == state).map(|r| (r.payment_id.clone(), r.amount)))
    };
    let (refunded, reserved) = (of(RefundState::Refunded), of(RefundState::Processing));
    let receipts = receipt::Entity::find().all(db).await?;
    let received = sums(receipts.into_iter().map(|r| (r.payment_id, r.amount)));
    for row in payment::Entity::find().all(db).await? {
        let name = |what: &str| format!("payment {}: {what}", row.id);
        let of = |sums: &BTreeMap<String, i64>| sums.get(&row.id).copied().unwrap_or(0);
        must_equal(name("received = receipts"), row.received, of(&received))?;
        must_equal(name("refunded = refunds refunded"), row.refunded, of(&refunded))?;
        must_equal(name("reserved = refunds processing"), row.reserved, of(&reserved))?;
        if row.attention.is_none() {
            must_not_be_negative(name("left"), row.received - row.refunded - row.reserved)?;
        }
    }
    Ok(())
}
