//! Beginning steps: walking a part's steps and fan-outs, and asking what is ready.

use super::{Deciding, read::Place};
use crate::{
    IdempotencyKey, Payload, Refusal, SagaKey, SignalId, StepInstance, StepKind,
    definition::{Node, NodeId, Part},
    entry::{Abort, Ask, Fact, Parked, Target},
    policy::WAIT_MAX,
    refuse,
    state::{Life, Status},
};
use std::{sync::Arc, time::Duration};

/// Items in one fan-out at most. What an event costs grows with them: beyond, a child for each part of the list is the way.
const ITEMS_MAX: usize = 1_000;

impl Deciding<'_> {
    /// Begins what is ready in a part, and says how many step instances of it are open: not begun, or begun and not through. The
    /// pivot does not count; it waits for all others.
    pub(super) fn walk(&mut self, part: Part) -> usize {
        let graph = self.graph;
        let mut open = 0;
        for &node in &graph.plan.outer {
            if graph.at(node).part == part && !graph.at(node).is_pivot {
                open += self.walk_node(node, &mut Vec::new());
            }
        }
        open
    }

    fn walk_node(&mut self, id: NodeId, items: &mut Vec<u32>) -> usize {
        let graph = self.graph;
        let node = graph.at(id);
        let instance = graph.instance(id, items);
        // A mapper that said no may have ended this part a moment ago: then nothing of it begins any more.
        let ended = node.part == Part::Trying && self.state.life != Life::Trying;
        if self.state.step(&instance).is_none() && !ended {
            let place = Place { part: node.part, chain: &graph.plan.chains[id as usize], items };
            match self.is_ready(id, place) {
                Some(true) => self.begin(id, items, &instance),
                Some(false) => {}
                None => self.fact(Fact::Dropped { step: instance.clone().into_owned() }),
            }
        }
        let Some(at) = self.state.step(&instance) else { return 1 };
        match (&at.status, node.kind) {
            (Status::Done, StepKind::When) if at.taken => self.walk_inner(id, 0, items),
            (Status::Done, StepKind::ForEach) => {
                let count = u32::try_from(at.items.len()).unwrap_or(u32::MAX);
                (0..count).map(|index| self.walk_inner(id, index, items)).sum()
            }
            (Status::Done | Status::Dropped, _) => 0,
            _ => 1,
        }
    }

    fn walk_inner(&mut self, scope: NodeId, index: u32, items: &mut Vec<u32>) -> usize {
        let graph = self.graph;
        items.push(index);
        let open = graph.plan.inner[scope as usize].iter().map(|&inner| self.walk_node(inner, items)).sum();
        items.pop();
        open
    }

    /// Begins a step whose inputs are there. A mapper that says no is a refusal of the step.
    pub(super) fn begin(&mut self, id: NodeId, items: &[u32], instance: &StepInstance) {
        match self.beginning(id, items, instance) {
            Ok(facts) => facts.into_iter().for_each(|fact| self.fact(fact)),
            Err(refusal) => self.cannot_ask(instance, refusal),
        }
    }

    fn beginning(&self, id: NodeId, items: &[u32], instance: &StepInstance) -> Result<Vec<Fact>, Refusal> {
        let node = self.graph.at(id);
        let chain = &self.graph.plan.chains[id as usize];
        let step = instance.clone();
        if let Some(time) = node.wait {
            return Ok(self.waiting(node, &step, time));
        }
        let Some(request) = &node.request else { return refuse("missing_request", "the step has no request") };
        let request = self.map(request, node.part, chain, items)?;
        if node.kind == StepKind::Wait {
            return Ok(self.waiting(node, &step, limit(&request)?));
        }
        Ok(vec![match node.kind {
            StepKind::When => Fact::Branched { step, taken: request.as_str() == "true" },
            StepKind::ForEach => Fact::FannedOut { step, items: items_of(&request)? },
            _ => {
                let key = match &node.key {
                    Some(key) => Some(text(&self.map(key, node.part, chain, items)?)?),
                    None => None,
                };
                Fact::Asked { step, ask: Arc::new(self.ask(id, instance, request, key)?) }
            }
        }])
    }

    fn ask(&self, id: NodeId, instance: &StepInstance, request: Payload, key: Option<String>) -> Result<Ask, Refusal> {
        let node = self.graph.at(id);
        let bad_key = |e: crate::BadName| Refusal::new("unusable_key", e.to_string());
        let mut effect_key = None;
        let target = match (&node.child, &node.to) {
            (Some(child), _) => Target::Saga {
                definition: child.name.clone(),
                version: child.version,
                key: match key {
                    Some(key) => key.parse::<SagaKey>().map_err(bad_key)?,
                    None => SagaKey::of_child(self.state.saga(), instance),
                },
            },
            (_, Some(to)) => Target::Signal {
                signal: node.contract.clone().unwrap_or_default(),
                definition: to.clone(),
                key: key.unwrap_or_default().parse::<SagaKey>().map_err(bad_key)?,
            },
            _ => {
                effect_key = key.map(|key| key.parse::<IdempotencyKey>()).transpose().map_err(bad_key)?;
                let contract = self.graph.plan.contracts[id as usize].clone();
                Target::Operation(contract.ok_or_else(|| Refusal::new("missing_contract", "no operation"))?)
            }
        };
        let expires = node.expires_after.map(|time| self.at.plus(time));
        Ok(Ask { kind: node.kind, target, request, key: effect_key, expires })
    }

    /// A wait takes at once what was told before it was reached.
    fn waiting(&self, node: &Node, step: &StepInstance, time: Duration) -> Vec<Fact> {
        let until = self.at.plus(time);
        let signal = node.contract.clone();
        let kept = signal.as_ref().and_then(|name| self.oldest_untaken(name));
        let mut facts = vec![Fact::Waiting { step: step.clone(), kind: node.kind, signal, until }];
        facts.extend(kept.into_iter().flat_map(|id| self.taking(step.clone(), id)));
        facts
    }

    /// A wait takes a signal. After the decision that is its verdict; before it, the decision will be.
    pub(super) fn taking(&self, step: StepInstance, signal: SignalId) -> Vec<Fact> {
        let mut facts = vec![Fact::Took { step, signal: signal.clone() }];
        if self.state.life != Life::Trying {
            facts.push(Fact::Judged { id: signal, verdict: crate::Verdict::Accepted });
        }
        facts
    }

    /// Nothing asked, nothing done: before the decision the saga aborts, after it the step waits for a person.
    pub(super) fn cannot_ask(&mut self, step: &StepInstance, refusal: Refusal) {
        let step = step.clone();
        if self.state.life == Life::Trying {
            self.fact(Fact::Refused { step: step.clone(), refusal: refusal.clone(), repeated: false });
            self.abort(Abort::Refused { step, refusal });
        } else {
            self.park(step, Parked::Mapping(refusal));
        }
    }
}

fn items_of(list: &Payload) -> Result<Vec<Payload>, Refusal> {
    let items: Vec<Payload> = list.parse().map_err(|e| Refusal::new("unreadable_input", e.to_string()))?;
    if items.len() > ITEMS_MAX {
        let count = items.len();
        let why = format!(
            "the fan-out has {count} items, at most {ITEMS_MAX} are allowed: split the list over several sagas"
        );
        return refuse("too_many_items", why);
    }
    Ok(items)
}

/// How long a wait lasts whose limit is in the data.
fn limit(millis: &Payload) -> Result<Duration, Refusal> {
    let time = Duration::from_millis(millis.parse().map_err(|e| Refusal::new("unreadable_input", e.to_string()))?);
    if time.is_zero() || time > WAIT_MAX {
        let seconds = time.as_secs_f64();
        return refuse("unusable_wait", format!("a wait of {seconds} s: it must be above zero and at most ten years"));
    }
    Ok(time)
}

fn text(payload: &Payload) -> Result<String, Refusal> {
    payload.parse().map_err(|e: serde_json::Error| Refusal::new("unusable_key", e.to_string()))
}
