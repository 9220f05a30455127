//! `create_order`: an order from its submission to *paid* or *cancelled*, and the long chain after the payment.
//!
//! The goods are checked and priced, the order is written as *pending payment*, then stock, coupon and points are held side by side,
//! and the saga waits for the money. It alone moves the order: told *paid*, it confirms all four; refused, timed out or cancelled, it
//! gives all four back. What follows a payment runs side by side after the decision, and the buyer waits for none of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tercet_core::{Confirmed, Definition, Handle, Refusal, Saga, Scope, Trying};
use tercet_shop::{
    catalog::{self, Goods, Wanted},
    coupons::{self, OneCoupon},
    ids::{ClientKey, OrderId, UserId, VoucherId},
    inventory,
    lines::{Line, OrderLines},
    money::{Minor, Money},
    orders::{self, Paid, PaidBy, Placed, PlacedLine, ToPlace},
    points::{self, Grant, SomePoints},
    price::price,
    push, red_packets,
    vouchers::{self, Issue},
    warehouse,
};

/// The definition's name.
pub const NAME: &str = "create_order";

/// How long a payment is waited for, by default: 30 minutes.
pub const PAY_WITHIN_MS: u64 = 30 * 60 * 1_000;

/// An order as a buyer submits it. Its saga's key is the client's own ([`desk::submit`](crate::desk::submit) sees to that).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderRequest {
    /// The client's key of this submission: the same in every retry of it, another one for every other order.
    pub key: ClientKey,
    /// Who buys.
    pub user: UserId,
    /// Where the goods go.
    pub address: String,
    /// Whom the invoice names, if there is to be one.
    pub invoice_title: Option<String>,
    /// The goods, each variant once.
    pub lines: Vec<Line>,
    /// The coupon to spend on it.
    pub coupon: Option<VoucherId>,
    /// The points to spend on it.
    pub points: u32,
    /// The price that the buyer was shown: it must be the server's to the minor unit.
    pub shown: Money,
    /// How long the payment is waited for, in milliseconds.
    #[serde(default = "half_an_hour")]
    pub pay_within_ms: u64,
}

fn half_an_hour() -> u64 {
    PAY_WITHIN_MS
}

/// The definition.
#[must_use]
pub fn create_order() -> Definition<OrderRequest, Placed> {
    let saga = Saga::<OrderRequest>::new(NAME, 1);
    let request = saga.input();

    let goods = saga.read("goods", catalog::CheckGoods).request(request, |r| Wanted { lines: r.lines });
    let coupon_worth = saga.when(
        "with_coupon",
        request,
        |r| r.coupon.is_some(),
        |then| then.read("coupon_worth", coupons::WorthOfCoupon).try_request(request, coupon_of),
    );
    let points_worth = saga.when(
        "with_points",
        request,
        |r| r.points > 0,
        |then| {
            then.read("points_worth", points::WorthOfPoints)
                .request(request, |r| SomePoints { user: r.user, points: r.points })
        },
    );
    let order = saga.tcc("order", orders::Place).try_request((request, goods, coupon_worth, points_worth), to_place);

    let stock = saga.tcc("stock", inventory::Reserve).request(order, goods_of);
    let coupon = saga.when(
        "spends_coupon",
        request,
        |r| r.coupon.is_some(),
        |then| then.tcc("coupon", coupons::SpendCoupon).try_request((request, order), spent_coupon),
    );
    let points = saga.when(
        "spends_points",
        request,
        |r| r.points > 0,
        |then| {
            then.tcc("points", points::SpendPoints).request(order, |o| points::Spending {
                order: o.order,
                user: o.user,
                points: o.points,
            })
        },
    );
    let paid = saga
        .wait_for::<Paid>("paid")
        .after((stock, coupon, points))
        .within_from(request, |r| Duration::from_millis(r.pay_within_ms));

    saga.on_confirmed(|then| {
        then.retriable("note_payment", orders::NotePayment).request((order, paid), payment);
        grants(then, order, goods);
        let told = then.retriable("ship", warehouse::Ship).request(order, goods_of);
        then.retriable("await_shipment", orders::AwaitShipment).after(told).request(order, |o| o.order);
        then.retriable("tell_paid", push::Notify).request(order, |o| push::order_paid(o.user, o.order, o.amount));
    });
    saga.on_cancelled(|then| {
        // Its try may have been done though nobody heard of it, and by now it is undone: the orders know.
        let unheard = then.when(
            "unheard",
            order.if_done(),
            |o| o.is_none(),
            |then| then.read("given_up", orders::FindGivenUp).request(request, |_| ()),
        );
        // Nothing placed, nothing told: also where the order was a duplicate, whose buyer has the first one.
        then.when(
            "was_placed",
            (order.if_done(), unheard),
            |given_up| placed_by(given_up).is_some(),
            |then| {
                then.retriable("tell_cancelled", push::Notify)
                    .try_request((request, order.if_done(), unheard), cancelled);
            },
        );
    });
    saga.output(order, |o| o)
}

