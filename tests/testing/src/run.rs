//! One world, from its start to its rest, and what was wrong with it.

use crate::{
    check,
    hooks::{Hook, When, boxed, message},
    locked,
    log::{Line, Mark, What},
    place::Participants,
    plan::{Act, Case, End, Figures, Record},
    wires::{Fault, REFUSED},
    world::{Kept, World, named},
    worlds::{Course, Worlds},
};
use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind},
};
use tercet::EngineError;
use tercet_core::{Action, Answer, Life, Millis, Phase, SagaId, State, StepInstance, entry::Parked};

/// How often a saga that parks is sent on before it is given up.
const SENT_ON_MAX: u32 = 5;

/// What became of a world.
pub(crate) struct Outcome {
    pub(crate) wrong: Vec<String>,
    pub(crate) lines: Vec<Line>,
    pub(crate) begins: Millis,
    /// What a clean run is recorded as; `None` when it did not come to rest.
    pub(crate) record: Option<Record>,
}

/// Runs a world in a runtime of its own. A panic of the author's is something that is wrong.
pub(crate) fn run<P: Participants>(spec: &Worlds<P>, case: &Case, clean: Option<&Record>) -> Outcome {
    let begins = spec.setup.begins;
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let wrong = vec![format!("failed to make a runtime: {error}")];
            return Outcome { wrong, lines: Vec::new(), begins, record: None };
        }
    };
    let _entered = runtime.enter();
    let opened: RefCell<Option<World<P>>> = RefCell::default();
    let ran = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let mut setup = spec.setup.clone();
            if spec.crashes_on_disk && case.kind.is_crash() {
                setup.kept = Kept::OnDisk;
            }
            let world = World::open(setup, |place| (spec.open)(place)).await;
            *opened.borrow_mut() = Some(world.clone());
            live(&world, spec, case, clean).await
        })
    }));
    let (record, panicked) = match ran {
        Ok(record) => (record, None),
        Err(panic) => (None, Some(format!("it panicked: {}", message(&*panic)))),
    };
    let world = opened.take();
    let (lines, mut wrong) = match &world {
        Some(world) => (world.inner.log.lines(), world.inner.log.take_wrong()),
        None => (Vec::new(), Vec::new()),
    };
    drop(world);
    wrong.extend(panicked);
    Outcome { wrong, lines, begins, record }
}

async fn live<P: Participants>(
    world: &World<P>, spec: &Worlds<P>, case: &Case, clean: Option<&Record>,
) -> Option<Record> {
    arrange(world, spec, case).await;
    let saga = match begin(world, spec, case).await {
        Ok(saga) => saga,
        Err(error) => {
            world.inner.log.wrong(format!("the saga cannot be started: {error}"));
            return None;
        }
    };
    if let Err(stuck) = rest(world, spec).await {
        world.inner.log.wrong(stuck);
        return None;
    }
    if case.act == Act::Copies {
        copies(world, saga).await;
    }
    check::laws(world).await;
    befell(world, case);
    let record = record(world, spec, saga).await;
    check::end(world, spec, case, clean, &record);
    if let Some(slate) = &spec.slate
        && let Err(complaint) = slate(world.clone()).await
    {
        world.inner.log.wrong(format!("the slate is not clean: {complaint}"));
    }
    Some(record)
}

/// What is there before the saga is started.
async fn arrange<P: Participants>(world: &World<P>, spec: &Worlds<P>, case: &Case) {
    if let Some(prepare) = &spec.prepared {
        prepare(world.clone()).await;
    }
    for pump in &spec.pumps {
        let pump = pump.clone();
        world.pump(move |world| pump(world));
    }
    // As a participant does that remembers its refusal.
    let refused = |step: &str| {
        world.wires.plan(step, Phase::Try, None, Fault::refuse());
        world.wires.plan(step, Phase::Query, None, Fault::refuse());
        world.wires.plan(step, Phase::Close, None, Fault::Answer(Answer::Closed));
    };
    match &spec.courses[case.course] {
        Course::Natural => {}
        Course::Arranged(_, arrange) => arrange(world.clone()).await,
        Course::Undone(step) => refused(step.as_str()),
    }
    match &case.act {
        Act::Nothing | Act::Copies => {}
        Act::Call(call, fault) => world.wires.plan_call(call.clone(), fault.clone()),
        Act::Hold(What::Answer(call), hold) => world.wires.plan_hold(call.clone(), hold.clone()),
        Act::Hold(What::Hook(name), hold) => world.inner.hooks.hold(name.clone(), hold.clone()),
        Act::Die(nth, dies) => world.store.die_at(*nth, *dies),
        Act::Overtake(call) => world.wires.plan_call(call.clone(), Fault::LateCall),
        Act::Cancel(_) => {}
    }
}

async fn begin<P: Participants>(world: &World<P>, spec: &Worlds<P>, case: &Case) -> Result<SagaId, EngineError> {
    if !matches!(case.act, Act::Die(..)) {
        world.store.count_anew();
    }
    *locked(&world.inner.under_test) = Some((spec.definition.clone(), named(&spec.key)));
    for hook in &spec.hooks {
        world.spawn_hook(hook.clone());
    }
    let when = match &case.act {
        Act::Cancel(nth) => Some(When::Written(*nth)),
        Act::Overtake(call) => Some(When::Reached(call.step.clone())),
        _ => None,
    };
    if let Some(when) = when {
        world.spawn_hook(Hook { when, does: boxed(cancel) });
    }
    let started = world.start(spec.definition.as_str(), &spec.key, &spec.input).await?;
    Ok(started.id)
}

