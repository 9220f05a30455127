//! A step with an undo after the decision: there is nothing to undo any more.
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
    saga.on_confirmed(|then| then.tcc("late", HoldRefund).request(request, hold));
}
