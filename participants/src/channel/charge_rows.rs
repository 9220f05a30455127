//! The channel's charges: what each row says, and how it ends.

use super::{Buyer, ChannelError, ChargeCallback, ChargeOrder, ChargeOutcome, Charging, How, Said, rows::account};
use crate::{
    db::{Changing, insert_new, plus, states, table},
    ids::{OrderId, PaymentId},
    money::Money,
};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait,
    IntoActiveModel, QueryFilter, QueryOrder, Set,
};
use std::time::Duration;
use tercet_core::Millis;

table! {
    /// What buyers paid, or are to pay. What the buyer and the channel will do is drawn with the first request and kept here.
    pub(super) charge "channel_charges" {
        #[sea_orm(primary_key, auto_increment = false)]
        reference: String,
        order_id: String,
        currency: String,
        amount: i64,
        given_back: i64,
        how: How,
        state: ChargeState,
        attempts: i64,
        #[sea_orm(indexed)]
        due_at_ms: Option<i64>,
        #[sea_orm(indexed)]
        expires_at_ms: Option<i64>,
        acts_after_ms: Option<i64>,
        declines: bool,
        lax: bool,
        code: Option<String>,
        callbacks: i64,
        callbacks_left: i64,
        report_after_ms: i64,
        #[sea_orm(indexed)]
        report_at_ms: Option<i64>,
        settled_at_ms: Option<i64>,
    }
}

states! {
    /// Where a charge stands at the channel.
    pub(crate) enum ChargeState {
        /// A request came and left no trace: a query finds nothing.
        Heard = "heard",
        /// On its way, and found by no query; it lands when it is due.
        Landing = "landing",
        /// The buyer can pay.
        Open = "open",
        /// The money has come.
        Paid = "paid",
        /// It failed for good.
        Failed = "failed",
        /// Closed or expired before the money came.
        Closed = "closed",
    }
}

pub(super) type Row = charge::Model;

fn ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn heard(order: &ChargeOrder, behaviour: Charging) -> Row {
    let acts_after_ms = match behaviour.buyer {
        Buyer::Waits => None,
        Buyer::Pays { after } | Buyer::Declines { after } => Some(ms(after)),
    };
    Row {
        reference: order.reference.to_string(),
        order_id: order.order.to_string(),
        currency: order.amount.currency.to_string(),
        amount: order.amount.minor.0,
        given_back: 0,
        how: order.how,
        state: ChargeState::Heard,
        attempts: 0,
        due_at_ms: None,
        expires_at_ms: order.expires.map(|at| at.0),
        acts_after_ms,
        declines: matches!(behaviour.buyer, Buyer::Declines { .. }),
        lax: behaviour.lax,
        code: None,
        callbacks: i64::from(behaviour.callbacks),
        callbacks_left: 0,
        report_after_ms: ms(behaviour.report_after),
        report_at_ms: None,
        settled_at_ms: None,
    }
}

/// Takes money that nobody is told of: a sale to begin with.
pub(super) async fn take_in(
    tx: &DatabaseTransaction, reference: &PaymentId, amount: Money, now: Millis,
) -> Result<(), ChannelError> {
    let order = ChargeOrder {
        reference: reference.clone(),
        order: OrderId::stored(reference.as_str()),
        amount,
        how: How::DirectDebit,
        expires: None,
    };
    if insert_new(tx, heard(&order, Charging::new(Buyer::Waits).reported(0, Duration::ZERO))).await? {
        let row = find(tx, reference).await?.ok_or_else(|| gone(reference))?;
        pay(tx, row, now).await?;
    }
    Ok(())
}

pub(super) async fn find(db: &impl ConnectionTrait, reference: &PaymentId) -> Result<Option<Row>, DbErr> {
    charge::Entity::find_by_id(reference.as_str()).one(db).await
}

pub(super) fn gone(reference: &PaymentId) -> DbErr {
    DbErr::RecordNotFound(format!("charge {reference} of the channel"))
}

pub(super) fn transaction(reference: &str) -> String {
    format!("charge-{reference}")
}

fn amount_of(row: &Row) -> Result<Money, ChannelError> {
    Ok(Money::new(row.amount, row.currency.parse()?))
}

/// What a query says of a row.
pub(super) fn say(row: &Row) -> Result<Said, ChannelError> {
    Ok(match row.state {
        ChargeState::Heard | ChargeState::Landing => Said::NotFound,
        ChargeState::Open => Said::Open { link: format!("https://pay.example/{}", row.reference) },
        ChargeState::Closed => Said::Closed,
        ChargeState::Failed => {
            let code = row.code.clone().unwrap_or_default();
            Said::Failed { message: "the charge failed for good".to_owned(), code }
        }
        ChargeState::Paid => {
            let at = Millis(row.settled_at_ms.unwrap_or_default());
            Said::Succeeded { transaction: transaction(&row.reference), amount: amount_of(row)?, at }
        }
    })
}

/// What is reported of a row. When a paid one was given back in full the trade is closed, and that is reported once more.
pub(super) fn report_of(row: &Row) -> Result<ChargeCallback, ChannelError> {
    let outcome = match row.state {
        ChargeState::Failed => ChargeOutcome::Failed,
        ChargeState::Paid if row.given_back < row.amount => ChargeOutcome::Paid,
        _ => ChargeOutcome::Closed,
    };
    Ok(ChargeCallback {
        reference: PaymentId::stored(&row.reference),
        order: OrderId::stored(&row.order_id),
        transaction: transaction(&row.reference),
        amount: amount_of(row)?,
        outcome,
        at: Millis(row.settled_at_ms.unwrap_or_default()),
    })
}

