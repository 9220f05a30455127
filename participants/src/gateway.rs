//! The gateway: our side of the payment channel. One key for each effect, the refund request's id; what was sent, heard and
//! reported is kept here, and a callback leaves as the completion of the step that waits for it.

use crate::{
    channel::{Acknowledging, Callback, CallbackSink, RefundOrder, Said, ThirdParty},
    clock::Clock,
    db::{Changing, create, insert_new, plus, states, table, to},
    equation::{Violation, must_equal},
    heard::{Moved, closing, found, handed, within},
    ids::{PaymentId, RefundId},
    money::Money,
    refusals::duplicate,
};
use schemars::JsonSchema;
use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tercet_core::{Call, Operation, Refusal, kind};
use tercet_participant::{
    Closing, Database, Found, Handed, Otherwise, Outbox, Outcome, Pivot, SeaOrm, Settled, Ticket, Transaction,
    database::{Access, Tx},
    outbox::Completed,
};
use tokio::sync::Notify;

/// `gateway.refund/1`: the money goes back. At a channel that can close a refund it has taken on.
pub struct Refund;

impl Operation for Refund {
    const NAME: &'static str = "gateway.refund/1";
    type Kind = kind::Pivot;
    type Request = RefundMoney;
    type Reply = MoneyBack;
    const CLOSES: bool = true;
}

/// `gateway.refund_without_close/1`: the same at a channel that cannot close one.
pub struct RefundWithoutClose;

impl Operation for RefundWithoutClose {
    const NAME: &'static str = "gateway.refund_without_close/1";
    type Kind = kind::Pivot;
    type Request = RefundMoney;
    type Reply = MoneyBack;
}

/// Money to give back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefundMoney {
    /// The refund request's id, and what the channel knows it by.
    pub refund: RefundId,
    /// The payment: the reference of its charge at the channel.
    pub payment: PaymentId,
    /// How much.
    pub amount: Money,
}

/// Money that has gone back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MoneyBack {
    /// The channel's own id, from whichever answer brought it first.
    pub transaction: String,
    /// How much.
    pub amount: Money,
    /// When, by the channel's clock: milliseconds since 1970.
    pub at_ms: i64,
}

impl From<Moved> for MoneyBack {
    fn from(Moved { transaction, amount, at_ms }: Moved) -> Self {
        Self { transaction, amount, at_ms }
    }
}

/// The participant.
#[derive(Clone)]
pub struct Gateway {
    db: SeaOrm,
    channel: Arc<dyn ThirdParty>,
    clock: Arc<dyn Clock>,
    patience: Duration,
    kept: Arc<Notify>,
}

impl Gateway {
    /// The gateway on its database, before that channel. `patience`: how long to ask Tercet to wait after "insufficient balance" or
    /// "maintenance". `kept` is notified whenever a callback was kept, since something may wait in the outbox.
    #[must_use]
    pub fn new(
        db: SeaOrm, channel: Arc<dyn ThirdParty>, clock: Arc<dyn Clock>, patience: Duration, kept: Arc<Notify>,
    ) -> Self {
        Self { db, channel, clock, patience, kept }
    }

    async fn hand_on(&self, cx: &Call, request: RefundMoney) -> Handed<MoneyBack> {
        let order = RefundOrder { reference: request.refund, charge: request.payment, amount: request.amount };
        let said = within(&*self.clock, cx.timeout, self.channel.refund(order)).await;
        handed(said, request.amount, self.patience)
    }

    async fn ask(&self, cx: &Call, request: RefundMoney) -> Found<MoneyBack> {
        found(within(&*self.clock, cx.timeout, self.channel.query(&request.refund)).await, request.amount)
    }

    async fn shut(&self, cx: &Call, request: RefundMoney) -> Closing<MoneyBack> {
        closing(within(&*self.clock, cx.timeout, self.channel.close(&request.refund)).await, request.amount)
    }

