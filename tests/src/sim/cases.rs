//! Cases of CASES.md that are the simulator's: what went wrong elsewhere, played on the real engine on virtual time.

use super::{
    contracts::{Amount, Line, Order, Payment, Refund, Return},
    people::Acknowledgements,
    run::{at_rest, heals},
    stage::Stage,
    weather::Fault,
    world::Stepped,
};
use tercet::store::memory;
use tercet_core::{Action, Life, Millis, Status, Verdict};

fn a_return() -> Return {
    let refund = Refund { payment: "old-1".to_owned(), request: "refund-1".to_owned(), minor: 40 };
    Return { refund, points: Amount { account: 2, minor: 4 }, line: Line { item: 1, pieces: 2 } }
}

fn an_order() -> Order {
    let lines = vec![Line { item: 1, pieces: 1 }];
    Order { order: "order-1".to_owned(), account: 1, lines, minor: 50 }
}

fn a_payment(payment: &str) -> Payment {
    Payment { payment: payment.to_owned(), order: "order-1".to_owned(), minor: 50 }
}

/// At each of a saga's writes in turn, the answer to the commit is lost: written, not written, or written later. Every step runs once,
/// and the checkers have looked at each row.
#[test]
fn b08_a_commit_whose_answer_is_lost_at_any_write_changes_nothing() {
    let faults = [memory::Fault::AmbiguousWritten, memory::Fault::AmbiguousLost, memory::Fault::Unavailable];
    for fault in faults {
        let mut writes = 0;
        for at in 0.. {
            let stage = Stage::set();
            let store = stage.town.store.faults();
            (0..at).for_each(|_| store.before_next_commit(None));
            store.before_next_commit(fault);
            let saga = stage.start("refund", "refund-1", &a_return());
            stage.until(240);
            assert_eq!(stage.life(saga), Life::Confirmed, "{fault:?} at write {at}");
            assert_eq!(stage.town.bank.moved("old-1").1, 40);
            assert!(stage.town.held().is_empty(), "{:?}", stage.town.held());
            writes = writes.max(stage.town.store.counters().commits);
            if at > writes {
                break;
            }
        }
        assert!(writes > 8, "{writes} writes are too few to prove anything");
    }
}

/// *Paid* reaches the order around the very moment at which its wait ends: the order's journal decides, and whoever is too late gets
/// the money back.
#[test]
fn b38_paid_around_the_deadline_is_in_time_or_given_back() {
    let (mut confirmed, mut given_back) = (0, 0);
    for early in (-100..400).step_by(20) {
        let stage = Stage::set();
        let order = stage.start("order", "order-1", &an_order());
        stage.until(10);
        let Status::Waiting(until) = stage.state(order).steps[&"paid".parse().unwrap()].status else {
            panic!("the order waits to be paid");
        };
        stage.until_time(Millis(until.0 - early));
        stage.start("payment", "pay-1", &a_payment("pay-1"));
        assert!(!heals(&stage.town), "{:?}", stage.world.violation());
        at_rest(&stage.town, &Acknowledgements::default()).unwrap();
        match stage.life(order) {
            Life::Confirmed => confirmed += 1,
            Life::Cancelled => given_back += 1,
            other => panic!("the order is {other:?}"),
        }
        let back = if stage.life(order) == Life::Confirmed { 0 } else { 50 };
        assert_eq!(stage.town.bank.moved("pay-1"), (50, back), "{early} ms before the end");
    }
    assert!(confirmed > 0 && given_back > 0, "confirmed {confirmed}, given back {given_back}");
}

/// Two payments of one order, each success reported again and again: one stands, the other is given back, and each is counted once.
#[test]
fn b40_of_two_payments_one_stands_and_the_other_goes_back_however_often_they_are_reported() {
    let stage = Stage::set();
    let order = stage.start("order", "order-1", &an_order());
    stage.until(5);
    stage.weather.set(Fault::BankAccepted, 1.0);
    stage.weather.set(Fault::BankTwice, 1.0);
    stage.start("payment", "pay-1", &a_payment("pay-1"));
    stage.start("payment", "pay-2", &a_payment("pay-2"));
    for second in [200, 400, 600] {
        stage.until(second);
        stage.town.bank.statement();
    }
    assert!(!heals(&stage.town), "{:?}", stage.world.violation());
    at_rest(&stage.town, &Acknowledgements::default()).unwrap();
    assert_eq!(stage.life(order), Life::Confirmed);
    let verdicts: Vec<_> = stage.state(order).signals.values().filter_map(|signal| signal.verdict).collect();
    assert_eq!(verdicts.iter().filter(|verdict| **verdict == Verdict::Accepted).count(), 1);
    assert_eq!(verdicts.iter().filter(|verdict| **verdict == Verdict::TooLate).count(), 1);
    let mut moved = [stage.town.bank.moved("pay-1"), stage.town.bank.moved("pay-2")];
    moved.sort_unstable();
    assert_eq!(moved, [(50, 0), (50, 50)]);
    assert_eq!(stage.lives("give_back"), [Life::Confirmed]);
}

/// B43: a callback's no is the third party's last word about the key, and not about one of its attempts.
#[test]
fn b43_a_callback_that_says_no_leads_where_a_querys_does() {
    let stage = Stage::set();
    stage.weather.set(Fault::BankAccepted, 1.0);
    stage.weather.set(Fault::BankFailedLater, 1.0);
    let saga = stage.start("payment", "pay-1", &a_payment("pay-1"));
    stage.until(6);
    stage.operate(saga, "charge", Action::RetryNow);
    stage.until(500);
    let charge = &stage.state(saga).steps[&"charge".parse().unwrap()];
    assert_eq!(charge.effect.as_ref().unwrap().newest(), 2);
    assert_eq!(stage.life(saga), Life::Cancelled);
    let doubted = stage
        .town
        .store
        .inspect(|all| all.journals[&saga].iter().any(|row| String::from_utf8_lossy(&row.entry).contains("doubted")));
    assert!(!doubted, "a final no was taken for one attempt's");
}

/// B13: an engine dies while an answer is on the wire, and nothing new is started: the next one asks again by itself.
#[test]
fn b13_an_answer_that_was_on_the_wire_is_asked_for_again() {
    for steps in (20..400).step_by(20) {
        let stage = Stage::set();
        let saga = stage.start("refund", "refund-1", &a_return());
        for _ in 0..steps {
            assert_eq!(stage.world.step(Millis(i64::MAX)), Stepped::On);
            stage.town.look();
        }
        stage.town.kill_engine();
        stage.until(120);
        assert_eq!(stage.life(saga), Life::Confirmed, "killed after {steps} steps");
    }
}