/// A request has arrived: a direct debit is decided, a pay link opened.
pub(super) async fn take_on(tx: &DatabaseTransaction, row: Row, now: Millis) -> Result<Row, ChannelError> {
    if row.expires_at_ms.is_some_and(|expires| expires <= now.0) {
        return close(tx, row, now).await;
    }
    if row.how == How::DirectDebit {
        return if row.declines { fail(tx, row, "declined", now).await } else { pay(tx, row, now).await };
    }
    let due = row.acts_after_ms.map(|after| now.0.saturating_add(after));
    let mut open = row.into_active_model();
    open.state = Set(ChargeState::Open);
    open.due_at_ms = Set(due);
    Ok(open.update(tx).await?)
}

pub(super) async fn pay(tx: &DatabaseTransaction, row: Row, now: Millis) -> Result<Row, ChannelError> {
    let (currency, amount) = (row.currency.clone(), row.amount);
    insert_new(tx, account::Model { currency: currency.clone(), received: 0, given_back: 0, balance: 0 }).await?;
    account::Entity::update_many()
        .changing([plus(account::Column::Received, amount), plus(account::Column::Balance, amount)])
        .filter(account::Column::Currency.eq(currency))
        .exec(tx)
        .await?;
    settle_as(tx, row, ChargeState::Paid, None, now).await
}

pub(super) async fn fail(tx: &DatabaseTransaction, row: Row, code: &str, now: Millis) -> Result<Row, ChannelError> {
    settle_as(tx, row, ChargeState::Failed, Some(code.to_owned()), now).await
}

/// Nobody is told of a close: who asked for it hears it, and who gave the expiry knows it.
pub(super) async fn close(tx: &DatabaseTransaction, row: Row, now: Millis) -> Result<Row, ChannelError> {
    let row = Row { callbacks: 0, ..row };
    settle_as(tx, row, ChargeState::Closed, None, now).await
}

async fn settle_as(
    tx: &DatabaseTransaction, row: Row, state: ChargeState, code: Option<String>, now: Millis,
) -> Result<Row, ChannelError> {
    let callbacks = row.callbacks;
    let report_at = (callbacks > 0).then(|| now.0.saturating_add(row.report_after_ms));
    let mut ended = row.into_active_model();
    ended.state = Set(state);
    ended.code = Set(code);
    ended.due_at_ms = Set(None);
    ended.expires_at_ms = Set(None);
    ended.callbacks_left = Set(callbacks);
    ended.report_at_ms = Set(report_at);
    ended.settled_at_ms = Set(Some(now.0));
    Ok(ended.update(tx).await?)
}

/// Ends what is due by now: requests that land, buyers that act, links that expire, in the order of their times.
pub(super) async fn settle_due(tx: &DatabaseTransaction, now: Millis) -> Result<(), ChannelError> {
    let is_due = Condition::any().add(charge::Column::DueAtMs.lte(now.0)).add(charge::Column::ExpiresAtMs.lte(now.0));
    let waits = charge::Column::State.is_in([ChargeState::Landing, ChargeState::Open]);
    for row in charge::Entity::find().filter(is_due).filter(waits).all(tx).await? {
        settle_one(tx, row, now).await?;
    }
    Ok(())
}

async fn settle_one(tx: &DatabaseTransaction, row: Row, now: Millis) -> Result<(), ChannelError> {
    let due = row.due_at_ms.filter(|due| *due <= now.0).map(Millis);
    let expires = row.expires_at_ms.filter(|expires| *expires <= now.0).map(Millis);
    match (row.state, due, expires) {
        (ChargeState::Landing, Some(due), _) => {
            let landed = take_on(tx, row, due).await?;
            if landed.state == ChargeState::Open {
                return Box::pin(settle_one(tx, landed, now)).await;
            }
        }
        (ChargeState::Open, Some(due), expires) if expires.is_none_or(|expires| due < expires) => {
            if row.declines {
                fail(tx, row, "declined", due).await?;
            } else {
                pay(tx, row, due).await?;
            }
        }
        (ChargeState::Open, _, Some(expires)) => {
            close(tx, row, expires).await?;
        }
        _ => {}
    }
    Ok(())
}

/// When something is due next: a buyer that acts, a request that lands, a report.
pub(super) async fn next_due(tx: &DatabaseTransaction, now: Millis) -> Result<Option<Millis>, ChannelError> {
    let acts = charge::Entity::find()
        .filter(charge::Column::DueAtMs.is_not_null())
        .order_by_asc(charge::Column::DueAtMs)
        .one(tx)
        .await?;
    let reports = charge::Entity::find()
        .filter(charge::Column::ReportAtMs.gt(now.0))
        .order_by_asc(charge::Column::ReportAtMs)
        .one(tx)
        .await?;
    let acts = acts.and_then(|row| row.due_at_ms);
    let reports = reports.and_then(|row| row.report_at_ms);
    Ok(acts.into_iter().chain(reports).min().map(Millis))
}
