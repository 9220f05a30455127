//! `refund_money`: money that is not ours to keep goes back: a late payment's, a double one's, or by hand.
//!
//! No order, no goods, no points: the payment reserves the amount, the third party moves it. There is no way in which we may keep
//! it, so a definite no does not end the saga: it stands parked in front of a person.

use crate::refund::Refunded;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tercet_core::{Definition, OnRefused, Saga, minutes};
use tercet_shop::{
    gateway,
    ids::{PaymentId, RefundId, UserId},
    money::Money,
    payments::{self, Receipt, RefundToHold},
    push,
};

/// A request to give money of a payment back.
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

/// The definition.
#[must_use]
pub fn refund_money() -> Definition<MoneyRequest, Refunded> {
    let saga = Saga::<MoneyRequest>::new("refund_money", 1);
    let request = saga.input();

    let hold = saga.tcc("hold", payments::HoldRefund).on_refused(OnRefused::Park).request(request, |r| RefundToHold {
        refund: r.id,
        payment: r.payment,
        amount: r.amount,
        reason: r.reason,
        received: r.received,
    });
    let money = saga
        .pivot("money", gateway::Refund)
        .on_refused(OnRefused::Park)
        .query_every(minutes(3))
        .key(request, |r| r.id.to_string())
        .request(hold, |h| gateway::RefundMoney { refund: h.refund, payment: h.payment, amount: h.amount });

    saga.on_confirmed(|then| {
        then.retriable("tell_refunded", push::Notify)
            .request((request, money), |(r, m)| push::refunded(r.user, None, r.id, m.amount));
    });
    saga.output(money, |m| Refunded { amount: m.amount, at_ms: m.at_ms, transaction: m.transaction })
}
