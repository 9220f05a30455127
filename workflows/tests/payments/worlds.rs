//! Every single-fault world of a payment: of one that is kept, one that comes when the order was given up, and one that nobody makes.
//! In each of them the money's way is whole: kept with its order confirmed, given back, or never there.

use crate::{
    bills::{PRICE, pays, registry, waits, world},
    support::{
        Delta, Setup, World, eur, id,
        kit::{self, Cast},
    },
};
use std::sync::Arc;
use tercet_core::{Life, Payload};
use tercet_participant::SeaOrm;
use tercet_shop::{
    Ledger,
    channel::{Cashier, How, Said},
    ids::{OrderId, PaymentId},
    orders::Paid,
    payments,
};
use tercet_workflows::payment::PaymentRequest;

type Town = tercet_testing::World<Cast>;

fn request() -> PaymentRequest {
    PaymentRequest {
        id: id("pay-1"),
        order_saga_key: id("order-1"),
        order: id("order-1"),
        user: id("buyer-1"),
        amount: eur(PRICE),
        attempt: 1,
        how: How::PayLink,
        expires_at_ms: None,
    }
}

/// The order waits, and its buyer pays after half a minute.
async fn ordered(world: Town) {
    let order: OrderId = id("order-1");
    world.start("create_order", order.as_str(), &Payload::of(&order).unwrap()).await.unwrap();
    world.participants().shop.channel().tell_charge(id("pay-1"), pays());
}

async fn given_up(world: Town) {
    let order = world.find("create_order", "order-1").await.unwrap();
    world.cancel(order).await.unwrap();
    world.settled(order).await;
}

/// Kept, given back, or never there; all books agree, and nothing is held.
async fn whole(world: Town, before: Arc<Ledger>) -> Result<(), String> {
    let payment: PaymentId = id("pay-1");
    let shop = &world.participants().shop;
    let said = shop.channel().query_charge(&payment).await;
    let charged = matches!(said, Ok(Said::Succeeded { amount, .. }) if amount == eur(PRICE));
    let order = world.state(world.find("create_order", "order-1").await.unwrap()).await;
    let paid = order.output.as_ref().map(|output| output.parse::<Paid>().unwrap().payment);
    let confirmed = order.life == Life::Confirmed && paid == Some(payment.clone());
    let db = SeaOrm::sqlite(&world.folder().join("payments.db")).await.unwrap();
    let left = payments::left_of(db.reader(), &payment).await.map_or(0, |left| left.minor.0);
    world.participants().delta(&before).await?;
    match (charged, confirmed, left) {
        (true, true, PRICE) | (true, false, 0) | (false, false, 0) => Ok(()),
        odd => Err(format!("charged, order confirmed, left at the payment: {odd:?}")),
    }
}

#[tokio::test]
async fn every_single_fault_world_of_a_payment_ends_well() {
    let sold: World = world(221, Setup::default()).await;
    let before = Arc::new(sold.ledger().await);
    let (input, counted) = (Payload::of(&request()).unwrap(), before.clone());
    kit::worlds(registry(), &sold, ("payment", "pay-1", &input))
        .prepared(ordered)
        .course("given up before", given_up)
        .course("abandoned", |world| async move {
            world.participants().shop.channel().tell_charge(id("pay-1"), waits());
        })
        .figures(move |world| {
            let before = counted.clone();
            async move { Delta::between(&before, world.participants().last().await).into_figures() }
        })
        .clean_slate(move |world| whole(world, before.clone()))
        .run()
        .await;
}