    async fn keep(&self, callback: Callback) -> Outcome<()> {
        let tx = self.db.begin(Access::Write).await?;
        if note(&tx, &callback, self.clock.now().0).await? {
            forward(&tx, &callback, &self.clock).await?;
        }
        Tx::commit(tx).await?;
        self.kept.notify_one();
        Ok(())
    }
}

impl Pivot<Refund> for Gateway {
    async fn prepare(&self, tx: &Transaction, cx: &Call, request: RefundMoney) -> Outcome<()> {
        book_intent(tx, cx, &request, Contract::Closes).await
    }

    async fn execute(&self, cx: &Call, request: RefundMoney) -> Handed<MoneyBack> {
        self.hand_on(cx, request).await
    }

    async fn query(&self, cx: &Call, request: RefundMoney) -> Found<MoneyBack> {
        self.ask(cx, request).await
    }

    async fn close(&self, cx: &Call, request: RefundMoney) -> Closing<MoneyBack> {
        self.shut(cx, request).await
    }

    async fn record(
        &self, tx: &Transaction, _: &Call, request: RefundMoney, settled: Settled<MoneyBack>,
    ) -> Outcome<()> {
        Ok(book(tx, &request.refund, settled).await?)
    }
}

impl Pivot<RefundWithoutClose> for Gateway {
    async fn prepare(&self, tx: &Transaction, cx: &Call, request: RefundMoney) -> Outcome<()> {
        book_intent(tx, cx, &request, Contract::DoesNotClose).await
    }

    async fn execute(&self, cx: &Call, request: RefundMoney) -> Handed<MoneyBack> {
        self.hand_on(cx, request).await
    }

    async fn query(&self, cx: &Call, request: RefundMoney) -> Found<MoneyBack> {
        self.ask(cx, request).await
    }

    async fn record(
        &self, tx: &Transaction, _: &Call, request: RefundMoney, settled: Settled<MoneyBack>,
    ) -> Outcome<()> {
        Ok(book(tx, &request.refund, settled).await?)
    }
}

impl CallbackSink for Gateway {
    fn receive(&self, callback: Callback) -> Acknowledging<'_> {
        // A write transaction must not be dropped half way, whatever becomes of who waits for the acknowledgement.
        let this = self.clone();
        let kept = tokio::spawn(async move { this.keep(callback).await });
        Box::pin(async move {
            match kept.await {
                Ok(Ok(())) => true,
                Ok(Err(error)) => {
                    tracing::warn!(error = %error, "callback not kept");
                    false
                }
                Err(_) => false,
            }
        })
    }
}

table! {
    /// Every refund that was, or was about to be, handed on.
    refund "gateway_refunds" {
        #[sea_orm(primary_key, auto_increment = false)]
        id: String,
        payment_id: String,
        currency: String,
        amount: i64,
        state: Sent,
        channel_transaction: Option<String>,
        #[sea_orm(column_type = "Text")]
        failure: Option<String>,
        attempts: i64,
        contract: Contract,
        #[sea_orm(column_type = "Text")]
        ticket: String,
    }
}

table! {
    /// Every report of the channel, once for each outcome, with the number of its copies.
    callback "gateway_callbacks" {
        #[sea_orm(primary_key, auto_increment = false)]
        channel_transaction: String,
        #[sea_orm(primary_key, auto_increment = false)]
        outcome: String,
        refund_id: String,
        #[sea_orm(column_type = "Text")]
        body: String,
        received_at_ms: i64,
        copies: i64,
        forwarded: bool,
    }
}

states! {
    /// Where a refund stands, as far as the gateway knows.
    pub enum Sent {
        /// An attempt was, or is about to be, handed on.
        Processing = "processing",
        /// The money has moved.
        Succeeded = "succeeded",
        /// A definite no.
        Failed = "failed",
        /// The key is unusable, and nothing was done under it.
        Closed = "closed",
    }
}

