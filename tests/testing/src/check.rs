//! What must be so in every world, whoever's saga it is.

use crate::{
    place::Participants,
    plan::{Case, End, Record},
    run::parked,
    wires::{Made, said},
    world::World,
    worlds::Worlds,
};
use std::collections::BTreeMap;
use tercet::store::{Projection, SagaStatus};
use tercet_core::{Answer, Call, Entry, Fact, Life, Phase, SagaId, State, StepInstance};

/// Journals, calls and answers by themselves.
pub(crate) async fn laws<P: Participants>(world: &World<P>) {
    for state in world.store.states() {
        stored(world, &state).await;
        contradicted(world, &state);
    }
    let made = world.wires.all();
    decided_twice(world, &made);
    answers(world, &made);
}

/// Folding the journal gives the stored state, and the engine's own.
async fn stored<P: Participants>(world: &World<P>, folded: &State) {
    let (saga, log) = (folded.saga(), &world.inner.log);
    let name = log.name(saga);
    match world.show(saga).await {
        Ok(shown) => {
            if shown.state.as_ref() != Some(folded) {
                log.wrong(format!("the journal of {name} does not fold to what was written"));
            }
            if let Some(why) = differs(folded, &shown.row.projection) {
                log.wrong(format!("the row of {name} is not what its journal folds to: {why}"));
            }
            decisions(world, &name, &shown.entries);
        }
        Err(error) => log.wrong(format!("{name} cannot be read: {error}")),
    }
    if *world.state(saga).await != *folded {
        log.wrong(format!("the engine holds {name} otherwise than its journal folds"));
    }
}

fn differs(state: &State, row: &Projection) -> Option<String> {
    let status = match state.life {
        Life::Trying => SagaStatus::Trying,
        Life::Confirming => SagaStatus::Confirming,
        Life::Cancelling => SagaStatus::Cancelling,
        Life::Confirmed => SagaStatus::Confirmed,
        Life::Cancelled => SagaStatus::Cancelled,
    };
    if status != row.status {
        return Some(format!("{:?} and {:?}", row.status, status));
    }
    let parked = state.parked().count();
    if usize::try_from(row.parked).ok() != Some(parked) {
        return Some(format!("{} steps parked and {parked}", row.parked));
    }
    let output = state.output.as_ref().map(tercet_core::Payload::as_str);
    (output.is_some() && output != row.output.as_deref()).then(|| format!("{:?} and {output:?}", row.output))
}

fn decisions<P>(world: &World<P>, name: &str, entries: &[Entry]) {
    let facts = entries.iter().flat_map(|entry| &entry.facts);
    let decisions = facts.filter(|fact| matches!(fact, Fact::Committed | Fact::Aborted { .. })).count();
    if decisions > 1 {
        world.inner.log.wrong(format!("{name} was decided {decisions} times: a bug of tercet"));
    }
}

fn contradicted<P>(world: &World<P>, state: &State) {
    let name = world.inner.log.name(state.saga());
    for (step, _) in state.steps.iter().filter(|(_, at)| at.contradicted != (false, false)) {
        world.inner.log.wrong(format!(
            "a participant contradicts itself about {name}/{step}: what it vouched for came out otherwise"
        ));
    }
}

/// Never a confirm and a cancel of the same step.
fn decided_twice<P>(world: &World<P>, made: &[Made]) {
    let mut phases = BTreeMap::<(SagaId, &StepInstance), Phase>::new();
    for call in made.iter().map(|made| &made.call) {
        let other = match call.phase {
            Phase::Confirm => Phase::Cancel,
            Phase::Cancel => Phase::Confirm,
            _ => continue,
        };
        if phases.insert((call.saga, &call.step), call.phase) == Some(other) {
            world.inner.log.wrong(format!("{} was confirmed and cancelled: a bug of tercet", call.step));
        }
    }
}

/// A phase takes effect at most once, as far as answers show: each *done* of a phase is the same *done*.
fn answers<P>(world: &World<P>, made: &[Made]) {
    let mut done = BTreeMap::<(SagaId, &StepInstance, Phase), &Answer>::new();
    for made_one in made {
        made_one.copies.iter().for_each(|copy| copied(world, made, made_one, copy));
        let (call, Some(answer @ Answer::Done(_))) = (&made_one.call, &made_one.answer) else { continue };
        if is_remembered(world, made_one)
            && done.get(&(call.saga, &call.step, call.phase)).is_some_and(|is| *is != answer)
        {
            let first = done[&(call.saga, &call.step, call.phase)];
            let (was, is) = (said(first), said(answer));
            world.inner.log.wrong(format!(
                "{} of {} was done twice: first `{was}`, then `{is}`; is there no barrier?",
                call.phase, call.step
            ));
        }
        done.entry((call.saga, &call.step, call.phase)).or_insert(answer);
    }
}

