//! Several refunds of one payment: never more than was received, whoever comes first, and equal ones are two.

use crate::support::{Holds, Kept, Setup, Shape, World, ended, eur, id, piece};
use std::collections::BTreeMap;
use tercet::EngineError;
use tercet_core::{Payload, SagaId, minutes};
use tercet_shop::{
    channel::{Behaviour, Ends},
    money::{Currency, Money},
    orders::{Goods, OrderState, Part, PartLine},
};
use tercet_workflows::refund_money::MoneyRequest;

#[tokio::test]
async fn two_partial_refunds_at_once_never_give_back_more_than_was_received() {
    let world = World::new(51).await;
    for round in 0..6 {
        let sold = world.sell(OrderState::Completed).await;
        let before = world.ledger().await;
        let mut sagas = Vec::new();
        for n in 0..3 {
            let case = world.refund_of(&sold, Part::Amount(eur(8_000)), Goods::Kept);
            let late = Behaviour::Accept { after: minutes(n + 1), ends: Ends::Well, callbacks: 1 };
            world.behave(&case.refund, if round % 2 == 0 { late } else { Behaviour::Succeed });
            let (definition, key) = (case.definition.parse().unwrap(), case.refund.as_str().parse().unwrap());
            let engine = world.engine();
            sagas.push(tokio::spawn(async move { engine.start(definition, None, key, case.input).await.unwrap().id }));
        }
        let mut ends = BTreeMap::<_, u32>::new();
        for saga in sagas {
            let state = world.settled(world.drive(saga).await.unwrap()).await;
            *ends.entry(ended(&state)).or_default() += 1;
        }
        assert_eq!(ends, BTreeMap::from([("cancelled", 1), ("confirmed", 2)]), "round {round}");
        let after = world.ledger().await;
        assert_eq!(after.payments.money["EUR"].refunded - before.payments.money["EUR"].refunded, 16_000);
        world.slate(&before, Holds::None).await;
    }
}

#[tokio::test]
async fn two_ways_of_giving_back_share_one_ceiling_at_the_payment() {
    let world = World::new(52).await;
    let sold = world.sell(OrderState::Completed).await;
    let before = world.ledger().await;
    let by_hand = MoneyRequest {
        id: id("by-hand"),
        payment: sold.payment.clone(),
        user: sold.user.clone(),
        amount: eur(10_000),
        reason: "goodwill".to_owned(),
        received: None,
    };
    let part = world.refund_of(&sold, Part::Amount(eur(10_000)), Goods::Kept);
    let first = world.start("refund_money", "by-hand", &Payload::of(&by_hand).unwrap()).await.unwrap().id;
    let second = world.start("refund", part.refund.as_str(), &part.input).await.unwrap().id;
    let ends = [ended(&world.settled(first).await), ended(&world.settled(second).await)];
    assert!(matches!(ends, ["confirmed", "cancelled"] | ["parked", "confirmed"]), "{ends:?}");
    if ends[0] == "parked" {
        world.cancel(first).await.unwrap();
        world.settled(first).await;
    }
    world.slate(&before, Holds::None).await;
    assert_eq!(world.ledger().await.payments.money["EUR"].refunded, 10_000);
}

#[tokio::test]
async fn b37_two_equal_partial_refunds_are_two_and_a_repeat_is_answered_with_the_first() {
    let world = World::new(53).await;
    let sold = world.sell(OrderState::AwaitingShipment).await;
    let cup = || Part::Lines(vec![PartLine { amount: Some(eur(1_000)), ..piece("cup", 1) }]);
    let one = world.refund_of(&sold, cup(), Goods::NotShipped);
    let two = world.refund_of(&sold, cup(), Goods::NotShipped);
    let first = world.refund(&one).await;
    let second = world.refund(&two).await;
    assert_eq!((ended(&first), ended(&second)), ("confirmed", "confirmed"));
    assert_ne!(first.saga(), second.saga());
    let again = world.start(two.definition, two.refund.as_str(), &two.input).await.unwrap();
    assert_eq!((again.id, again.new), (second.saga(), false));
    let ledger = world.ledger().await;
    assert_eq!(ledger.channel.accounts["EUR"].given_back.0, 2_000);
    assert_eq!(ledger.channel.refunds["succeeded"], 2);
}

