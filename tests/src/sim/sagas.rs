//! The model sagas: order and payment, refunds, a basket with every other kind of step, and a parent with children.

use super::contracts::{
    Amount, CLOSING, Charge, EXPIRING, GiveBack, HoldPoints, HoldRefund, Line, Order, PLAIN, Paid, Payment, Payout,
    PlaceOrder, PutBack, Quote, RecordPayment, Refund, Return, Said, TakeStock, Tell, Waybill,
};
use std::time::Duration;
use tercet::{Registry, RegistryError};
use tercet_core::{Definition, OnRefused, Retry, Saga, minutes, seconds};

/// How long an order waits to be paid.
pub(crate) const PAID_WITHIN: Duration = minutes(15);

const QUICK: Retry = Retry::backoff(Duration::from_millis(200), seconds(20));
const BOUNDED: Retry = QUICK.attempts(6);
const PIVOT: Retry = Retry::backoff(seconds(1), seconds(60)).attempts(40);

/// What a newer release runs, too: the next version of two of them.
pub(crate) fn newer(registry: Registry) -> Result<Registry, RegistryError> {
    registry.with(basket(2))?.with(trip(2))
}

/// All of them.
pub(crate) fn registry() -> Result<Registry, RegistryError> {
    Registry::new()
        .with(order())?
        .with(payment::<PLAIN>())?
        .with(payment::<CLOSING>())?
        .with(payment::<EXPIRING>())?
        .with(give_back())?
        .with(refund::<PLAIN>())?
        .with(refund::<CLOSING>())?
        .with(refund::<EXPIRING>())?
        .with(basket(1))?
        .with(trip(1))
}

/// Holds the order, its stock and the points, waits to be paid, and confirms all of it: the one owner of *paid*.
pub(crate) fn order() -> Definition<Order, String> {
    let saga = Saga::<Order>::new("order", 1);
    let input = saga.input();
    let price = saga.read("price", Quote).timeout(seconds(2)).retry(BOUNDED).request(input, |o| o);
    let placed =
        saga.tcc("place", PlaceOrder).timeout(seconds(2)).retry(BOUNDED).after(price).request(input, |order| order);
    let points = saga
        .tcc("points", HoldPoints)
        .timeout(seconds(2))
        .retry(BOUNDED)
        .after(placed)
        .request(input, |o| Amount { account: o.account, minor: o.minor / 10 });
    let stock = saga.for_each(
        "lines",
        (input, placed),
        |(o, _)| o.lines,
        |each, line| each.compensable("take", TakeStock).timeout(seconds(2)).retry(BOUNDED).request(line, |l| l),
    );
    saga.wait_for::<Paid>("paid").after((points, stock)).within(PAID_WITHIN);
    saga.on_confirmed(|then| {
        then.retriable("tell_paid", Tell).timeout(seconds(2)).retry(QUICK).request(placed, |o| said(o, "paid"));
    });
    saga.on_cancelled(|then| {
        then.retriable("tell_cancelled", Tell)
            .timeout(seconds(2))
            .retry(QUICK)
            .request((input, placed.if_done()), |(o, placed)| {
                said(o.order, if placed.is_some() { "off" } else { "no" })
            });
    });
    saga.output(placed, |order| order)
}

fn said(to: String, text: &str) -> Said {
    Said { to, text: text.to_owned() }
}

/// Owns the charge; tells the order, and gives the money back when it is told too late.
pub(crate) fn payment<const SORT: u8>() -> Definition<Payment, i64> {
    let name = ["payment", "payment_closing", "payment_expiring"][SORT as usize];
    let saga = Saga::<Payment>::new(name, 1).deadline(minutes(20));
    let input = saga.input();
    let record = saga.tcc("record", RecordPayment).timeout(seconds(2)).retry(BOUNDED).request(input, |p| p);
    let charge = saga
        .pivot("charge", Charge::<SORT>)
        .timeout(seconds(5))
        .retry(PIVOT)
        .query_every(seconds(40))
        .query_limit(8)
        .undone_by(give_back, |(p, _)| back(p))
        .request(record, |p| p);
    saga.on_confirmed(|then| {
        let told = then
            .signal::<Paid>("tell_order")
            .to("order", record, |p| p.order)
            .retry(PIVOT)
            .query_every(seconds(30))
            .request((record, charge), |(p, _)| Paid { payment: p.payment, minor: p.minor });
        then.when(
            "late",
            told,
            |verdict| verdict.is_too_late(),
            |then| {
                then.child("back", give_back).input((input, told), |(p, _)| back(p));
            },
        );
    });
    saga.output(charge, |minor| minor)
}

/// The same request whoever starts it: verdict, contradiction, or late evidence at the participant.
pub(crate) fn back(p: Payment) -> Refund {
    Refund { request: format!("back:{}", p.payment), payment: p.payment, minor: p.minor }
}

/// Money that is not ours to keep: a refused hold or a definite no parks.
pub(crate) fn give_back() -> Definition<Refund, i64> {
    let saga = Saga::<Refund>::new("give_back", 1);
    let input = saga.input();
    let hold =
        saga.tcc("hold", HoldRefund).timeout(seconds(2)).retry(QUICK).on_refused(OnRefused::Park).request(input, |r| r);
    let money = saga
        .pivot("money", GiveBack::<PLAIN>)
        .timeout(seconds(5))
        .retry(PIVOT)
        .query_every(seconds(40))
        .query_limit(12)
        .on_refused(OnRefused::Park)
        .key(input, |r| r.request)
        .request(hold, |r| r);
    saga.output(money, |minor| minor)
}

