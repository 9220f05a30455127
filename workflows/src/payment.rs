//! `payment`: one attempt to pay for an order.
//!
//! The payment is recorded as *processing*, then the channel is asked for the money: the pivot. A pay link reaches the buyer in the
//! note of its *pending*; the outcome comes as a callback, by a query, or never, and then the payment is closed at the channel. A
//! direct debit goes the same way and is answered at once. The order's own saga says whether the money counts: *accepted*, the order
//! is paid; *too late*, the money goes back.

use crate::refund_money::refund_money;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tercet_core::{Definition, Saga, Verdict, minutes};
use tercet_shop::{
    channel::How,
    ids::{ClientKey, OrderId, PaymentId, UserId},
    money::Money,
    orders,
    payments::{self, Charged, MoneyRequest, Recorded, ToCharge, ToRecord, give_back},
    push,
};

/// The saga of an order, which waits to be told that it is paid.
const ORDER: &str = "create_order";

/// A request to pay for an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PaymentRequest {
    /// Its own id, and for ever the one key under which its money comes. The saga is started under it, too.
    pub id: PaymentId,
    /// What is paid for.
    pub order: OrderId,
    /// The key of the order's saga.
    pub order_saga_key: ClientKey,
    /// Who pays.
    pub user: UserId,
    /// How much.
    pub amount: Money,
    /// Which attempt of the order's, from 1: one payment is open for each.
    pub attempt: u32,
    /// How.
    pub how: How,
    /// After this the buyer can pay no more: the order's own deadline, in milliseconds since 1970. Without it a pay link lives
    /// until the payment is closed.
    pub expires_at_ms: Option<i64>,
}

/// The definition.
#[must_use]
pub fn payment() -> Definition<PaymentRequest, Charged> {
    let saga = Saga::<PaymentRequest>::new("payment", 1);
    let request = saga.input();

    let record = saga.tcc("record", payments::Record).request(request, |r| ToRecord {
        payment: r.id,
        order: r.order,
        user: r.user,
        amount: r.amount,
        attempt: r.attempt,
        how: r.how,
    });
    let charge = saga
        .pivot("charge", payments::Charge)
        .query_every(minutes(1))
        .query_limit(30) // then it is closed: a payment nobody makes ends by itself
        .undone_by(refund_money, |(asked, charged)| give_back(asked.payment, asked.user, charged.receipt()))
        .key(request, |r| r.id.to_string())
        .request((request, record), to_charge);

    saga.on_confirmed(|then| {
        let told = then
            .signal::<orders::Paid>("tell_order")
            .to(ORDER, request, |r| r.order_saga_key.to_string())
            .request((record, charge), paid); // reads the record: once it is confirmed
        then.when(
            "accepted",
            told,
            |verdict| !verdict.is_too_late(),
            |then| {
                then.retriable("tell_accepted", push::Notify)
                    .request((record, charge), |(r, c)| push::payment_accepted(r.user, r.order, r.payment, c.amount));
            },
        );
        then.when("too_late", told, Verdict::is_too_late, |then| {
            then.child("give_back", refund_money).input((record, charge), all_of_it);
            then.retriable("tell_in_vain", push::Notify)
                .request((record, charge), |(r, c)| push::paid_in_vain(r.user, r.order, r.payment, c.amount));
        });
    });
    saga.on_cancelled(|then| {
        then.retriable("tell_closed", push::Notify).request(request, |r| push::payment_closed(r.user, r.order, r.id));
    });
    saga.output(charge, |charged| charged)
}

fn to_charge((request, r): (PaymentRequest, Recorded)) -> ToCharge {
    ToCharge {
        payment: r.payment,
        order: r.order,
        user: r.user,
        amount: r.amount,
        how: r.how,
        expires_at_ms: request.expires_at_ms,
    }
}

fn paid((r, charged): (Recorded, Charged)) -> orders::Paid {
    orders::Paid { payment: r.payment, amount: charged.amount, transaction: charged.transaction }
}

fn all_of_it((r, charged): (Recorded, Charged)) -> MoneyRequest {
    give_back(r.payment, r.user, charged.receipt())
}
