//! Placing an order: its row first, *pending payment*, under a natural key; then *paid*, or *cancelled*, as its saga decides.

use super::{
    OrderState, Orders,
    rows::{Column, LineRow, Row, Rows, change, find, free_natural, insert, take_natural, write},
};
use crate::{
    db::{insert_new, to},
    ids::{ClientKey, OrderId, PaymentId, Sku, UserId, VoucherId},
    lines::Line,
    money::{Minor, Money},
};
use ring::digest::{SHA256, digest};
use schemars::JsonSchema;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde::{Deserialize, Serialize};
use tercet_core::{Call, Millis, Operation, Refusal, SagaId, kind};
use tercet_participant::{Outcome, Read, Retriable, Tcc, Transaction};

/// `orders.place/1`: the order as *pending payment*, then *paid* or *cancelled*. Its id is its saga's, so that no retry can make
/// another.
pub struct Place;

impl Operation for Place {
    const NAME: &'static str = "orders.place/1";
    type Kind = kind::Tcc;
    type Request = ToPlace;
    type Reply = Placed;
}

/// `orders.note_payment/1`: which payment the order is paid by.
pub struct NotePayment;

impl Operation for NotePayment {
    const NAME: &'static str = "orders.note_payment/1";
    type Kind = kind::Retriable;
    type Request = PaidBy;
    type Reply = ();
}

/// `orders.given_up/1`: the order that the asking saga has placed and cancelled, if there is one. Its try may have been done though
/// nobody heard of it: the orders alone know.
pub struct FindGivenUp;

impl Operation for FindGivenUp {
    const NAME: &'static str = "orders.given_up/1";
    type Kind = kind::Read;
    type Request = ();
    type Reply = Option<OrderId>;
}

/// An order to be placed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ToPlace {
    /// The key of its saga: payments and claims find the saga by it.
    pub key: ClientKey,
    /// Who buys.
    pub user: UserId,
    /// Where the goods go.
    pub address: String,
    /// Whom the invoice names, if there is to be one.
    pub invoice_title: Option<String>,
    /// The goods.
    pub lines: Vec<PlacedLine>,
    /// The goods' price, before everything that is taken off.
    pub goods_total: Minor,
    /// What is to be paid: the sum of the lines' amounts.
    pub amount: Money,
    /// The coupon that is spent on it.
    pub coupon: Option<VoucherId>,
    /// The points that are spent on it.
    pub points: u32,
    /// A red packet comes with it.
    pub with_red_packet: bool,
}

/// A line of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlacedLine {
    /// Of what.
    pub sku: Sku,
    /// How many.
    pub quantity: u32,
    /// The line's share of what is to be paid.
    pub amount: Minor,
}

/// An order that waits for its money: what the other steps need to know of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Placed {
    /// The order.
    pub order: OrderId,
    /// The key of its saga.
    pub key: ClientKey,
    /// Who buys.
    pub user: UserId,
    /// What is to be paid.
    pub amount: Money,
    /// The goods.
    pub lines: Vec<Line>,
    /// The coupon that is spent on it.
    pub coupon: Option<VoucherId>,
    /// The points that are spent on it.
    pub points: u32,
}

/// A payment that an order is paid by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PaidBy {
    /// The order.
    pub order: OrderId,
    /// What paid for it.
    pub payment: PaymentId,
    /// How much was received.
    pub amount: Money,
}

/// The order that a saga places.
#[must_use]
pub fn order_of(saga: SagaId) -> OrderId {
    OrderId::stored(saga.to_string())
}

/// The coupon that an order's payment grants.
#[must_use]
pub fn granted_coupon(order: &OrderId) -> VoucherId {
    VoucherId::stored(format!("coupon-{order}"))
}

/// The red packet that comes with an order.
#[must_use]
pub fn granted_red_packet(order: &OrderId) -> VoucherId {
    VoucherId::stored(format!("packet-{order}"))
}

/// The code of a refusal of an order that was placed a moment ago already.
const DUPLICATE: &str = "duplicate";

fn duplicate_of(first: &str) -> Refusal {
    Refusal::new(DUPLICATE, format!("the same buyer placed the same goods a moment ago: order {first}"))
}

/// The first order, where a refusal says that this one is its duplicate.
#[must_use]
pub fn first_of(refusal: &Refusal) -> Option<OrderId> {
    let (_, first) = refusal.message.rsplit_once(' ').filter(|_| refusal.code == DUPLICATE)?;
    first.parse().ok()
}

impl Tcc<Place> for Orders {
    async fn try_(&self, tx: &Transaction, cx: &Call, request: ToPlace) -> Outcome<Placed> {
        place(tx, order_of(cx.saga), request, self.clock.now()).await
    }