/// Reversible steps first, then the money, and only its success confirms the rest.
pub(crate) fn refund<const SORT: u8>() -> Definition<Return, i64> {
    let name = ["refund", "refund_closing", "refund_expiring"][SORT as usize];
    let saga = Saga::<Return>::new(name, 1).deadline(minutes(25));
    let input = saga.input();
    let points = saga.tcc("points", HoldPoints).timeout(seconds(2)).retry(BOUNDED).request(input, |r| r.points);
    let stock = saga.tcc("stock", PutBack).timeout(seconds(2)).retry(BOUNDED).request(input, |r| r.line);
    let label = saga
        .compensable("restock", TakeStock)
        .timeout(seconds(2))
        .retry(BOUNDED)
        .after(points)
        .request(stock, |_| Line { item: 0, pieces: 1 });
    let hold =
        saga.tcc("hold", HoldRefund).timeout(seconds(2)).retry(BOUNDED).after(label).request(input, |r| r.refund);
    let money = saga
        .pivot("money", GiveBack::<SORT>)
        .timeout(seconds(5))
        .retry(PIVOT)
        .query_every(seconds(40))
        .query_limit(8)
        .key(input, |r| r.refund.request)
        .request(hold, |r| r);
    saga.on_confirmed(|then| {
        then.retriable("tell_refunded", Tell)
            .timeout(seconds(2))
            .retry(QUICK)
            .request((hold, money), |(r, _)| said(r.request, "refunded"));
    });
    saga.on_cancelled(|then| {
        then.retriable("tell_refused", Tell)
            .timeout(seconds(2))
            .retry(QUICK)
            .request((input, hold.if_done()), |(r, _)| said(r.refund.request, "not refunded"));
    });
    saga.output(money, |minor| minor)
}

/// No pivot: branch, sleep, fan-out, a carrier whose effect is remote, a deadline, and a payout after the decision.
pub(crate) fn basket(version: u32) -> Definition<Order, i64> {
    let saga = Saga::<Order>::new("basket", version).deadline(minutes(4));
    let input = saga.input();
    let points = saga
        .tcc("points", HoldPoints)
        .timeout(seconds(2))
        .retry(BOUNDED)
        .request(input, |o| Amount { account: o.account, minor: o.minor / 10 });
    let pause = saga.sleep("pause", seconds(3));
    saga.for_each(
        "lines",
        (input, points),
        |(o, _)| o.lines,
        |each, line| {
            let taken = each.compensable("take", TakeStock).timeout(seconds(2)).retry(BOUNDED).request(line, |l| l);
            each.tcc("send", Waybill).timeout(seconds(3)).retry(BOUNDED).after(taken).request(line, |l| l);
        },
    );
    let extra = saga.when(
        "dear",
        input,
        |o| o.minor > 50,
        |then| {
            then.tcc("deposit", HoldPoints)
                .timeout(seconds(2))
                .retry(BOUNDED)
                .after(pause)
                .request(input, |o| Amount { account: o.account + 1, minor: 5 })
        },
    );
    saga.on_confirmed(|then| {
        let paid = then
            .external("payout", Payout)
            .timeout(seconds(5))
            .retry(PIVOT)
            .query_every(seconds(40))
            .query_limit(12)
            .request((input, points, extra), |(o, ..)| Refund {
                payment: format!("payout:{}", o.order),
                request: format!("payout:{}", o.order),
                minor: 7,
            });
        then.retriable("tell", Tell)
            .timeout(seconds(2))
            .retry(QUICK)
            .request((input, paid), |(o, _)| said(o.order, "sent"));
    });
    saga.output(points, |held| held)
}

fn deposit() -> Definition<Amount, i64> {
    let saga = Saga::<Amount>::new("deposit", 1);
    let held = saga.tcc("hold", HoldPoints).timeout(seconds(2)).retry(BOUNDED).request(saga.input(), |a| a);
    saga.output(held, |held| held)
}

/// A hold of less than nothing gives back.
fn undeposit() -> Definition<Amount, i64> {
    let saga = Saga::<Amount>::new("undeposit", 1);
    let back = saga
        .tcc("back", HoldPoints)
        .timeout(seconds(2))
        .retry(QUICK)
        .on_refused(OnRefused::Park)
        .request(saga.input(), |a| Amount { minor: -a.minor, ..a });
    saga.output(back, |back| back)
}

/// A child before the decision, undone by another; then a step that may refuse; then a child as the pivot.
pub(crate) fn trip(version: u32) -> Definition<Order, i64> {
    let saga = Saga::<Order>::new("trip", version).deadline(minutes(10));
    let input = saga.input();
    let child = saga
        .child("deposit", deposit)
        .undone_by(undeposit, |(amount, _)| amount)
        .input(input, |o| Amount { account: o.account, minor: 3 });
    saga.for_each(
        "lines",
        (input, child),
        |(o, _)| o.lines,
        |each, line| {
            each.compensable("take", TakeStock).timeout(seconds(2)).retry(BOUNDED).request(line, |l| l);
        },
    );
    let ride = saga.pivot_child("ride", deposit).input(input, |o| Amount { account: o.account, minor: 2 });
    saga.output(ride, |held| held)
}
