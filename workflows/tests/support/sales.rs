//! The shapes of a refund, each with a sale of its own to be refunded.

use super::world::World;
use std::{fmt::Debug, str::FromStr, time::Duration};
use tercet_core::{Millis, Payload};
use tercet_participant::{Database, database::Access};
use tercet_shop::{
    Sale,
    channel::Channel,
    ids::{ClaimId, OrderId, PaymentId, RefundId, UserId},
    money::{Currency, Minor, Money},
    orders::{self, Goods, OrderState, Part, PartLine, SeedLine, SeedOrder},
    payments::{self, Receipt},
    shares::OnSpent,
};
use tercet_workflows::{refund::RefundRequest, refund_money::MoneyRequest};

/// An id that is known to be one.
pub(crate) fn id<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

pub(crate) const fn eur(minor: i64) -> Money {
    Money::new(minor, Currency::EUR)
}

/// Which refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shape {
    /// All of an order that has not left.
    Full,
    /// Two of three cups and the pot of an order that has not left.
    Partial,
    /// All of an order whose goods came back.
    Returned,
    /// Some of the money, the goods stay with the buyer.
    Kept,
    /// One cup, under the claim that has the order in after-sales already.
    WithinClaim,
    /// A second payment of the order, which nobody wanted.
    PaidTwice,
}

/// A sale that was made.
#[derive(Clone, Debug)]
pub(crate) struct Sold {
    pub(crate) order: OrderId,
    pub(crate) payment: PaymentId,
    pub(crate) user: UserId,
}

/// A refund to be made.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) definition: &'static str,
    pub(crate) refund: RefundId,
    pub(crate) input: Payload,
}

/// Sales that are made at once: each costs a fraction of one that is made alone.
const AT_ONCE: usize = 16;

impl World {
    pub(crate) fn number(&self) -> u32 {
        self.numbers.set(self.numbers.get() + 1);
        self.numbers.get()
    }

    /// Orders of 179.25 EUR over three lines, paid, with everything that a payment grants and costs, in that state.
    pub(crate) async fn sell_many(&self, state: OrderState, count: usize) -> Vec<Sold> {
        let until = self.now().plus(Duration::from_secs(30 * 24 * 3600));
        let sales: Vec<Sale> = (0..count).map(|_| sale(self.number(), state, until)).collect();
        self.shop.seed(&sales).await.unwrap();
        let sold = |sale: Sale| Sold { order: sale.order.id, payment: sale.order.payment, user: sale.order.user };
        sales.into_iter().map(sold).collect()
    }

    pub(crate) async fn sell(&self, state: OrderState) -> Sold {
        self.sell_many(state, 1).await.remove(0)
    }

    /// A sale and the request to refund it, in that shape.
    pub(crate) async fn case(&self, shape: Shape) -> Case {
        let kept = self.cases.borrow_mut().get_mut(&shape).and_then(Vec::pop);
        if let Some(case) = kept {
            return case;
        }
        let mut cases = self.cases(shape, AT_ONCE).await;
        let case = cases.pop().unwrap();
        self.cases.borrow_mut().insert(shape, cases);
        case
    }

    /// So many of them.
    pub(crate) async fn cases(&self, shape: Shape, count: usize) -> Vec<Case> {
        let (state, goods) = match shape {
            Shape::Full | Shape::Partial | Shape::PaidTwice => (OrderState::AwaitingShipment, Goods::NotShipped),
            Shape::Returned => (OrderState::Shipped, Goods::Returned),
            Shape::Kept => (OrderState::Completed, Goods::Kept),
            Shape::WithinClaim => (OrderState::Completed, Goods::Returned),
        };
        let part = match shape {
            Shape::Full | Shape::Returned | Shape::PaidTwice => Part::Whole,
            Shape::Partial => Part::Lines(vec![piece("cup", 2), piece("pot", 1)]),
            Shape::Kept => Part::Amount(eur(5_000)),
            Shape::WithinClaim => Part::Lines(vec![piece("cup", 1)]),
        };
        let sold = self.sell_many(state, count).await;
        match shape {
            Shape::PaidTwice => return self.pay_twice(&sold).await,
            Shape::WithinClaim => self.claim(&sold).await,
            _ => {}
        }
        sold.iter().map(|sold| self.refund_of(sold, part.clone(), goods)).collect()
    }

