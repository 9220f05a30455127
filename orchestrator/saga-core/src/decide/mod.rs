//! The decider: what follows from an event, decided once, and written down as facts.
//!
//! Every change of a state goes through a fact, here as in the fold: deciding is folding one's own facts into a copy until nothing
//! more follows.

mod answers;
mod begin;
mod effect;
mod operate;
mod read;
mod signals;
mod undo;

pub use operate::{choices, needs_force};

use crate::{
    Millis, Payload, Phase, SagaId, SagaKey, StepInstance, StepKind,
    canary::broken,
    definition::{Graph, Node, Part},
    entry::{Abort, Begin, ENTRY_VERSION, Entry, Fact, Parked},
    event::{Event, Sender, Timer, What},
    state::{Life, Next, State, Status},
};
use std::sync::Arc;

/// What a saga is started with.
#[derive(Clone, Debug)]
pub struct Starting {
    /// Its id.
    pub saga: SagaId,
    /// The caller's key.
    pub key: SagaKey,
    /// Its input, checked by [`Graph::check_input`].
    pub input: Payload,
    /// The step that waits for its end, for a child.
    pub parent: Option<Sender>,
    /// It undoes that step.
    pub undoes: bool,
    /// When.
    pub at: Millis,
}

/// The first entry of a saga: it begins, and so do the steps that need nothing but its input.
///
/// # Errors
/// [`Illegal`], a bug.
pub fn start(graph: &Graph, starting: Starting) -> Result<Entry, Illegal> {
    let Starting { saga, key, input, parent, undoes, at } = starting;
    let begin = Begin {
        saga,
        definition: graph.name.clone(),
        version: graph.version,
        fingerprint: graph.fingerprint.clone(),
        key,
        input,
        deadline: graph.deadline.map(|time| at.plus(time)),
        parent,
        undoes,
    };
    let first = Fact::Started(Arc::new(begin));
    let entry = Entry { v: ENTRY_VERSION, at, facts: vec![first.clone()] };
    let state = State::begin(&entry).map_err(|_| Illegal::WrongDefinition)?;
    let mut deciding = Deciding { graph, state, facts: vec![first], at, jitter: u16::MAX };
    deciding.settle();
    deciding.entry().ok_or(Illegal::WrongDefinition)
}

/// What follows from `event`; nothing, when it agrees with what the journal says, comes late or comes twice. Runs mappers and
/// branch tests, once for each step instance.
///
/// Call it with the definition that the saga began with, then write the entry, then [`apply`](crate::apply) it, then do what is
/// [`outstanding`](crate::outstanding).
///
/// # Errors
/// [`Illegal`] for what cannot happen to this saga: a bug of the caller.
pub fn decide(graph: &Graph, state: &State, event: Event) -> Result<Option<Entry>, Illegal> {
    if graph.name != state.begin.definition || graph.version != state.begin.version {
        return Err(Illegal::WrongDefinition);
    }
    let at = event.at.max(state.at);
    let mut state = state.clone();
    state.at = at;
    let mut deciding = Deciding { graph, state, facts: Vec::new(), at, jitter: event.jitter };
    // What panicked three times is not gone on with: writing that down must not be a fourth.
    let goes_on = !matches!(event.what, What::Poisoned { .. });
    deciding.take(event.what)?;
    if goes_on && !deciding.facts.is_empty() {
        deciding.settle();
    }
    Ok(deciding.entry())
}

