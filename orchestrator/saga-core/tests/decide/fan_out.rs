//! A big fan-out from its first entry to its end, and what an event of it costs: printed, and asserted nowhere.

use crate::support::*;
use std::time::{Duration, Instant};
use tercet_core::{
    Answer, Answered, Command, Definition, Event, Life, Millis, Payload, Saga, Starting, State, What, apply, decide,
    outstanding, start,
};

fn big() -> Definition<i64, i64> {
    let saga = Saga::<i64>::new("big", 1);
    let held = saga.for_each(
        "lines",
        saga.input(),
        |n| (0..n).collect::<Vec<i64>>(),
        |each, line| each.tcc("hold", Hold).request(line, it),
    );
    saga.output(held, |held| held.into_iter().sum())
}

/// What was spent, and how often.
#[derive(Default)]
struct Spent {
    events: u32,
    deciding: Duration,
    following: Duration,
}

/// Answers everything that is outstanding, until the saga has ended.
#[expect(clippy::disallowed_methods, reason = "what it costs is printed; nothing of the core sees the time")]
fn check(items: i64) -> (State, Spent) {
    let graph = big().build().unwrap();
    let (saga, key) = (saga_id(), "k".parse().unwrap());
    let input = Payload::of(&items).unwrap();
    let entry = start(&graph, Starting { saga, key, input, parent: None, undoes: false, at: Millis(0) }).unwrap();
    let mut state = State::begin(&entry).unwrap();
    let mut spent = Spent::default();
    while !state.life.is_ended() {
        for command in outstanding(&state) {
            let Command::Call(call) = command else { continue };
            let (step, phase, answer) = (call.step, call.phase, Answer::Done(Payload::of(&1).unwrap()));
            let answered = Answered { step, phase, attempt: 0, attempts: 1, issued: Millis(0), answer };
            let event = Event { at: Millis(0), jitter: 0, what: What::Answered(answered) };
            let began = Instant::now();
            let entry = decide(&graph, &state, event).unwrap().unwrap();
            let decided = Instant::now();
            apply(&mut state, &entry);
            let left = outstanding(&state).len();
            assert!(left <= usize::try_from(items).unwrap());
            spent.events += 1;
            spent.deciding += decided - began;
            spent.following += decided.elapsed();
        }
    }
    (state, spent)
}

#[test]
fn a_fan_out_of_a_thousand_ends_and_says_what_an_event_of_it_costs() {
    for items in [10, 100, 1_000] {
        let (state, spent) = check(items);
        assert_eq!(state.life, Life::Confirmed);
        assert_eq!(spent.events, 2 * u32::try_from(items).unwrap());
        let each = |time: Duration| time / spent.events;
        println!(
            "{items:>5} items: decide {:?} an event, apply and outstanding {:?}",
            each(spent.deciding),
            each(spent.following)
        );
    }
}

#[test]
fn a_fan_out_of_more_than_a_thousand_is_refused_and_says_what_to_do() {
    let graph = big().build().unwrap();
    let (saga, key, input) = (saga_id(), "k".parse().unwrap(), Payload::of(&1_001).unwrap());
    let entry = start(&graph, Starting { saga, key, input, parent: None, undoes: false, at: Millis(0) }).unwrap();
    let state = State::begin(&entry).unwrap();
    assert_eq!(state.life, Life::Cancelled);
    assert_eq!(
        state.abort.unwrap().to_string(),
        "`lines` was refused: too_many_items: the fan-out has 1001 items, at most 1000 are allowed: split the list over several sagas"
    );
}
