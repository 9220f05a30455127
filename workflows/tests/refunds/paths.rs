//! However the outcome comes in, by reply, query, callback or a person: the same journal from there on, and the same effects.

use crate::support::{Delta, Shape, World, eur, facts::from_outcome};
use tercet_core::{Action, Payload, minutes};
use tercet_shop::{
    channel::{Behaviour, Ends},
    gateway::MoneyBack,
};

async fn check(behaviour: Behaviour, by_hand: bool) -> (Vec<String>, Delta) {
    let world = World::new(61).await;
    let case = world.case(Shape::Full).await;
    let before = world.ledger().await;
    world.behave(&case.refund, behaviour);
    let saga = world.start(case.definition, case.refund.as_str(), &case.input).await.unwrap().id;
    if by_hand {
        world.until(saga, |state| state.steps.values().any(|step| step.pending.is_some())).await;
        let value = MoneyBack { transaction: "by-hand".to_owned(), amount: eur(17_925), at_ms: world.now().0 };
        let mark = Action::MarkDone { value: Payload::of(&value).unwrap(), force: false };
        world.operate(saga, "money", mark).await.unwrap();
    }
    let state = world.settled(saga).await;
    let trial = world.tried(case, before, state).await;
    assert_eq!(trial.ended(), "confirmed");
    (from_outcome(&world.entries(saga).await, "money"), trial.delta)
}

#[tokio::test]
async fn b43_the_journal_goes_on_the_same_way_whichever_way_the_outcome_came() {
    let reply = check(Behaviour::Succeed, false).await;
    insta::assert_snapshot!(reply.0.join("\n"), @r"
    done money
    committed
    asked tell_refunded
    confirmed coupon
    confirmed hold
    confirmed order
    confirmed points
    confirmed red_packet
    confirmed stock
    confirmed warehouse
    done tell_refunded
    ended confirmed
    ");
    let accept = |callbacks| Behaviour::Accept { after: minutes(1), ends: Ends::Well, callbacks };
    assert_eq!(check(Behaviour::TimeOutDone, false).await, reply, "by a query");
    assert_eq!(check(accept(1), false).await, reply, "by a callback");
    assert_eq!(check(accept(2), false).await, reply, "by two callbacks");
    assert_eq!(check(Behaviour::AnswerLate { after: std::time::Duration::from_secs(15) }, false).await, reply, "late");
    let (by_hand, _) = check(Behaviour::TimeOutDone, true).await;
    assert_eq!(by_hand, reply.0, "by a person");
}
