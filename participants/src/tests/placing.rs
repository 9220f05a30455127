//! Placing an order: one for each saga, one for each natural key, and no state but by the table, however many ask at once.

use super::{Bench, bench, eur, id, later, line, reply};
use crate::{
    channel::Behaviour,
    ids::OrderId,
    orders::{
        self, NotePayment, OrderEvent, OrderState, PaidBy, Place, Placed, PlacedLine, RefundOrder, STATES, ToPlace,
        ToRefund, View, first_of,
    },
};
use std::{sync::Arc, time::Duration};
use tercet_core::Answer;
use tercet_participant::{
    Database,
    database::{Access, Tx},
    outbox::{EventFilter, Subject},
};

fn goods(key: &str, sku: &str) -> ToPlace {
    ToPlace {
        key: id(key),
        user: id("mia"),
        address: "1 Quay Street".to_owned(),
        invoice_title: None,
        lines: vec![
            PlacedLine { sku: id(sku), quantity: 2, amount: eur(700).minor },
            PlacedLine { sku: id("tea"), quantity: 1, amount: eur(300).minor },
        ],
        goods_total: eur(1_200).minor,
        amount: eur(1_000),
        coupon: None,
        points: 0,
        with_red_packet: true,
    }
}

async fn view(bench: &Bench, order: &OrderId) -> View {
    orders::view(bench.shop.databases.orders.reader(), order).await.unwrap()
}

fn placed(answer: &Answer) -> Placed {
    reply::<Place>(answer)
}

/// The first order, where the answer says that this one is its duplicate.
fn first(answer: &Answer) -> Option<OrderId> {
    match answer {
        Answer::Refused(refusal) => first_of(refusal),
        _ => None,
    }
}

#[tokio::test]
async fn an_order_is_its_sagas_and_goes_the_way_that_its_saga_says() {
    let bench = bench(Behaviour::Succeed).await;
    let (kept, given_up) = (bench.step::<Place>(1, &goods("k-1", "cup")), bench.step::<Place>(2, &goods("k-2", "pot")));
    let (one, two) = (placed(&kept.try_().await), placed(&given_up.try_().await));
    assert_eq!(placed(&kept.ask(tercet_core::Phase::Try, 2).await), one, "a retry makes no other");
    assert_ne!(one.order, two.order);
    let pending = view(&bench, &one.order).await;
    assert_eq!((pending.state, pending.amount, pending.paid), (OrderState::PendingPayment, 1_000, 0));
    assert_eq!(pending.saga_key, id("k-1"));
    bench.is_sound().await;

    let paid_by = PaidBy { order: one.order.clone(), payment: id("pay-1"), amount: eur(1_000) };
    let early = bench.step::<NotePayment>(9, &paid_by).try_().await;
    insta::assert_snapshot!(line(&early).split(" is paid").last().unwrap(), @" with 0.00 EUR, not 10.00 EUR");
    assert_eq!(kept.confirm().await.as_str(), "done");
    assert_eq!(given_up.cancel().await.as_str(), "done");
    let (paid, cancelled) = (view(&bench, &one.order).await, view(&bench, &two.order).await);
    assert_eq!((paid.state, paid.paid), (OrderState::Paid, 1_000));
    assert_eq!((cancelled.state, cancelled.paid), (OrderState::Cancelled, 0));
    bench.is_sound().await;
}