states! {
    /// By which contract it was asked for.
    pub(crate) enum Contract {
        /// The channel closes refunds.
        Closes = "closes",
        /// It does not.
        DoesNotClose = "does_not_close",
    }
}

/// Makes the tables when they are not there.
///
/// # Errors
/// When the database fails.
pub async fn ensure_schema(db: &impl ConnectionTrait) -> Result<(), DbErr> {
    create(db, refund::Entity).await?;
    create(db, callback::Entity).await
}

/// Books one attempt before it is sent. A key stands for one effect of one step: another's, or another amount, is refused.
async fn book_intent(db: &impl ConnectionTrait, cx: &Call, request: &RefundMoney, contract: Contract) -> Outcome<()> {
    let ticket = serde_json::to_string(&Ticket::of(cx)).map_err(|e| Refusal::new("bad_ticket", e.to_string()))?;
    let row = refund::Model {
        id: request.refund.to_string(),
        payment_id: request.payment.to_string(),
        currency: request.amount.currency.to_string(),
        amount: request.amount.minor.0,
        state: Sent::Processing,
        channel_transaction: None,
        failure: None,
        attempts: 0,
        contract,
        ticket: ticket.clone(),
    };
    insert_new(db, row).await?;
    let mine = refund::Entity::update_many()
        .changing([plus(refund::Column::Attempts, 1)])
        .filter(refund::Column::Id.eq(request.refund.as_str()))
        .filter(refund::Column::Ticket.eq(ticket))
        .filter(refund::Column::PaymentId.eq(request.payment.as_str()))
        .filter(refund::Column::Currency.eq(request.amount.currency.as_str()))
        .filter(refund::Column::Amount.eq(request.amount.minor.0))
        .exec(db)
        .await?;
    if mine.rows_affected != 1 {
        return Err(duplicate(&request.refund).into());
    }
    // What has succeeded is handed on all the same: the channel repeats its answer under the key, and that is never a no.
    refund::Entity::update_many()
        .changing([to(refund::Column::State, Sent::Processing)])
        .filter(refund::Column::Id.eq(request.refund.as_str()))
        .filter(refund::Column::State.ne(Sent::Succeeded))
        .exec(db)
        .await?;
    Ok(())
}

/// Books what was learnt. Success overwrites everything, and nothing overwrites success.
async fn book(db: &impl ConnectionTrait, id: &RefundId, settled: Settled<MoneyBack>) -> Result<(), DbErr> {
    let (state, transaction, failure) = match settled {
        Settled::Done(back) => (Sent::Succeeded, Some(back.transaction), None),
        Settled::Refused(refusal) => (Sent::Failed, None, Some(refusal.to_string())),
        Settled::Closed => (Sent::Closed, None, None),
        Settled::Pending(_) => return Ok(()),
    };
    refund::Entity::update_many()
        .changing([
            to(refund::Column::State, state),
            to(refund::Column::ChannelTransaction, transaction),
            to(refund::Column::Failure, failure),
        ])
        .filter(refund::Column::Id.eq(id.as_str()))
        .filter(refund::Column::State.ne(Sent::Succeeded))
        .exec(db)
        .await
        .map(drop)
}

const fn outcome_of(said: &Said) -> &'static str {
    match said {
        Said::Succeeded { .. } => "succeeded",
        Said::Processing { .. } | Said::Open { .. } => "processing",
        Said::Failed { .. } => "failed",
        Said::Rejected { .. } => "rejected",
        Said::Closed => "closed",
        Said::NotFound => "not_found",
    }
}

/// Keeps a callback; true when it is the first of its kind.
async fn note(db: &impl ConnectionTrait, callback: &Callback, now_ms: i64) -> Outcome<bool> {
    let outcome = outcome_of(&callback.said);
    let body = serde_json::to_string(callback).map_err(|e| Refusal::new("bad_callback", e.to_string()))?;
    let row = callback::Model {
        channel_transaction: callback.transaction.clone(),
        outcome: outcome.to_owned(),
        refund_id: callback.reference.to_string(),
        body,
        received_at_ms: now_ms,
        copies: 0,
        forwarded: false,
    };
    let first = insert_new(db, row).await?;
    callback::Entity::update_many()
        .changing([plus(callback::Column::Copies, 1)])
        .filter(callback::Column::ChannelTransaction.eq(&callback.transaction))
        .filter(callback::Column::Outcome.eq(outcome))
        .exec(db)
        .await?;
    Ok(first)
}

