//! The invariants of DESIGN §3 on the journal, checked at each row as it is written and at each call as it leaves.

use super::world::{World, locked};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};
use tercet::store::{
    JournalRow, MemoryStore, SagaStatus, Store,
    memory::{Contents, Signature},
};
use tercet_core::{
    Call, Command, Entry, Fact, Life, Millis, Phase, SagaId, SignalId, State, Status, StepInstance, Verdict, apply,
    outstanding,
};

/// Folds every journal as it grows.
pub(crate) struct Checker {
    world: Arc<World>,
    store: MemoryStore,
    /// Nodes share the store.
    share: bool,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    rows: usize,
    states: BTreeMap<SagaId, State>,
    decisions: BTreeMap<SagaId, u32>,
}

impl Checker {
    pub(crate) fn new(world: &Arc<World>, store: &MemoryStore) -> Arc<Self> {
        Arc::new(Self {
            world: world.clone(),
            store: store.clone(),
            share: store.cluster().is_some(),
            seen: Mutex::default(),
        })
    }

    /// Looks at what was written since the last time.
    pub(crate) fn observe(&self) {
        let mut seen = locked(&self.seen);
        let wrong = self.store.inspect(|contents| self.catch_up(&mut seen, contents));
        drop(seen);
        if let Some(wrong) = wrong {
            self.world.violate(wrong);
        }
    }

    fn catch_up(&self, seen: &mut Seen, contents: &Contents) -> Option<String> {
        let mut touched = Vec::new();
        while let Some((&(saga, seq), signed)) = contents.written.get(seen.rows).zip(contents.signed.get(seen.rows)) {
            seen.rows += 1;
            let Signature { by, owner } = *signed;
            if self.share && owner != Some(by) {
                return Some(format!("entry {seq} of {saga} was written by {by:?}, and the saga is {owner:?}'s"));
            }
            let row = contents.journals.get(&saga).and_then(|journal| journal.get(seq as usize - 1));
            let Some(row) = row else { return Some(format!("entry {seq} of {saga} is gone")) };
            if let Err(wrong) = self.entry(seen, row) {
                return Some(format!("{saga}, entry {seq}: {wrong}"));
            }
            touched.push(saga);
        }
        touched.dedup();
        touched.into_iter().find_map(|saga| projected(contents, &seen.states, saga))
    }

    fn entry(&self, seen: &mut Seen, row: &JournalRow) -> Result<(), String> {
        let entry: Entry = serde_json::from_slice(&row.entry).map_err(|e| e.to_string())?;
        self.world.note(|| format!("journal {} {}: {}", row.saga, row.seq, said(&entry)));
        let decided = entry.facts.iter().filter(|fact| matches!(fact, Fact::Committed | Fact::Aborted { .. })).count();
        let decisions = seen.decisions.entry(row.saga).or_default();
        *decisions += u32::try_from(decided).unwrap_or(u32::MAX);
        if *decisions > 1 {
            return Err("a second decision".to_owned());
        }
        let contradicted = entry.facts.iter().any(|fact| matches!(fact, Fact::Contradicted { .. }));
        if contradicted {
            self.world.count("contradicted");
        }
        let Some(before) = seen.states.get_mut(&row.saga) else {
            let state = State::begin(&entry).map_err(|e| e.to_string())?;
            if row.seq != 1 {
                return Err("the first entry seen is not the first".to_owned());
            }
            seen.states.insert(row.saga, state);
            return Ok(());
        };
        if before.seq + 1 != row.seq || entry.at < before.at || row.at != entry.at {
            return Err(format!("out of order after entry {}", before.seq));
        }
        let was = before.clone();
        apply(before, &entry);
        follows(&was, before, &entry)
    }

    /// G1 and G3: a call leaves only when a durable entry asks for it, and it is what that entry asks for. A stale engine, which
    /// has not noticed yet that another one has taken over, may ask again what was asked before.
    pub(crate) fn called(&self, call: &Call, stale: bool) {
        self.observe();
        let seen = locked(&self.seen);
        let now = self.world.now();
        let asked = seen.states.get(&call.saga).is_some_and(|state| {
            let is_it = |command: &Command| matches!(command, Command::Call(asked) if is_of(call, asked, now));
            outstanding(state).iter().any(is_it) || (stale && was_asked(state, call))
        });
        drop(seen);
        if !asked {
            self.world.violate(format!("a call left that no durable entry asks for: {call:?}"));
        }
    }

    pub(crate) fn with_states<T>(&self, look: impl FnOnce(&BTreeMap<SagaId, State>) -> T) -> T {
        look(&locked(&self.seen).states)
    }

    /// The saga has begun.
    pub(crate) fn knows(&self, saga: SagaId) -> bool {
        self.with_states(|states| states.contains_key(&saga))
    }

    /// Every saga has ended, or waits in front of a person.
    pub(crate) fn all_at_rest(&self) -> bool {
        self.with_states(|states| states.values().all(|state| is_at_rest(state, states)))
    }
}