#[tokio::test]
async fn a_refund_waits_for_the_payment_to_be_noted_which_is_noted_once() {
    let bench = bench(Behaviour::Succeed).await;
    let step = bench.step::<Place>(1, &goods("k-1", "cup"));
    let order = placed(&step.try_().await).order;
    step.confirm().await;
    let refund = ToRefund {
        refund: id("r-1"),
        order: order.clone(),
        claim: id("c-1"),
        part: orders::Part::Whole,
        goods: orders::Goods::NotShipped,
    };
    let said = line(&bench.step::<RefundOrder>(2, &refund).try_().await);
    assert_eq!(said, format!("retry the payment of order {order} is not noted yet"));
    let note = |saga, payment: &str, minor| {
        let paid_by = PaidBy { order: order.clone(), payment: id(payment), amount: eur(minor) };
        bench.step::<NotePayment>(saga, &paid_by)
    };
    let said = [
        line(&note(3, "pay-1", 999).try_().await),
        line(&note(4, "pay-1", 1_000).try_().await),
        line(&note(5, "pay-1", 1_000).try_().await),
        line(&note(6, "pay-2", 1_000).try_().await),
    ];
    insta::assert_snapshot!(said.join("\n").replace(order.as_str(), "<order>"), @"
    refused other_amount: the order <order> is paid with 10.00 EUR, not 9.99 EUR
    done null
    done null
    refused other_payment: the order <order> is paid by pay-1, not pay-2
    ");
    assert_eq!(bench.step::<RefundOrder>(2, &refund).ask(tercet_core::Phase::Try, 2).await.as_str(), "done");
    bench.is_sound().await;
}

#[tokio::test]
async fn the_same_goods_within_a_second_are_a_duplicate_also_across_its_boundary_until_the_first_is_cancelled() {
    let bench = bench(Behaviour::Succeed).await;
    let next = 1_000 - bench.clock_now().0.rem_euclid(1_000);
    bench.clock.advance(Duration::from_millis(next.unsigned_abs() - 1));
    let one = bench.step::<Place>(1, &goods("k-1", "cup"));
    let order = placed(&one.try_().await).order;
    let turned = {
        let mut turned = goods("k-2", "cup");
        turned.lines.reverse();
        turned
    };
    assert_eq!(first(&bench.step::<Place>(2, &turned).try_().await), Some(order.clone()));
    bench.clock.advance(Duration::from_millis(2));
    assert_eq!(
        first(&bench.step::<Place>(3, &goods("k-3", "cup")).try_().await),
        Some(order.clone()),
        "a second began"
    );
    let other = ToPlace { user: id("tom"), ..goods("k-4", "cup") };
    assert_eq!(bench.step::<Place>(4, &other).try_().await.as_str(), "done", "another buyer");
    assert_eq!(bench.step::<Place>(5, &goods("k-5", "pot")).try_().await.as_str(), "done", "other goods");
    one.cancel().await;
    assert_eq!(bench.step::<Place>(6, &goods("k-6", "cup")).try_().await.as_str(), "done", "the first is cancelled");
    bench.clock.advance(Duration::from_secs(2));
    assert_eq!(bench.step::<Place>(7, &goods("k-7", "cup")).try_().await.as_str(), "done", "wanted once more");
    bench.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_submissions_at_once_one_is_placed_and_the_others_name_it() {
    let bench = bench(Behaviour::Succeed).await;
    let steps = (0..50).map(|saga| bench.step::<Place>(saga, &goods(&format!("k-{saga}"), "cup")));
    let asked: Vec<_> = steps.map(|step| tokio::spawn(async move { step.try_().await })).collect();
    let (mut done, mut firsts) = (Vec::new(), Vec::new());
    for asked in asked {
        match asked.await.unwrap() {
            answer @ Answer::Done(_) => done.push(placed(&answer).order),
            answer => firsts.push(first(&answer).unwrap()),
        }
    }
    assert_eq!((done.len(), firsts.len()), (1, 49));
    assert!(firsts.iter().all(|first| *first == done[0]));
    bench.is_sound().await;
}

/// One attempt to move an order; the answer is not looked at, the events are.
async fn moves(bench: Arc<Bench>, order: OrderId, next: OrderState) {
    let tx = bench.shop.databases.orders.begin(Access::Write).await.unwrap();
    match orders::change(&tx, &order, next, Some(&id("c-1")), later(0)).await {
        Ok(()) => Tx::commit(tx).await.unwrap(),
        Err(_) => Tx::rollback(tx).await.unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_asks_for_whatever_at_once_an_order_only_goes_where_the_table_lets_it() {
    let bench = Arc::new(bench(Behaviour::Succeed).await);
    for round in 0..12_u64 {
        let step = Arc::new(bench.step::<Place>(round, &goods(&format!("k-{round}"), &format!("cup-{round}"))));
        let order = placed(&step.try_().await).order;
        let mut asked = Vec::new();
        for turn in 0..4 {
            for at in 0..STATES.len() {
                let next = STATES[(at + usize::try_from(round).unwrap() * 3 + turn) % STATES.len()];
                asked.push(tokio::spawn(moves(bench.clone(), order.clone(), next)));
            }
            let step = step.clone();
            asked.push(tokio::spawn(async move {
                drop(if turn % 2 == 0 { step.confirm().await } else { step.cancel().await });
            }));
        }
        for asked in asked {
            asked.await.unwrap();
        }
        let now = view(&bench, &order).await;
        let chain = chain(&bench, &order).await;
        assert_eq!(chain.len() + 1, usize::try_from(now.order_version).unwrap(), "each change is published");
        for (was, came_from, state) in chain {
            assert!(was == state || was.allows(state, came_from), "{was} became {state}");
        }
        assert!(now.paid == 0 || now.state != OrderState::Cancelled, "a cancelled order is paid");
    }
    bench.is_sound().await;
}

/// Every change of an order, from the events: where it was, where it had come from, where it went.
async fn chain(bench: &Bench, order: &OrderId) -> Vec<(OrderState, Option<OrderState>, OrderState)> {
    let mut before = None;
    let mut chain = Vec::new();
    for event in bench.events(order.as_str()).await {
        if let Some(was) = event.was {
            chain.push((was, before, event.state));
        }
        before = event.came_from;
    }
    chain
}

impl Bench {
    fn clock_now(&self) -> tercet_core::Millis {
        crate::clock::Clock::now(&*self.clock)
    }

    async fn events(&self, order: &str) -> Vec<OrderEvent> {
        let filter = EventFilter { subject: Some(Subject(order.to_owned())), ..EventFilter::default() };
        let page = self.shop.databases.orders.events(&filter, 1_000).await.unwrap();
        page.iter().map(|published| published.event.data.parse().unwrap()).collect()
    }
}
