//! Folding: what each fact makes of a state.

use super::{Attempt, Effect, Heard, Life, Next, SignalState, State, Status, StepState};
use crate::{
    Millis, Payload, Phase, SignalId, StepInstance, StepKind,
    entry::{Abort, Ask, Entry, Evidence, Fact, Parked},
    event::Sender,
};
use std::{sync::Arc, time::Duration};

/// The fold: what an entry says is so. Total, and the same wherever it runs.
pub fn apply(state: &mut State, entry: &Entry) {
    state.at = entry.at;
    state.seq += 1;
    for fact in &entry.facts {
        state.fact(fact);
    }
}

impl State {
    pub(crate) fn fact(&mut self, fact: &Fact) {
        match fact {
            Fact::Started(_) => {}
            Fact::Asked { step, ask } => self.asked(step, ask),
            Fact::Waiting { step, kind, signal, until } => {
                let mut state = StepState::new(*kind, Status::Waiting(*until), self.at);
                state.signal.clone_from(signal);
                self.steps.insert(step.clone(), Arc::new(state));
            }
            Fact::Branched { step, taken } => {
                let mut state = StepState::new(StepKind::When, Status::Done, self.at);
                state.taken = *taken;
                self.steps.insert(step.clone(), Arc::new(state));
            }
            Fact::FannedOut { step, items } => {
                let mut state = StepState::new(StepKind::ForEach, Status::Done, self.at);
                state.items.clone_from(items);
                self.steps.insert(step.clone(), Arc::new(state));
            }
            Fact::Received { id, name, payload, from } => self.received(id, name, payload, from.as_ref()),
            Fact::Judged { id, verdict } => {
                if let Some(signal) = self.signals.get_mut(id) {
                    signal.verdict = Some(*verdict);
                }
            }
            Fact::AbortWanted { why } => self.abort = Some(why.clone()),
            Fact::Committed => self.committed(),
            Fact::Aborted { why } => self.aborted(why),
            Fact::Took { step, signal } => self.took(step, signal),
            Fact::EndedConfirmed { output } => {
                self.life = Life::Confirmed;
                self.output = Some(output.clone());
            }
            Fact::EndedCancelled => self.life = Life::Cancelled,
            _ => self.step_fact(fact),
        }
    }

    fn asked(&mut self, step: &StepInstance, ask: &Arc<Ask>) {
        let mut state = StepState::new(ask.kind, Status::Asked, self.at);
        state.ask = Some(ask.clone());
        if ask.kind.is_irreversible() {
            state.effect = Some(Effect {
                attempts: vec![Attempt { number: 1, heard: Heard::Nothing }],
                next: Next::Answer,
                queries: 0,
                closes: 0,
                closing: false,
                forced: false,
            });
        }
        self.steps.insert(step.clone(), Arc::new(state));
    }

    fn received(&mut self, id: &SignalId, name: &str, payload: &Payload, from: Option<&Sender>) {
        let order = u32::try_from(self.signals.len()).unwrap_or(u32::MAX);
        let signal = SignalState {
            name: name.to_owned(),
            payload: payload.clone(),
            from: from.cloned(),
            taken_by: None,
            verdict: None,
            order,
        };
        self.signals.insert(id.clone(), signal);
    }

    fn committed(&mut self) {
        self.life = Life::Confirming;
        self.abort = None;
        for state in self.steps.values_mut() {
            if state.kind == StepKind::Tcc && state.status == Status::Done {
                Arc::make_mut(state).status = Status::Confirming;
            }
        }
    }

    /// What was still being tried may have arrived; what has no effect is dropped.
    fn aborted(&mut self, why: &Abort) {
        self.life = Life::Cancelling;
        self.abort = Some(why.clone());
        for state in self.steps.values_mut().map(Arc::make_mut) {
            state.parked = None;
            match state.status {
                Status::Asked if state.kind.is_undone() || state.kind == StepKind::Child => {
                    state.reach(Status::GaveUp);
                }
                Status::Asked | Status::Waiting(_) | Status::Unasked => state.reach(Status::Dropped),
                _ => {}
            }
        }
    }

    fn took(&mut self, step: &StepInstance, id: &SignalId) {
        let (Some(state), Some(signal)) = (self.steps.get_mut(step), self.signals.get_mut(id)) else { return };
        let state = Arc::make_mut(state);
        signal.taken_by = Some(step.clone());
        state.status = Status::Done;
        state.reply = signal.payload.clone();
        state.replied = true;
        state.took = Some(id.clone());
    }

    fn step_fact(&mut self, fact: &Fact) {
        let at = self.at;
        if let Fact::Resumed { step } = fact
            && self.steps.get(step).is_some_and(|state| state.status == Status::Unasked)
        {
            self.steps.remove(step);
        }
        if let Fact::Dropped { step } | Fact::Parked { step, .. } | Fact::Refused { step, .. } = fact {
            let unasked = || Arc::new(StepState::new(StepKind::Read, Status::Unasked, at));
            self.steps.entry(step.clone()).or_insert_with(unasked);
        }
        let Some(step) = step_of(fact) else { return };
        let Some(state) = self.steps.get_mut(step) else { return };
        Arc::make_mut(state).fact(fact, at);
    }
}

