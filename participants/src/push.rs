//! Messages to the buyer, after the decision only: each is kept once.

use crate::{
    db::{create, insert_new, table},
    ids::{OrderId, PaymentId, RefundId, UserId},
    money::Money,
};
use schemars::JsonSchema;
use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tercet_core::{Call, Operation, kind};
use tercet_participant::{Outcome, Retriable, Transaction};

/// `push.notify/1`: tell the buyer.
pub struct Notify;

impl Operation for Notify {
    const NAME: &'static str = "push.notify/1";
    type Kind = kind::Retriable;
    type Request = Notice;
    type Reply = ();
}

/// A message to a buyer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Notice {
    /// To whom.
    pub user: UserId,
    /// About which order, where it is about one.
    pub order: Option<OrderId>,
    /// What about.
    pub about: About,
}

/// What a message is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// The money has moved.
    Refunded {
        /// The refund.
        refund: RefundId,
        /// How much.
        amount: Money,
    },
    /// The order is paid.
    OrderPaid {
        /// How much was received.
        amount: Money,
    },
    /// The order was given up before it was paid, and nothing of it is held any more.
    OrderCancelled,
    /// The refund did not come about.
    RefundFailed {
        /// The refund.
        refund: RefundId,
        /// How much was held for it, if it came so far.
        amount: Option<Money>,
    },
    /// The order is paid by it.
    PaymentAccepted {
        /// Which payment.
        payment: PaymentId,
        /// How much.
        amount: Money,
    },
    /// The payment came too late, or was one too many.
    PaidInVain {
        /// Which payment.
        payment: PaymentId,
        /// How much.
        amount: Money,
    },
    /// The payment was given up.
    PaymentClosed {
        /// Which payment.
        payment: PaymentId,
    },
}

/// *The money is on its way to you*: to be said once it has moved, never before.
#[must_use]
pub fn refunded(user: UserId, order: Option<OrderId>, refund: RefundId, amount: Money) -> Notice {
    Notice { user, order, about: About::Refunded { refund, amount } }
}

/// *The refund did not come about*.
#[must_use]
pub fn refund_failed(user: UserId, order: Option<OrderId>, refund: RefundId, amount: Option<Money>) -> Notice {
    Notice { user, order, about: About::RefundFailed { refund, amount } }
}

/// *Your order is paid*.
#[must_use]
pub fn order_paid(user: UserId, order: OrderId, amount: Money) -> Notice {
    Notice { user, order: Some(order), about: About::OrderPaid { amount } }
}

/// *Your order was cancelled*.
#[must_use]
pub fn order_cancelled(user: UserId, order: OrderId) -> Notice {
    Notice { user, order: Some(order), about: About::OrderCancelled }
}

/// *Your payment is accepted*: to be said once the order's saga has accepted it.
#[must_use]
pub fn payment_accepted(user: UserId, order: OrderId, payment: PaymentId, amount: Money) -> Notice {
    Notice { user, order: Some(order), about: About::PaymentAccepted { payment, amount } }
}

/// *Your payment came too late*: to be said once the order's saga has not accepted it.
#[must_use]
pub fn paid_in_vain(user: UserId, order: OrderId, payment: PaymentId, amount: Money) -> Notice {
    Notice { user, order: Some(order), about: About::PaidInVain { payment, amount } }
}

/// *The payment is closed*. It says nothing of money, since some may still arrive.
#[must_use]
pub fn payment_closed(user: UserId, order: OrderId, payment: PaymentId) -> Notice {
    Notice { user, order: Some(order), about: About::PaymentClosed { payment } }
}

impl About {
    fn topic(&self) -> &'static str {
        match self {
            Self::Refunded { .. } => "refunded",
            Self::RefundFailed { .. } => "refund_failed",
            Self::PaymentAccepted { .. } => "payment_accepted",
            Self::PaidInVain { .. } => "paid_in_vain",
            Self::PaymentClosed { .. } => "payment_closed",
            Self::OrderPaid { .. } => "order_paid",
            Self::OrderCancelled => "order_cancelled",
        }
    }

    fn text(&self) -> String {
        match self {
            Self::OrderPaid { amount } => format!("Your order is paid: {amount} arrived."),
            Self::OrderCancelled => "Your order was cancelled. Nothing is held for it any more.".to_owned(),
            Self::Refunded { refund, amount } => format!("{amount} were refunded to you (refund {refund})."),
            Self::RefundFailed { refund, amount: None } => {
                format!("The refund {refund} did not come about. Your order is as it was.")
            }
            Self::RefundFailed { refund, amount: Some(amount) } => {
                format!("The refund {refund} of {amount} did not come about. Your order is as it was.")
            }
            Self::PaymentAccepted { payment, amount } => format!("Your payment {payment} of {amount} is accepted."),
            Self::PaidInVain { payment, amount } => {
                format!(
                    "{amount} came too late, or your order was paid already (payment {payment}): you get them back."
                )
            }
            Self::PaymentClosed { payment } => {
                format!("The payment {payment} is closed. Money that arrives for it nevertheless goes back to you.")
            }
        }
    }
}

/// The participant.
pub struct Push;

impl Retriable<Notify> for Push {
    async fn execute(&self, tx: &Transaction, cx: &Call, request: Notice) -> Outcome<()> {
        let row = notice::Model {
            key: cx.key.to_string(),
            user_id: request.user.to_string(),
            order_id: request.order.as_ref().map(ToString::to_string),
            topic: request.about.topic().to_owned(),
            text: request.about.text(),
        };
        insert_new(tx, row).await?;
        Ok(())
    }
}

table! {
    /// What was said to whom; its key is the effect's.
    notice "notices" {
        #[sea_orm(primary_key, auto_increment = false)]
        key: String,
        #[sea_orm(indexed)]
        user_id: String,
        order_id: Option<String>,
        topic: String,
        #[sea_orm(column_type = "Text")]
        text: String,
    }
}

/// Makes the table when it is not there.
///
/// # Errors
/// When the database fails.
pub async fn ensure_schema(db: &impl ConnectionTrait) -> Result<(), DbErr> {
    create(db, notice::Entity).await
}

/// What a buyer was told, in the order of the messages' keys.
///
/// # Errors
/// When the database fails.
pub async fn told(db: &impl ConnectionTrait, user: &UserId) -> Result<Vec<String>, DbErr> {
    let mine = notice::Entity::find().filter(notice::Column::UserId.eq(user.as_str()));
    Ok(mine.order_by_asc(notice::Column::Key).all(db).await?.into_iter().map(|row| row.text).collect())
}

/// How many messages there are, by topic.
///
/// # Errors
/// When the database fails.
pub async fn ledger(db: &impl ConnectionTrait) -> Result<BTreeMap<String, u64>, DbErr> {
    let mut ledger = BTreeMap::new();
    for row in notice::Entity::find().all(db).await? {
        *ledger.entry(row.topic).or_default() += 1;
    }
    Ok(ledger)
}