/// What a payment grants: points, and a coupon and a red packet where the goods bring them.
fn grants(then: &Scope<Confirmed>, order: Handle<Placed, Trying>, goods: Handle<Goods, Trying>) {
    then.retriable("grant_points", points::GrantPoints).request((order, goods), granted_points);
    then.when(
        "grants_coupon",
        goods,
        |g: Goods| g.grants.coupon.is_some(),
        |then| {
            then.retriable("issue_coupon", coupons::IssueCoupon).try_request((order, goods), granted_coupon);
        },
    );
    then.when(
        "grants_red_packet",
        goods,
        |g: Goods| g.grants.red_packet.is_some(),
        |then| {
            then.retriable("issue_red_packet", red_packets::IssueRedPacket).try_request((order, goods), granted_packet);
        },
    );
}

/// A step in a branch that was taken finds what the branch was taken for.
fn there<T>(what: Option<T>) -> Result<T, Refusal> {
    what.ok_or_else(|| Refusal::new("not_there", "the branch was taken for something that is not there"))
}

fn coupon_of(r: OrderRequest) -> Result<OneCoupon, Refusal> {
    Ok(OneCoupon { coupon: there(r.coupon)?, user: r.user })
}

fn spent_coupon((r, o): (OrderRequest, Placed)) -> Result<vouchers::Spending, Refusal> {
    Ok(vouchers::Spending { voucher: there(r.coupon)?, order: o.order, user: o.user })
}

/// The order at the server's price, if that is what the buyer was shown.
fn to_place(
    (r, goods, coupon, points): (OrderRequest, Goods, Option<Money>, Option<Minor>),
) -> Result<ToPlace, Refusal> {
    let price = price(&goods.lines, goods.currency, coupon, points.unwrap_or_default())?;
    let amount = price.agreed(r.shown)?;
    let shares = price.shares(&goods.lines)?;
    let line =
        |(line, amount): (catalog::PricedLine, Minor)| PlacedLine { sku: line.sku, quantity: line.quantity, amount };
    Ok(ToPlace {
        key: r.key,
        user: r.user,
        address: r.address,
        invoice_title: r.invoice_title,
        lines: goods.lines.into_iter().zip(shares).map(line).collect(),
        goods_total: price.base.minor,
        amount,
        coupon: r.coupon,
        points: r.points,
        with_red_packet: goods.grants.red_packet.is_some(),
    })
}

fn goods_of(o: Placed) -> OrderLines {
    OrderLines { order: o.order, lines: o.lines }
}

fn payment((o, paid): (Placed, Paid)) -> PaidBy {
    PaidBy { order: o.order, payment: paid.payment, amount: paid.amount }
}

fn granted_points((o, goods): (Placed, Goods)) -> Grant {
    Grant { points: goods.grants.points(o.amount), order: o.order, user: o.user }
}

fn granted_coupon((o, goods): (Placed, Goods)) -> Result<Issue, Refusal> {
    issue(orders::granted_coupon(&o.order), o, goods.grants.coupon)
}

fn granted_packet((o, goods): (Placed, Goods)) -> Result<Issue, Refusal> {
    issue(orders::granted_red_packet(&o.order), o, goods.grants.red_packet)
}

fn issue(voucher: VoucherId, o: Placed, value: Option<Money>) -> Result<Issue, Refusal> {
    Ok(Issue { voucher, order: o.order, user: o.user, value: there(value)? })
}

/// The order that was given up, from whichever side it is known.
fn placed_by((order, unheard): (Option<Placed>, Option<Option<OrderId>>)) -> Option<OrderId> {
    order.map(|o| o.order).or(unheard.flatten())
}

fn cancelled(
    (r, order, unheard): (OrderRequest, Option<Placed>, Option<Option<OrderId>>),
) -> Result<push::Notice, Refusal> {
    Ok(push::order_cancelled(r.user, there(placed_by((order, unheard)))?))
}
