//! `book_refunded`: money of a refund that had been given up turns out to have gone back, so the books say so.
//!
//! Nothing is undone here: the channel's evidence is against what was decided (by a person's forced *not done*, say), and money that
//! has moved is booked, even beyond the ceiling. The payment then asks for a person's attention.

use tercet_core::{Definition, Saga};
use tercet_shop::{
    gateway::{MoneyBack, RefundMoney},
    payments::{self, Evidence},
};

/// The definition.
#[must_use]
pub fn book_refunded() -> Definition<Evidence, ()> {
    let saga = Saga::<Evidence>::new("book_refunded", 1);
    let evidence = saga.input();
    saga.on_confirmed(|then| {
        then.retriable("book", payments::BookRefunded).request(evidence, |e| e);
    });
    saga.output((), |()| ())
}

/// What a refund's pivot knows when it turns out done after it was decided not done.
pub(crate) fn evidence((asked, back): (RefundMoney, MoneyBack)) -> Evidence {
    Evidence { refund: asked.refund, payment: asked.payment, amount: back.amount, transaction: back.transaction }
}
