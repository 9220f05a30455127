//! Payments of the shop's own orders: `create_order` alone says which of them counts, and the order's row follows.

use crate::{
    bills::{Money, PRICE},
    support::{Kept, Setup, World, ended, eur, id},
};
use std::{collections::BTreeMap, time::Duration};
use tercet_core::{Millis, Payload, SagaId, State, Status, minutes};
use tercet_participant::SeaOrm;
use tercet_shop::{
    catalog::Ware,
    channel::{Buyer, Cashier, Charging, How, Said},
    ids::PaymentId,
    lines::Line,
    orders::{self, OrderState, Placed},
    payments,
};
use tercet_workflows::{
    create_order::{NAME, OrderRequest, PAY_WITHIN_MS},
    payment::PaymentRequest,
};

const PAY_WITHIN: Duration = Duration::from_millis(PAY_WITHIN_MS);

/// An order that holds its goods and waits for its money.
struct Ordered {
    saga: SagaId,
    placed: Placed,
    /// Until when.
    deadline: Millis,
}

/// A world with teapots on sale.
async fn world(seed: u64) -> World {
    let world = World::with(seed, Setup { kept: Kept::OnDisk, ..Setup::default() }).await;
    put_on_sale(&world, "pot", 100_000).await;
    world
}

async fn put_on_sale(world: &World, sku: &str, pieces: u32) {
    let (sku, good) = (id(sku), "crockery".to_owned());
    let ware = Ware { sku, good, price: eur(PRICE), on_sale: true, pieces, promotions: Vec::new() };
    world.shop.put_on_sale(&[ware]).await.unwrap();
}

async fn ordered(world: &World) -> Ordered {
    ordered_within(world, "pot", PAY_WITHIN_MS).await
}

/// An order of one such piece, which waits so long for its money.
async fn ordered_within(world: &World, sku: &str, pay_within_ms: u64) -> Ordered {
    let number = world.number();
    let request = OrderRequest {
        key: id(&format!("key-{number}")),
        user: id(&format!("buyer-{number}")),
        address: "1 Quay Street".to_owned(),
        invoice_title: None,
        lines: vec![Line { sku: id(sku), quantity: 1 }],
        coupon: None,
        points: 0,
        shown: eur(PRICE),
        pay_within_ms,
    };
    let saga = world.start(NAME, request.key.as_str(), &Payload::of(&request).unwrap()).await.unwrap().id;
    let until = |status: &Status| match status {
        Status::Waiting(until) => Some(*until),
        _ => None,
    };
    let deadline = |state: &State| state.steps.values().find_map(|step| until(&step.status));
    let state = world.until(saga, |state| deadline(state).is_some()).await;
    let placed = state.steps[&"order".parse().unwrap()].reply.parse().unwrap();
    Ordered { saga, placed, deadline: deadline(&state).unwrap() }
}

/// A payment of that order, started; the channel and the buyer behave so.
async fn pays(world: &World, order: &Ordered, attempt: u32, charging: Charging) -> (PaymentId, SagaId) {
    let Placed { order, key, user, amount, .. } = order.placed.clone();
    let payment: PaymentId = id(&format!("pay-{key}-{attempt}"));
    world.charge_goes(&payment, charging);
    let request = PaymentRequest {
        id: payment.clone(),
        order,
        order_saga_key: key,
        user,
        amount,
        attempt,
        how: How::PayLink,
        expires_at_ms: None,
    };
    let input = Payload::of(&request).unwrap();
    let saga = world.start("payment", payment.as_str(), &input).await.unwrap().id;
    (payment, saga)
}

/// What became of a payment's money: the channel, the order's row and the payment's books tell the same.
async fn money_of(world: &World, order: &Ordered, payment: &PaymentId, dbs: &(SeaOrm, SeaOrm)) -> Money {
    let charged = matches!(world.shop.channel().query_charge(payment).await, Ok(Said::Succeeded { .. }));
    let view = orders::view(dbs.0.reader(), &order.placed.order).await.unwrap();
    let stands = matches!(view.state, OrderState::Paid | OrderState::AwaitingShipment);
    let counts = stands && view.payment.as_ref() == Some(payment);
    let left = payments::left_of(dbs.1.reader(), payment).await.map_or(0, |left| left.minor.0);
    match (charged, counts, left) {
        (true, true, PRICE) => Money::Kept,
        (true, false, 0) => Money::GivenBack,
        (false, false, 0) => Money::NeverCame,
        odd => panic!("{payment} of an order that is {}: charged, counts, left: {odd:?}", view.state),
    }
}