/// Ended, or held by a parked step: its own, or that of a saga it waits for.
pub(crate) fn is_at_rest(state: &State, all: &BTreeMap<SagaId, State>) -> bool {
    if state.life.is_ended() {
        return true;
    }
    let waits_for_child = |step: &StepInstance, at: &tercet_core::StepState| {
        let undoes = at.status == Status::Undoing && at.undo.is_some();
        let child = SagaId::of_child(state.saga(), step, undoes);
        all.get(&child).is_some_and(|child| !child.life.is_ended() && is_at_rest(child, all))
    };
    let open = |at: &tercet_core::StepState| {
        matches!(at.status, Status::Asked | Status::Waiting(_) | Status::Confirming | Status::Undoing | Status::Unasked)
    };
    let mut held = false;
    for (step, at) in &state.steps {
        if at.parked.is_some() || (open(at) && waits_for_child(step, at)) {
            held = true;
        } else if open(at) {
            return false;
        }
    }
    held
}

fn is_of(call: &Call, asked: &tercet_core::command::Call, now: Millis) -> bool {
    asked.step == call.step
        && asked.phase == call.phase
        && asked.contract == call.contract
        && asked.request == call.request
        && asked.key == call.key
        && asked.not_before <= now
        && (asked.attempt == 0 || asked.attempt == call.attempt)
}

fn was_asked(state: &State, call: &Call) -> bool {
    let asked = state.step(&call.step).is_some_and(|at| at.ask.as_ref().is_some_and(|ask| ask.request == call.request));
    asked
        && match call.phase {
            Phase::Confirm => matches!(state.life, Life::Confirming | Life::Confirmed),
            Phase::Cancel => matches!(state.life, Life::Cancelling | Life::Cancelled),
            Phase::Try | Phase::Query | Phase::Close | Phase::Forget => true,
        }
}

/// G2, G3, G7, and verdicts that never change.
fn follows(was: &State, is: &State, entry: &Entry) -> Result<(), String> {
    if was.life.is_ended() && is.life != was.life {
        return Err(format!("{:?} after it had ended {:?}", is.life, was.life));
    }
    if is.life < was.life || (was.life == Life::Confirming && matches!(is.life, Life::Cancelling | Life::Cancelled)) {
        return Err(format!("{:?} after {:?}", is.life, was.life));
    }
    if was.life == Life::Cancelling && is.life == Life::Confirmed {
        return Err("confirmed while it was cancelling".to_owned());
    }
    for (id, verdict) in verdicts(was) {
        if is.verdict(id) != Some(verdict) {
            return Err(format!("the verdict on {id} was {verdict:?} and is {:?}", is.verdict(id)));
        }
    }
    for (step, before) in &was.steps {
        let Some(after) = is.step(step) else { continue };
        if let Status::Waiting(until) = before.status
            && (after.status == Status::Missed || (after.status == Status::Done && after.took.is_none()))
            && entry.at < until
        {
            return Err(format!("the wait {step} ended before its time"));
        }
        let ended = |status: &Status| matches!(status, Status::Confirmed | Status::Undone);
        if ended(&before.status) && after.status != before.status {
            return Err(format!("{step} was {:?} and is {:?}", before.status, after.status));
        }
    }
    Ok(())
}

fn verdicts(state: &State) -> impl Iterator<Item = (&SignalId, Verdict)> {
    state.signals.iter().filter_map(|(id, signal)| Some((id, signal.verdict?)))
}

/// G14: the row that lists show says what the journal folds to.
fn projected(contents: &Contents, states: &BTreeMap<SagaId, State>, saga: SagaId) -> Option<String> {
    let (row, state) = (contents.sagas.get(&saga)?, states.get(&saga)?);
    let status = match state.life {
        Life::Trying => SagaStatus::Trying,
        Life::Confirming => SagaStatus::Confirming,
        Life::Cancelling => SagaStatus::Cancelling,
        Life::Confirmed => SagaStatus::Confirmed,
        Life::Cancelled => SagaStatus::Cancelled,
    };
    let shown = &row.projection;
    let attention = state.steps.values().any(|step| {
        let forced = step.effect.as_ref().is_some_and(|effect| effect.forced);
        step.attention.is_some() || step.contradicted != (false, false) || forced
    });
    let agrees = shown.status == status
        && shown.parked as usize == state.parked().count()
        && shown.attention == attention
        && row.key == *state.key();
    (!agrees).then(|| format!("the row of {saga} says {shown:?}, its journal {status:?}"))
}

/// An entry in one line.
pub(crate) fn said(entry: &Entry) -> String {
    let facts = entry.facts.iter().map(|fact| match fact {
        Fact::Started(begin) => format!("started {} {} {}", begin.definition, begin.key, begin.input.as_str()),
        Fact::Asked { step, .. } => format!("asked {step}"),
        other => format!("{other:?}"),
    });
    facts.collect::<Vec<_>>().join("; ")
}
