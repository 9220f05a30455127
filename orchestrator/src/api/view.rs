//! The shapes of the API's answers: what a program reads, and what the command line prints.

use super::words;
use crate::{
    engine::Shown,
    store::{AuditRow, SagaRow, SagaStatus, TimerRow},
};
use serde::{Deserialize, Serialize};
use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};
use tercet_core::{
    Choice, DefinitionName, Graph, Life, Millis, Payload, Refusal, SagaId, SagaKey, SignalId, State, StepInstance,
    StepKind, StepState, Verdict, choices, entry::Target,
};

/// A saga, as in a list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SagaView {
    /// Its id.
    pub id: SagaId,
    /// What it runs.
    pub definition: DefinitionName,
    /// Which version of it.
    pub version: u32,
    /// The caller's key.
    pub key: SagaKey,
    /// The saga and step that wait for its end, for a child.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<(SagaId, StepInstance)>,
    /// Where it stands: `trying`, `confirming`, `cancelling`, `confirmed`, `cancelled`.
    pub status: String,
    /// How many of its steps wait for a person.
    pub parked: u32,
    /// A person should look.
    pub attention: bool,
    /// When it was started.
    pub started: String,
    /// When it last changed.
    pub updated: String,
    /// When it wakes by itself, if a wait of its own holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wakes: Option<String>,
    /// Its output, once confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Payload>,
    /// Why it aborted, once cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aborted: Option<String>,
}

/// A page of sagas, newest first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SagaPage {
    /// The sagas.
    pub sagas: Vec<SagaView>,
    /// What to give as `cursor` for the next page; none after the last one.
    pub next: Option<String>,
}

/// A saga, with its steps.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SagaDetail {
    /// As in a list.
    pub saga: SagaView,
    /// Where it stands, in words.
    pub says: String,
    /// What it waits for, step by step.
    pub waits: Vec<WaitView>,
    /// When something of it happens next by itself.
    pub next_wake: Option<String>,
    /// What it was started with; none when its journal is gone.
    pub input: Option<Payload>,
    /// Its step instances.
    pub steps: Vec<StepView>,
    /// What it was told.
    pub signals: Vec<SignalView>,
    /// What a person can do about the saga as a whole; what about a step stands there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<Choice>,
    /// Why its journal cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

/// Why a step is not at its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitView {
    /// The step instance.
    pub step: StepInstance,
    /// What it waits for, in words.
    pub why: String,
    /// When something happens about it by itself.
    pub wakes: Option<String>,
}

/// A step instance.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StepView {
    /// Which.
    pub step: StepInstance,
    /// Its kind.
    pub kind: StepKind,
    /// Where it stands, in a word.
    pub status: String,
    /// The operation, signal or definition that it asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asks: Option<String>,
    /// What it was asked with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Payload>,
    /// What it replied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<Payload>,
    /// Why it is not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
    /// It was accepted, and this is to be seen meanwhile: a pay link, say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Payload>,
    /// Why it waits for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parked: Option<String>,
    /// Why a person should look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention: Option<String>,
    /// What a person can do about it now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<Choice>,
    /// When it was asked, or its newest attempt was.
    pub asked: String,
}

/// Something that a saga was told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SignalView {
    /// Its id.
    pub id: SignalId,
    /// Its name.
    pub signal: String,
    /// What became of it; none while that is open.
    pub verdict: Option<Verdict>,
    /// The wait that took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_by: Option<StepInstance>,
}

/// What a start is answered with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StartedView {
    /// The saga under that key.
    pub id: SagaId,
    /// What it runs.
    pub definition: DefinitionName,
    /// Its key.
    pub key: SagaKey,
    /// This start began it, not one before.
    pub new: bool,
    /// Where it stands; none when that could not be read: the start is durable all the same.
    pub status: Option<String>,
    /// What was waited for is there.
    pub reached: bool,
    /// The step that was waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepView>,
    /// Steps that were accepted and will be reported, with what is to be seen meanwhile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending: Vec<(StepInstance, Payload)>,
    /// Steps that wait for a person, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parked: Vec<(StepInstance, String)>,
    /// Its output, once confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Payload>,
    /// Why it aborts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aborted: Option<String>,
}

