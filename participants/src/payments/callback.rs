//! The channel's reports of charges: stored first, answered then. A report leaves as the completion of the charge that waits for it.

use super::{
    Charge, Charged, Payments, Receipt,
    charge::note_failure,
    received::{attend, book, receive},
    rows::{CallbackColumn, CallbackRow, Callbacks, Row, Rows},
};
use crate::{
    channel::{Acknowledging, ChargeCallback, ChargeOutcome, ChargeSink},
    db::{Changing, insert_new, plus, to},
    ids::PaymentId,
};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};
use tercet_core::{Millis, Refusal};
use tercet_participant::{
    Database, Otherwise, Outbox, Outcome, Ticket, Transaction,
    database::{Access, Tx},
    outbox::Completed,
};

impl ChargeSink for Payments {
    fn charged(&self, callback: ChargeCallback) -> Acknowledging<'_> {
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

impl Payments {
    async fn keep(&self, callback: ChargeCallback) -> Outcome<()> {
        let tx = self.db.begin(Access::Write).await?;
        let now = self.clock.now();
        if note(&tx, &callback, now).await? {
            forward(&tx, &callback, now).await?;
        }
        Tx::commit(tx).await?;
        self.kept.notify_one();
        Ok(())
    }
}

/// Keeps a callback; true when it is the first of its kind.
async fn note(db: &impl ConnectionTrait, callback: &ChargeCallback, now: Millis) -> Outcome<bool> {
    let body = serde_json::to_string(callback).map_err(|e| Refusal::new("bad_callback", e.to_string()))?;
    let row = CallbackRow {
        reference: callback.reference.to_string(),
        channel_transaction: callback.transaction.clone(),
        outcome: callback.outcome.as_str().to_owned(),
        body,
        received_at_ms: now.0,
        copies: 0,
        forwarded: false,
    };
    let first = insert_new(db, row).await?;
    change(db, callback, plus(CallbackColumn::Copies, 1)).await?;
    Ok(first)
}

async fn change(
    db: &impl ConnectionTrait, callback: &ChargeCallback, change: crate::db::Change<CallbackColumn>,
) -> Outcome<()> {
    Callbacks::update_many()
        .changing([change])
        .filter(CallbackColumn::Reference.eq(callback.reference.as_str()))
        .filter(CallbackColumn::ChannelTransaction.eq(&callback.transaction))
        .filter(CallbackColumn::Outcome.eq(callback.outcome.as_str()))
        .exec(db)
        .await?;
    Ok(())
}

/// Books what a callback says, and passes it on as the completion of the charge that waits for it, if one does.
async fn forward(tx: &Transaction, callback: &ChargeCallback, now: Millis) -> Outcome<()> {
    let id = &callback.reference;
    let Some(row) = Rows::find_by_id(id.as_str()).one(tx).await? else {
        tracing::warn!(payment.id = %id, "callback for a payment that is not there");
        return Ok(());
    };
    if let Err(why) = compare(&row, callback) {
        return attend(tx, id, why).await;
    }
    let verdict = match callback.outcome {
        ChargeOutcome::Paid => {
            receive(tx, id, &receipt(callback)).await?;
            let ChargeCallback { transaction, amount, at, .. } = callback.clone();
            Ok(Charged { transaction, amount, at_ms: at.0 })
        }
        ChargeOutcome::Failed => Err(Refusal::new("failed", "the channel reports that the charge failed")),
        ChargeOutcome::Closed => Err(Refusal::new("closed", "the channel reports that the charge is closed")),
    };
    let Some(ticket) = row.ticket else { return Ok(()) };
    let ticket: Ticket = serde_json::from_str(&ticket).map_err(|e| Refusal::new("bad_ticket", e.to_string()))?;
    let completed = tx.complete::<Charge>(&ticket, verdict.clone(), now).await.map_err(Otherwise::from)?;
    if completed == Completed::Recorded {
        if let Err(refusal) = verdict {
            note_failure(tx, id, &refusal).await?;
        }
        change(tx, callback, to(CallbackColumn::Forwarded, true)).await?;
    }
    Ok(())
}

fn receipt(callback: &ChargeCallback) -> Receipt {
    Receipt { transaction: callback.transaction.clone(), amount: callback.amount }
}

/// A report must speak of the payment as it is held: its order and its amount.
fn compare(row: &Row, callback: &ChargeCallback) -> Result<(), String> {
    if row.order_id != callback.order.as_str() {
        return Err(format!("the channel speaks of order {}, not of {}", callback.order, row.order_id));
    }
    if row.amount != callback.amount.minor.0 || row.currency != callback.amount.currency.as_str() {
        let held = format!("{} minor units of {}", row.amount, row.currency);
        return Err(format!("the channel speaks of {}, not of {held}", callback.amount));
    }
    Ok(())
}

/// Books money that was reported before its payment was there.
pub(super) async fn adopt(db: &impl ConnectionTrait, id: &PaymentId) -> Outcome<()> {
    let early = Callbacks::find()
        .filter(CallbackColumn::Reference.eq(id.as_str()))
        .filter(CallbackColumn::Outcome.eq(ChargeOutcome::Paid.as_str()))
        .all(db)
        .await?;
    for callback in early {
        let Some(row) = Rows::find_by_id(id.as_str()).one(db).await? else { return Ok(()) };
        let callback: ChargeCallback =
            serde_json::from_str(&callback.body).map_err(|e| Refusal::new("bad_callback", e.to_string()))?;
        match compare(&row, &callback) {
            Ok(()) => drop(book(db, id, &receipt(&callback)).await?),
            Err(why) => attend(db, id, why).await?,
        }
    }
    Ok(())
}
