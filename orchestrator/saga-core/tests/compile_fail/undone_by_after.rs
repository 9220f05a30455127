//! A child after the decision is undone by nothing: there is no abort any more.
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
    saga.on_confirmed(|then| {
        then.child("again", other).undone_by(other, |(asked, _)| asked).input(request, |r| r);
    });
}

fn other() -> Definition<RefundRequest, Moved> {
    let saga = Saga::<RefundRequest>::new("other", 1);
    let money = saga.pivot("money", Move).request(saga.input(), hold);
    saga.output(money, |m| m)
}
