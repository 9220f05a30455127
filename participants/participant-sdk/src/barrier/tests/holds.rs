//! Holds and tasks, exhausted.

use super::exhaust;
use crate::barrier::{
    Hold, Task,
    hold::{HoldState, Outcome, Plan, Sort},
    task::TaskState,
};
use tercet_core::{Answer, Millis, Payload, Phase, Refusal};

#[derive(Clone, Debug, Default)]
struct World {
    row: Option<Hold>,
    /// Times that a handler's writes were committed: try, confirm, cancel.
    applied: [u32; 3],
    /// The first definite answer to each phase.
    first: [Option<Answer>; 3],
    /// Something was said that must not have been.
    broken: Option<&'static str>,
}

const PHASES: [Phase; 3] = [Phase::Try, Phase::Confirm, Phase::Cancel];

fn outcomes() -> [Outcome; 3] {
    let text = |text: &str| Payload::of(text).unwrap();
    [Outcome::Done(text("done")), Outcome::Refused(Refusal::new("no", "no")), Outcome::Pending(text("later"))]
}

fn said(world: &mut World, place: usize, answer: Answer) {
    let cancelled = matches!(world.first[2], Some(Answer::Done(_)));
    let tried_first = place == 0 && cancelled;
    if tried_first && answer.as_str() == "done" {
        world.broken = Some("a try was done after its cancel");
    }
    if place == 1 && answer.as_str() == "done" && cancelled {
        world.broken = Some("a confirm was done after a cancel");
    }
    if place == 2 && answer.as_str() == "done" && matches!(world.first[1], Some(Answer::Done(_))) {
        world.broken = Some("a cancel was done after a confirm");
    }
    match &world.first[place] {
        Some(Answer::Done(_)) if world.first[place].as_ref() != Some(&answer) && !tried_first => {
            world.broken = Some("an answer changed after it was done");
        }
        Some(Answer::Refused(_)) if place == 0 && answer.as_str() != "refused" => {
            world.broken = Some("a refused try was asked again, and not refused");
        }
        Some(_) => {}
        None if matches!(answer, Answer::Done(_)) || (place == 0 && matches!(answer, Answer::Refused(_))) => {
            world.first[place] = Some(answer);
        }
        None => {}
    }
}

fn call(world: &World, place: usize, outcome: &Outcome, sort: Sort, now: Millis) -> World {
    let mut world = world.clone();
    let phase = PHASES[place];
    match Hold::plan(world.row.as_ref(), phase, sort, now) {
        Plan::Say(answer) => said(&mut world, place, answer),
        Plan::Move(row, answer) => {
            world.row = Some(row);
            said(&mut world, place, answer);
        }
        Plan::Run => {
            let row = world.row.clone().unwrap_or_else(|| Hold::begun(sort, now));
            let (row, answer) = row.after(phase, outcome.clone(), now);
            if !matches!(outcome, Outcome::Refused(_)) {
                world.applied[place] += 1;
            }
            if row.is_some() {
                world.row = row;
            }
            said(&mut world, place, answer);
        }
    }
    world
}

fn completed(world: &World, place: usize, outcome: &Outcome, now: Millis) -> Option<World> {
    let row = world.row.clone().filter(|row| row.awaits(PHASES[place]))?;
    let (row, answer) = row.after(PHASES[place], outcome.clone(), now);
    let mut world = World { row: Some(row?), ..world.clone() };
    if matches!(outcome, Outcome::Refused(_)) {
        // Whoever reports a no has taken back what it wrote, in the same transaction.
        world.applied[place] -= 1;
    }
    said(&mut world, place, answer);
    Some(world)
}