#[tokio::test]
async fn b46_parts_add_up_to_the_minor_unit_and_one_more_is_refused_with_both_figures() {
    let world = World::new(54).await;
    let sold = world.sell(OrderState::AwaitingShipment).await;
    let before = world.ledger().await;
    let line = |sku, quantity, minor| PartLine { amount: Some(eur(minor)), ..piece(sku, quantity) };
    let too_much = Part::Lines(vec![line("cup", 3, 8_491), line("pot", 1, 5_660), line("tea", 2, 3_775)]);
    let state = world.refund(&world.refund_of(&sold, too_much, Goods::NotShipped)).await;
    let why = state.abort.as_ref().unwrap().to_string();
    assert_eq!(why, "`order` was refused: above_left: 179.26 EUR is more than the 179.25 EUR that is left");
    for minor in [8_963, 8_962] {
        let case = world.refund_of(&sold, Part::Amount(eur(minor)), Goods::NotShipped);
        assert_eq!(ended(&world.refund(&case).await), "confirmed", "{minor}");
    }
    world.slate(&before, Holds::None).await;
    let ledger = world.ledger().await;
    assert_eq!(ledger.payments.money["EUR"].refunded, 17_925);
    assert_eq!(ledger.orders.states["after_sales_done"], 1);
    let case = world.refund_of(&sold, Part::Amount(eur(1)), Goods::NotShipped);
    assert_eq!(ended(&world.refund(&case).await), "cancelled", "nothing is left");
}

#[tokio::test]
async fn b46_an_amount_of_nothing_of_less_or_of_another_currency_is_refused() {
    let world = World::new(55).await;
    let sold = world.sell(OrderState::AwaitingShipment).await;
    let before = world.ledger().await;
    let mut said = Vec::new();
    for amount in [eur(0), eur(-1), Money::new(100, Currency::JPY), Money::new(100, Currency::KWD)] {
        let case = world.refund_of(&sold, Part::Amount(amount), Goods::NotShipped);
        let state = world.refund(&case).await;
        assert_eq!(ended(&state), "cancelled");
        said.push(state.abort.as_ref().unwrap().to_string());
    }
    insta::assert_snapshot!(said.join("\n"), @r"
    `order` was refused: bad_amount: 0.00 EUR cannot be refunded, 179.25 EUR is left
    `order` was refused: bad_amount: -0.01 EUR cannot be refunded, 179.25 EUR is left
    `order` was refused: bad_amount: JPY and EUR cannot be added up
    `order` was refused: bad_amount: KWD and EUR cannot be added up
    ");
    let delta = world.slate(&before, Holds::None).await.without("notices.refund_failed");
    assert_eq!(delta.to_string(), "", "nothing was touched");
}

async fn check_one_key(kept: Kept) {
    let world = World::with(56, Setup { kept, ..Setup::default() }).await;
    let case = world.case(Shape::Full).await;
    let before = world.ledger().await;
    let starts: Vec<_> = (0..200)
        .map(|_| {
            let (engine, input) = (world.engine(), case.input.clone());
            let (definition, key) = (case.definition.parse().unwrap(), "order-7".parse().unwrap());
            tokio::spawn(async move { engine.start(definition, None, key, input).await.unwrap() })
        })
        .collect();
    let mut ids = BTreeMap::<SagaId, u32>::new();
    let mut new = 0;
    for start in starts {
        let started = world.drive(start).await.unwrap();
        *ids.entry(started.id).or_default() += 1;
        new += u32::from(started.new);
    }
    assert_eq!((ids.len(), new), (1, 1), "one saga, and 199 hear of it");
    let saga = *ids.keys().next().unwrap();
    assert_eq!(ended(&world.settled(saga).await), "confirmed");
    let other = world.case(Shape::Full).await;
    let taken = world.start("refund", "order-7", &other.input).await;
    assert_eq!(taken, Err(EngineError::KeyTaken { by: saga }));
    assert_eq!(world.slate(&before, Holds::None).await.to_string().matches("notices.refunded +1").count(), 1);
}

#[tokio::test]
async fn b26_two_hundred_starts_of_one_key_at_once_are_one_saga_in_memory() {
    check_one_key(Kept::InMemory).await;
}

#[tokio::test]
async fn b26_two_hundred_starts_of_one_key_at_once_are_one_saga_on_disk() {
    check_one_key(Kept::OnDisk).await;
}
