//! What a person can do about a step, and what follows.

use super::{Deciding, Illegal};
use crate::{
    Payload, Refusal, StepInstance, StepKind,
    canary::broken,
    definition::{Graph, Node, OUTPUT, SAGA},
    entry::{Abort, Evidence, Fact, Parked},
    event::{Action, Choice, Operated},
    state::{Life, Next, State, Status, StepState},
};

/// What a person can do about a step now. Only that is offered, and only that is taken.
#[must_use]
pub fn choices(graph: &Graph, state: &State, step: &StepInstance) -> Vec<Choice> {
    let Some(at) = state.step(step) else { return Vec::new() };
    if step.as_str() == SAGA {
        return at.parked.iter().map(|_| Choice::RetryNow).collect();
    }
    if at.effect.is_some() {
        return effect_choices(graph, step, at);
    }
    let out = matches!(at.status, Status::Asked | Status::Confirming | Status::Undoing) && at.kind != StepKind::Child;
    let Some(parked) = &at.parked else { return out.then_some(Choice::RetryNow).into_iter().collect() };
    let mut choices = vec![Choice::RetryNow, Choice::MarkDone];
    let tried = !matches!(at.status, Status::Confirming | Status::Undoing | Status::Done);
    match state.life {
        Life::Trying => choices = vec![Choice::RetryNow, Choice::Cancel],
        _ if tried && step.as_str() != OUTPUT => choices.push(Choice::MarkNotDone),
        _ => {}
    }
    // A branch or a fan-out has no reply that a person could give.
    let shapes = |node: &Node| matches!(node.kind, StepKind::When | StepKind::ForEach);
    if graph.node(step).is_some_and(shapes) {
        choices.retain(|choice| *choice != Choice::MarkDone);
    }
    if matches!(parked, Parked::Refused { .. }) && at.kind == StepKind::Child {
        choices.retain(|choice| *choice != Choice::RetryNow);
    }
    choices
}

fn effect_choices(graph: &Graph, step: &StepInstance, at: &StepState) -> Vec<Choice> {
    let (Some(effect), Some(node), Status::Asked) = (&at.effect, graph.node(step), &at.status) else {
        return Vec::new();
    };
    let waits = at.parked.is_some() || !matches!(effect.next, Next::Answer);
    let mut choices = Vec::new();
    if node.queries && waits {
        choices.push(Choice::QueryNow);
    }
    if waits && !effect.closing {
        choices.push(Choice::RetryNow);
    }
    if node.closes && node.kind == StepKind::Pivot {
        choices.push(Choice::Close);
    }
    choices.extend([Choice::MarkDone, Choice::MarkNotDone]);
    choices
}

/// What speaks against a person's *mark done*: the definite no of an effect's own third party, or that every attempt was vouched to
/// have done nothing. Then it is believed only by force.
#[must_use]
pub fn needs_force(state: &State, step: &StepInstance) -> Option<Refusal> {
    let at = state.step(step).filter(|at| at.status == Status::Asked)?;
    if at.effect.as_ref()?.is_out() {
        return None;
    }
    Some(match &at.parked {
        Some(Parked::Refused { refusal, .. }) => refusal.clone(),
        _ => Refusal::new("nothing_done", "every attempt was answered that nothing happened"),
    })
}

impl Deciding<'_> {
    pub(super) fn operated(&mut self, operated: Operated) -> Result<(), Illegal> {
        let Operated { step, action, by, reason } = operated;
        let choice = action.choice();
        if !choices(self.graph, &self.state, &step).contains(&choice) {
            return Err(Illegal::NotOffered { step });
        }
        let contrary = needs_force(&self.state, &step);
        if let (Action::MarkDone { force: false, .. }, Some(no)) = (&action, &contrary) {
            return Err(Illegal::Contrary { step, why: no.to_string() });
        }
        self.fact(Fact::Operated { step: step.clone(), action: choice, by, reason: reason.clone() });
        let is_effect = self.asked(&step)?.effect.is_some();
        match action {
            Action::RetryNow if is_effect => self.execute_again(step),
            Action::RetryNow => self.fact(Fact::Resumed { step }),
            Action::QueryNow => self.query_now(step),
            Action::Close => self.fact(Fact::Closing { step, why: reason, next: Some(self.at) }),
            Action::MarkDone { value, .. } => {
                self.mark_done(step.clone(), value);
                if let Some(no) = contrary {
                    self.contradicted(step, Evidence::NotDone(no));
                }
            }
            Action::MarkNotDone { force } if is_effect => self.mark_effect_not_done(step, force, reason),
            Action::MarkNotDone { .. } => self.fact(Fact::Dropped { step }),
        }
        Ok(())
    }

    fn execute_again(&mut self, step: StepInstance) {
        let newest = self.state.step(&step).and_then(|at| at.effect.as_ref()).map_or(0, |effect| effect.newest());
        self.fact(Fact::Attempted { step, attempt: newest + 1 });
    }

    fn query_now(&mut self, step: StepInstance) {
        self.fact(Fact::Resumed { step: step.clone() });
        self.fact(Fact::Unknown { step, why: "asked by a person".to_owned(), next: Some(self.at) });
    }

    fn mark_done(&mut self, step: StepInstance, value: Payload) {
        match self.state.step(&step).map(|at| at.status.clone()) {
            Some(Status::Confirming) => self.fact(Fact::Confirmed { step }),
            Some(Status::Undoing | Status::Done) => self.fact(Fact::Undone { step }),
            _ => self.fact(Fact::Done { step, reply: value }),
        }
    }

    /// Before a person's *not done* is believed, a query fences the attempts so far; believed without, it goes on being queried.
    /// What was refused for good already needs no proof.
    fn mark_effect_not_done(&mut self, step: StepInstance, force: bool, reason: String) {
        let queries = self.graph.node(&step).is_some_and(|node| node.queries);
        let Some(at) = self.state.step(&step) else { return };
        let known = matches!(at.parked, Some(Parked::Refused { .. }));
        if !force && !known && !broken("mark_without_fence") {
            self.fact(Fact::Fencing { step: step.clone() });
            if !queries {
                self.park(step, Parked::NotFenced);
            }
            return;
        }
        let out = !known && at.effect.as_ref().is_some_and(|effect| effect.is_out());
        let next = queries.then(|| self.graph.node(&step).map(|node| self.at.plus(node.policy.query_every))).flatten();
        let refusal = Refusal::new("marked_not_done", reason);
        self.ends_not_done(step.clone(), refusal.clone(), Abort::Refused { step: step.clone(), refusal });
        if out {
            self.fact(Fact::Forced { step, next });
        }
    }
}