/// Somebody cancels the saga under test; that it is too late for that is an answer.
async fn cancel<P: Participants>(world: World<P>) {
    let Some(saga) = world.try_saga() else { return };
    match world.cancel(saga).await {
        Ok(()) => {}
        Err(EngineError::TooLate { state, why, .. }) => {
            world.inner.log.of_saga(saga, Mark::Hook, format!("the cancel is too late: it is {state}, {why}"));
        }
        Err(error) => world.inner.log.wrong(format!("the cancel was not taken: {error}")),
    }
}

/// Lets everything come to rest; who is parked and may be sent on is sent on.
async fn rest<P: Participants>(world: &World<P>, spec: &Worlds<P>) -> Result<(), String> {
    for _ in 0..SENT_ON_MAX {
        world.come_to_rest().await?;
        let mut sent_on = false;
        for state in world.store.states() {
            let parked: Vec<_> = state.parked().map(|(step, why)| (step.clone(), why.clone())).collect();
            for (step, why) in parked {
                sent_on |= send_on(world, spec, &state, &step, &why).await;
            }
        }
        if !sent_on {
            return Ok(());
        }
    }
    Err(format!("it parks again and again: {}", parked(world).join("; ")))
}

/// What a person does about a parked step. False when nobody does anything.
async fn send_on<P: Participants>(
    world: &World<P>, spec: &Worlds<P>, state: &State, step: &StepInstance, why: &Parked,
) -> bool {
    if let Some(act) = spec.when_parked.get(step.step()) {
        act(world.clone()).await;
        return true;
    }
    // The kit's own refusal: it was one, and is over.
    let Parked::Refused { refusal, .. } = why else { return false };
    if refusal.code != REFUSED {
        return false;
    }
    let done = match (state.life, &state.begin.parent) {
        (Life::Trying, None) => world.cancel(state.saga()).await,
        // What stands in another saga is not given up without it.
        _ => world.operate(state.saga(), step.as_str(), Action::RetryNow).await,
    };
    if let Err(error) = done {
        world.inner.log.wrong(format!("{step} cannot be sent on: {error}"));
        return false;
    }
    true
}

/// Every call once more, forwards and backwards, as copies that a network kept back.
async fn copies<P: Participants>(world: &World<P>, saga: SagaId) {
    let calls: Vec<_> = world.wires.all().into_iter().filter(|made| made.answer.is_some()).collect();
    let undone = world.store.look(saga, |state| state.life == Life::Cancelled) == Some(true);
    let backwards: Vec<_> = calls.iter().rev().cloned().collect();
    world.inner.log.of_world(Mark::Fault, "every call is made once more, forwards and backwards".to_owned());
    for (made, again) in world.wires.send_again(calls.into_iter().chain(backwards)).await {
        // A try that comes after its cancel is told so.
        if !undone || made.call.phase == Phase::Cancel {
            check::copy(world, &made, &again);
        }
    }
}

/// A fault of one call must have befallen it. Writes are counted, and their number differs with how calls fall together.
fn befell<P>(world: &World<P>, case: &Case) {
    let left = world.wires.heal();
    if matches!(case.act, Act::Call(..) | Act::Overtake(_)) && left > 0 {
        world.inner.log.wrong(format!("this did not happen: {}; two runs of this saga differ", case.label));
    }
}

async fn record<P: Participants>(world: &World<P>, spec: &Worlds<P>, saga: SagaId) -> Record {
    // What never arrives cannot be lost.
    let arrived = world.wires.all().into_iter().filter(|made| made.answer.is_some());
    let mut calls: Vec<_> = arrived.map(|made| made.numbered).collect();
    calls.sort();
    calls.dedup();
    let end = world.end();
    world.inner.log.of_world(Mark::Plain, format!("at rest, {end}"));
    let figures = match &spec.figures {
        Some(count) => count(world.clone()).await,
        None => Figures::new(),
    };
    let last = check::last_done(&world.entries(saga).await);
    let undone = |state: &State| {
        let undone = state.steps.iter().filter(|(_, at)| at.kind.is_undone());
        undone.map(|(step, _)| step.clone()).collect()
    };
    let undone = world.store.look(saga, undone).unwrap_or_default();
    Record {
        root: world.inner.log.name(saga),
        saga,
        calls,
        writes: world.store.writes(),
        neighbours: world.inner.log.neighbours(),
        end,
        figures,
        last,
        undone,
    }
}

/// Every parked step of a world, and why.
pub(crate) fn parked<P>(world: &World<P>) -> Vec<String> {
    let of = |state: State| {
        let name = world.inner.log.name(state.saga());
        state.parked().map(|(step, why)| format!("{name}/{step}: {why}")).collect::<Vec<_>>()
    };
    world.store.states().into_iter().flat_map(of).collect()
}

impl<P> World<P> {
    /// How the saga under test ended; parked while any saga of the world waits for a person.
    #[must_use]
    pub fn end(&self) -> End {
        let states = self.store.states();
        let life = self.try_saga().and_then(|saga| self.store.look(saga, |state| state.life));
        match life {
            _ if states.iter().any(|state| state.parked().next().is_some()) => End::Parked,
            Some(Life::Confirmed) => End::Confirmed,
            Some(Life::Cancelled) => End::Cancelled,
            _ => End::Parked,
        }
    }
}