async fn all_of(world: &World, payments: &[(&Ordered, &PaymentId)]) -> Vec<Money> {
    world.pass(PAY_WITHIN + minutes(5)).await;
    let ledger = world.ledger().await;
    assert_eq!((ledger.mismatches(), ledger.holds()), (Vec::new(), 0));
    let violations: Vec<_> = world.shop.violations().await.iter().map(ToString::to_string).collect();
    assert_eq!(violations, Vec::<String>::new());
    let dbs = (world.database("orders").await, world.database("payments").await);
    let mut money = Vec::new();
    for (order, payment) in payments {
        money.push(money_of(world, order, payment, &dbs).await);
    }
    money
}

#[tokio::test]
async fn an_order_that_is_paid_awaits_its_shipment() {
    let world = world(271).await;
    let order = ordered(&world).await;
    let (payment, saga) = pays(&world, &order, 1, Charging::paid(minutes(1))).await;
    assert_eq!(ended(&world.settled(saga).await), "confirmed");
    assert_eq!(ended(&world.settled(order.saga).await), "confirmed");
    assert_eq!(all_of(&world, &[(&order, &payment)]).await, [Money::Kept]);
    let states = world.ledger().await.orders.states;
    assert_eq!(states, BTreeMap::from([("awaiting_shipment".to_owned(), 1)]));
}

#[tokio::test]
async fn a_payment_for_an_order_whose_time_is_over_is_given_back() {
    let world = world(272).await;
    let order = ordered(&world).await;
    world.pass(PAY_WITHIN - minutes(2)).await;
    let (payment, saga) = pays(&world, &order, 1, Charging::paid(minutes(3))).await;
    assert_eq!(ended(&world.settled(saga).await), "confirmed");
    assert_eq!(all_of(&world, &[(&order, &payment)]).await, [Money::GivenBack]);
    let ledger = world.ledger().await;
    assert_eq!(ledger.orders.states, BTreeMap::from([("cancelled".to_owned(), 1)]));
    assert_eq!((ledger.notices["paid_in_vain"], ledger.notices["refunded"]), (1, 1));
    assert!(!ledger.notices.contains_key("order_paid"), "nobody was told that it is paid");
}

#[tokio::test]
async fn a_payment_for_an_order_that_its_buyer_cancels_meanwhile_is_given_back() {
    let world = world(273).await;
    let order = ordered(&world).await;
    let (payment, saga) = pays(&world, &order, 1, Charging::paid(minutes(3))).await;
    world.pass(minutes(1)).await;
    world.cancel(order.saga).await.unwrap();
    assert_eq!(ended(&world.settled(order.saga).await), "cancelled");
    assert_eq!(ended(&world.settled(saga).await), "confirmed");
    assert_eq!(all_of(&world, &[(&order, &payment)]).await, [Money::GivenBack]);
}

#[tokio::test]
async fn of_two_payments_of_one_order_one_counts_and_one_that_nobody_makes_changes_nothing() {
    let world = world(274).await;
    let order = ordered(&world).await;
    let (first, _) = pays(&world, &order, 1, Charging::paid(minutes(2))).await;
    let (second, _) = pays(&world, &order, 2, Charging::paid(minutes(2))).await;
    let (third, _) = pays(&world, &order, 3, Charging::new(Buyer::Waits)).await;
    let mut money = all_of(&world, &[(&order, &first), (&order, &second), (&order, &third)]).await;
    assert_eq!(money.pop(), Some(Money::NeverCame));
    money.sort();
    assert_eq!(money, [Money::Kept, Money::GivenBack]);
}

