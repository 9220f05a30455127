//! Traces 3, 6, 6b and 7: the pivot, on the real engine.

use crate::sim::{
    contracts::{Amount, GiveBack, Line, PLAIN, Payment, Refund, Return},
    stage::Stage,
    weather::Fault,
};
use tercet_core::{Action, Answer, Call, Life, Operation, Payload, Phase, SagaId};

fn refund(stage: &Stage, definition: &'static str) -> SagaId {
    let refund = Refund { payment: "old-1".to_owned(), request: "refund-1".to_owned(), minor: 40 };
    let input = Return { refund, points: Amount { account: 2, minor: 4 }, line: Line { item: 1, pieces: 2 } };
    stage.start(definition, "refund-1", &input)
}

fn payment(stage: &Stage, definition: &'static str) -> SagaId {
    let input = Payment { payment: "pay-1".to_owned(), order: "order-1".to_owned(), minor: 50 };
    stage.start(definition, "pay-1", &input)
}

/// Executes 1 and 2 are out; 1 is refused, late; 2 lands.
fn two_attempts(call: &Call) -> (u64, Answer) {
    match (call.phase, call.attempt) {
        (Phase::Try, 1) => (100_000, Answer::refused("in_progress", "another attempt is being worked on")),
        (Phase::Try, _) => (600, Answer::Pending(Payload::null())),
        (Phase::Query, 1) => (10, Answer::Absent),
        (Phase::Query, _) if call.issued.0 % 2 == 0 => (10, Answer::Pending(Payload::null())),
        _ => (10, Answer::Done(Payload::of(&40).unwrap())),
    }
}

#[test]
fn trace_03_a_refusal_while_another_attempt_is_unanswered_is_unknown() {
    let stage = Stage::with_script(GiveBack::<PLAIN>::NAME, two_attempts);
    let saga = refund(&stage, "refund");
    stage.until(70);
    assert_eq!(stage.state(saga).steps[&"money".parse().unwrap()].effect.as_ref().unwrap().newest(), 2);
    stage.until(900);
    assert_eq!(stage.life(saga), Life::Confirmed);
}

/// Handed on, and waiting at the third party; fence, query: absent; were it marked not done then, it would land afterwards.
#[test]
fn trace_06_marking_not_done_waits_for_what_is_unanswered() {
    let stage = Stage::set();
    stage.weather.set(Fault::BankNever, 1.0);
    stage.town.bank.travel([200_000]);
    let saga = refund(&stage, "refund");
    stage.until(30);
    stage.operate(saga, "money", Action::MarkNotDone { force: false });
    stage.until(60);
    assert!(stage.is_parked(saga), "{:?}", stage.state(saga).steps);
    assert_eq!(stage.life(saga), Life::Trying);
    stage.until(230);
    stage.operate(saga, "money", Action::QueryNow);
    stage.until(300);
    assert_eq!(stage.life(saga), Life::Confirmed);
    assert_eq!(stage.town.bank.moved("old-1").1, 40);
}

/// Forced; it lands, and nobody reports it: the engine goes on asking, and what came in goes back.
#[test]
fn trace_06b_a_forced_not_done_goes_on_being_queried() {
    let stage = Stage::set();
    stage.weather.set(Fault::BankNever, 1.0);
    stage.town.bank.travel([200_000]);
    let saga = payment(&stage, "payment");
    stage.until(30);
    stage.operate(saga, "charge", Action::MarkNotDone { force: true });
    stage.until(60);
    assert_eq!(stage.life(saga), Life::Cancelled);
    stage.until(900);
    assert_eq!(stage.town.bank.moved("pay-1"), (50, 50));
    assert_eq!(stage.state(saga).steps[&"charge".parse().unwrap()].contradicted, (true, false));
}

/// The execute is lost before the participant has it: the participant fences and answers *closed* by itself.
#[test]
fn trace_07_a_close_of_what_was_never_handed_on_is_closed() {
    let stage = Stage::set();
    let saga = payment(&stage, "payment_closing");
    stage.weather.set(Fault::CallLost, 1.0);
    stage.until(3);
    stage.cancel(saga);
    stage.weather.set(Fault::CallLost, 0.0);
    stage.until(400);
    assert_eq!(stage.life(saga), Life::Cancelled);
    assert_eq!(stage.town.bank.keys_of("pay-1"), 0);
}

/// Handed on and lost on its way: a channel that closes only what it knows parks it in the end; one with an expiry ends it by itself.
#[test]
fn trace_07_what_was_lost_on_its_way_ends_by_its_expiry_or_parks() {
    for (definition, ends) in [("payment_closing", None), ("payment_expiring", Some(Life::Cancelled))] {
        let stage = Stage::set();
        stage.weather.set(Fault::BankCallLost, 1.0);
        let saga = payment(&stage, definition);
        stage.until(8);
        stage.weather.set(Fault::BankCallLost, 0.0);
        stage.cancel(saga);
        stage.until(3_000);
        assert_eq!(stage.state(saga).life.is_ended().then(|| stage.life(saga)), ends, "{definition}");
        assert_eq!(stage.is_parked(saga), ends.is_none(), "{definition}");
        assert_eq!(stage.town.bank.moved("pay-1"), (0, 0));
    }
}
