//! Undoing: what may have arrived is cancelled, in reverse order of dependency.

use super::Deciding;
use crate::{
    Payload, Refusal, SagaKey, StepInstance, StepKind,
    canary::broken,
    definition::{NodeId, Part},
    entry::{Ask, Fact, Parked, Target},
    state::{Status, StepState},
};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Deciding<'_> {
    /// Asks for every cancel that nothing depends on any more; true while any is left.
    pub(super) fn undo(&mut self) -> bool {
        let open = |(step, at): (&StepInstance, &Arc<StepState>)| {
            let id = self.graph.id_of(step).filter(|&id| self.graph.at(id).part == Part::Trying)?;
            if !needs_undo(at) && at.status != Status::Undoing {
                return None;
            }
            Some((id, step.clone(), at.status != Status::Undoing && at.parked.is_none()))
        };
        let open: Vec<(NodeId, StepInstance, bool)> = self.state.steps.iter().filter_map(open).collect();
        let nodes: BTreeSet<NodeId> = open.iter().map(|(id, ..)| *id).collect();
        for (id, step, unasked) in &open {
            if *unasked && self.graph.plan.dependents[*id as usize].is_disjoint(&nodes) {
                self.undo_one(step.clone());
            }
        }
        !open.is_empty()
    }

    fn undo_one(&mut self, step: StepInstance) {
        let Some(at) = self.state.step(&step) else { return };
        if at.kind != StepKind::Child || at.status != Status::Done {
            return self.fact(Fact::Undoing { step, by: None });
        }
        match self.undoing_child(&step, at) {
            Ok(ask) => self.fact(Fact::Undoing { step, by: Some(Arc::new(ask)) }),
            Err(refusal) => self.fact(Fact::Parked { step, why: Parked::Mapping(refusal) }),
        }
    }

    fn undoing_child(&self, step: &StepInstance, at: &StepState) -> Result<Ask, Refusal> {
        self.undo_ask(step, at, &at.reply, SagaKey::of_undo(self.state.saga(), step))
    }

    /// What takes back a pivot that turns out done: the saga it names, under the effect's key.
    pub(super) fn taking_back(&self, step: &StepInstance, at: &StepState, reply: &Payload) -> Option<Arc<Ask>> {
        let key = SagaKey::of_effect(&self.state.effect_key(step));
        self.undo_ask(step, at, reply, key).ok().map(Arc::new)
    }

    fn undo_ask(&self, step: &StepInstance, at: &StepState, reply: &Payload, key: SagaKey) -> Result<Ask, Refusal> {
        let undo = self.graph.node(step).and_then(|node| node.undo.as_ref());
        let (Some(undo), Some(ask)) = (undo, &at.ask) else {
            return Err(Refusal::new("no_undo", "its definition names no saga that undoes it"));
        };
        let input = undo.input.call(&[ask.request.clone(), reply.clone()])?;
        let (definition, version) = (undo.definition.name.clone(), undo.definition.version);
        let target = Target::Saga { definition, version, key };
        Ok(Ask { kind: StepKind::Child, target, request: input, key: None, expires: None })
    }
}

/// Its try may have arrived, and has not been taken back.
fn needs_undo(at: &StepState) -> bool {
    match at.status {
        Status::GaveUp if broken("unknown_try_never_cancelled") => false,
        Status::Done | Status::GaveUp => at.kind.is_undone() || at.kind == StepKind::Child,
        Status::Refused => at.kind.is_undone() && at.repeated,
        _ => false,
    }
}
