//! One run: a seed's town, its bad weather, then fair weather until all is at rest, and what must be so then.

use super::{
    check::is_at_rest,
    disk::{DEFEATED, FORWARDED, GAVE, TAKEN_OVER},
    liveness,
    models::desk::OrderState,
    people::{Acknowledgements, BREAKER_OPEN, WAITED_IN_LINE, move_in},
    town::{OLD_PAYMENTS, Town},
    waiters::HEARD_ELSEWHERE,
    weather::{Fault, Weather},
    world::World,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tercet_core::{Life, SagaId, State, Verdict};

/// What came of a seed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What must not be and is, if anything.
    pub violation: Option<String>,
    /// Sagas by how they ended, faults and events by how often they happened.
    pub counts: BTreeMap<&'static str, u64>,
    /// Steps that the executor made.
    pub steps: u64,
    /// A number that any difference between two runs of the seed changes.
    pub hash: u64,
    /// How long the town lived, in its own time.
    pub lived: Duration,
    /// Each line with its time, in milliseconds, when the run kept them.
    pub timeline: Vec<(i64, String)>,
}

impl Outcome {
    /// A run that panicked.
    #[must_use]
    pub fn panicked(seed: u64, text: &str) -> Self {
        let violation = Some(format!("a panic: {text}"));
        let (counts, timeline) = (BTreeMap::new(), Vec::new());
        Self { seed, violation, counts, steps: 0, hash: 0, lived: Duration::ZERO, timeline }
    }
}

/// What must happen now and then for a series of seeds to mean anything.
pub fn must_happen() -> impl Iterator<Item = &'static str> {
    let ends = ["confirmed", "cancelled", "parked", "contradicted", "late evidence at the participant"];
    let ends =
        ends.into_iter().chain([BREAKER_OPEN, WAITED_IN_LINE, DEFEATED, TAKEN_OVER, GAVE, FORWARDED, HEARD_ELSEWHERE]);
    ends.chain(Fault::ALL.iter().map(|fault| fault.text()))
}

/// How long after the faults a run goes on at most. Each saga has a bound of its own: see `liveness`.
const HEALED_WITHIN: Duration = Duration::from_secs(3 * 3600);

/// Runs one seed to its end, or to the first thing that is wrong.
pub(crate) fn run(seed: u64, traces: bool) -> Outcome {
    let world = World::new(seed, traces);
    let began = world.now();
    let weather = Weather::of(&world);
    let town = Town::found(&world, &weather);
    let acknowledged = Arc::new(Acknowledgements::default());
    town.opens();
    move_in(&town, &acknowledged);
    let bad = Duration::from_secs(world.between(600, 2_400));
    let wrong = town.run_until(world.now().plus(bad), || false) || heals(&town);
    if !wrong && let Err(wrong) = at_rest(&town, &acknowledged) {
        world.violate(wrong);
    }
    tally(&town);
    let (steps, hash) = world.fingerprint();
    let outcome = Outcome {
        seed,
        violation: world.violation(),
        counts: world.counts(),
        steps,
        hash,
        lived: world.now().since(began),
        timeline: world.timeline(),
    };
    town.kill_engine();
    world.end();
    outcome
}

/// Fair weather: what the bank knows is reported, and all comes to rest. True when something is wrong.
pub(crate) fn heals(town: &Arc<Town>) -> bool {
    let world = &town.world;
    world.note(|| "---- the faults are over".to_owned());
    town.weather.heal();
    town.store.faults().heal();
    let healed = world.now();
    let mut wrong = false;
    for statement in [900, 1_500, 2_400] {
        wrong = wrong || town.run_until(healed.plus(Duration::from_secs(statement)), || false) || unevenly(town);
        town.bank.statement();
    }
    let fair_since = world.now();
    wrong = wrong || town.run_until(healed.plus(HEALED_WITHIN), || town.checker.all_at_rest());
    // What was on its way when the last one came to rest arrives.
    wrong = wrong || town.run_until(world.now().plus(Duration::from_secs(900)), || false);
    if let Some(late) = liveness::late(town, fair_since) {
        world.violate(late);
        return true;
    }
    wrong
}

/// In fair weather every shard is a node's, and each has its share. True when not.
fn unevenly(town: &Town) -> bool {
    let spread = if town.nodes.share() { town.is_spread() } else { Ok(()) };
    spread.is_err_and(|wrong| {
        town.world.violate(wrong);
        true
    })
}

/// What must be so at rest.
pub(crate) fn at_rest(town: &Town, acknowledged: &Acknowledgements) -> Result<(), String> {
    let states = town.checker.with_states(Clone::clone);
    if let Some(state) = states.values().find(|state| !is_at_rest(state, &states)) {
        let steps: Vec<_> = state.steps.iter().map(|(step, at)| format!("{step} {:?}", at.status)).collect();
        let (saga, name, life) = (state.saga(), state.definition(), state.life);
        return Err(format!("{saga} ({name}) is {life:?} and not at rest long after the faults: {}", steps.join(", ")));
    }
    for ((definition, key), saga) in acknowledged.all() {
        if !states.contains_key(&saga) {
            return Err(format!("{definition} {key} was acknowledged as {saga}, and is gone"));
        }
    }
    if let Some(saga) = town.waiters.waiting().into_iter().find(|saga| states[saga].life.is_ended()) {
        return Err(format!("{saga} has ended, and somebody who waits for that has not heard"));
    }
    for (saga, what) in town.held() {
        if states.get(&saga).is_none_or(|state| state.life.is_ended()) {
            return Err(format!("{saga} has ended, and still: {what}"));
        }
    }
    books(town, &states)?;
    let paid = payments_of(&states);
    for (payment, state) in &paid {
        money(town, &states, payment, state)?;
    }
    old_money(town, &states)
}

