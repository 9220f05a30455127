//! A request of another type than the operation asks for.
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
    saga.tcc("again", HoldRefund).request(request, |r| Message { text: r.order.to_string() });
}
