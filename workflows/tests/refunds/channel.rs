//! What the third party may do to a refund: succeed, refuse, report later, once, twice or never, time out having done it or not,
//! answer late, refuse a second attempt while the first lands, have no balance for a while, close.

use crate::support::{Delta, Holds, Setup, Shape, World, ended, parked};
use std::{collections::BTreeMap, fmt::Write as _, time::Duration};
use tercet_core::{Action, Choice, Payload, Phase, SagaId, minutes};
use tercet_shop::{
    channel::{Behaviour, Ends},
    gateway::MoneyBack,
};

fn accept(after: Duration, ends: Ends, callbacks: u8) -> Behaviour {
    Behaviour::Accept { after, ends, callbacks }
}

/// Every behaviour, and one that decides only after all queries.
fn behaviours() -> Vec<Behaviour> {
    let mut all = Behaviour::all(minutes(2));
    all.extend([
        Behaviour::TimeOutNotDone { lost: 3 },
        Behaviour::AnswerLate { after: Duration::from_secs(15) },
        Behaviour::InsufficientBalance { times: 12 },
        accept(minutes(24 * 60), Ends::Well, 0),
    ]);
    all
}

/// How the gateway was asked: executes, queries, closes.
fn asked(world: &World, saga: SagaId) -> String {
    let counts: BTreeMap<_, _> = world.wires.counts(saga);
    let of = |phase| counts.get(&("money".to_owned(), phase)).copied().unwrap_or(0);
    format!("{} executes, {} queries, {} closes", of(Phase::Try), of(Phase::Query), of(Phase::Close))
}

async fn table(shape: Shape) -> String {
    let world = World::new(41).await;
    let (_, whole) = world.undisturbed(shape).await;
    let behaviours = behaviours();
    let cases = world.cases(shape, behaviours.len()).await;
    let before = world.ledger().await;
    for (case, behaviour) in cases.iter().zip(&behaviours) {
        world.behave(&case.refund, *behaviour);
    }
    let states = world.run_all(&cases).await;
    let (mut table, mut confirmed) = (String::new(), 0);
    for (state, behaviour) in states.iter().zip(&behaviours) {
        let asked = asked(&world, state.saga());
        writeln!(table, "{:<24}{:<10} {asked}", behaviour.as_str(), ended(state)).unwrap();
        confirmed += usize::from(ended(state) == "confirmed");
        if ended(state) == "parked" {
            world.cancel(state.saga()).await.unwrap();
            assert_eq!(ended(&world.settled(state.saga()).await), "cancelled");
        }
    }
    let told = if shape == Shape::PaidTwice { 0 } else { states.len() - confirmed };
    let all = whole.without_traces().times(confirmed).plus(&Delta::told_of_failure().times(told));
    assert_eq!(world.slate(&before, Holds::None).await.without_traces(), all);
    table
}

