//! The channel's ledger: refunds and balance, moved together with the charges or not at all.

use super::{
    Behaviour, ChannelError, RefundOrder, Said,
    charge_rows::{ChargeState, charge},
};
use crate::{
    db::{Changing, plus, states, table, to},
    ids::RefundId,
    money::{Currency, Money},
};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait, IntoActiveModel,
    QueryFilter, Set,
    sea_query::{Expr, ExprTrait},
};
use tercet_core::Millis;

table! {
    /// The merchant's money at the channel.
    pub(super) account "channel_accounts" {
        #[sea_orm(primary_key, auto_increment = false)]
        currency: String,
        received: i64,
        given_back: i64,
        balance: i64,
    }
}

table! {
    /// One row: whoever has it locked has the whole channel to itself.
    pub(super) turn "channel_turns" {
        #[sea_orm(primary_key, auto_increment = false)]
        id: i32,
        taken: i64,
    }
}

table! {
    /// Every reference of a refund the channel heard of.
    pub(super) refund "channel_refunds" {
        #[sea_orm(primary_key, auto_increment = false)]
        reference: String,
        charge: String,
        currency: String,
        amount: i64,
        state: State,
        behaviour: String,
        attempts: i64,
        #[sea_orm(indexed)]
        due_at_ms: Option<i64>,
        ends_badly: bool,
        code: Option<String>,
        callbacks_left: i64,
        settled_at_ms: Option<i64>,
    }
}

states! {
    /// Where a refund stands at the channel.
    pub(crate) enum State {
        /// A request came and left no trace: a query finds nothing.
        Heard = "heard",
        /// On its way, and found by no query; it lands when it is due.
        Landing = "landing",
        /// Taken on; it ends when it is due.
        Processing = "processing",
        /// The money has moved.
        Succeeded = "succeeded",
        /// It failed for good.
        Failed = "failed",
        /// Closed before the money moved.
        Closed = "closed",
    }
}

/// The channel's code for a refund beyond what is left of its charge.
pub(super) const OVER_CHARGE: &str = "over_charge";

pub(super) fn heard(order: &RefundOrder, behaviour: Behaviour) -> refund::Model {
    refund::Model {
        reference: order.reference.to_string(),
        charge: order.charge.to_string(),
        currency: order.amount.currency.to_string(),
        amount: order.amount.minor.0,
        state: State::Heard,
        behaviour: behaviour.as_str().to_owned(),
        attempts: 0,
        due_at_ms: None,
        ends_badly: false,
        code: None,
        callbacks_left: 0,
        settled_at_ms: None,
    }
}

pub(super) fn transaction(row: &refund::Model) -> String {
    format!("refund-{}", row.reference)
}

pub(super) async fn find(db: &impl ConnectionTrait, reference: &RefundId) -> Result<Option<refund::Model>, DbErr> {
    refund::Entity::find_by_id(reference.as_str()).one(db).await
}

/// What a query says of a row.
pub(super) fn say(row: &refund::Model) -> Result<Said, ChannelError> {
    Ok(match row.state {
        State::Heard | State::Landing => Said::NotFound,
        State::Processing => Said::Processing { transaction: transaction(row) },
        State::Closed => Said::Closed,
        State::Failed => {
            let code = row.code.clone().unwrap_or_default();
            Said::Failed { message: "the refund failed for good".to_owned(), code }
        }
        State::Succeeded => {
            let currency: Currency = row.currency.parse()?;
            let at = Millis(row.settled_at_ms.unwrap_or_default());
            Said::Succeeded { transaction: transaction(row), amount: Money::new(row.amount, currency), at }
        }
    })
}

/// Moves the money of a refund, or fails it for good where it must end badly or the charge has not that much left.
pub(super) async fn end(
    tx: &DatabaseTransaction, row: refund::Model, now: Millis,
) -> Result<refund::Model, ChannelError> {
    if row.ends_badly {
        return fail(tx, row, "account_closed", now).await;
    }
    let taken = charge::Entity::update_many()
        .changing([plus(charge::Column::GivenBack, row.amount)])
        .filter(charge::Column::Reference.eq(&row.charge))
        .filter(charge::Column::Currency.eq(&row.currency))
        .filter(charge::Column::State.eq(ChargeState::Paid))
        .filter(Expr::col(charge::Column::GivenBack).add(row.amount).lte(Expr::col(charge::Column::Amount)))
        .exec(tx)
        .await?;
    if taken.rows_affected != 1 {
        return fail(tx, row, OVER_CHARGE, now).await;
    }
    // Given back in full, the trade is closed, and whoever was told of the charge is told of that, too.
    charge::Entity::update_many()
        .changing([to(charge::Column::CallbacksLeft, 1), to(charge::Column::ReportAtMs, now.0)])
        .filter(charge::Column::Reference.eq(&row.charge))
        .filter(charge::Column::Callbacks.gt(0))
        .filter(Expr::col(charge::Column::GivenBack).gte(Expr::col(charge::Column::Amount)))
        .exec(tx)
        .await?;
    account::Entity::update_many()
        .changing([plus(account::Column::GivenBack, row.amount), plus(account::Column::Balance, -row.amount)])
        .filter(account::Column::Currency.eq(&row.currency))
        .exec(tx)
        .await?;
    settle_as(tx, row, State::Succeeded, None, now).await
}

pub(super) async fn fail(
    tx: &DatabaseTransaction, row: refund::Model, code: &str, now: Millis,
) -> Result<refund::Model, ChannelError> {
    settle_as(tx, row, State::Failed, Some(code.to_owned()), now).await
}

async fn settle_as(
    tx: &DatabaseTransaction, row: refund::Model, state: State, code: Option<String>, now: Millis,
) -> Result<refund::Model, ChannelError> {
    let mut ended = row.into_active_model();
    ended.state = Set(state);
    ended.code = Set(code);
    ended.due_at_ms = Set(None);
    ended.settled_at_ms = Set(Some(now.0));
    Ok(ended.update(tx).await?)
}