    /// A refund of that order, or a further one.
    pub(crate) fn refund_of(&self, sold: &Sold, part: Part, goods: Goods) -> Case {
        let request = RefundRequest {
            id: id(&format!("refund-{}", self.number())),
            order: sold.order.clone(),
            claim: claim(sold),
            user: sold.user.clone(),
            part,
            goods,
            on_spent: OnSpent::Deduct,
            reason: "does not please".to_owned(),
        };
        let (refund, input) = (request.id.clone(), Payload::of(&request).unwrap());
        Case { definition: "refund", refund, input }
    }

    /// Takes the orders into after-sales, as their claims' own sagas do.
    async fn claim(&self, sold: &[Sold]) {
        let db = self.database("orders").await;
        let tx = db.begin(Access::Write).await.unwrap();
        for sold in sold {
            let claim = claim(sold);
            orders::change(&tx, &sold.order, OrderState::InAfterSales, Some(&claim), self.now()).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    async fn pay_twice(&self, sold: &[Sold]) -> Vec<Case> {
        let requests: Vec<MoneyRequest> = sold.iter().map(|sold| second_payment(self.number(), sold)).collect();
        let charges: Vec<_> = requests.iter().map(|request| (request.payment.clone(), request.amount)).collect();
        self.shop.channel().charge(&charges).await.unwrap();
        let db = self.database("payments").await;
        let tx = db.begin(Access::Write).await.unwrap();
        for (request, sold) in requests.iter().zip(sold) {
            let receipt = request.received.as_ref().unwrap();
            payments::seed_paid(&tx, &request.payment, &sold.order, &sold.user, receipt).await.unwrap();
        }
        tx.commit().await.unwrap();
        let case = |request: MoneyRequest| Case {
            definition: "refund_money",
            input: Payload::of(&request).unwrap(),
            refund: request.id,
        };
        requests.into_iter().map(case).collect()
    }

    /// Runs a case to its end, or until it is parked.
    pub(crate) async fn refund(&self, case: &Case) -> std::sync::Arc<tercet_core::State> {
        self.run(case.definition, case.refund.as_str(), &case.input).await
    }
}

fn sale(number: u32, state: OrderState, after_sales_until: Millis) -> Sale {
    let line = |sku: &str, quantity, price| SeedLine { sku: id(sku), quantity, price: Minor(price) };
    let order = SeedOrder {
        id: id(&format!("order-{number}")),
        user: id(&format!("buyer-{number}")),
        payment: id(&format!("pay-{number}")),
        lines: vec![line("cup", 3, 9_000), line("pot", 1, 6_000), line("tea", 2, 4_000)],
        paid: eur(17_925),
        coupon: Some(id(&format!("spent-{number}"))),
        points_spent: 75,
        red_packet: Some(id(&format!("packet-{number}"))),
        state,
        after_sales_until: Some(after_sales_until),
    };
    Sale {
        order,
        coupon_value: eur(1_000),
        points_granted: 179,
        coupon_granted: Some((id(&format!("granted-{number}")), eur(500))),
        red_packet_value: eur(300),
    }
}

/// The order was paid once more, and that money is to go back.
fn second_payment(number: u32, sold: &Sold) -> MoneyRequest {
    let (payment, amount): (PaymentId, _) = (id(&format!("{}-again", sold.payment)), eur(17_925));
    MoneyRequest {
        id: id(&format!("refund-{number}")),
        received: Some(Receipt { transaction: Channel::charge_transaction(&payment), amount }),
        payment,
        user: sold.user.clone(),
        amount,
        reason: "paid twice".to_owned(),
    }
}

pub(crate) fn piece(sku: &str, quantity: u32) -> PartLine {
    PartLine { sku: id(sku), quantity, amount: None }
}

fn claim(sold: &Sold) -> ClaimId {
    id(&format!("claim-{}", sold.order))
}
