//! The charge: the pivot of a payment. The channel answers with a pay link, or at once; the outcome comes later, or never.

use super::{
    Payments, Receipt,
    received::receive,
    rows::{Column, PaymentState, Rows},
};
use crate::{
    channel::{ChargeOrder, How},
    db::{Changing, to},
    heard::{Moved, closing, found, handed, within},
    ids::{OrderId, PaymentId, UserId},
    money::Money,
};
use schemars::JsonSchema;
use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tercet_core::{Call, Millis, Operation, Refusal, kind};
use tercet_participant::{Closing, Found, Handed, Outcome, Pivot, Settled, Ticket, Transaction};

/// `payments.charge/1`: the buyer's money comes.
pub struct Charge;

/// How long a charge may live at the channel, whatever its request says: longer than it is asked after.
const LIVES: Duration = Duration::from_secs(40 * 60);

impl Operation for Charge {
    const NAME: &'static str = "payments.charge/1";
    type Kind = kind::Pivot;
    type Request = ToCharge;
    type Reply = Charged;
    const CLOSES: bool = true;
    const EXPIRES_AFTER: Option<Duration> = Some(LIVES);
}

/// Money to take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ToCharge {
    /// The payment, and what the channel knows it by.
    pub payment: PaymentId,
    /// What it pays for.
    pub order: OrderId,
    /// Who pays.
    pub user: UserId,
    /// How much.
    pub amount: Money,
    /// How.
    pub how: How,
    /// After this the buyer can pay no more: milliseconds since 1970. At the latest when the charge's own lifetime is over.
    pub expires_at_ms: Option<i64>,
}

/// Money that has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Charged {
    /// The channel's own id of it.
    pub transaction: String,
    /// How much.
    pub amount: Money,
    /// When, by the channel's clock: milliseconds since 1970.
    pub at_ms: i64,
}

impl Charged {
    /// What is booked of it.
    #[must_use]
    pub fn receipt(&self) -> Receipt {
        Receipt { transaction: self.transaction.clone(), amount: self.amount }
    }
}

impl From<Moved> for Charged {
    fn from(Moved { transaction, amount, at_ms }: Moved) -> Self {
        Self { transaction, amount, at_ms }
    }
}

impl Pivot<Charge> for Payments {
    async fn prepare(&self, tx: &Transaction, cx: &Call, request: ToCharge) -> Outcome<()> {
        book_intent(tx, cx, &request).await
    }

    async fn execute(&self, cx: &Call, request: ToCharge) -> Handed<Charged> {
        let asked = request.expires_at_ms.map(Millis);
        let order = ChargeOrder {
            reference: request.payment,
            order: request.order,
            amount: request.amount,
            how: request.how,
            expires: asked.into_iter().chain(cx.expires).min(),
        };
        let said = within(&*self.clock, cx.timeout, self.cashier.request_charge(order)).await;
        handed(said, request.amount, self.patience)
    }

    async fn query(&self, cx: &Call, request: ToCharge) -> Found<Charged> {
        let said = within(&*self.clock, cx.timeout, self.cashier.query_charge(&request.payment)).await;
        found(said, request.amount)
    }

    async fn close(&self, cx: &Call, request: ToCharge) -> Closing<Charged> {
        let said = within(&*self.clock, cx.timeout, self.cashier.close_charge(&request.payment)).await;
        closing(said, request.amount)
    }

    async fn record(&self, tx: &Transaction, _: &Call, request: ToCharge, settled: Settled<Charged>) -> Outcome<()> {
        match settled {
            Settled::Done(charged) => receive(tx, &request.payment, &charged.receipt()).await,
            Settled::Refused(refusal) => Ok(note_failure(tx, &request.payment, &refusal).await?),
            Settled::Pending(_) | Settled::Closed => Ok(()),
        }
    }
}

/// Keeps who waits for the charge, before it is asked for. Only an open payment is charged, and only with its own figures.
async fn book_intent(db: &impl ConnectionTrait, cx: &Call, request: &ToCharge) -> Outcome<()> {
    let ticket = serde_json::to_string(&Ticket::of(cx)).map_err(|e| Refusal::new("bad_ticket", e.to_string()))?;
    let mine = Rows::update_many()
        .changing([to(Column::Ticket, Some(ticket))])
        .filter(Column::Id.eq(request.payment.as_str()))
        .filter(Column::OrderId.eq(request.order.as_str()))
        .filter(Column::Currency.eq(request.amount.currency.as_str()))
        .filter(Column::Amount.eq(request.amount.minor.0))
        .filter(Column::State.eq(PaymentState::Processing))
        .exec(db)
        .await?;
    if mine.rows_affected == 1 {
        return Ok(());
    }
    let (payment, order, amount) = (&request.payment, &request.order, request.amount);
    Err(Refusal::new("not_open", format!("no payment {payment} of {amount} for order {order} is open")).into())
}

/// What the channel said a definite no with: a failure, not that nobody paid in time. It changes no state: that is the saga's to do.
pub(super) async fn note_failure(db: &impl ConnectionTrait, id: &PaymentId, why: &Refusal) -> Result<(), DbErr> {
    if matches!(why.code.as_str(), "closed" | "expired") {
        return Ok(());
    }
    Rows::update_many()
        .changing([to(Column::Failure, Some(why.to_string()))])
        .filter(Column::Id.eq(id.as_str()))
        .exec(db)
        .await
        .map(drop)
}
