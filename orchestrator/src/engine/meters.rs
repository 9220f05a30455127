//! What an engine counts. The handles are made once; counting is an addition.
//!
//! | metric | labels | what |
//! |---|---|---|
//! | `tercet_sagas_started_total` | `definition` | sagas begun |
//! | `tercet_sagas_ended_total` | `definition`, `outcome` | sagas that ended `confirmed` or `cancelled` |
//! | `tercet_steps_total` | `definition`, `outcome` | steps that became `done`, `refused`, `unknown`, `gave_up`, `confirmed`, `undone` or `parked` |
//! | `tercet_commit_rows` | | journal rows of a batch |
//! | `tercet_commit_seconds` | | how long the store took for it, to the millisecond |
//! | `tercet_timers_armed_total` | | durable timers set, or moved |
//! | `tercet_timers_fired_total` | | of these, fired |
//! | `tercet_timers_lateness_seconds` | | how long after its time one fired |
//! | `tercet_nodes_taken_over_total` | | nodes that this one took over |
//! | `tercet_sagas_in_memory` | | sagas with something in hand, now |
//! | `tercet_breaker` | `participant` | 0 closed, 1 half open, 2 open, now |
//! | `tercet_calls_out` | `participant` | calls that are out, now |
//! | `tercet_calls_waiting` | `participant` | calls that wait in line, now |
//!
//! The last four are looked up when `/metrics` is asked for. What a saga does is counted when it is decided: a batch that is lost and
//! decided anew counts twice.

use crate::{
    registry::Registry,
    store::{Batch, TimerChange},
};
use metrics::{Counter, Histogram, counter, histogram};
use std::{collections::BTreeMap, time::Duration};
use tercet_core::{DefinitionName, Entry, Fact, Millis};

/// The handles of one engine.
pub(super) struct Meters {
    definitions: BTreeMap<DefinitionName, OfDefinition>,
    commit_rows: Histogram,
    commit_seconds: Histogram,
    armed: Counter,
    fired: Counter,
    lateness: Histogram,
    taken_over: Counter,
}

struct OfDefinition {
    started: Counter,
    confirmed: Counter,
    cancelled: Counter,
    steps: [Counter; STEPS.len()],
}

/// What may become of a step, as a label's values.
const STEPS: [&str; 7] = ["done", "refused", "unknown", "gave_up", "confirmed", "undone", "parked"];

impl OfDefinition {
    fn new(name: &DefinitionName) -> Self {
        let name = name.to_string();
        let ended = |outcome: &'static str| counter!("tercet_sagas_ended_total", "definition" => name.clone(), "outcome" => outcome);
        Self {
            started: counter!("tercet_sagas_started_total", "definition" => name.clone()),
            confirmed: ended("confirmed"),
            cancelled: ended("cancelled"),
            steps: STEPS
                .map(|outcome| counter!("tercet_steps_total", "definition" => name.clone(), "outcome" => outcome)),
        }
    }

    fn of(&self, fact: &Fact) -> Option<&Counter> {
        let step = match fact {
            Fact::Started(_) => return Some(&self.started),
            Fact::EndedConfirmed { .. } => return Some(&self.confirmed),
            Fact::EndedCancelled => return Some(&self.cancelled),
            Fact::Done { .. } => 0,
            Fact::Refused { .. } => 1,
            Fact::Unknown { .. } | Fact::Doubted { .. } => 2,
            Fact::GaveUp { .. } => 3,
            Fact::Confirmed { .. } => 4,
            Fact::Undone { .. } => 5,
            Fact::Parked { .. } => 6,
            _ => return None,
        };
        self.steps.get(step)
    }
}

impl Meters {
    /// The handles for what `registry` has.
    pub(super) fn new(registry: &Registry) -> Self {
        let names = registry.iter().map(|graph| graph.name().clone());
        Self {
            definitions: names.map(|name| (name.clone(), OfDefinition::new(&name))).collect(),
            commit_rows: histogram!("tercet_commit_rows"),
            commit_seconds: histogram!("tercet_commit_seconds"),
            armed: counter!("tercet_timers_armed_total"),
            fired: counter!("tercet_timers_fired_total"),
            lateness: histogram!("tercet_timers_lateness_seconds"),
            taken_over: counter!("tercet_nodes_taken_over_total"),
        }
    }

    /// An entry of a saga of that definition was decided.
    pub(super) fn decided(&self, definition: &DefinitionName, entry: &Entry) {
        let Some(of) = self.definitions.get(definition) else { return };
        entry.facts.iter().filter_map(|fact| of.of(fact)).for_each(|counter| counter.increment(1));
    }

    /// A batch is handed to the store.
    pub(super) fn writing(&self, batch: &Batch) {
        let started = batch.starts.iter().map(|start| start.entries.len());
        let rows: usize = started.chain(batch.changes.iter().map(|change| change.entries.len())).sum();
        self.commit_rows.record(f64::from(u32::try_from(rows).unwrap_or(u32::MAX)));
    }

    /// The store has answered.
    pub(super) fn written(&self, begun: Millis, now: Millis) {
        self.commit_seconds.record(apart(begun, now));
    }

    pub(super) fn armed(&self, changes: &[TimerChange]) {
        let set = changes.iter().filter(|change| matches!(change, TimerChange::Set(_))).count();
        self.armed.increment(set as u64);
    }

    /// Another node was taken over.
    pub(super) fn taken_over(&self) {
        self.taken_over.increment(1);
    }

    pub(super) fn fired(&self, due: Millis, now: Millis) {
        self.fired.increment(1);
        self.lateness.record(apart(due, now));
    }
}

/// How long from one to the other, in seconds; nothing when the clock was set back.
fn apart(from: Millis, to: Millis) -> f64 {
    Duration::from_millis(u64::try_from(to.0.saturating_sub(from.0)).unwrap_or(0)).as_secs_f64()
}
