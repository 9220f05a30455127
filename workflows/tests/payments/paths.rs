//! The ways a payment goes when nothing is broken: what it changes, how often the channel is asked, what the buyer sees.

use crate::{
    bills::{Money, output, pays, waits, world},
    support::{Delta, Holds, Setup, ended, eur, facts::from_outcome},
};
use std::{fmt::Write as _, time::Duration};
use tercet_core::{Phase, SagaId, minutes};
use tercet_shop::{
    channel::{Buyer, Charging, Met},
    payments::Charged,
};

fn asked(world: &crate::support::World, saga: SagaId) -> String {
    let counts = world.wires.counts(saga);
    let of = |phase| counts.get(&("charge".to_owned(), phase)).copied().unwrap_or(0);
    format!("{} executes, {} queries, {} closes", of(Phase::Try), of(Phase::Query), of(Phase::Close))
}

#[tokio::test]
async fn a_payment_shows_its_link_and_confirms_the_order_and_nothing_else_changes() {
    let world = world(201, Setup::default()).await;
    let before = world.ledger().await;
    let bill = world.bill().await;
    world.charge_goes(bill.payment(), pays());
    let saga = world.pays(&bill).await;
    let state = world.until(saga, |state| state.steps.values().any(|step| step.pending.is_some())).await;
    let (_, note) = state.steps[&"charge".parse().unwrap()].pending.clone().unwrap();
    assert_eq!(note.as_str(), format!("{{\"pay_link\":\"https://pay.example/{}\"}}", bill.payment()));
    let state = world.settled(saga).await;
    assert_eq!(ended(&state), "confirmed");
    let charged: Charged = output(&state);
    assert_eq!(charged.amount, eur(crate::bills::PRICE));
    assert_eq!(world.money_of(&[bill]).await, [Money::Kept]);
    insta::assert_snapshot!(world.slate(&before, Holds::None).await, @r"
    channel.accounts.EUR.balance +17925
    channel.accounts.EUR.received +17925
    channel.charges.paid +1
    notices.payment_accepted +1
    payments.money.EUR.received +17925
    payments.states.paid +1
    ");
}

#[tokio::test]
async fn a_payment_that_nobody_makes_ends_by_itself_and_calls_no_person() {
    let world = world(202, Setup::default()).await;
    let before = world.ledger().await;
    let (bill, state) = world.paid(waits()).await;
    assert_eq!(ended(&state), "cancelled");
    assert_eq!(asked(&world, state.saga()), "1 executes, 30 queries, 1 closes");
    assert!(state.steps.values().all(|step| step.attention.is_none() && step.parked.is_none()));
    insta::assert_snapshot!(world.changed_since(&before).await, @r"
    channel.charges.closed +1
    notices.payment_closed +1
    payments.states.closed +1
    ");
    assert_eq!(world.money_of(&[bill]).await, [Money::NeverCame]);
}

/// The facts from the charge's outcome on, and what has changed in the end.
async fn went(charging: Charging, debit: bool) -> (Vec<String>, Delta) {
    let world = world(207, Setup::default()).await;
    let before = world.ledger().await;
    let bill = world.bill().await;
    let bill = if debit { bill.debit() } else { bill };
    world.charge_goes(bill.payment(), charging);
    let saga = world.pays(&bill).await;
    assert_eq!(ended(&world.settled(saga).await), "confirmed");
    let delta = world.changed_since(&before).await;
    assert_eq!(world.money_of(&[bill]).await, [Money::Kept]);
    (from_outcome(&world.entries(saga).await, "charge"), delta)
}

#[tokio::test]
async fn b43_the_journal_goes_on_the_same_way_whichever_way_the_outcome_came() {
    let reply = went(pays(), true).await;
    insta::assert_snapshot!(reply.0.join("\n"), @r#"
    done charge
    committed
    Branched { step: "accepted", taken: true }
    Branched { step: "too_late", taken: false }
    asked tell_accepted
    asked tell_order
    confirmed record
    done tell_accepted
    done tell_order
    ended confirmed
    "#);
    let silent = |charging: Charging| charging.reported(0, Duration::ZERO);
    assert_eq!(went(silent(pays().met(Met::LostDone)), true).await, reply, "by a query");
    assert_eq!(went(pays().met(Met::AnswerLate { after: Duration::from_secs(15) }), true).await, reply, "late");
    assert_eq!(went(pays(), false).await, reply, "by a callback");
    assert_eq!(went(pays().reported(2, Duration::ZERO), false).await, reply, "by two callbacks");
    assert_eq!(went(silent(pays()), false).await, reply, "by a query of a link");
}

/// Every way in which the channel and the buyer may go, by pay link and by direct debit.
#[tokio::test]
async fn every_way_of_channel_and_buyer_ends_with_the_money_in_one_place() {
    let world = world(203, Setup::default()).await;
    let before = world.ledger().await;
    let pace = minutes(2);
    let mut ways: Vec<Charging> = Charging::all(pace);
    ways.push(Charging::paid(pace).met(Met::LostNotDone { lost: 50 }));
    ways.push(Charging::paid(pace * 30));
    let mut table = String::new();
    for debit in [false, true] {
        let mut sagas = Vec::new();
        for way in &ways {
            let bill = world.bill().await;
            let bill = if debit { bill.debit() } else { bill };
            world.charge_goes(bill.payment(), *way);
            sagas.push((world.pays(&bill).await, bill));
        }
        for ((saga, bill), way) in sagas.iter().zip(&ways) {
            let state = world.settled(*saga).await;
            let how = if debit { "debit" } else { "link" };
            let met = format!("{:?}, {:?}, reported {}", way.request, way.buyer, way.callbacks);
            let (end, asked) = (ended(&state), asked(&world, *saga));
            writeln!(
                table,
                "{how:<6}{met:<75}{end:<10} {asked} {:?}",
                world.money_of(std::slice::from_ref(bill)).await[0]
            )
            .unwrap();
        }
    }
    insta::assert_snapshot!(table, @r"
    link  Taken, Pays { after: 120s }, reported 1                                    confirmed  1 executes, 2 queries, 0 closes Kept
    link  Taken, Pays { after: 120s }, reported 2                                    confirmed  1 executes, 2 queries, 0 closes Kept
    link  Taken, Pays { after: 120s }, reported 0                                    confirmed  1 executes, 2 queries, 0 closes Kept
    link  Taken, Pays { after: 120s }, reported 1                                    confirmed  1 executes, 2 queries, 0 closes Kept
    link  Taken, Waits, reported 1                                                   cancelled  1 executes, 30 queries, 1 closes NeverCame
    link  Taken, Declines { after: 120s }, reported 1                                cancelled  1 executes, 2 queries, 0 closes NeverCame
    link  Refused, Pays { after: 120s }, reported 1                                  cancelled  1 executes, 0 queries, 0 closes NeverCame
    link  LostDone, Pays { after: 120s }, reported 1                                 confirmed  1 executes, 2 queries, 0 closes Kept
    link  LostNotDone { lost: 1 }, Pays { after: 120s }, reported 1                  confirmed  2 executes, 3 queries, 0 closes Kept
    link  AnswerLate { after: 120s }, Pays { after: 120s }, reported 1               confirmed  1 executes, 1 queries, 0 closes Kept
    link  LandLate { after: 240s }, Pays { after: 120s }, reported 1                 confirmed  4 executes, 6 queries, 0 closes Kept
    link  Maintenance { times: 2 }, Pays { after: 120s }, reported 1                 confirmed  3 executes, 2 queries, 0 closes Kept
    link  LostNotDone { lost: 50 }, Pays { after: 120s }, reported 1                 cancelled  40 executes, 40 queries, 9 closes NeverCame
    link  Taken, Pays { after: 3600s }, reported 1                                   cancelled  1 executes, 30 queries, 1 closes NeverCame
    debit Taken, Pays { after: 120s }, reported 1                                    confirmed  1 executes, 0 queries, 0 closes Kept
    debit Taken, Pays { after: 120s }, reported 2                                    confirmed  1 executes, 0 queries, 0 closes Kept
    debit Taken, Pays { after: 120s }, reported 0                                    confirmed  1 executes, 0 queries, 0 closes Kept
    debit Taken, Pays { after: 120s }, reported 1                                    confirmed  1 executes, 0 queries, 0 closes Kept
    debit Taken, Waits, reported 1                                                   confirmed  1 executes, 0 queries, 0 closes Kept
    debit Taken, Declines { after: 120s }, reported 1                                cancelled  1 executes, 0 queries, 0 closes NeverCame
    debit Refused, Pays { after: 120s }, reported 1                                  cancelled  1 executes, 0 queries, 0 closes NeverCame
    debit LostDone, Pays { after: 120s }, reported 1                                 confirmed  1 executes, 0 queries, 0 closes Kept
    debit LostNotDone { lost: 1 }, Pays { after: 120s }, reported 1                  confirmed  2 executes, 1 queries, 0 closes Kept
    debit AnswerLate { after: 120s }, Pays { after: 120s }, reported 1               confirmed  1 executes, 0 queries, 0 closes Kept
    debit LandLate { after: 240s }, Pays { after: 120s }, reported 1                 confirmed  4 executes, 4 queries, 0 closes Kept
    debit Maintenance { times: 2 }, Pays { after: 120s }, reported 1                 confirmed  3 executes, 0 queries, 0 closes Kept
    debit LostNotDone { lost: 50 }, Pays { after: 120s }, reported 1                 cancelled  40 executes, 40 queries, 9 closes NeverCame
    debit Taken, Pays { after: 3600s }, reported 1                                   confirmed  1 executes, 0 queries, 0 closes Kept
    ");
    world.changed_since(&before).await;
}

#[tokio::test]
async fn a_lost_callback_is_made_up_for_by_asking() {
    let world = world(204, Setup::default()).await;
    let (bill, state) = world.paid(pays().reported(0, Duration::ZERO)).await;
    assert_eq!((ended(&state), asked(&world, state.saga()).as_str()), ("confirmed", "1 executes, 1 queries, 0 closes"));
    assert_eq!(world.money_of(&[bill]).await, [Money::Kept]);
    assert_eq!(world.ledger().await.payments.callbacks, 0);
}

#[tokio::test]
async fn a_link_that_has_expired_ends_the_payment_before_it_is_closed() {
    let world = world(205, Setup::default()).await;
    let mut bill = world.bill().await;
    bill.request.expires_at_ms = Some(world.now().plus(minutes(5)).0);
    world.charge_goes(bill.payment(), Charging::new(Buyer::Pays { after: minutes(6) }));
    let saga = world.pays(&bill).await;
    let state = world.settled(saga).await;
    assert_eq!((ended(&state), asked(&world, saga).as_str()), ("cancelled", "1 executes, 5 queries, 0 closes"));
    world.calms_down().await;
    assert_eq!(world.money_of(&[bill]).await, [Money::NeverCame]);
}

#[tokio::test]
async fn an_order_has_one_open_payment_for_each_attempt() {
    let world = world(206, Setup::default()).await;
    let first = world.bill().await;
    world.charge_goes(first.payment(), Charging::paid(minutes(3)));
    let open = world.pays(&first).await;
    world.until(open, |state| state.steps.values().any(|step| step.pending.is_some())).await;
    let mut second = first.again(2);
    second.request.attempt = 1;
    let refused = world.settled(world.pays(&second).await).await;
    let why = refused.abort.as_ref().unwrap().to_string();
    let order = &first.request.order;
    assert_eq!(
        why,
        format!(
            "`record` was refused: attempt_taken: another payment of order {order} is open or paid as its attempt 1"
        )
    );
    assert_eq!(ended(&world.settled(open).await), "confirmed");
    assert_eq!(world.money_of(&[first, second]).await, [Money::Kept, Money::NeverCame]);
}