fn step_of(fact: &Fact) -> Option<&StepInstance> {
    match fact {
        Fact::Attempted { step, .. }
        | Fact::Done { step, .. }
        | Fact::Refused { step, .. }
        | Fact::Pending { step, .. }
        | Fact::Unknown { step, .. }
        | Fact::NotNow { step, .. }
        | Fact::Doubted { step, .. }
        | Fact::Queried { step, .. }
        | Fact::Closing { step, .. }
        | Fact::Fencing { step }
        | Fact::Forced { step, .. }
        | Fact::Settled { step }
        | Fact::GaveUp { step, .. }
        | Fact::Missed { step }
        | Fact::Dropped { step }
        | Fact::Confirmed { step }
        | Fact::Undoing { step, .. }
        | Fact::Undone { step }
        | Fact::Parked { step, .. }
        | Fact::Resumed { step }
        | Fact::Flagged { step, .. }
        | Fact::Contradicted { step, .. } => Some(step),
        _ => None,
    }
}

impl StepState {
    fn fact(&mut self, fact: &Fact, at: Millis) {
        match fact {
            Fact::Done { reply, .. } => {
                self.reach(Status::Done);
                self.reply = reply.clone();
                self.replied = true;
            }
            Fact::Refused { refusal, repeated, .. } => {
                self.reach(Status::Refused);
                self.refusal = Some(refusal.clone());
                self.repeated = *repeated;
            }
            Fact::GaveUp { .. } => self.reach(Status::GaveUp),
            Fact::Missed { .. } => self.reach(Status::Missed),
            Fact::Dropped { .. } => self.reach(Status::Dropped),
            Fact::Confirmed { .. } => self.reach(Status::Confirmed),
            Fact::Undone { .. } => self.reach(Status::Undone),
            Fact::Undoing { by, .. } => {
                self.reach(Status::Undoing);
                self.undo.clone_from(by);
            }
            Fact::Parked { why, .. } => {
                self.parked = Some(why.clone());
                self.pending = None;
                self.rest();
                if let (Some(effect), Parked::Refused { .. }) = (&mut self.effect, why) {
                    effect.refused();
                }
            }
            Fact::Resumed { .. } => {
                self.parked = None;
                self.attention = None;
                self.asked = at;
            }
            Fact::Flagged { why, .. } => self.attention = Some(why.clone()),
            Fact::Pending { phase, note, next, .. } => self.pending(*phase, note, *next),
            Fact::Contradicted { evidence, undo, .. } => {
                match evidence {
                    Evidence::Done(_) => self.contradicted.0 = true,
                    Evidence::NotDone(_) => self.contradicted.1 = true,
                }
                self.attention = Some("evidence contradicts what was decided".to_owned());
                if undo.is_some() {
                    self.undo.clone_from(undo);
                }
                if let Some(effect) = &mut self.effect {
                    effect.forced = false;
                }
                self.rest();
            }
            _ => self.effect_fact(fact, at),
        }
    }

    /// A new status ends whatever held the step before.
    fn reach(&mut self, status: Status) {
        self.status = status;
        self.parked = None;
        self.attention = None;
        self.pending = None;
        self.rest();
    }

    fn rest(&mut self) {
        if let Some(effect) = &mut self.effect {
            effect.next = Next::Nothing;
        }
    }

    fn pending(&mut self, phase: Phase, note: &Payload, next: Option<Millis>) {
        self.pending = Some((phase, note.clone()));
        if let Some(effect) = &mut self.effect {
            effect.next = next.map_or(Next::Nothing, |at| Next::Query { at, fence: false });
        }
    }

    fn effect_fact(&mut self, fact: &Fact, at: Millis) {
        let Some(effect) = &mut self.effect else { return };
        let query = |next: &Option<Millis>| next.map_or(Next::Nothing, |at| Next::Query { at, fence: false });
        match fact {
            Fact::Attempted { attempt, .. } => {
                effect.attempts.push(Attempt { number: *attempt, heard: Heard::Nothing });
                effect.next = Next::Answer;
                self.pending = None;
                self.parked = None;
                self.asked = at;
            }
            Fact::Unknown { next, .. } => effect.next = query(next),
            Fact::NotNow { attempt, next, .. } => {
                effect.heard(*attempt, Heard::NotNow);
                if let Some(at) = next {
                    self.pending = None;
                    effect.next = Next::Attempt(*at);
                }
            }
            Fact::Doubted { attempt, next, .. } => {
                effect.heard(*attempt, Heard::Refused);
                if let Some(at) = next {
                    effect.next = Next::Query { at: *at, fence: false };
                }
            }
            Fact::Queried { next, .. } => {
                effect.queries += 1;
                effect.next = query(next);
            }
            Fact::Closing { next, .. } => {
                effect.closes += 1;
                effect.closing = true;
                self.parked = None;
                effect.next = next.map_or(Next::Nothing, Next::Close);
            }
            Fact::Fencing { .. } => {
                self.parked = None;
                // A query without a fence may have left this very moment: its answer proves nothing.
                let at = at.plus(Duration::from_millis(1));
                effect.next = Next::Query { at, fence: true };
            }
            Fact::Forced { next, .. } => {
                effect.forced = true;
                effect.next = query(next);
            }
            Fact::Settled { .. } => {
                effect.forced = false;
                effect.next = Next::Nothing;
            }
            _ => {}
        }
    }
}

impl Effect {
    /// A definite no under the key answers every attempt so far.
    fn refused(&mut self) {
        let open = self.attempts.iter_mut().filter(|attempt| attempt.heard == Heard::Nothing);
        open.for_each(|attempt| attempt.heard = Heard::Refused);
    }

    fn heard(&mut self, number: u32, heard: Heard) {
        for attempt in self.attempts.iter_mut().filter(|attempt| attempt.number == number) {
            attempt.heard = heard;
        }
    }
}
