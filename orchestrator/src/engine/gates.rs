//! Gates: one before each participant. A call passes while its breaker is closed and not too many are out; else it waits in line,
//! which costs it no attempt. So a participant that is slow or ill holds up the calls to itself and no others.

use super::{
    active::HandKey,
    breaker::{Breaker, Ended, Fuse},
    shared::Limits,
    worker::{Agenda, Worker},
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Weak},
};
use tercet_core::{Millis, Phase, SagaId, command::Call};

/// A participant as its gate sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParticipantState {
    /// Its name: the first part of its contracts'.
    pub name: String,
    /// Whether it is asked.
    pub breaker: Breaker,
    /// Calls that are out.
    pub out: usize,
    /// Calls that wait in line.
    pub waiting: usize,
}

/// A hand that waits in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiter {
    pub(super) saga: SagaId,
    pub(super) hand: u64,
}

/// The right to have one call out. It ends by being dropped, however that comes about.
#[derive(Debug)]
pub(super) struct Pass {
    participant: Arc<str>,
    _slot: Arc<()>,
    probe: Option<Arc<()>>,
}

struct Gate {
    name: Arc<str>,
    fuse: Fuse,
    /// Those who were decided on (confirms, cancels, queries, closes), and tries. Each line in order, the two by turns, so that
    /// neither holds up the other.
    lines: [VecDeque<Waiter>; 2],
    turn: usize,
    slots: Arc<()>,
    probe: Weak<()>,
}

impl Gate {
    fn new(name: &str, now: Millis) -> Self {
        let (lines, slots) = (Default::default(), Arc::new(()));
        Self { name: name.into(), fuse: Fuse::new(now), lines, turn: 0, slots, probe: Weak::new() }
    }

    fn out(&self) -> usize {
        Arc::strong_count(&self.slots) - 1
    }

    fn waiting(&self) -> usize {
        self.lines.iter().map(VecDeque::len).sum()
    }

    fn is_open(&mut self, now: Millis, limits: &Limits) -> bool {
        self.fuse.look(now);
        match self.fuse.state {
            Breaker::Closed => self.out() < limits.concurrent as usize,
            Breaker::Open { .. } => false,
            Breaker::HalfOpen { .. } => self.probe.strong_count() == 0,
        }
    }

    /// Lets the next one through, if one may pass. Those who no longer wait are passed over.
    fn next(&mut self, now: Millis, limits: &Limits, waits: impl Fn(Waiter) -> bool) -> Option<(Waiter, Pass)> {
        if self.waiting() == 0 || !self.is_open(now, limits) {
            return None;
        }
        loop {
            self.turn = 1 - self.turn;
            let (this, other) = (self.turn, 1 - self.turn);
            let waiter = self.lines[this].pop_front().or_else(|| self.lines[other].pop_front())?;
            if waits(waiter) {
                return Some((waiter, self.pass()));
            }
        }
    }

    fn pass(&mut self) -> Pass {
        let probe = matches!(self.fuse.state, Breaker::HalfOpen { .. }).then(|| Arc::new(()));
        self.probe = probe.as_ref().map_or_else(Weak::new, Arc::downgrade);
        Pass { participant: self.name.clone(), _slot: self.slots.clone(), probe }
    }
}

/// Every participant's gate, by its name.
#[derive(Default)]
pub(super) struct Gates(BTreeMap<Arc<str>, Gate>);

impl Gates {
    fn of(&mut self, participant: &str, now: Millis) -> Option<&mut Gate> {
        if !self.0.contains_key(participant) {
            let gate = Gate::new(participant, now);
            self.0.insert(gate.name.clone(), gate);
        }
        self.0.get_mut(participant)
    }

    pub(super) fn show(&self) -> Vec<ParticipantState> {
        let shown = |gate: &Gate| {
            let (name, breaker) = (gate.name.to_string(), gate.fuse.state.clone());
            ParticipantState { name, breaker, out: gate.out(), waiting: gate.waiting() }
        };
        self.0.values().map(shown).collect()
    }
}

impl Worker {
    /// A call's turn to ask: at once, if its participant's gate lets it through.
    pub(super) fn line_up(&mut self, saga: SagaId, hand: u64, call: &Call) {
        let participant = call.contract.parts().map_or(call.contract.as_str(), |(participant, ..)| participant);
        let decided = call.phase != Phase::Try;
        let now = self.now();
        let Some(gate) = self.gates.of(participant, now) else { return };
        gate.lines[usize::from(!decided)].push_back(Waiter { saga, hand });
        let name = gate.name.clone();
        self.let_through(&name);
    }

    /// Lets through whoever may pass by now.
    pub(super) fn open_gates(&mut self) {
        let waiting = self.gates.0.values().filter(|gate| gate.waiting() > 0);
        for name in waiting.map(|gate| gate.name.clone()).collect::<Vec<_>>() {
            self.let_through(&name);
        }
    }

    fn let_through(&mut self, participant: &str) {
        let (now, limits) = (self.now(), self.shared.settings.limits);
        while let Some(gate) = self.gates.0.get_mut(participant) {
            let sagas = &self.sagas;
            let waits = |waiter: Waiter| {
                let hands = sagas.get(&waiter.saga).map(|active| &active.hands);
                hands.is_some_and(|hands| hands.values().any(|hand| hand.number == waiter.hand && !hand.out))
            };
            let Some((waiter, pass)) = gate.next(now, &limits, waits) else { return };
            self.go(waiter, pass);
        }
    }

    /// What became of a call that was out: its participant's breaker counts it.
    pub(super) fn call_ended(&mut self, saga: SagaId, key: &HandKey, how: &Ended) {
        let hand = self.sagas.get_mut(&saga).and_then(|active| active.hands.get_mut(key));
        let Some(pass) = hand.and_then(|hand| hand.pass.take()) else { return };
        let (now, limits) = (self.now(), self.shared.settings.limits);
        let Some(gate) = self.gates.0.get_mut(&pass.participant) else { return };
        let before = gate.fuse.state.clone();
        let opened = gate.fuse.ended(how, pass.probe.is_some(), now, &limits);
        match (&before, &gate.fuse.state) {
            (_, Breaker::Open { until, why }) if opened => {
                let until = *until;
                if before == Breaker::Closed {
                    let participant = &*pass.participant;
                    tracing::error!(participant, error = %why, "a participant is left in peace: its breaker opens");
                }
                self.plan(until, Agenda::Gates);
            }
            (Breaker::HalfOpen { .. }, Breaker::Closed) => {
                tracing::info!(participant = &*pass.participant, "a participant has recovered: its breaker closes");
            }
            _ => {}
        }
    }
}
