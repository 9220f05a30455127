//! A wait without a limit would wait for ever.
#![deny(unused_must_use)]
#[path = "shop/mod.rs"]
mod shop;
use shop::*;

fn main() {
    let saga = Saga::<RefundRequest>::new("refund", 1);
    let request = saga.input();
    let order = saga.tcc("order", RefundOrder).request(request, |r| r);
    let held = saga.tcc("hold", HoldRefund).request(request, hold);
    let money = saga.pivot("money", Move).request(held, |h| h);
    let _ = (order, held, money);
    saga.wait_for::<Review>("review");
}
