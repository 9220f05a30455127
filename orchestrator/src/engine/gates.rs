//! Gates: one before each participant. A call passes while its breaker is closed and not too many are out; else it waits in line,
//! which costs it no attempt. So a participant that is slow or ill holds up the calls to itself and no others. A saga whose call
//! waits is in memory, so that starts wait, too, where a line is long.

use super::{
    EngineError,
    active::HandKey,
    breaker::{Breaker, Ended, Fuse},
    message::{NewSaga, Reply, StartedSaga},
    shared::Limits,
    worker::{Agenda, Worker},
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Weak},
};
use tercet_core::{ContractName, DefinitionName, Millis, Phase, SagaId, command::Call};

/// Sagas in memory from which on a start may have to wait. Those are some 20 MB, and keep a participant busy for seconds.
const SAGAS_MANY: usize = 2_048;

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
pub(super) struct Gates {
    all: BTreeMap<Arc<str>, Gate>,
    /// Starts that wait, in order, by their definitions: these have the participants in common, and so the reason to wait.
    starts: BTreeMap<DefinitionName, VecDeque<(NewSaga, Reply<StartedSaga>)>>,
}

/// The name of the participant that a contract is asked of.
fn participant_of(contract: &ContractName) -> &str {
    contract.parts().map_or(contract.as_str(), |(participant, ..)| participant)
}

impl Gates {
    fn of(&mut self, participant: &str, now: Millis) -> Option<&mut Gate> {
        if !self.all.contains_key(participant) {
            let gate = Gate::new(participant, now);
            self.all.insert(gate.name.clone(), gate);
        }
        self.all.get_mut(participant)
    }

    /// It works, and will have enough to do for a while without what is not begun yet: `begun` are about to line up.
    fn is_crowded(&self, participant: &str, begun: usize, limits: &Limits) -> bool {
        let gate = self.all.get(participant);
        let waiting = begun + gate.map_or(0, |gate| gate.lines[1].len());
        gate.is_none_or(|gate| gate.fuse.state == Breaker::Closed) && waiting > limits.concurrent as usize
    }

    pub(super) fn show(&self) -> Vec<ParticipantState> {
        let shown = |gate: &Gate| {
            let (name, breaker) = (gate.name.to_string(), gate.fuse.state.clone());
            ParticipantState { name, breaker, out: gate.out(), waiting: gate.waiting() }
        };
        self.all.values().map(shown).collect()
    }
}

impl Worker {
    /// A call's turn to ask: at once, if its participant's gate lets it through.
    pub(super) fn line_up(&mut self, saga: SagaId, hand: u64, call: &Call) {
        let participant = participant_of(&call.contract);
        let decided = call.phase != Phase::Try;
        let now = self.now();
        let Some(gate) = self.gates.of(participant, now) else { return };
        gate.lines[usize::from(!decided)].push_back(Waiter { saga, hand });
        let name = gate.name.clone();
        self.let_through(&name);
    }

    /// A caller starts a saga: at once, unless so many are in memory, and it would ask a participant before which so many wait, that
    /// it would be in memory for nothing. A participant that is left in peace is no reason: nobody knows for how long it will be.
    pub(super) fn start(&mut self, new: NewSaga, reply: Reply<StartedSaga>) {
        let is_next = !self.gates.starts.contains_key(&new.definition);
        if is_next && !self.is_crowded(&new) {
            return self.start_now(new, reply);
        }
        let line = self.gates.starts.entry(new.definition.clone()).or_default();
        // All other definitions have as much room.
        let room = self.shared.settings.starts_waiting.div_ceil(2);
        if line.len() >= room {
            line.retain(|(_, reply)| !reply.is_closed());
        }
        if line.len() >= room {
            let why = format!("too many starts of {} wait for its participants: try again later", new.definition);
            return drop(reply.send(Err(EngineError::Unavailable(why))));
        }
        line.push_back((new, reply));
    }

    fn is_crowded(&self, new: &NewSaga) -> bool {
        let begun: usize = self.drafts().map(|draft| draft.starts.len()).sum();
        if self.sagas.len() + begun < SAGAS_MANY {
            return false;
        }
        let Ok(graph) = self.shared.graph(&new.definition, new.version) else { return false };
        let mut contracts = graph.nodes().iter().filter_map(|node| node.contract()?.parse::<ContractName>().ok());
        let limits = &self.shared.settings.limits;
        contracts.any(|contract| self.gates.is_crowded(participant_of(&contract), begun, limits))
    }

    /// Begins what has waited long enough, and what nobody waits for any more is not begun.
    fn start_those_who_wait(&mut self) {
        let definitions: Vec<_> = self.gates.starts.keys().cloned().collect();
        for definition in definitions {
            while let Some((new, reply)) = self.next_start(&definition) {
                if !self.stopping.is_empty() {
                    drop(reply.send(Err(EngineError::Stopped("it is being shut down".to_owned()))));
                } else if !reply.is_closed() {
                    self.start_now(new, reply);
                }
            }
        }
        self.gates.starts.retain(|_, starts| !starts.is_empty());
    }

    fn next_start(&mut self, definition: &DefinitionName) -> Option<(NewSaga, Reply<StartedSaga>)> {
        let (new, reply) = self.gates.starts.get(definition)?.front()?;
        if self.stopping.is_empty() && !reply.is_closed() && self.is_crowded(new) {
            return None;
        }
        self.gates.starts.get_mut(definition)?.pop_front()
    }

    /// Lets through whoever may pass by now.
    pub(super) fn open_gates(&mut self) {
        self.start_those_who_wait();
        let waiting = self.gates.all.values().filter(|gate| gate.waiting() > 0);
        for name in waiting.map(|gate| gate.name.clone()).collect::<Vec<_>>() {
            self.let_through(&name);
        }
    }

    fn let_through(&mut self, participant: &str) {
        let (now, limits) = (self.now(), self.shared.settings.limits);
        while let Some(gate) = self.gates.all.get_mut(participant) {
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
        let Some(gate) = self.gates.all.get_mut(&pass.participant) else { return };
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