    async fn confirm(&self, tx: &Transaction, _: &Call, _: ToPlace, reply: Placed) -> Outcome<()> {
        change(tx, &reply.order, OrderState::Paid, None, self.clock.now()).await
    }

    async fn cancel(&self, tx: &Transaction, cx: &Call, _: ToPlace, _: Option<Placed>) -> Outcome<()> {
        let order = order_of(cx.saga);
        free_natural(tx, &order).await?;
        change(tx, &order, OrderState::Cancelled, None, self.clock.now()).await
    }
}

impl Read<FindGivenUp> for Orders {
    async fn read(&self, tx: &Transaction, cx: &Call, (): ()) -> Outcome<Option<OrderId>> {
        let order = order_of(cx.saga);
        let row = Rows::find_by_id(order.as_str()).filter(Column::State.eq(OrderState::Cancelled)).one(tx).await?;
        Ok(row.map(|_| order))
    }
}

impl Retriable<NotePayment> for Orders {
    async fn execute(&self, tx: &Transaction, _: &Call, request: PaidBy) -> Outcome<()> {
        note_payment(tx, &request, self.clock.now()).await
    }
}

async fn place(tx: &Transaction, order: OrderId, request: ToPlace, now: Millis) -> Outcome<Placed> {
    let parts = Minor::sum(request.lines.iter().map(|line| line.amount)).map_err(Refusal::from)?;
    if parts != request.amount.minor || parts.0 <= 0 {
        let (lines, amount) = (Money { minor: parts, ..request.amount }, request.amount);
        return Err(Refusal::new("bad_amount", format!("the lines cost {lines}, and {amount} is to be paid")).into());
    }
    claim_natural_key(tx, &order, &request, now).await?;
    insert(tx, fresh(&order, &request), now).await?;
    for line in &request.lines {
        insert_new(tx, LineRow::of(&order, &line.sku, line.quantity, line.amount)).await?;
    }
    let lines = request.lines.into_iter().map(|line| Line { sku: line.sku, quantity: line.quantity }).collect();
    let ToPlace { key, user, amount, coupon, points, .. } = request;
    Ok(Placed { order, key, user, amount, lines, coupon, points })
}

/// The last line against a double click: a second in which a buyer placed these goods, and the one after it, are taken. So two of
/// them within a second always meet on one, whichever way they lie across its boundary.
async fn claim_natural_key(tx: &Transaction, order: &OrderId, request: &ToPlace, now: Millis) -> Outcome<()> {
    let goods = fingerprint(&request.lines);
    let second = now.0.div_euclid(1_000);
    for second in [second, second + 1] {
        if let Some(first) = take_natural(tx, &request.user, &goods, second, order).await? {
            return Err(duplicate_of(&first).into());
        }
    }
    Ok(())
}

/// The goods as one text of a fixed length, in whatever order they are named.
fn fingerprint(lines: &[PlacedLine]) -> String {
    let mut goods: Vec<_> = lines.iter().map(|line| format!("{} {}\n", line.quantity, line.sku)).collect();
    goods.sort();
    let hash = digest(&SHA256, goods.concat().as_bytes());
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn fresh(order: &OrderId, request: &ToPlace) -> Row {
    Row {
        coupon: request.coupon.as_ref().map(ToString::to_string),
        points_spent: i64::from(request.points),
        red_packet: request.with_red_packet.then(|| granted_red_packet(order).to_string()),
        address: Some(request.address.clone()),
        invoice_title: request.invoice_title.clone(),
        saga_key: request.key.to_string(),
        ..Row::pending(order, &request.user, request.goods_total, request.amount)
    }
}

/// A confirm carries nothing but the try's request and reply, so the payment is noted by itself, after the decision.
async fn note_payment(tx: &Transaction, request: &PaidBy, now: Millis) -> Outcome<()> {
    let row = find(tx, &request.order).await?;
    let paid = Money::new(row.paid, row.currency.parse().map_err(Refusal::from)?);
    if paid != request.amount {
        let message = format!("the order {} is paid with {paid}, not {}", request.order, request.amount);
        return Err(Refusal::new("other_amount", message).into());
    }
    match row.payment_id.as_deref() {
        None => write(tx, &row, [to(Column::PaymentId, Some(request.payment.to_string()))], now).await,
        Some(noted) if noted == request.payment.as_str() => Ok(()),
        Some(noted) => {
            let message = format!("the order {} is paid by {noted}, not {}", request.order, request.payment);
            Err(Refusal::new("other_payment", message).into())
        }
    }
}
