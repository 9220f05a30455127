//! G13: when the faults are over, every saga that no person holds up ends within the sum of its own declared waits, and for each
//! step a timeout, a backoff, a query and a breaker's rest.

use super::town::Town;
use std::{collections::BTreeMap, time::Duration};
use tercet::Registry;
use tercet_core::{Graph, Millis, SagaId, State, definition::StepDescription, policy::EXPIRY_MARGIN};

/// The longest that a breaker rests between two probes, and what it takes for three of them in a row.
const BREAKER: Duration = Duration::from_secs(60 + 3 * 10);

/// Between the end of a child, or a verdict, and who waits for it: the inbox, and a restart of the engine.
const TOLD: Duration = Duration::from_secs(10);

/// A saga that ended later than its own waits account for, once nothing but itself was in its way.
pub(crate) fn late(town: &Town, fair_since: Millis) -> Option<String> {
    let registry = town.registry();
    town.checker.with_states(|states: &BTreeMap<SagaId, State>| {
        states.values().filter(|state| is_its_own(state)).find_map(|state| {
            let graph = registry.get(state.definition(), state.begin.version)?;
            let (own, took) = (own(graph, registry), state.at.since(fair_since.max(state.started)));
            let (saga, name) = (state.saga(), state.definition());
            (took > own).then(|| format!("{saga} ({name}) took {took:?} in fair weather, its own waits are {own:?}"))
        })
    })
}

/// Late evidence has times of its own, after the end.
fn is_its_own(state: &State) -> bool {
    state.life.is_ended() && state.steps.values().all(|step| step.contradicted == (false, false))
}

/// What a saga may take in fair weather, with those that it starts and tells.
fn own(graph: &Graph, registry: &Registry) -> Duration {
    let steps = graph.describe().steps;
    let told = steps.iter().filter_map(|step| match step.saga.as_ref()? {
        (name, None) => registry.newest(name),
        _ => None,
    });
    let others = told.chain(graph.children()).map(|other| own(other, registry) + TOLD);
    steps.iter().map(of_step).chain(others).sum()
}

fn of_step(step: &StepDescription) -> Duration {
    let millis = |time: Option<u64>| time.map_or(Duration::ZERO, Duration::from_millis);
    let lifetime = step.expires_after_ms.map_or(Duration::ZERO, |time| Duration::from_millis(time) + EXPIRY_MARGIN);
    let policy = step.policy;
    let calls = if step.wait_ms.is_some() {
        Duration::ZERO
    } else {
        policy.timeout + policy.retry.cap + policy.query_every + BREAKER
    };
    millis(step.wait_ms) + lifetime + calls
}
