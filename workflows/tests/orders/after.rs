//! What follows: an order that was really paid is refunded, whole, also by a refund that overtakes the long chain.

use crate::{
    buyers::{placed, world},
    support::{Fault, Holds, Kept, World, ended, id, parked},
};
use std::time::Duration;
use tercet_core::{Payload, Phase, minutes};
use tercet_shop::{
    channel::{Charging, How},
    ids::OrderId,
    orders::{Goods, OrderState, Part},
    shares::OnSpent,
};
use tercet_workflows::{create_order::OrderRequest, payment::PaymentRequest, refund::RefundRequest};

/// The buyer places the order and pays for it by pay link; the order's saga is left as far as it has come then.
async fn paid(world: &World, buyer: &OrderRequest) -> OrderId {
    let (order, _) = placed(world.submits(buyer).await.unwrap());
    let request = PaymentRequest {
        id: id(&format!("pay-{}", buyer.key)),
        order: order.clone(),
        order_saga_key: buyer.key.clone(),
        user: buyer.user.clone(),
        amount: buyer.shown,
        attempt: 1,
        how: How::PayLink,
        expires_at_ms: None,
    };
    world.charge_goes(&request.id, Charging::paid(Duration::from_secs(30)));
    let payment = world.start("payment", request.id.as_str(), &Payload::of(&request).unwrap()).await.unwrap().id;
    assert_eq!(ended(&world.settled(payment).await), "confirmed");
    order
}

async fn refunds(world: &World, buyer: &OrderRequest, order: &OrderId) {
    let request = RefundRequest {
        id: id(&format!("refund-{}", buyer.key)),
        order: order.clone(),
        claim: id(&format!("claim-{}", buyer.key)),
        user: buyer.user.clone(),
        part: Part::Whole,
        goods: Goods::NotShipped,
        on_spent: OnSpent::Deduct,
        reason: "changed her mind".to_owned(),
    };
    let state = world.run("refund", request.id.as_str(), &Payload::of(&request).unwrap()).await;
    assert_eq!(ended(&state), "confirmed", "{}", parked(&state));
}

/// Everything but the money's way and what was said is as it was before the order.
async fn is_undone(world: &World, before: &tercet_shop::Ledger, order: &OrderId) {
    world.pass(minutes(5)).await;
    assert_eq!(world.order(order).await.state, OrderState::AfterSalesDone);
    let after = world.ledger().await;
    assert_eq!((after.stock.available, after.stock.held), (before.stock.available, before.stock.held));
    assert_eq!((after.points.balance, after.points.frozen), (before.points.balance, before.points.frozen));
    assert_eq!(after.points.granted - before.points.granted, after.points.taken - before.points.taken);
    assert_eq!(after.coupons.vouchers.get("usable"), before.coupons.vouchers.get("usable"), "hers is hers again");
    assert_eq!(after.red_packets.vouchers.get("usable"), before.red_packets.vouchers.get("usable"));
    assert_eq!(after.shipments.shipments.get("waiting"), before.shipments.shipments.get("waiting"));
    world.slate(before, Holds::None).await;
}

#[tokio::test]
async fn an_order_that_was_paid_is_refunded_whole() {
    let world = world(361, Kept::InMemory).await;
    let buyer = world.buyer().await;
    let before = world.ledger().await;
    let order = paid(&world, &buyer).await;
    assert_eq!(ended(&world.settled(order.as_str().parse().unwrap()).await), "confirmed");
    let view = world.order(&order).await;
    assert_eq!((view.state, view.paid), (OrderState::AwaitingShipment, buyer.shown.minor.0));
    assert_eq!(view.payment, Some(id(&format!("pay-{}", buyer.key))));
    refunds(&world, &buyer, &order).await;
    is_undone(&world, &before, &order).await;
}

#[tokio::test]
async fn a_refund_that_overtakes_the_long_chain_stops_what_was_not_done_yet() {
    for late in [
        &["ship"][..],
        &["grant_points"],
        &["issue_coupon"],
        &["issue_red_packet"],
        &["await_shipment"],
        &["note_payment"],
        &["ship", "grant_points", "issue_coupon", "issue_red_packet"],
    ] {
        let world = world(362, Kept::InMemory).await;
        let buyer = world.buyer().await;
        let before = world.ledger().await;
        late.iter().for_each(|step| world.wires.plan(step, Phase::Try, 1, Fault::LoseCall));
        let order = paid(&world, &buyer).await;
        refunds(&world, &buyer, &order).await;
        let state = world.settled(order.as_str().parse().unwrap()).await;
        assert_eq!(ended(&state), "confirmed", "{late:?}: {}", parked(&state));
        is_undone(&world, &before, &order).await;
        assert_eq!(world.wires.heal(), 0, "{late:?} was not late");
    }
}
