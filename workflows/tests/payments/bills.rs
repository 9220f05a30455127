//! Orders to be paid for, payments of them, and the one question: what became of the money.

use crate::support::{Delta, Holds, Setup, World, ended, eur, id};
use std::{fmt::Debug, sync::Arc, time::Duration};
use tercet::{Registry, Until};
use tercet_core::{Definition, Life, Payload, Saga, SagaId, State, minutes};
use tercet_participant::SeaOrm;
use tercet_shop::{
    Ledger,
    channel::{Buyer, Cashier, Charging, How, Said},
    ids::{OrderId, PaymentId},
    orders::Paid,
    payments,
};
use tercet_workflows::{
    book_refunded::book_refunded,
    payment::{PaymentRequest, payment},
    refund_money::refund_money,
};

/// What an order of these tests is worth.
pub(crate) const PRICE: i64 = 17_925;

/// How long an order waits for its money.
pub(crate) const PATIENCE: Duration = minutes(30);

/// The owner of *paid*, and nothing else of an order: it waits for the money, and decides.
fn create_order() -> Definition<OrderId, Paid> {
    let saga = Saga::<OrderId>::new("create_order", 1);
    let paid = saga.wait_for::<Paid>("paid").within(PATIENCE);
    saga.output(paid, |p| p)
}

pub(crate) fn registry() -> Registry {
    let registry = Registry::new().with(payment()).unwrap().with(refund_money()).unwrap();
    registry.with(book_refunded()).unwrap().with(create_order()).unwrap()
}

/// A world in which orders are paid for.
pub(crate) async fn world(seed: u64, setup: Setup) -> World {
    World::with(seed, Setup { registry: registry(), ..setup }).await
}

/// An order whose saga waits for its money, and one payment of it.
#[derive(Clone, Debug)]
pub(crate) struct Bill {
    pub(crate) order: SagaId,
    pub(crate) request: PaymentRequest,
}

impl Bill {
    pub(crate) fn payment(&self) -> &PaymentId {
        &self.request.id
    }

    /// Another payment of the same order.
    pub(crate) fn again(&self, attempt: u32) -> Self {
        let payment = id(&format!("{}-{attempt}", self.request.id));
        Self { request: PaymentRequest { id: payment, attempt, ..self.request.clone() }, ..self.clone() }
    }

    /// The same, by direct debit.
    pub(crate) fn debit(mut self) -> Self {
        self.request.how = How::DirectDebit;
        self
    }
}

/// What became of the money of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Money {
    /// Its order is confirmed by it.
    Kept,
    /// It came, and went back.
    GivenBack,
    /// It never came.
    NeverCame,
}

impl World {
    /// An order whose saga waits for its money, and a payment that is not started.
    pub(crate) async fn bill(&self) -> Bill {
        let number = self.number();
        let order: OrderId = id(&format!("order-{number}"));
        let saga = self.start("create_order", order.as_str(), &Payload::of(&order).unwrap()).await.unwrap().id;
        let request = PaymentRequest {
            id: id(&format!("pay-{number}")),
            order_saga_key: id(order.as_str()),
            order,
            user: id(&format!("buyer-{number}")),
            amount: eur(PRICE),
            attempt: 1,
            how: How::PayLink,
            expires_at_ms: None,
        };
        Bill { order: saga, request }
    }

    /// So many of them.
    pub(crate) async fn bills(&self, count: usize) -> Vec<Bill> {
        let mut bills = Vec::with_capacity(count);
        while bills.len() < count {
            bills.push(self.bill().await);
        }
        bills
    }

    /// Starts the payment.
    pub(crate) async fn pays(&self, bill: &Bill) -> SagaId {
        let input = Payload::of(&bill.request).unwrap();
        self.start("payment", bill.request.id.as_str(), &input).await.unwrap().id
    }

    /// The payment of a new order, once it has ended or is parked.
    pub(crate) async fn paid(&self, charging: Charging) -> (Bill, Arc<State>) {
        let bill = self.bill().await;
        self.charge_goes(bill.payment(), charging);
        let saga = self.pays(&bill).await;
        (bill, self.settled(saga).await)
    }

    /// Lets everything go to its end: undo sagas, refunds, reports.
    pub(crate) async fn calms_down(&self) {
        self.pass(PATIENCE + minutes(5)).await;
    }

    /// The order's saga is cancelled by its user.
    pub(crate) async fn gives_up(&self, bill: &Bill) {
        self.cancel(bill.order).await.unwrap();
        assert_eq!(ended(&self.settled(bill.order).await), "cancelled");
    }

    /// The buyer pays now.
    pub(crate) async fn buyer_pays(&self, bill: &Bill) -> tercet_shop::channel::Paying {
        let (shop, payment, busy) = (self.shop.clone(), bill.payment().clone(), self.time.busy());
        self.drive(async move {
            let paying = shop.channel().buyer_pays(&payment).await.unwrap();
            drop(busy);
            paying
        })
        .await
    }

    /// What became of the money of each of these payments: the channel, the order and the books tell the same.
    pub(crate) async fn money_of(&self, bills: &[Bill]) -> Vec<Money> {
        self.time.quiet().await;
        let db = self.database("payments").await;
        let mut money = Vec::with_capacity(bills.len());
        for bill in bills {
            money.push(self.money_of_one(bill, &db).await);
        }
        money
    }

    async fn money_of_one(&self, bill: &Bill, db: &SeaOrm) -> Money {
        let charged = matches!(
            self.shop.channel().query_charge(bill.payment()).await,
            Ok(Said::Succeeded { amount, .. }) if amount == eur(PRICE)
        );
        let order = bill.order;
        let order = self.ask(move |engine| async move { engine.wait(order, Until::Now).await }).await.unwrap().state;
        let confirmed = order.life == Life::Confirmed
            && order.output.as_ref().unwrap().parse::<Paid>().unwrap().payment == *bill.payment();
        let left = payments::left_of(db.reader(), bill.payment()).await.map_or(0, |left| left.minor.0);
        match (charged, confirmed, left) {
            (true, true, PRICE) => Money::Kept,
            (true, false, 0) => Money::GivenBack,
            (false, false, 0) => Money::NeverCame,
            odd => panic!("{}: charged, confirmed, left: {odd:?}", bill.payment()),
        }
    }

    /// What has changed, once everything has come to its end; all books agree, and nothing is held.
    pub(crate) async fn changed_since(&self, before: &Ledger) -> Delta {
        self.calms_down().await;
        self.slate(before, Holds::None).await
    }
}

/// A buyer who pays after half a minute, and a channel that says so once.
pub(crate) const fn pays() -> Charging {
    Charging::paid(Duration::from_secs(30))
}

/// A buyer who never pays.
pub(crate) const fn waits() -> Charging {
    Charging::new(Buyer::Waits)
}

/// The reply of the saga.
pub(crate) fn output<T: serde::de::DeserializeOwned + Debug>(state: &State) -> T {
    state.output.as_ref().unwrap().parse().unwrap()
}