/// An event that cannot happen to this saga. A bug, and treated as one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Illegal {
    /// Decided with another definition than the saga began with.
    #[error("the saga did not begin with this definition")]
    WrongDefinition,
    /// A step that this saga has not asked.
    #[error("step `{step}` of this saga has not been asked")]
    NotAsked {
        /// The step instance.
        step: StepInstance,
    },
    /// An answer that the call does not have.
    #[error("step `{step}`: a {phase} is not answered `{answer}`")]
    NoSuchAnswer {
        /// The step instance.
        step: StepInstance,
        /// The call.
        phase: Phase,
        /// The answer.
        answer: &'static str,
    },
    /// A person marked done, without force, what is known as not done.
    #[error("step `{step}` is known as not done: {why}")]
    Contrary {
        /// The step instance.
        step: StepInstance,
        /// What says so.
        why: String,
    },
    /// A person did what was not offered.
    #[error("step `{step}` does not offer that now")]
    NotOffered {
        /// The step instance.
        step: StepInstance,
    },
}

/// One decision under way.
struct Deciding<'a> {
    graph: &'a Graph,
    state: State,
    facts: Vec<Fact>,
    at: Millis,
    jitter: u16,
}

impl Deciding<'_> {
    fn fact(&mut self, fact: Fact) {
        self.state.fact(&fact);
        self.facts.push(fact);
    }

    fn entry(self) -> Option<Entry> {
        (!self.facts.is_empty()).then_some(Entry { v: ENTRY_VERSION, at: self.at, facts: self.facts })
    }

    fn take(&mut self, what: What) -> Result<(), Illegal> {
        match what {
            What::Answered(answered) => self.answered(answered)?,
            What::Silent { step, phase, attempt, why } => self.silent(&step, phase, attempt, why)?,
            What::Exhausted { step, attempts, why } => self.exhausted(step, attempts, why)?,
            What::Struggling { step, phase, attempts, why } => self.struggling(step, phase, attempts, &why)?,
            What::Panicked { step, phase, why } => self.panicked(step, phase, why)?,
            What::TimerFired(Timer::Deadline) => self.deadline(),
            What::TimerFired(Timer::Step(step)) => self.woke(&step)?,
            What::Signalled(signalled) => self.signalled(signalled),
            What::CancelRequested { by, reason } => self.want_abort(Abort::Cancelled { by, reason }),
            What::Operated(operated) => self.operated(operated)?,
            What::Poisoned { why } => {
                let step = StepInstance::plain(&crate::StepName::saga());
                self.park(step, Parked::Poisoned { why });
            }
        }
        Ok(())
    }

    /// Goes on until nothing more follows.
    fn settle(&mut self) {
        loop {
            let before = self.facts.len();
            match self.state.life {
                Life::Trying => self.settle_trying(),
                Life::Confirming => self.settle_confirming(),
                Life::Cancelling => self.settle_cancelling(),
                Life::Confirmed | Life::Cancelled => {}
            }
            self.judge_hopeless();
            // That a step is asked lets nothing else follow: its answer will.
            if self.facts[before..].iter().all(|fact| matches!(fact, Fact::Asked { .. })) {
                return;
            }
        }
    }

    fn settle_trying(&mut self) {
        let open = self.walk(Part::Trying);
        if self.state.life != Life::Trying || open > 0 {
            return;
        }
        if let Some(pivot) = self.pivot() {
            let instance = pivot.plain.clone();
            match self.state.step(&instance).map(|at| at.status.clone()) {
                None => {
                    self.begin(self.graph.plan.by_name[pivot.name.as_str()], &[], &instance);
                    return;
                }
                Some(Status::Done) => {}
                Some(_) => return,
            }
        }
        self.fact(Fact::Committed);
        self.judge_taken();
    }

    fn settle_confirming(&mut self) {
        let open = self.walk(Part::Confirmed);
        let confirming = self.state.steps.values().any(|at| at.status == Status::Confirming);
        if open == 0 && !confirming {
            self.end_confirmed();
        }
    }

    fn settle_cancelling(&mut self) {
        if self.undo() {
            return;
        }
        if self.walk(Part::Cancelled) == 0 {
            self.fact(Fact::EndedCancelled);
        }
    }

    fn end_confirmed(&mut self) {
        let step = StepInstance::plain(&crate::StepName::output());
        let output = match self.state.step(&step) {
            Some(at) if at.parked.is_some() => return,
            Some(at) if at.status == Status::Done => at.reply.clone(),
            _ => match self.map(&self.graph.output, Part::Confirmed, &[], &[]) {
                Ok(output) => output,
                Err(refusal) => return self.fact(Fact::Parked { step, why: Parked::Mapping(refusal) }),
            },
        };
        self.fact(Fact::EndedConfirmed { output });
    }

    fn pivot(&self) -> Option<&'_ Node> {
        self.graph.nodes.iter().find(|node| node.is_pivot)
    }

    fn deadline(&mut self) {
        if self.state.begin.deadline.is_some_and(|deadline| self.at >= deadline) {
            self.want_abort(Abort::Deadline);
        }
    }

    /// Aborts, unless a pivot's effect may be on its way: then it is closed where that can be, else waited for.
    fn want_abort(&mut self, why: Abort) {
        if self.state.life != Life::Trying || self.state.abort.is_some() {
            return;
        }
        let Some(pivot) = self.pivot() else { return self.abort(why) };
        let (instance, closes) = (pivot.plain.clone(), pivot.closes);
        let Some(at) = self.state.step(&instance).filter(|at| at.status == Status::Asked) else {
            return self.abort(why);
        };
        let out = at.effect.as_ref().is_none_or(crate::state::Effect::is_out);
        // A refused pivot whose policy wants a person is not decided by a clock.
        let kept = matches!(at.parked, Some(Parked::Refused { .. })) && why == Abort::Deadline;
        if (!out && !kept) || (why == Abort::Deadline && broken("deadline_aborts")) {
            return self.abort(why);
        }
        let closing = at.effect.as_ref().is_some_and(|effect| effect.closing);
        let text = why.to_string();
        self.fact(Fact::AbortWanted { why });
        if out && closes && broken("close_without_asking") {
            return self.not_done(instance, crate::Refusal::new("closed", text));
        }
        if out && closes && !closing {
            self.fact(Fact::Closing { step: instance, why: text, next: Some(self.at) });
        }
    }

    /// The saga is to abort as soon as its pivot is known to be not done.
    fn is_abort_wanted(&self) -> bool {
        self.state.life == Life::Trying && self.state.abort.is_some()
    }

    /// The decision to abort. What an earlier wish gave as the reason stays the reason.
    fn abort(&mut self, why: Abort) {
        if self.state.life == Life::Trying {
            let why = self.state.abort.clone().unwrap_or(why);
            self.fact(Fact::Aborted { why });
        }
    }

    fn woke(&mut self, step: &StepInstance) -> Result<(), Illegal> {
        let at = self.asked(step)?;
        let next = at.effect.as_ref().map(|effect| (effect.next, effect.newest()));
        match (&at.status, next) {
            (Status::Waiting(until), _) if self.at >= *until => self.waited(step),
            (_, Some((Next::Attempt(when), newest))) if self.at >= when => {
                self.fact(Fact::Attempted { step: step.clone(), attempt: newest + 1 });
            }
            _ => {}
        }
        Ok(())
    }

    /// A wait's or a sleep's time has passed.
    fn waited(&mut self, step: &StepInstance) {
        let Some(node) = self.graph.node(step) else { return };
        let reply = match (&node.otherwise, node.kind) {
            (_, StepKind::Sleep) => Ok(Payload::null()),
            (Some(otherwise), _) => otherwise.call(&[]),
            (None, _) => {
                self.fact(Fact::Missed { step: step.clone() });
                return self.abort(Abort::Missed { step: step.clone() });
            }
        };
        match reply {
            Ok(reply) => self.fact(Fact::Done { step: step.clone(), reply }),
            Err(refusal) => self.cannot_ask(step, refusal),
        }
    }

    fn asked(&self, step: &StepInstance) -> Result<&crate::state::StepState, Illegal> {
        self.state.step(step).ok_or_else(|| Illegal::NotAsked { step: step.clone() })
    }
}
