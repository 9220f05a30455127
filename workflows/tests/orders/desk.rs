//! The order desk: the order's id or the no at once, a first order for every duplicate, and a cancel that goes to the saga.

use crate::{
    buyers::{PRICE, one_piece, placed, world},
    support::{Fault, Holds, Kept, ended, eur, id},
};
use std::time::Duration;
use tercet::EngineError;
use tercet_core::Phase;
use tercet_shop::{ids::ClientKey, money::Money, orders::OrderState};
use tercet_workflows::{
    create_order::OrderRequest,
    desk::{self, DeskError, Submitted},
};

async fn refused(world: &crate::support::World, request: &OrderRequest) -> String {
    match world.submits(request).await.unwrap() {
        Submitted::Refused(refusal) => refusal.to_string(),
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn what_cannot_be_ordered_is_refused_at_once_in_words() {
    let world = world(341, Kept::InMemory).await;
    let buyer = world.buyer().await;
    let before = world.ledger().await;
    let with = |change: fn(&mut OrderRequest)| {
        let mut request = OrderRequest { key: id(&format!("odd-{}", world.number())), ..buyer.clone() };
        change(&mut request);
        request
    };
    let requests = [
        with(|r| r.shown = Money::new(PRICE.minor.0 - 1, PRICE.currency)),
        with(|r| r.lines[0].sku = id("spoon")),
        with(|r| r.lines.clear()),
        with(|r| r.coupon = Some(id("nobodys"))),
        with(|r| (r.points, r.shown) = (76, Money::new(PRICE.minor.0 - 1, PRICE.currency))),
        with(|r| (r.lines[0].quantity, r.shown) = (200_000, eur(550_004_925))),
        with(|r| r.pay_within_ms = 0),
    ];
    let mut said = Vec::new();
    for request in &requests {
        said.push(refused(&world, request).await.replace(buyer.user.as_str(), "<buyer>"));
        assert_eq!(
            refused(&world, request).await.replace(buyer.user.as_str(), "<buyer>"),
            *said.last().unwrap(),
            "asked again"
        );
    }
    insta::assert_snapshot!(said.join("\n"), @"
    other_price: the buyer was shown 131.74 EUR, the order costs 131.75 EUR: 150.00 EUR less 7.50 EUR promotions, 10.00 EUR coupon and 0.75 EUR points
    no_variant: there is no spoon
    bad_lines: an order has at least one line
    not_usable: nobodys of <buyer> is not there
    too_few_points: <buyer> has less than 76 points
    no_stock: 200000 of cup wanted, 100000 left
    unusable_wait: a wait of 0 s: it must be above zero and at most ten years
    ");
    world.pass(Duration::from_secs(60)).await;
    let delta = world.slate(&before, Holds::None).await;
    assert_eq!(crate::faults::but_for_its_end(delta).unwrap().to_string(), "");
}

#[tokio::test]
async fn the_same_key_is_the_same_order_and_another_order_needs_another_key() {
    let world = world(342, Kept::InMemory).await;
    let buyer = world.buyer().await;
    let (order, duplicate) = placed(world.submits(&buyer).await.unwrap());
    assert!(!duplicate);
    assert_eq!(placed(world.submits(&buyer).await.unwrap()), (order.clone(), true));
    let other = OrderRequest { points: 0, ..buyer.clone() };
    let said = world.submits(&other).await;
    assert!(matches!(said, Err(DeskError::Engine(EngineError::KeyTaken { .. }))), "{said:?}");
    assert_eq!(world.order(&order).await.state, OrderState::PendingPayment);
    assert_eq!(world.order(&order).await.saga_key, buyer.key);
}

#[tokio::test]
async fn past_the_limit_the_buyer_hears_that_it_is_under_way_and_later_what_became_of_it() {
    let world = world(343, Kept::InMemory).await;
    let buyer = world.buyer().await;
    world.wires.plan("stock", Phase::Try, 1, Fault::LoseCall);
    let said = world.submits_within(&buyer, Duration::from_secs(2)).await.unwrap();
    let Submitted::UnderWay { saga } = said else { panic!("{said:?}") };
    let (order, _) = placed(world.submits(&buyer).await.unwrap());
    assert_eq!(order.as_str(), saga.to_string());
}

async fn cancels(world: &crate::support::World, key: &ClientKey) -> Result<(), DeskError> {
    let (engine, key) = (world.engine(), key.clone());
    world.drive(async move { desk::cancel(&engine, &key, "mia", "changed her mind").await }).await
}

#[tokio::test]
async fn a_user_cancels_while_payment_is_pending_and_hears_where_the_order_stands_afterwards() {
    let world = world(344, Kept::InMemory).await;
    let (first, second) = (one_piece(1, "pot", eur(6_000)), one_piece(2, "pot", eur(6_000)));
    let said = cancels(&world, &first.key).await.unwrap_err();
    assert_eq!(said.to_string(), "there is no order under the key `key-1`: give the key that it was submitted with");
    let (cancelled, _) = placed(world.submits(&first).await.unwrap());
    let (paid, _) = placed(world.submits(&second).await.unwrap());
    cancels(&world, &first.key).await.unwrap();
    world.tells_paid(paid.as_str().parse().unwrap(), eur(6_000)).await;
    for order in [&cancelled, &paid] {
        world.settled(order.as_str().parse().unwrap()).await;
    }
    assert_eq!(world.order(&cancelled).await.state, OrderState::Cancelled);
    assert_eq!(world.order(&paid).await.state, OrderState::AwaitingShipment);
    let said = [cancels(&world, &first.key).await.unwrap_err(), cancels(&world, &second.key).await.unwrap_err()];
    insta::assert_snapshot!(said.map(|said| format!("{}: {said}", said.code())).join("\n"), @"
    not_pending_payment: the order under the key `key-1` is cancelled: only one that is pending payment can be cancelled
    not_pending_payment: the order under the key `key-2` is paid: only one that is pending payment can be cancelled; ask for after-sales
    ");
    assert_eq!(placed(world.submits(&first).await.unwrap()), (cancelled, true), "a retry still hears of its order");
}

#[tokio::test]
async fn the_last_piece_is_sold_once_and_again_when_it_is_given_up() {
    let world = world(345, Kept::InMemory).await;
    let first = one_piece(1, "last", eur(900));
    placed(world.submits(&first).await.unwrap());
    assert_eq!(refused(&world, &one_piece(2, "last", eur(900))).await, "no_stock: 1 of last wanted, 0 left");
    cancels(&world, &first.key).await.unwrap();
    let saga = world.orders(&first).await;
    assert_eq!(ended(&world.settled(saga).await), "cancelled");
    placed(world.submits(&one_piece(3, "last", eur(900))).await.unwrap());
}