#[tokio::test]
async fn every_behaviour_ends_a_refund_with_its_money_and_its_books_in_step() {
    insta::assert_snapshot!(table(Shape::Full).await, @r"
    succeed                 confirmed  1 executes, 0 queries, 0 closes
    refuse                  cancelled  1 executes, 0 queries, 0 closes
    accept_and_report       confirmed  1 executes, 1 queries, 0 closes
    accept_and_report_twice confirmed  1 executes, 2 queries, 0 closes
    accept_and_keep_silent  confirmed  1 executes, 2 queries, 0 closes
    accept_then_fail        cancelled  1 executes, 1 queries, 0 closes
    time_out_done           confirmed  1 executes, 1 queries, 0 closes
    time_out_not_done       confirmed  2 executes, 1 queries, 0 closes
    answer_late             confirmed  1 executes, 1 queries, 0 closes
    land_late               confirmed  3 executes, 3 queries, 0 closes
    insufficient_balance    confirmed  3 executes, 0 queries, 0 closes
    maintenance             confirmed  2 executes, 0 queries, 0 closes
    time_out_not_done       confirmed  4 executes, 3 queries, 0 closes
    answer_late             confirmed  1 executes, 1 queries, 0 closes
    insufficient_balance    confirmed  13 executes, 0 queries, 0 closes
    accept_and_keep_silent  cancelled  1 executes, 30 queries, 1 closes
    ");
}

#[tokio::test]
async fn every_behaviour_ends_or_parks_money_that_is_not_ours_to_keep() {
    insta::assert_snapshot!(table(Shape::PaidTwice).await, @r"
    succeed                 confirmed  1 executes, 0 queries, 0 closes
    refuse                  parked     1 executes, 0 queries, 0 closes
    accept_and_report       confirmed  1 executes, 1 queries, 0 closes
    accept_and_report_twice confirmed  1 executes, 2 queries, 0 closes
    accept_and_keep_silent  confirmed  1 executes, 2 queries, 0 closes
    accept_then_fail        parked     1 executes, 1 queries, 0 closes
    time_out_done           confirmed  1 executes, 1 queries, 0 closes
    time_out_not_done       confirmed  2 executes, 1 queries, 0 closes
    answer_late             confirmed  1 executes, 1 queries, 0 closes
    land_late               confirmed  3 executes, 3 queries, 0 closes
    insufficient_balance    confirmed  3 executes, 0 queries, 0 closes
    maintenance             confirmed  2 executes, 0 queries, 0 closes
    time_out_not_done       confirmed  4 executes, 3 queries, 0 closes
    answer_late             confirmed  1 executes, 1 queries, 0 closes
    insufficient_balance    confirmed  13 executes, 0 queries, 0 closes
    accept_and_keep_silent  parked     1 executes, 30 queries, 1 closes
    ");
}

/// A channel that cannot close and decides after nobody asks any more.
async fn unknown_for_good() -> (World, crate::support::trial::Trial) {
    let world = World::with(42, Setup { closes: false, ..Setup::default() }).await;
    let never = accept(minutes(9 * 60), Ends::Well, 0);
    let trial = world.trial(Shape::Partial, |world, case| world.behave(&case.refund, never)).await;
    (world, trial)
}

#[tokio::test]
async fn an_outcome_that_stays_unknown_is_parked_with_its_choices_and_everything_held() {
    let (world, trial) = unknown_for_good().await;
    assert_eq!(trial.ended(), "parked");
    let why = "no definite answer in all attempts and queries allowed: it could not be closed: no_close: this channel";
    assert_eq!(trial.parked(), format!("money: {why} cannot close a refund"));
    insta::assert_snapshot!(trial.delta, @r"
    channel.refunds.processing +1
    coupons.holds +1
    coupons.vouchers.frozen +1
    coupons.vouchers.usable -1
    gateway.refunds.processing +1
    orders.held.EUR +11320
    orders.open_refunds +1
    orders.states.awaiting_shipment -1
    orders.states.in_after_sales +1
    payments.money.EUR.reserved +11320
    payments.refunds.processing +1
    points.balance -113
    points.frozen +113
    points.holds +1
    red_packets.holds +1
    red_packets.vouchers.frozen +1
    red_packets.vouchers.usable -1
    shipments.holds +1
    shipments.shipments.intercepted +1
    shipments.shipments.waiting -1
    stock.returning +3
    ");
    let graph = tercet_workflows::refund::refund().build().unwrap();
    let choices = tercet_core::choices(&graph, &trial.state, &"money".parse().unwrap());
    assert_eq!(choices, [Choice::QueryNow, Choice::Close, Choice::MarkDone, Choice::MarkNotDone]);
    assert_eq!(world.ledger().await.holds(), 6);
}

#[tokio::test]
async fn a_person_who_knows_that_it_is_done_confirms_it() {
    let (world, trial) = unknown_for_good().await;
    let amount = crate::support::eur(11_320);
    let value = MoneyBack { transaction: "by-hand".to_owned(), amount, at_ms: world.now().0 };
    let mark = Action::MarkDone { value: Payload::of(&value).unwrap(), force: false };
    world.operate(trial.saga(), "money", mark).await.unwrap();
    assert_eq!(ended(&world.settled(trial.saga()).await), "confirmed");
    let ledger = world.ledger().await;
    assert_eq!((ledger.holds(), ledger.payments.money["EUR"].refunded), (0, 11_320));
    world.pass(minutes(10 * 60)).await;
    world.slate(&trial.before, Holds::None).await;
}

#[tokio::test]
async fn not_done_is_believed_only_with_proof_and_a_forced_one_is_contradicted_by_what_comes_later() {
    let (world, trial) = unknown_for_good().await;
    world.operate(trial.saga(), "money", Action::MarkNotDone { force: false }).await.unwrap();
    let state = world.settled(trial.saga()).await;
    assert_eq!(parked(&state), "money: not done could not be proved: an attempt is unanswered");
    world.operate(trial.saga(), "money", Action::MarkNotDone { force: true }).await.unwrap();
    let state = world.settled(trial.saga()).await;
    assert_eq!(ended(&state), "cancelled");
    assert_eq!(world.ledger().await.holds(), 0);
    let state = world.until(trial.saga(), |state| state.steps.values().any(|step| step.contradicted.0)).await;
    let money = &state.steps[&"money".parse().unwrap()];
    assert!(money.attention.is_some(), "evidence against the journal is shown to a person");
    world.pass(minutes(1)).await;
    let ledger = world.ledger().await;
    assert_eq!(ledger.mismatches(), Vec::<String>::new(), "the saga that undoes the refund has booked it");
    assert_eq!((ledger.payments.money["EUR"].refunded, ledger.holds()), (11_320, 0));
    let calls: Vec<_> = ledger.payments.attention.values().cloned().collect();
    let refund = &trial.case.refund;
    assert_eq!(calls, [format!("113.20 EUR of refund {refund} moved although it was released")]);
    let key: tercet_core::SagaKey = refund.as_str().parse().unwrap();
    let booking = world
        .ask(move |engine| {
            let key = key.clone();
            async move { engine.find("book_refunded".parse().unwrap(), key).await }
        })
        .await;
    assert_eq!(ended(&world.settled(booking.unwrap().unwrap().id).await), "confirmed");
}

#[tokio::test]
async fn a_cancel_while_the_money_is_out_closes_it_and_leaves_everything_as_it_was() {
    let world = World::new(43).await;
    let case = world.case(Shape::Full).await;
    let before = world.ledger().await;
    world.behave(&case.refund, accept(minutes(60), Ends::Well, 1));
    let saga = world.start(case.definition, case.refund.as_str(), &case.input).await.unwrap().id;
    world.until(saga, |state| state.steps.values().any(|step| step.pending.is_some())).await;
    world.cancel(saga).await.unwrap();
    let state = world.settled(saga).await;
    assert_eq!(ended(&state), "cancelled");
    assert_eq!(world.slate(&before, Holds::None).await.without_traces(), Delta::told_of_failure());
    world.pass(minutes(120)).await;
    assert_eq!(world.slate(&before, Holds::None).await.without_traces(), Delta::told_of_failure());
}

#[tokio::test]
async fn a_cancel_that_comes_after_the_money_moved_is_overtaken_by_it() {
    let world = World::new(44).await;
    let case = world.case(Shape::Full).await;
    world.behave(&case.refund, Behaviour::TimeOutDone);
    let saga = world.start(case.definition, case.refund.as_str(), &case.input).await.unwrap().id;
    world.until(saga, |state| state.steps.values().any(|step| step.pending.is_some())).await;
    world.cancel(saga).await.unwrap();
    assert_eq!(ended(&world.settled(saga).await), "confirmed");
}

#[tokio::test]
async fn a_person_closes_a_refund_that_hangs() {
    let world = World::new(45).await;
    let case = world.case(Shape::Full).await;
    let before = world.ledger().await;
    world.behave(&case.refund, accept(minutes(600), Ends::Well, 1));
    let saga = world.start(case.definition, case.refund.as_str(), &case.input).await.unwrap().id;
    world.until(saga, |state| state.steps.values().any(|step| step.pending.is_some())).await;
    world.operate(saga, "money", Action::Close).await.unwrap();
    assert_eq!(ended(&world.settled(saga).await), "cancelled");
    assert_eq!(world.slate(&before, Holds::None).await.without_traces(), Delta::told_of_failure());
}
