//! A saga in memory: its state as decided so far, and what of it is in hand.

use super::{
    gates::Pass,
    message::{Snapshot, Until},
};
use crate::store::{JournalRow, Projection, SagaStatus, TimerChange, TimerName, TimerRow};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tercet_core::{
    Command, Entry, Graph, Life, Millis, Phase, SagaId, State, Status, StepInstance, StepKind, StepState, Timer, apply,
    canary::broken, entry::ENTRY_VERSION, outstanding,
};

/// A saga in memory.
pub(super) struct Active {
    pub(super) graph: Arc<Graph>,
    /// As decided, which may be ahead of what is durable.
    pub(super) state: State,
    /// The newest durable entry's number. What is in hand follows from durable entries alone.
    pub(super) durable: u32,
    /// What is outstanding in `state`.
    pub(super) commands: Vec<Command>,
    pub(super) hands: BTreeMap<HandKey, Hand>,
    /// Its durable timers, as they will be when everything decided is written.
    pub(super) timers: BTreeMap<TimerName, TimerRow>,
    pub(super) projection: Projection,
    pub(super) panics: u8,
    /// What was outstanding when it was read from its journal: calls of these may have been made that nobody here remembers.
    pub(super) recovered: BTreeSet<HandKey>,
}

/// Which outstanding thing a hand holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HandKey {
    pub(super) step: StepInstance,
    pub(super) phase: Phase,
    pub(super) attempt: u32,
    pub(super) not_before: Millis,
}

/// A call that is out, waits in line for its participant, or rests until it is made again.
pub(super) struct Hand {
    pub(super) number: u64,
    pub(super) attempts: u32,
    /// Times it could not even be sent, since it last was: for the backoff.
    pub(super) unsent: u32,
    /// When its attempt times out, or is made again: the agenda's key.
    pub(super) next: (Millis, u64),
    pub(super) out: bool,
    /// It rests for so long that a durable timer makes the call again: its saga need not stay in memory for it.
    pub(super) rests: bool,
    /// Panics of the participant's own code over this call, in a row.
    pub(super) panics: u8,
    /// While it is out to a participant.
    pub(super) pass: Option<Pass>,
}

impl HandKey {
    pub(super) fn of(command: &Command) -> Option<Self> {
        match command {
            Command::Call(call) => Some(Self {
                step: call.step.clone(),
                phase: call.phase,
                attempt: call.attempt,
                not_before: call.not_before,
            }),
            Command::Tell { step, .. } => {
                let (phase, not_before) = (Phase::Try, Millis::default());
                Some(Self { step: step.clone(), phase, attempt: 0, not_before })
            }
            Command::Wake { .. } => None,
        }
    }

    /// What it holds, among what is outstanding: that comes in the order of its steps, one command of each at most.
    pub(super) fn find<'c>(&self, commands: &'c [Command]) -> Option<&'c Command> {
        let at = commands.binary_search_by(|command| step_of(command).cmp(&Some(&self.step))).ok()?;
        let found = match &commands[at] {
            Command::Call(call) => {
                (call.phase, call.attempt, call.not_before) == (self.phase, self.attempt, self.not_before)
            }
            Command::Tell { .. } => (Phase::Try, 0, Millis::default()) == (self.phase, self.attempt, self.not_before),
            Command::Wake { .. } => false,
        };
        found.then(|| &commands[at])
    }

    pub(super) fn timer(&self) -> TimerName {
        TimerName(format!("call:{}:{}", self.phase, self.step))
    }
}

/// The step that a command is about; none of the saga's own deadline, which comes first.
fn step_of(command: &Command) -> Option<&StepInstance> {
    match command {
        Command::Call(call) => Some(&call.step),
        Command::Tell { step, .. } | Command::Wake { timer: Timer::Step(step), .. } => Some(step),
        Command::Wake { timer: Timer::Deadline, .. } => None,
    }
}

/// A wake time's name among the saga's timers.
pub(super) fn timer_name(timer: &Timer) -> TimerName {
    match timer {
        Timer::Deadline => TimerName("deadline".to_owned()),
        Timer::Step(step) => TimerName(format!("step:{step}")),
    }
}

/// The wake time of that name, if it is one.
pub(super) fn timer_of(name: &TimerName) -> Option<Timer> {
    match name.0.split_once(':') {
        None => (name.0 == "deadline").then_some(Timer::Deadline),
        Some(("step", step)) => step.parse().ok().map(Timer::Step),
        Some(_) => None,
    }
}

impl Active {
    pub(super) fn new(graph: Arc<Graph>, state: State, projection: Projection, timers: Vec<TimerRow>) -> Self {
        let timers = timers.into_iter().map(|row| (row.name.clone(), row)).collect();
        Self {
            graph,
            durable: state.seq,
            commands: outstanding(&state),
            state,
            hands: BTreeMap::new(),
            timers,
            projection,
            panics: 0,
            recovered: BTreeSet::new(),
        }
    }

    pub(super) fn id(&self) -> SagaId {
        self.state.saga()
    }

    /// Folds an entry that was just decided.
    pub(super) fn fold(&mut self, entry: &Entry) {
        apply(&mut self.state, entry);
        self.commands = outstanding(&self.state);
        debug_assert!(self.commands.is_sorted_by(|a, b| step_of(a) < step_of(b)), "one of each step, in order");
        self.panics = 0;
    }

