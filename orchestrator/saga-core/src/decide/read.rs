//! Reading: what a step's inputs are from where it stands, and whether they are there yet.

use super::Deciding;
use crate::{
    Payload, Refusal, StepInstance, StepKind,
    definition::{Graph, Mapper, NodeId, Part},
    dsl::From,
    refuse,
    state::{State, Status},
};
use std::borrow::Cow;

/// What is to be read.
pub(super) enum Got {
    /// It is there.
    There(Payload),
    /// It may be there later.
    NotYet,
    /// It will never be there.
    Never,
}

/// A reader: the part it stands in, the scopes around it, outermost first, and its item's index in each (0 for a branch).
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) part: Part,
    pub(super) chain: &'a [NodeId],
    pub(super) items: &'a [u32],
}

impl Graph {
    /// The step instance of `node`, whose enclosing scopes' items are `items`.
    pub(super) fn instance(&self, node: NodeId, items: &[u32]) -> Cow<'_, StepInstance> {
        let mut text = String::new();
        for (&scope, item) in self.plan.chains[node as usize].iter().zip(items) {
            if self.at(scope).kind == StepKind::ForEach {
                text.push_str(&format!("{}[{item}].", self.at(scope).name));
            }
        }
        let node = self.at(node);
        if text.is_empty() {
            return Cow::Borrowed(&node.plain);
        }
        Cow::Owned(StepInstance::in_items(&text, &node.name))
    }
}

impl Deciding<'_> {
    /// Is everything there that `node` needs? `None` when some of it never will be.
    pub(super) fn is_ready(&self, node: NodeId, place: Place<'_>) -> Option<bool> {
        let mut ready = true;
        for source in &self.graph.plan.needs[node as usize] {
            match self.value(source.from, place) {
                Got::There(_) => {}
                Got::NotYet => ready = false,
                Got::Never => return None,
            }
        }
        Some(ready)
    }

    /// Runs a mapper on its inputs.
    pub(super) fn map(&self, mapper: &Mapper, part: Part, chain: &[NodeId], items: &[u32]) -> Result<Payload, Refusal> {
        let mut values = Vec::with_capacity(mapper.sources().len());
        for source in mapper.sources() {
            match self.value(source.from, Place { part, chain, items }) {
                Got::There(value) => values.push(value),
                Got::NotYet | Got::Never => return refuse("missing_input", "a result that it reads is not there"),
            }
        }
        mapper.call(&values)
    }

    fn value(&self, from: From, place: Place<'_>) -> Got {
        if from == From::Input {
            return Got::There(self.state.begin.input.clone());
        }
        let theirs = self.graph.plan.chain_of(from);
        let common = place.chain.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
        self.gather(from, place.part, &theirs, &mut place.items[..common].to_vec())
    }

    /// Steps into the scopes beyond the reader's own. What `.if_done()` was called on is there as a whole, or is null.
    fn gather(&self, from: From, part: Part, theirs: &[NodeId], items: &mut Vec<u32>) -> Got {
        let left = theirs.len() - items.len();
        let scope = theirs.get(items.len()).copied();
        let got = match scope {
            Some(scope) => self.within(scope, from, part, theirs, items),
            None => self.leaf(from, part, items),
        };
        let (From::IfDone { lifted, .. }, Got::NotYet | Got::Never) = (from, &got) else { return got };
        let outside = left > usize::from(lifted);
        match scope {
            Some(scope) if outside && self.graph.at(scope).kind == StepKind::ForEach => Got::There(empty_list()),
            _ if left >= usize::from(lifted) => Got::There(Payload::null()),
            _ => got,
        }
    }

    /// A branch makes an option of what is in it, a fan-out a list.
    fn within(&self, scope: NodeId, from: From, part: Part, theirs: &[NodeId], items: &mut Vec<u32>) -> Got {
        let instance = self.graph.instance(scope, items);
        let Some(at) = self.state.step(&instance) else { return Got::NotYet };
        if at.status != Status::Done {
            return if at.status == Status::Dropped { Got::Never } else { Got::NotYet };
        }
        if at.kind == StepKind::When {
            if !at.taken {
                return Got::There(Payload::null());
            }
            return self.each(from, part, theirs, items, 0);
        }
        let mut list = String::from("[");
        for index in 0..at.items.len() {
            match self.each(from, part, theirs, items, u32::try_from(index).unwrap_or(u32::MAX)) {
                Got::There(value) => {
                    if index > 0 {
                        list.push(',');
                    }
                    list.push_str(value.as_str());
                }
                missing => return missing,
            }
        }
        list.push(']');
        Payload::from_bytes(list.as_bytes()).map_or(Got::Never, Got::There)
    }

    fn each(&self, from: From, part: Part, theirs: &[NodeId], items: &mut Vec<u32>, index: u32) -> Got {
        items.push(index);
        let got = self.gather(from, part, theirs, items);
        items.pop();
        got
    }

    fn leaf(&self, from: From, part: Part, items: &[u32]) -> Got {
        match from {
            From::Input => Got::There(self.state.begin.input.clone()),
            From::Item(scope) => {
                let Some((&index, outer)) = items.split_last() else { return Got::Never };
                let fan_out = self.state.step(&self.graph.instance(scope, outer));
                let item = fan_out.and_then(|at| at.items.get(index as usize));
                item.map_or(Got::NotYet, |item| Got::There(item.clone()))
            }
            From::IfDone { node, .. } => {
                let at = self.state.step(&self.graph.instance(node, items));
                at.filter(|at| at.replied).map_or(Got::Never, |at| Got::There(at.reply.clone()))
            }
            From::Done(node) => result(&self.state, &self.graph.instance(node, items), self.graph, node, part),
        }
    }
}

fn empty_list() -> Payload {
    Payload::of::<[u8]>(&[]).unwrap_or_else(|_| Payload::null())
}

/// A tcc step's result is there after a commit once it is confirmed: what reads the order finds it paid.
fn result(state: &State, instance: &StepInstance, graph: &Graph, node: NodeId, part: Part) -> Got {
    let Some(at) = state.step(instance) else { return Got::NotYet };
    let node = graph.at(node);
    let confirmed_first = part == Part::Confirmed && node.part == Part::Trying && node.kind == StepKind::Tcc;
    match at.status {
        Status::Done if !confirmed_first => Got::There(at.reply.clone()),
        Status::Confirmed => Got::There(at.reply.clone()),
        Status::Dropped => Got::Never,
        _ => Got::NotYet,
    }
}
