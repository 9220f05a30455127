//! A pivot in a branch: whether the saga has a decision would depend on it.
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
    saga.when("some", order, |o| o.abroad, |then| then.pivot("again", Move).request(held, |h| h));
}