/// What an action is answered with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ActedView {
    /// The saga.
    pub id: SagaId,
    /// Where it stands now.
    pub status: String,
    /// The same in words.
    pub says: String,
    /// The step that was acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepView>,
    /// The signal that was told: in the journal, with its verdict once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<SignalView>,
}

/// A saga's history.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct History {
    /// The saga.
    pub id: SagaId,
    /// Its entries, oldest first.
    pub entries: Vec<EntryView>,
    /// What people did.
    pub audit: Vec<AuditView>,
    /// Why its journal cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

/// A journal row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EntryView {
    /// Its place, from 1.
    pub seq: usize,
    /// When it was decided.
    pub at: String,
    /// Its facts, in words.
    pub says: Vec<String>,
    /// Its facts, as they are kept.
    pub facts: Payload,
}

/// What a person did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AuditView {
    /// When.
    pub at: String,
    /// Who.
    pub actor: String,
    /// What.
    pub action: String,
    /// Why.
    pub reason: String,
}

/// How many sagas of a kind there are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CountView {
    /// The definition.
    pub definition: DefinitionName,
    /// The status.
    pub status: String,
    /// With a parked step.
    pub parked: bool,
    /// How many.
    pub sagas: u64,
}

/// A definition, as in a list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DefinitionView {
    /// Its name.
    pub name: DefinitionName,
    /// Its version.
    pub version: u32,
    /// A start without a version gets this one.
    pub newest: bool,
    /// How many steps it has.
    pub steps: usize,
    /// Its fingerprint.
    pub fingerprint: String,
}

/// A moment, as the API writes it.
#[must_use]
pub fn moment(at: Millis) -> String {
    // The last millisecond of the year 9999: what is later is "never", and has no date.
    let ms = u64::try_from(at.0).unwrap_or(0).min(253_402_300_799_999);
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(ms)).to_string()
}

pub(super) const fn status(status: SagaStatus) -> &'static str {
    match status {
        SagaStatus::Trying => "trying",
        SagaStatus::Confirming => "confirming",
        SagaStatus::Cancelling => "cancelling",
        SagaStatus::Confirmed => "confirmed",
        SagaStatus::Cancelled => "cancelled",
    }
}

impl From<SagaRow> for SagaView {
    fn from(row: SagaRow) -> Self {
        let SagaRow { id, definition, version, key, parent, projection, started, .. } = row;
        let at = projection.status;
        let output = |text: &String| Payload::from_bytes(text.as_bytes()).ok();
        Self {
            id,
            definition,
            version,
            key,
            parent,
            status: status(at).to_owned(),
            parked: projection.parked,
            attention: projection.attention,
            started: moment(started),
            updated: moment(projection.updated),
            wakes: projection.wakes.map(moment),
            output: projection.output.as_ref().filter(|_| at == SagaStatus::Confirmed).and_then(output),
            aborted: projection.output.filter(|_| at == SagaStatus::Cancelled),
        }
    }
}