fn looked<M: Clone + Send + 'static, R>(
    database: &tercet_participant::Memory<M>, look: impl FnOnce(&M) -> R,
) -> Result<R, String> {
    database.try_look(look).ok_or_else(|| "a transaction is open at rest".to_owned())
}

/// Orders stand where their sagas ended; what a cancelled saga took is back.
fn books(town: &Town, states: &BTreeMap<SagaId, State>) -> Result<(), String> {
    for state in states.values().filter(|state| state.life == Life::Cancelled) {
        let taken = looked(&town.stock, |stock| stock.taken_by(state.saga()))?;
        if taken != 0 {
            return Err(format!("{} was cancelled, and {taken} pieces are still taken", state.saga()));
        }
    }
    for state in states.values().filter(|state| state.definition().as_str() == "order") {
        let accepted = state.signals.values().filter(|signal| signal.verdict == Some(Verdict::Accepted)).count();
        let committed = matches!(state.life, Life::Confirming | Life::Confirmed);
        if accepted != usize::from(committed) {
            return Err(format!("{} is {:?} with {accepted} payments accepted", state.saga(), state.life));
        }
    }
    for (order, (saga, stands)) in looked(&town.desk, |desk| desk.orders.clone())? {
        let wanted = match states.get(&saga).map(|state| state.life) {
            Some(Life::Confirmed) => OrderState::Paid,
            Some(Life::Cancelled) => OrderState::Cancelled,
            _ => continue,
        };
        if stands != wanted {
            return Err(format!("{order} is {stands:?} though its saga is at {wanted:?}"));
        }
    }
    Ok(())
}

fn payments_of(states: &BTreeMap<SagaId, State>) -> Vec<(String, State)> {
    let payments = states.values().filter(|state| state.definition().as_str().starts_with("payment"));
    payments.map(|state| (state.key().to_string(), state.clone())).collect()
}

/// Sagas that have to do with a payment: its own, its order's, those that give its money back.
fn concerned<'a>(states: &'a BTreeMap<SagaId, State>, payment: &str, order: &str) -> Vec<&'a State> {
    let named = |state: &&State| {
        let name = state.definition().as_str();
        match name {
            "order" => state.key().as_str() == order,
            "give_back" => state.begin.input.as_str().contains(&format!("\"{payment}\"")),
            _ => state.key().as_str() == payment,
        }
    };
    states.values().filter(named).collect()
}

/// Every charge that is done ends in exactly one of order confirmed, money given back.
fn money(town: &Town, states: &BTreeMap<SagaId, State>, payment: &str, state: &State) -> Result<(), String> {
    let input: super::contracts::Payment = state.begin.input.parse().map_err(|e| e.to_string())?;
    let concerned = concerned(states, payment, &input.order);
    let accepted = concerned.iter().filter(|state| state.definition().as_str() == "order").any(|order| {
        let of_it = |signal: &tercet_core::state::SignalState| {
            signal.payload.as_str().contains(&format!("\"{payment}\"")) && signal.verdict == Some(Verdict::Accepted)
        };
        matches!(order.life, Life::Confirming | Life::Confirmed) && order.signals.values().any(of_it)
    });
    let (came, went) = town.bank.moved(payment);
    let itemised = concerned.iter().any(|state| !state.life.is_ended());
    let ends = match (came > 0, accepted) {
        (false, false) => went == 0,
        (false, true) => false,
        (true, true) => went == 0,
        (true, false) => went == came || itemised,
    };
    if ends {
        return Ok(());
    }
    Err(format!("payment {payment}: {came} came in, {went} went back, order accepted it: {accepted}"))
}

/// What went back of the old payments is what confirmed refunds say.
fn old_money(town: &Town, states: &BTreeMap<SagaId, State>) -> Result<(), String> {
    for payment in OLD_PAYMENTS {
        let (mut confirmed, mut open) = (0, 0);
        for state in states.values().filter(|state| state.definition().as_str().starts_with("refund")) {
            let input: super::contracts::Return = state.begin.input.parse().map_err(|e| e.to_string())?;
            if input.refund.payment == payment {
                match state.life {
                    Life::Cancelled => {}
                    Life::Confirmed => confirmed += input.refund.minor,
                    _ => open += input.refund.minor,
                }
            }
        }
        let (_, went) = town.bank.moved(payment);
        if went < confirmed || went > confirmed + open {
            return Err(format!("{went} of {payment} went back; confirmed {confirmed}, undecided {open}"));
        }
    }
    Ok(())
}

fn tally(town: &Town) {
    let states = town.checker.with_states(Clone::clone);
    for state in states.values() {
        town.world.count(match state.life {
            Life::Confirmed => "confirmed",
            Life::Cancelled => "cancelled",
            _ if state.parked().next().is_some() => "parked",
            _ => "waits for a parked one",
        });
    }
}
