//! What the [worlds](crate::worlds) of a payment do not say: what its buyer is told when a step is refused, why a step parks, and that a
//! copy of a confirm or cancel is answered as it was. Lost, late and doubled calls, and processes that die, are theirs. Of a payment that
//! is kept, one that comes too late, and one that nobody makes.

use crate::{
    bills::{Bill, Money, pays, waits, world},
    support::{Delta, Fault, Setup, World, ended, parked},
};
use std::{collections::BTreeSet, sync::Arc};
use tercet_core::{Action, Phase, State};
use tercet_shop::{Ledger, channel::Charging};

/// How a payment is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// The order is paid by it.
    Kept,
    /// The buyer had given the order up.
    TooLate,
    /// Nobody pays.
    Abandoned,
}

impl Way {
    pub(crate) const ALL: [Self; 3] = [Self::Kept, Self::TooLate, Self::Abandoned];

    pub(crate) fn end(self) -> &'static str {
        if self == Self::Abandoned { "cancelled" } else { "confirmed" }
    }

    fn charging(self) -> Charging {
        if self == Self::Abandoned { waits() } else { pays() }
    }

    fn money(self) -> Money {
        match self {
            Self::Kept => Money::Kept,
            Self::TooLate => Money::GivenBack,
            Self::Abandoned => Money::NeverCame,
        }
    }
}

/// So many orders, each to be paid for in that way, and the figures before the first payment.
pub(crate) async fn billed(world: &World, way: Way, count: usize) -> (Vec<Bill>, Ledger) {
    let bills = world.bills(count).await;
    for bill in &bills {
        world.charge_goes(bill.payment(), way.charging());
        if way == Way::TooLate {
            world.gives_up(bill).await;
        }
    }
    (bills, world.ledger().await)
}

/// They ended as they should, and changed so many times what one changes.
pub(crate) async fn all_ended(
    world: &World, way: Way, (bills, before): (&[Bill], &Ledger), states: &[Arc<State>], whole: &Delta,
) {
    for (bill, state) in bills.iter().zip(states) {
        assert_eq!(ended(state), way.end(), "{}: {}", bill.payment(), parked(state));
    }
    let delta = world.changed_since(before).await;
    assert_eq!(world.money_of(bills).await, vec![way.money(); bills.len()]);
    assert_eq!(delta, whole.times(bills.len()));
}

/// What one payment of that way changes, and which calls are made for it, the refund's included.
pub(crate) async fn undisturbed(world: &World, way: Way) -> (BTreeSet<(String, Phase)>, Delta) {
    let (bills, before) = billed(world, way, 1).await;
    let saga = world.pays(&bills[0]).await;
    let state = world.settled(saga).await;
    assert_eq!(ended(&state), way.end(), "{state:#?}");
    let delta = world.changed_since(&before).await;
    assert_eq!(world.money_of(&bills).await, [way.money()]);
    (world.wires.calls_about(bills[0].payment()), delta)
}

#[tokio::test]
async fn a_refused_try_leaves_everything_as_it_was_and_tells_nothing_that_is_not_so() {
    let world = world(212, Setup::default()).await;
    for step in ["record", "charge"] {
        let (bills, before) = billed(&world, Way::Kept, 1).await;
        world.wires.plan(step, Phase::Try, 1, Fault::refuse());
        let state = world.settled(world.pays(&bills[0]).await).await;
        assert_eq!(ended(&state), "cancelled", "{step}");
        let delta = world.changed_since(&before).await;
        let delta = delta.without("notices.payment_closed").without("payments.states.closed");
        assert_eq!(delta, Delta::nothing(), "{step}");
        assert_eq!(world.money_of(&bills).await, [Money::NeverCame]);
    }
}

#[tokio::test]
async fn after_the_decision_a_no_parks_its_step_alone_and_a_person_sends_it_on_its_way() {
    for way in Way::ALL {
        let world = world(213, Setup::default()).await;
        let (calls, whole) = undisturbed(&world, way).await;
        let own = |step: &str| !matches!(step, "hold" | "money" | "tell_refunded");
        let after = |(step, phase): &&(String, Phase)| {
            own(step) && (matches!(phase, Phase::Confirm | Phase::Cancel) || step.contains("tell"))
        };
        for (step, phase) in calls.iter().filter(after) {
            let (bills, before) = billed(&world, way, 1).await;
            world.wires.plan(step, *phase, 1, Fault::refuse());
            let saga = world.pays(&bills[0]).await;
            let state = world.settled(saga).await;
            let why = format!("{step}: its {phase} was refused: refused_on_purpose: this test refuses it");
            assert_eq!(parked(&state), why);
            world.operate(saga, step, Action::RetryNow).await.unwrap();
            let state = world.settled(saga).await;
            all_ended(&world, way, (&bills, &before), &[state], &whole).await;
        }
    }
}

#[tokio::test]
async fn a_copy_that_comes_after_the_end_changes_nothing() {
    for way in Way::ALL {
        let world = world(214, Setup::default()).await;
        let (bills, before) = billed(&world, way, 1).await;
        let saga = world.pays(&bills[0]).await;
        world.settled(saga).await;
        let delta = world.changed_since(&before).await;
        let calls = world.wires.made(saga);
        let backwards = calls.iter().rev().cloned().collect::<Vec<_>>();
        for (made, again) in world.wires.send_again(calls.into_iter().chain(backwards)).await {
            if matches!(made.call.phase, Phase::Confirm | Phase::Cancel) {
                assert_eq!(Some(again), made.answer, "{} of {}", made.call.phase, made.call.step);
            }
        }
        assert_eq!(world.changed_since(&before).await, delta, "{way:?}");
        assert_eq!(world.money_of(&bills).await, [way.money()]);
    }
}
