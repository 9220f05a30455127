//! Traces 8, 9 and 10: payment against order, on the real engine and participants.

use crate::sim::{
    contracts::{Line, Order, Payment},
    stage::Stage,
    weather::Fault,
};
use tercet_core::{Life, SagaId};

fn pay(stage: &Stage) -> SagaId {
    let input = Payment { payment: "pay-1".to_owned(), order: "order-1".to_owned(), minor: 50 };
    stage.start("payment", "pay-1", &input)
}

/// Paid, told too late, and given back before the record is confirmed: paid would still be nothing, and the refund refused.
#[test]
fn trace_08_money_goes_back_after_the_records_confirm() {
    let stage = Stage::set();
    let lines = vec![Line { item: 1, pieces: 1 }];
    let order = Order { order: "order-1".to_owned(), account: 1, lines, minor: 50 };
    let ordered = stage.start("order", "order-1", &order);
    stage.until(5);
    stage.cancel(ordered);
    stage.until(20);
    assert_eq!(stage.life(ordered), Life::Cancelled);
    stage.weather.set(Fault::BankAccepted, 1.0);
    let paid = pay(&stage);
    stage.until(24);
    // The record's confirm is put off, as is all else that these participants are asked.
    stage.weather.set(Fault::NotNow, 1.0);
    stage.until(600);
    stage.weather.set(Fault::NotNow, 0.0);
    stage.until(1_500);
    assert_eq!(stage.life(paid), Life::Confirmed);
    assert_eq!(stage.lives("give_back"), [Life::Confirmed]);
    assert_eq!(stage.town.bank.moved("pay-1"), (50, 50));
}

/// Failed at the channel, paid all the same; the success is stored while the record is still *processing*.
#[test]
fn trace_09_a_stored_success_can_be_given_back_whatever_the_records_state() {
    let stage = Stage::set();
    stage.weather.set(Fault::BankRefused, 1.0);
    stage.weather.set(Fault::BankPaidAllTheSame, 1.0);
    let saga = pay(&stage);
    stage.until_asked(saga, "charge");
    // The record's cancel is put off until long after the success has come.
    stage.weather.set(Fault::NotNow, 1.0);
    stage.until(400);
    stage.weather.set(Fault::NotNow, 0.0);
    stage.weather.set(Fault::BankRefused, 0.0);
    stage.until(1_500);
    assert_eq!(stage.life(saga), Life::Cancelled);
    assert_eq!(stage.lives("give_back"), [Life::Confirmed]);
    assert_eq!(stage.town.bank.moved("pay-1"), (50, 50));
}

/// As before, but the record is held as failed: participant and contradiction both start the refund, under one key.
#[test]
fn trace_10_late_evidence_and_contradiction_start_one_refund() {
    let stage = Stage::set();
    stage.weather.set(Fault::BankRefused, 1.0);
    stage.weather.set(Fault::BankPaidAllTheSame, 1.0);
    stage.weather.set(Fault::BankTwice, 1.0);
    let saga = pay(&stage);
    stage.until(5);
    stage.weather.set(Fault::BankRefused, 0.0);
    stage.until(1_500);
    assert_eq!(stage.life(saga), Life::Cancelled);
    let started = stage.world.counts().get("late evidence at the participant").copied();
    assert!(started.is_some_and(|started| started > 0), "the participant saw it first");
    assert_eq!(stage.world.counts().get("contradicted"), Some(&1));
    assert_eq!(stage.lives("give_back"), [Life::Confirmed]);
    assert_eq!(stage.town.bank.moved("pay-1"), (50, 50));
}