fn next(world: &World, sort: Sort) -> Vec<(String, World)> {
    let now = Millis(1);
    let mut reached = Vec::new();
    for (place, phase) in PHASES.iter().enumerate() {
        for outcome in outcomes() {
            reached.push((format!("{phase} {outcome:?}"), call(world, place, &outcome, sort, now)));
            if !matches!(outcome, Outcome::Pending(_)) {
                let done = completed(world, place, &outcome, now);
                reached.extend(done.map(|world| (format!("{phase} completed {outcome:?}"), world)));
            }
        }
    }
    let forgotten = world.row.as_ref().and_then(|row| row.forgotten(now));
    reached.extend(forgotten.map(|row| ("forget".to_owned(), World { row: Some(row), ..world.clone() })));
    reached
}

fn holds(world: &World) -> bool {
    let [tried, confirmed, cancelled] = world.applied;
    let state = world.row.as_ref().map(|row| row.state);
    world.broken.is_none()
        && tried <= 1
        && confirmed + cancelled <= 1
        && (confirmed == 0 || tried == 1)
        && (cancelled == 0 || tried == 1)
        && (state != Some(HoldState::Confirmed) || confirmed == 1)
        && (state != Some(HoldState::Cancelled) || cancelled == 1)
        && (state != Some(HoldState::Blocked) || tried == 0)
        && (state != Some(HoldState::Refused) || tried == 0)
}

#[test]
fn g4_each_phase_of_a_hold_applies_at_most_once_in_every_order() {
    let tcc = exhaust(World::default(), |w| format!("{w:?}"), |w| next(w, Sort::default()), holds);
    let sort = Sort { compensable: true, remote: false };
    let compensable = exhaust(World::default(), |w| format!("{w:?}"), |w| next(w, sort), holds);
    insta::assert_snapshot!(format!("tcc {tcc}, compensable {compensable}"), @"tcc 14, compensable 23");
}

#[test]
fn only_rows_that_stop_nothing_any_more_age() {
    let at = Millis(7);
    let row = |state, compensable| Hold { state, ..Hold::begun(Sort { compensable, remote: false }, at) };
    use HoldState::{Blocked, Cancelled, Confirmed, Intent, Refused, Tried};
    for state in [Intent, Tried] {
        assert_eq!(row(state, false).ages_from(), None, "{state:?}");
        assert_eq!(
            row(state, false).forgotten(at),
            None,
            "a tcc is confirmed or cancelled, never forgotten: {state:?}"
        );
    }
    for state in [Confirmed, Cancelled, Refused, Blocked] {
        assert_eq!(row(state, false).ages_from(), Some(at), "{state:?}");
    }
    let forgotten = row(Tried, true).forgotten(Millis(9)).unwrap();
    assert_eq!((row(Tried, true).ages_from(), forgotten.ages_from()), (None, Some(Millis(9))));
    assert_eq!(forgotten.forgotten(Millis(11)), None, "it is told once");
}

#[test]
fn a_cancel_of_a_refused_remote_step_runs_all_the_same() {
    let remote = Sort { compensable: false, remote: true };
    let refused = Hold { state: HoldState::Refused, ..Hold::begun(remote, Millis(1)) };
    assert_eq!(Hold::plan(Some(&refused), Phase::Cancel, remote, Millis(2)), Plan::Run);
}

#[test]
fn a_tasks_refusal_answers_attempts_up_to_its_own() {
    let [done, refused, pending] = outcomes();
    let row = Task::after(2, refused, Millis(1));
    assert_eq!(row.state, TaskState::Refused { up_to: 2 });
    assert_eq!(Task::stored(Some(&row), 1).map(|answer| answer.as_str()), Some("refused"));
    assert_eq!(Task::stored(Some(&row), 2).map(|answer| answer.as_str()), Some("refused"));
    assert_eq!(Task::stored(Some(&row), 3), None);
    assert_eq!(row.completed(done.clone(), Millis(2)), None, "a report comes too late for a refusal");
    let row = Task::after(1, pending, Millis(1));
    assert_eq!(Task::stored(Some(&row), 9).map(|answer| answer.as_str()), Some("pending"));
    assert_eq!(row.ages_from(), None);
    let row = row.completed(done, Millis(3)).unwrap();
    assert_eq!((row.state, row.ages_from()), (TaskState::Done, Some(Millis(3))));
}
