//! Tercet's reference sagas, one file each, their registry, and what the `tercet` command adds for them.
//!
//! | saga | what it does |
//! |---|---|
//! | [`create_order`](create_order::create_order) | an order from its submission to paid or cancelled, and what follows a payment |
//! | [`refund`](refund::refund) | takes a payment back, all of it or a part: order, points, coupon, red packet, warehouse, stock, money |
//! | [`refund_money`](refund_money::refund_money) | gives back money that is not ours to keep |
//! | [`book_refunded`](book_refunded::book_refunded) | books money of a refund that moved although it was given up |
//! | [`payment`](payment::payment) | one attempt to pay for an order: by pay link or direct debit, told to the order, or given back |

pub mod bench;
pub mod book_refunded;
pub mod clock;
pub mod create_order;
pub mod demo;
pub mod desk;
pub mod events;
pub mod ingress;
pub mod new;
pub mod order_book;
pub mod payment;
pub mod refund;
pub mod refund_money;
pub mod sweep;

use tercet::{Registry, RegistryError};

/// Every saga of the shop, as an engine is given them.
///
/// # Errors
/// When a definition is wrong: a test builds them all, so no release has one.
pub fn registry() -> Result<Registry, RegistryError> {
    Registry::new()
        .with(create_order::create_order())?
        .with(refund::refund())?
        .with(refund_money::refund_money())?
        .with(book_refunded::book_refunded())?
        .with(payment::payment())
}
