//! `refund`: a payment taken back, all of it or a part.
//!
//! What can be undone is tried first, side by side: the order goes into after-sales, points, coupon and red packet are frozen,
//! the warehouse stops what has not left, the stock expects what comes back, the payment reserves the amount. Then the third
//! party is asked for the money, and its word decides: yes confirms everything, a definite no leaves everything as it was, and
//! silence is neither, so it is queried until one of the two comes. Nobody is told "refunded" before the money has moved.

use crate::book_refunded::{book_refunded, evidence};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tercet_core::{Definition, Refusal, Saga, minutes};
use tercet_shop::{
    coupons, gateway,
    ids::{ClaimId, OrderId, RefundId, UserId},
    inventory,
    lines::RefundLines,
    money::Money,
    orders::{self, Goods, Part, Refunding, ToRefund},
    payments::{self, RefundToHold},
    points, push, red_packets,
    shares::{OnSpent, TakeBack, TakenBack},
    warehouse,
};

/// A request to refund an order, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefundRequest {
    /// Its own id, and for ever the one key under which its money moves. Two equal partial refunds have two.
    pub id: RefundId,
    /// The order.
    pub order: OrderId,
    /// The after-sales claim that it belongs to.
    pub claim: ClaimId,
    /// The buyer, who is told how it ends.
    pub user: UserId,
    /// How much of the order.
    pub part: Part,
    /// Where the goods are.
    pub goods: Goods,
    /// What to do where the buyer has spent already what the payment granted.
    pub on_spent: OnSpent,
    /// Why, for people.
    pub reason: String,
}

/// Money that went back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Refunded {
    /// How much.
    pub amount: Money,
    /// When, by the third party's clock: milliseconds since 1970.
    pub at_ms: i64,
    /// The third party's own id of it.
    pub transaction: String,
}

/// The definition.
#[must_use]
pub fn refund() -> Definition<RefundRequest, Refunded> {
    let saga = Saga::<RefundRequest>::new("refund", 1);
    let request = saga.input();

    let order = saga.tcc("order", orders::RefundOrder).request(request, |r| ToRefund {
        refund: r.id,
        order: r.order,
        claim: r.claim,
        part: r.part,
        goods: r.goods,
    });
    let points = saga.tcc("points", points::TakePointsBack).request((request, order), take_back);
    let coupon = saga.tcc("coupon", coupons::TakeCouponBack).request((request, order), take_back);
    let packet = saga.tcc("red_packet", red_packets::TakeRedPacketBack).request((request, order), take_back);

    saga.when("not_shipped", (request, order), are_to_be_stopped, |then| {
        then.tcc("warehouse", warehouse::Stop).request((request, order), goods)
    });
    saga.when("not_kept", (request, order), are_to_come_back, |then| {
        then.tcc("stock", inventory::PutBack).request((request, order), goods)
    });

    let hold = saga.tcc("hold", payments::HoldRefund).try_request((request, order, points, coupon, packet), to_hold);
    let money = saga
        .pivot("money", gateway::Refund) // waits for every step above by itself
        .query_every(minutes(3))
        .undone_by(book_refunded, evidence)
        .key(request, |r| r.id.to_string())
        .request(hold, |h| gateway::RefundMoney { refund: h.refund, payment: h.payment, amount: h.amount });

    saga.on_confirmed(|then| {
        then.retriable("tell_refunded", push::Notify)
            .request((request, money), |(r, m)| push::refunded(r.user, Some(r.order), r.id, m.amount));
    });
    saga.on_cancelled(|then| {
        then.retriable("tell_failed", push::Notify).request((request, hold.if_done()), |(r, h)| {
            push::refund_failed(r.user, Some(r.order), r.id, h.map(|h| h.amount))
        });
    });
    saga.output(money, |m| Refunded { amount: m.amount, at_ms: m.at_ms, transaction: m.transaction })
}

/// What the payment granted and the order cost beside money, in proportion to this refund.
fn take_back((r, o): (RefundRequest, Refunding)) -> TakeBack {
    TakeBack { refund: r.id, order: o.order, user: o.user, part: o.amount, whole: o.whole, on_spent: r.on_spent }
}

fn are_to_be_stopped((r, o): (RefundRequest, Refunding)) -> bool {
    r.goods == Goods::NotShipped && !o.lines.is_empty()
}

fn are_to_come_back((r, o): (RefundRequest, Refunding)) -> bool {
    r.goods != Goods::Kept && !o.lines.is_empty()
}

fn goods((r, o): (RefundRequest, Refunding)) -> RefundLines {
    RefundLines { refund: r.id, order: o.order, lines: o.lines }
}

/// The money of the refund, less what the buyer had spent already of what was to be taken back.
fn to_hold(
    (r, o, points, coupon, packet): (RefundRequest, Refunding, TakenBack, TakenBack, TakenBack),
) -> Result<RefundToHold, Refusal> {
    let amount = o.amount.minus(points.deduct)?.minus(coupon.deduct)?.minus(packet.deduct)?;
    Ok(RefundToHold { refund: r.id, payment: o.payment, amount, reason: r.reason, received: None })
}
