//! `refund_money`: money that is not ours to keep goes back: a late payment's, a double one's, or by hand.
//!
//! No order, no goods, no points: the payment reserves the amount, the third party moves it. There is no way in which we may keep
//! it, so a definite no does not end the saga: it stands parked in front of a person.

use crate::{
    book_refunded::{book_refunded, evidence},
    refund::Refunded,
};
use tercet_core::{Definition, OnRefused, Saga, minutes};
pub use tercet_shop::payments::MoneyRequest;
use tercet_shop::{
    gateway,
    payments::{self, RefundToHold},
    push,
};

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
        .undone_by(book_refunded, evidence)
        .key(request, |r| r.id.to_string())
        .request(hold, |h| gateway::RefundMoney { refund: h.refund, payment: h.payment, amount: h.amount });

    saga.on_confirmed(|then| {
        then.retriable("tell_refunded", push::Notify)
            .request((request, money), |(r, m)| push::refunded(r.user, None, r.id, m.amount));
    });
    saga.output(money, |m| Refunded { amount: m.amount, at_ms: m.at_ms, transaction: m.transaction })
}