    /// The changes that bring the durable timers to what the state wants. A retry's timer stays while its call is outstanding.
    pub(super) fn timer_changes(&mut self) -> Vec<TimerChange> {
        let (saga, mut wanted) = (self.id(), BTreeMap::new());
        let mut kept = Vec::new();
        for command in &self.commands {
            match command {
                Command::Wake { timer, at } => {
                    wanted.insert(timer_name(timer), *at);
                }
                Command::Call(call) if call.not_before > self.state.at => {
                    wanted.extend(HandKey::of(command).map(|key| (key.timer(), call.not_before)));
                }
                // Of a timer that is there alone it matters whether it is kept.
                Command::Call(_) | Command::Tell { .. } if self.timers.is_empty() => {}
                Command::Call(_) | Command::Tell { .. } => {
                    kept.extend(HandKey::of(command).map(|key| key.timer()));
                }
            }
        }
        let gone = |name: &&TimerName| !wanted.contains_key(*name) && !kept.contains(*name);
        let gone: Vec<_> = self.timers.keys().filter(gone).cloned().collect();
        let mut changes = Vec::new();
        for name in gone {
            self.timers.remove(&name);
            changes.push(TimerChange::Clear(saga, name));
        }
        for (name, due) in wanted {
            if self.timers.get(&name).is_none_or(|row| row.due != due) {
                let row = TimerRow { saga, name: name.clone(), due, attempt: 0 };
                self.timers.insert(name, row.clone());
                changes.push(TimerChange::Set(row));
            }
        }
        changes
    }

    /// The projection that follows from the state, if it differs from the one written last.
    pub(super) fn new_projection(&mut self) -> Option<Projection> {
        let mut projection = projection(&self.state, &self.commands);
        let updated = std::mem::replace(&mut projection.updated, self.projection.updated);
        if projection == self.projection {
            return None;
        }
        projection.updated = updated;
        self.projection = projection.clone();
        Some(projection)
    }

    /// Everything decided is durable.
    pub(super) fn is_durable(&self) -> bool {
        self.durable == self.state.seq || broken("calls_leave_before_the_journal")
    }

    /// Nothing is in hand that memory alone knows.
    pub(super) fn only_waits(&self) -> bool {
        self.is_durable() && self.hands.values().all(|hand| hand.rests && hand.panics == 0)
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot { state: Arc::new(self.state.clone()) }
    }
}

pub(super) fn has_reached(state: &State, until: &Until) -> bool {
    match until {
        Until::Now => true,
        Until::End => state.life.is_ended(),
        Until::Rest => state.life.is_ended() || state.parked().next().is_some(),
        Until::Tried => {
            let trying = |kind: StepKind| matches!(kind, StepKind::Tcc | StepKind::Compensable | StepKind::Read);
            let out = |step: &StepState| step.status == Status::Asked && trying(step.kind);
            state.life != Life::Trying || !state.steps.values().any(|step| out(step) && step.parked.is_none())
        }
        Until::Step(step) => {
            let open = |step: &StepState| {
                matches!(step.status, Status::Asked | Status::Waiting(_))
                    && step.pending.is_none()
                    && step.parked.is_none()
            };
            state.life.is_ended() || state.step(step).is_some_and(|step| !open(step))
        }
    }
}

/// A saga's row as its state says.
pub(super) fn projection(state: &State, commands: &[Command]) -> Projection {
    let status = match state.life {
        Life::Trying => SagaStatus::Trying,
        Life::Confirming => SagaStatus::Confirming,
        Life::Cancelling => SagaStatus::Cancelling,
        Life::Confirmed => SagaStatus::Confirmed,
        Life::Cancelled => SagaStatus::Cancelled,
    };
    let output = match (&state.output, &state.abort) {
        (Some(output), _) => Some(output.as_str().to_owned()),
        (None, Some(why)) if state.life == Life::Cancelled => Some(why.to_string()),
        _ => None,
    };
    Projection {
        status,
        parked: u32::try_from(state.parked().count()).unwrap_or(u32::MAX),
        attention: state.steps.values().any(|step| asks_for_attention(step)),
        updated: state.at,
        wakes: wakes(state, commands),
        output,
    }
}

/// A person should look: it struggles, something contradicts what was decided, or a *not done* was believed without proof.
fn asks_for_attention(step: &StepState) -> bool {
    let forced = step.effect.as_ref().is_some_and(|effect| effect.forced);
    step.attention.is_some() || step.contradicted != (false, false) || forced
}

/// When the saga wakes by itself, if nothing but its own waits holds it: a restart need not take it up before.
fn wakes(state: &State, commands: &[Command]) -> Option<Millis> {
    let child = |step: &Arc<StepState>| step.kind == StepKind::Child && step.status == Status::Asked;
    if state.steps.values().any(child) {
        return None;
    }
    let mut wakes = None;
    for command in commands {
        let at = match command {
            Command::Wake { at, .. } => *at,
            Command::Call(call) if call.not_before > state.at => call.not_before,
            Command::Call(_) | Command::Tell { .. } => return None,
        };
        wakes = Some(wakes.map_or(at, |soonest: Millis| soonest.min(at)));
    }
    wakes
}

/// A journal read back: its entries, folded.
pub(super) fn unfold(journal: &[JournalRow]) -> Result<State, String> {
    let mut state: Option<State> = None;
    for row in journal {
        let entry = read_entry(row)?;
        match &mut state {
            None => state = Some(State::begin(&entry).map_err(|e| e.to_string())?),
            Some(state) => apply(state, &entry),
        }
    }
    state.ok_or_else(|| "its journal is empty".to_owned())
}

/// One journal row's entry.
pub(super) fn read_entry(row: &JournalRow) -> Result<Entry, String> {
    let entry: Entry = serde_json::from_slice(&row.entry)
        .map_err(|e| format!("entry {} of its journal cannot be read: {e}", row.seq))?;
    if entry.v > ENTRY_VERSION {
        let (seq, v) = (row.seq, entry.v);
        return Err(format!("entry {seq} was written by a newer tercet (format {v}, this one reads {ENTRY_VERSION})"));
    }
    Ok(entry)
}