/// Passes a callback on as the completion of the step that waits for it, if one does.
async fn forward(tx: &Transaction, callback: &Callback, clock: &Arc<dyn Clock>) -> Outcome<()> {
    let Some(row) = refund::Entity::find_by_id(callback.reference.as_str()).one(tx).await? else {
        tracing::warn!(refund.id = %callback.reference, "callback for a refund that was never sent");
        return Ok(());
    };
    let request = RefundMoney {
        refund: callback.reference.clone(),
        payment: PaymentId::stored(row.payment_id),
        amount: Money::new(row.amount, row.currency.parse().map_err(Refusal::from)?),
    };
    let verdict = match found(Ok(callback.said.clone()), request.amount) {
        Found::Done(back) => Ok(back),
        Found::Refused(refusal) => Err(refusal),
        Found::Absent | Found::Pending(_) | Found::Unknown { .. } => return Ok(()),
    };
    let settled = verdict.clone().map_or_else(Settled::Refused, Settled::Done);
    book(tx, &request.refund, settled).await?;
    let ticket: Ticket = serde_json::from_str(&row.ticket).map_err(|e| Refusal::new("bad_ticket", e.to_string()))?;
    let now = clock.now();
    let completed = match row.contract {
        Contract::Closes => tx.complete::<Refund>(&ticket, verdict, now).await,
        Contract::DoesNotClose => tx.complete::<RefundWithoutClose>(&ticket, verdict, now).await,
    };
    if completed.map_err(Otherwise::from)? == Completed::Recorded {
        callback::Entity::update_many()
            .changing([to(callback::Column::Forwarded, true)])
            .filter(callback::Column::ChannelTransaction.eq(&callback.transaction))
            .exec(tx)
            .await?;
    }
    Ok(())
}

/// What the gateway knows, summed up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GatewayLedger {
    /// How many refunds stand where.
    pub refunds: BTreeMap<String, u64>,
    /// Money that is known to have gone back, by currency, in minor units.
    pub given_back: BTreeMap<String, i64>,
    /// Attempts that were handed on.
    pub attempts: i64,
    /// Callbacks that came, copies counted.
    pub callbacks: i64,
    /// Of these, the copies.
    pub copies: i64,
}

/// The figures of the participant's database.
///
/// # Errors
/// When the database fails.
pub async fn ledger(db: &impl ConnectionTrait) -> Result<GatewayLedger, DbErr> {
    let mut ledger = GatewayLedger::default();
    for row in refund::Entity::find().all(db).await? {
        *ledger.refunds.entry(row.state.as_str().to_owned()).or_default() += 1;
        ledger.attempts += row.attempts;
        if row.state == Sent::Succeeded {
            *ledger.given_back.entry(row.currency).or_default() += row.amount;
        }
    }
    for row in callback::Entity::find().all(db).await? {
        ledger.callbacks += row.copies;
        ledger.copies += row.copies - 1;
    }
    Ok(ledger)
}

/// What has succeeded has the channel's transaction, and nothing else has.
///
/// # Errors
/// The equation that does not hold.
pub async fn check_equation(db: &impl ConnectionTrait) -> Result<(), Violation> {
    for row in refund::Entity::find().all(db).await? {
        let succeeded = row.state == Sent::Succeeded;
        let name = format!("refund {} at the gateway: succeeded = has a transaction", row.id);
        must_equal(name, i64::from(succeeded), i64::from(row.channel_transaction.is_some()))?;
    }
    Ok(())
}
