//! A mapper that captures: it could not be run again on another machine.
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
    let fee = 5;
    saga.tcc("again", HoldRefund)
        .request(request, |r| Hold { payment: r.order, amount_minor: r.amount_minor - fee });
}