impl SagaDetail {
    pub(super) fn new(shown: Shown, graph: Option<&Graph>, timers: &[TimerRow]) -> Self {
        let Shown { row, state, entries, unreadable } = shown;
        let gone = format!("{}; its journal is past its retention", status(row.projection.status));
        let unread = format!("{}; its journal cannot be read", status(row.projection.status));
        let says = match (&state, &unreadable) {
            (Some(state), _) => words::state(state),
            (None, Some(_)) => unread,
            (None, None) => gone,
        };
        let view = |(step, at): (&StepInstance, &Arc<StepState>)| {
            let state = state.as_ref().map_or_else(Vec::new, |state| offered(graph, state, step));
            StepView::new(step, at, state)
        };
        let steps = state.iter().flat_map(|state| &state.steps).map(view).collect();
        let signals = state.iter().flat_map(|state| &state.signals);
        let signal = |(id, at): (&SignalId, &tercet_core::state::SignalState)| SignalView {
            id: id.clone(),
            signal: at.name.clone(),
            verdict: at.verdict,
            taken_by: at.taken_by.clone(),
        };
        Self {
            signals: signals.map(signal).collect(),
            says,
            waits: state.as_ref().map_or_else(Vec::new, |state| words::waits(state, timers, &entries)),
            next_wake: timers.iter().map(|timer| timer.due).min().or(row.projection.wakes).map(moment),
            input: state.as_ref().map(|state| state.begin.input.clone()),
            saga: row.into(),
            steps,
            choices: state
                .as_ref()
                .filter(|state| graph.is_some() && may_cancel(state))
                .map(|_| Choice::Cancel)
                .into_iter()
                .collect(),
            unreadable,
        }
    }
}

/// Whether a cancel would be taken: while nothing is decided, nor asked for already.
fn may_cancel(state: &State) -> bool {
    state.life == Life::Trying && state.abort.is_none()
}

/// What a person can do about a step; nothing while its definition does not run here.
pub(super) fn offered(graph: Option<&Graph>, state: &State, step: &StepInstance) -> Vec<Choice> {
    graph.map_or_else(Vec::new, |graph| choices(graph, state, step))
}

impl StepView {
    pub(super) fn new(step: &StepInstance, at: &StepState, choices: Vec<Choice>) -> Self {
        let asks = at.ask.as_ref().map(|ask| match &ask.target {
            Target::Operation(contract) => contract.to_string(),
            Target::Signal { signal, .. } => signal.clone(),
            Target::Saga { definition, .. } => definition.to_string(),
        });
        Self {
            step: step.clone(),
            kind: at.kind,
            status: words::status(&at.status).to_owned(),
            asks: asks.or_else(|| at.signal.clone()),
            request: at.ask.as_ref().map(|ask| ask.request.clone()),
            reply: at.replied.then(|| at.reply.clone()),
            refusal: at.refusal.clone(),
            pending: at.pending.as_ref().map(|(_, note)| note.clone()),
            parked: at.parked.as_ref().map(ToString::to_string),
            attention: at.attention.clone(),
            choices,
            asked: moment(at.asked),
        }
    }
}

impl SignalView {
    /// What the saga knows of a signal, if it was told it.
    pub(super) fn of(state: &State, id: &SignalId) -> Option<Self> {
        let at = state.signals.get(id)?;
        let (signal, taken_by) = (at.name.clone(), at.taken_by.clone());
        Some(Self { id: id.clone(), signal, verdict: at.verdict, taken_by })
    }
}

impl ActedView {
    pub(super) fn new(state: &State) -> Self {
        let (id, status) = (state.saga(), state.life.as_str().to_owned());
        Self { id, status, says: words::state(state), step: None, signal: None }
    }
}

impl History {
    pub(super) fn new(shown: Shown, audit: Vec<AuditRow>) -> Self {
        let entry = |(seq, entry): (usize, tercet_core::Entry)| EntryView {
            seq,
            at: moment(entry.at),
            says: entry.facts.iter().map(words::fact).collect(),
            facts: Payload::of(&entry.facts).unwrap_or_else(|_| Payload::null()),
        };
        let audited = |row: AuditRow| {
            let AuditRow { at, actor, action, reason, .. } = row;
            AuditView { at: moment(at), actor, action, reason }
        };
        Self {
            id: shown.row.id,
            entries: (1..).zip(shown.entries).map(entry).collect(),
            audit: audit.into_iter().map(audited).collect(),
            unreadable: shown.unreadable,
        }
    }
}