/// A read may answer anew, and so may a query; all else is answered as at first.
fn is_remembered<P>(world: &World<P>, made: &Made) -> bool {
    let kind = world.store.look(made.call.saga, |state| state.step(&made.call.step).map(|at| at.kind)).flatten();
    matches!(made.call.phase, Phase::Try | Phase::Confirm | Phase::Cancel) && kind != Some(tercet_core::StepKind::Read)
}

/// A copy that comes while the first is under way may be told *pending* or *not now*; never another *done*, and a *no* only by a step
/// that was cancelled before the copy came.
fn copied<P>(world: &World<P>, all: &[Made], made: &Made, copy: &Answer) {
    let waits = matches!(copy, Answer::Pending(_) | Answer::Retry { .. } | Answer::Expired);
    let undo =
        |other: &Call| (other.saga, &other.step, other.phase) == (made.call.saga, &made.call.step, Phase::Cancel);
    let overtaken = made.call.phase == Phase::Try
        && matches!(copy, Answer::Refused(_))
        && all.iter().any(|other| undo(&other.call));
    if !waits && !overtaken {
        self::copy(world, made, copy);
    }
}

/// A copy is answered as the first was.
pub(crate) fn copy<P>(world: &World<P>, made: &Made, again: &Answer) {
    let Some(first @ (Answer::Done(_) | Answer::Refused(_))) = &made.answer else { return };
    if is_remembered(world, made) && first != again {
        let (was, is) = (said(first), said(again));
        let call = &made.call;
        world.inner.log.wrong(format!(
            "the {} of {} was answered `{was}`, and when it was repeated `{is}`; is there no barrier?",
            call.phase, call.step
        ));
    }
}

/// The end; with the figures beside those of the clean run of the same course, where the fault must not change them.
pub(crate) fn end<P: Participants>(
    world: &World<P>, spec: &Worlds<P>, case: &Case, clean: Option<&Record>, record: &Record,
) {
    let log = &world.inner.log;
    if record.end == End::Parked {
        let may = |state: &State| state.parked().all(|(step, _)| spec.may_park.contains(step.step()));
        if !world.store.states().iter().all(may) {
            log.wrong(format!("it is parked: {}", parked(world).join("; ")));
        }
        return;
    }
    let Some(clean) = clean.filter(|_| case.kind.is_transparent()) else { return };
    if record.end != clean.end && !(spec.may_cancel && record.end == End::Cancelled) {
        let why = world.store.look(record.saga, |state| state.abort.as_ref().map(ToString::to_string)).flatten();
        let why = why.map_or_else(String::new, |why| format!(": {why}"));
        log.wrong(format!("it ended {}, and without the fault it ends {}{why}", record.end, clean.end));
    } else if record.end == clean.end && record.figures != clean.figures {
        let names = record.figures.keys().chain(clean.figures.keys()).collect::<std::collections::BTreeSet<_>>();
        let of = |figures: &BTreeMap<String, i64>, name: &str| figures.get(name).copied().unwrap_or(0);
        let changed = names.into_iter().filter(|name| of(&record.figures, name) != of(&clean.figures, name));
        let changed = changed.map(|name| {
            format!("{name} is {}, and without the fault {}", of(&record.figures, name), of(&clean.figures, name))
        });
        log.wrong(format!("the figures differ: {}", changed.collect::<Vec<_>>().join("; ")));
    }
}

/// The step that was done last before the decision to commit.
pub(crate) fn last_done(entries: &[Entry]) -> Option<StepInstance> {
    let facts: Vec<_> = entries.iter().flat_map(|entry| &entry.facts).collect();
    let decided = facts.iter().position(|fact| matches!(fact, Fact::Committed))?;
    let asked = |step: &StepInstance| {
        let asks =
            |fact: &&Fact| matches!(fact, Fact::Asked { step: of, ask } if of == step && ask.operation().is_some());
        facts.iter().any(asks)
    };
    facts[..decided].iter().rev().find_map(|fact| match fact {
        Fact::Done { step, .. } if asked(step) => Some(step.clone()),
        _ => None,
    })
}