/// As in [`race`](crate::race), with the order's goods held and given back.
#[tokio::test]
async fn payments_race_the_deadlines_of_real_orders() {
    let world = world(275).await;
    let mut orders = Vec::new();
    for _ in 0..30 {
        orders.push(ordered(&world).await);
    }
    let mut payments = Vec::new();
    for order in &orders {
        let (report, lag) = (world.time.random() % 101, world.time.random() % 41);
        let paid = PAY_WITHIN + Duration::from_millis(report) - Duration::from_millis(50 + lag);
        let charging = Charging::paid(paid).reported(1, Duration::from_millis(lag));
        payments.push(pays(&world, order, 1, charging).await);
    }
    world.pass(PAY_WITHIN + minutes(1)).await;
    for (_, saga) in &payments {
        world.settled(*saga).await;
    }
    let pairs: Vec<_> = orders.iter().zip(payments.iter().map(|(payment, _)| payment)).collect();
    let money = all_of(&world, &pairs).await;
    let of = |which| money.iter().filter(|money| **money == which).count();
    let (kept, back, none) = (of(Money::Kept), of(Money::GivenBack), of(Money::NeverCame));
    println!(
        "30 rounds: {kept} orders confirmed, {back} payments given back, {none} links closed before they were paid"
    );
    assert!(kept > 0 && back > 0, "a race that only one side wins shows nothing");
    let states = world.ledger().await.orders.states;
    assert_eq!(states["awaiting_shipment"], u64::try_from(kept).unwrap());
}

/// Rounds for each moment at which the money comes.
const ROUNDS: usize = 5;

/// The last piece is held for half an hour. It is sold to whoever pays for it in time; after that it is free, the next buyer has it, and
/// what comes for it still goes back. At the deadline itself the order's journal says who was first, and a report takes its time to get there.
#[tokio::test]
async fn b38_the_last_piece_is_sold_once_whenever_the_money_comes() {
    let world = world(276).await;
    let (mut firsts, mut seconds) = (Vec::new(), Vec::new());
    for (offset, round) in [-1_i64, 0, 500].into_iter().flat_map(|offset| (0..ROUNDS).map(move |round| (offset, round)))
    {
        let sku = format!("last-{round}-at-{offset}");
        put_on_sale(&world, &sku, 1).await;
        let order = ordered_within(&world, &sku, PAY_WITHIN_MS).await;
        // Later than the order, so that the payment is not given up before the order is.
        world.pass(minutes(5)).await;
        let comes = order.deadline.since(world.now()).as_millis();
        let comes = Duration::from_millis(u64::try_from(comes).unwrap().saturating_add_signed(offset));
        let (payment, paying) = pays(&world, &order, 1, Charging::paid(comes)).await;
        if offset > 0 {
            assert_eq!(ended(&world.settled(order.saga).await), "cancelled", "nobody has paid in time");
            let next = ordered_within(&world, &sku, PAY_WITHIN_MS).await;
            let (payment, _) = pays(&world, &next, 1, Charging::paid(minutes(1))).await;
            seconds.push((next, payment));
        }
        assert_eq!(ended(&world.settled(paying).await), "confirmed", "the money has come");
        firsts.push((order, payment));
    }
    let pairs: Vec<_> = firsts.iter().chain(&seconds).map(|(order, payment)| (order, payment)).collect();
    let money = all_of(&world, &pairs).await;
    let (first, second) = money.split_at(firsts.len());
    assert!(first.iter().all(|money| *money != Money::NeverCame), "each was charged: {first:?}");
    assert_eq!(first[..ROUNDS], [Money::Kept; ROUNDS], "paid in time wins");
    assert_eq!(first[2 * ROUNDS..], [Money::GivenBack; ROUNDS], "what comes too late goes back");
    assert_eq!(second, [Money::Kept; ROUNDS], "the next buyer has the piece");
    let kept = money.iter().filter(|money| **money == Money::Kept).count();
    let stock = world.ledger().await.stock;
    assert_eq!((stock.held, stock.sold), (0, i64::try_from(kept).unwrap()), "never more than there were");
}
