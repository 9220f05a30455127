//! Steps under declaration: request, key, order and policies, each said by one method.

use super::{
    BeforeDecision, Confirmed, Handle, Inputs, Marker, Source, Trying,
    draft::{Draft, erase, erase_pair},
};
use crate::{
    Data, Definition, DefinitionName, OnExhausted, OnRefused, Refusal, Retry, Signal, StepName, Verdict,
    definition::{BuildError, Node, NodeId, Undo},
};
use serde::Serialize;
use std::{cell::RefCell, marker::PhantomData, rc::Rc, time::Duration};

/// A step in part `P` that still needs its request; its result is a `Handle<R, To>` (`To` differs for the pivot).
#[must_use = "a step needs its `.request(..)`"]
pub struct Step<'s, P, T, R, To = P> {
    draft: &'s Rc<RefCell<Draft>>,
    source: Source,
    node: NodeId,
    of: Marker<(P, T, R, To)>,
}

// `V` apart from `I` (and not `fn(I::Values)`) makes the compiler point at the very handle that is wrong.
impl<P, T: Serialize + 'static, R, To> Step<'_, P, T, R, To> {
    /// What the operation is asked with, made from earlier results. The mapper is a plain `fn`: it captures nothing, and runs
    /// once for a step instance, however often the step is asked.
    pub fn request<V: 'static, I: Inputs<P, Values = V>>(self, inputs: I, map: fn(V) -> T) -> Handle<R, To> {
        let map = erase(inputs, move |v| Ok(map(v)));
        self.edit(|node| node.request = Some(map)).handle()
    }

    /// The same; an `Err` is a refusal of this step.
    pub fn try_request<V: 'static, I: Inputs<P, Values = V>>(
        self, inputs: I, map: fn(V) -> Result<T, Refusal>,
    ) -> Handle<R, To> {
        let map = erase(inputs, map);
        self.edit(|node| node.request = Some(map)).handle()
    }

    /// The effect's idempotency key is the business's own instead of the step instance's: for an effect that two sagas could
    /// carry, as the refund request's id.
    pub fn key<V: 'static, I: Inputs<P, Values = V>>(self, inputs: I, key: fn(V) -> String) -> Self {
        let key = erase(inputs, move |v| Ok(key(v)));
        self.edit(|node| node.key = Some(key))
    }
}

impl<'s, P, T, R, To> Step<'s, P, T, R, To> {
    pub(super) fn new(draft: &'s Rc<RefCell<Draft>>, source: Source, node: NodeId) -> Self {
        Self { draft, source, node, of: PhantomData }
    }

    /// Starts only when `earlier` is done, though it reads nothing of it.
    pub fn after<I: Inputs<P>>(self, earlier: I) -> Self {
        self.edit(|node| node.after.extend(earlier.sources()))
    }

    /// How long one attempt waits for its answer. Default: 10 seconds.
    pub fn timeout(self, time: Duration) -> Self {
        self.edit(|node| node.policy.timeout = time)
    }

    /// How often, and after which waits, it is asked again.
    pub fn retry(self, retry: Retry) -> Self {
        self.edit(|node| node.policy.retry = retry)
    }

    /// Between two queries of an unknown outcome, and how long a `pending` is left alone.
    pub fn query_every(self, time: Duration) -> Self {
        self.edit(|node| node.policy.query_every = time)
    }

    /// Queries in all, before the step is closed or parks.
    pub fn query_limit(self, queries: u32) -> Self {
        self.edit(|node| node.policy.query_limit = queries)
    }

    /// What exhaustion does.
    pub fn on_exhausted(self, then: OnExhausted) -> Self {
        self.edit(|node| node.policy.on_exhausted = then)
    }

    /// From so many attempts on it is flagged for attention.
    pub fn attention_after(self, attempts: u32) -> Self {
        self.edit(|node| node.policy.attention_after = attempts)
    }

    /// What a definite refusal does: [`OnRefused::Park`] for money that is not ours to keep.
    pub fn on_refused(self, then: OnRefused) -> Self
    where
        P: BeforeDecision,
    {
        self.edit(|node| node.policy.on_refused = then)
    }

    pub(super) fn name(&self) -> StepName {
        self.draft.borrow().node(self.node).name.clone()
    }

    pub(super) fn node(&self) -> NodeId {
        self.node
    }

    pub(super) fn source(&self) -> Source {
        self.source
    }

    pub(super) fn edit(self, change: impl FnOnce(&mut Node)) -> Self {
        change(self.draft.borrow_mut().node_mut(self.node));
        self
    }

    pub(super) fn handle(self) -> Handle<R, To> {
        Handle::at(self.source)
    }

    fn undo<C: Data, O: Data>(self, definition: fn() -> Definition<C, O>, map: fn((T, R)) -> C) -> Self
    where
        T: Data,
        R: Data,
    {
        let child = super::draft::child_of(definition);
        let name = self.name();
        self.draft.borrow_mut().children(&name, &child);
        match child {
            Ok(child) => self.edit(|node| node.undo = Some(Undo { definition: child, input: erase_pair(map) })),
            Err(_) => self,
        }
    }
}

impl<P, T, R, To> std::fmt::Debug for Step<'_, P, T, R, To> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Step").field(&self.node).finish()
    }
}

impl<T: Data, R: Data> Step<'_, Trying, T, R, Confirmed> {
    /// The saga that is started, under the effect's key, when the pivot turns out done after it was decided not done.
    pub fn undone_by<C: Data, O: Data>(self, definition: fn() -> Definition<C, O>, map: fn((T, R)) -> C) -> Self {
        self.undo(definition, map)
    }
}

/// A child saga that still needs its input.
#[must_use = "a child needs its `.input(..)`"]
#[derive(Debug)]
pub struct Child<'s, P, C, O, To = P>(pub(super) Step<'s, P, C, O, To>);

impl<P, C: Data, O: Data, To> Child<'_, P, C, O, To> {
    /// What the child starts with.
    pub fn input<V: 'static, I: Inputs<P, Values = V>>(self, inputs: I, map: fn(V) -> C) -> Handle<O, To> {
        self.0.request(inputs, map)
    }

    /// Starts only when `earlier` is done.
    pub fn after<I: Inputs<P>>(self, earlier: I) -> Self {
        Self(self.0.after(earlier))
    }

    /// The saga that undoes a confirmed child when this saga aborts.
    pub fn undone_by<U: Data, R: Data>(self, definition: fn() -> Definition<U, R>, map: fn((C, O)) -> U) -> Self
    where
        P: BeforeDecision,
    {
        Self(self.0.undo(definition, map))
    }
}

/// A signal that still needs its receiver.
#[must_use = "a signal needs its `.to(..)`"]
#[derive(Debug)]
pub struct Told<'s, P, S>(pub(super) Step<'s, P, S, Verdict>);

impl<'s, P, S: Signal> Told<'s, P, S> {
    /// The saga told, by definition and key; the payload is the step's `.request(..)`.
    pub fn to<V: 'static, I: Inputs<P, Values = V>>(
        self, definition: &str, inputs: I, key: fn(V) -> String,
    ) -> Step<'s, P, S, Verdict> {
        let key = erase(inputs, move |v| Ok(key(v)));
        let to = definition.parse::<DefinitionName>();
        if let Err(why) = &to {
            let step = self.0.name();
            self.0.draft.borrow_mut().errors.push(BuildError::Name { at: format!("step `{step}`"), why: why.clone() });
        }
        self.0.edit(|node| {
            node.to = to.ok();
            node.key = Some(key);
        })
    }
}

/// A wait that still needs its limit.
#[must_use = "a wait needs `.within(..)`, `.within_from(..)` or `.within_or(..)`"]
#[derive(Debug)]
pub struct Wait<'s, P, S>(pub(super) Step<'s, P, (), S>);

impl<P, S: Signal> Wait<'_, P, S> {
    /// Waits only from when `earlier` is done. What is told before that is kept.
    pub fn after<I: Inputs<P>>(self, earlier: I) -> Self {
        Self(self.0.after(earlier))
    }

    /// A missed deadline aborts the saga.
    pub fn within(self, time: Duration) -> Handle<S, P>
    where
        P: BeforeDecision,
    {
        self.0.edit(|node| node.wait = Some(time)).handle()
    }

    /// The same, with a limit that the data has: a setting that may change without a new version of the definition. It counts
    /// from when `inputs` are there; one that is no time to wait for (none, or over ten years) is a refusal of this step.
    pub fn within_from<V: 'static, I: Inputs<P, Values = V>>(self, inputs: I, limit: fn(V) -> Duration) -> Handle<S, P>
    where
        P: BeforeDecision,
    {
        let limit = erase(inputs, move |v| Ok(u64::try_from(limit(v).as_millis()).unwrap_or(u64::MAX)));
        self.0.edit(|node| node.request = Some(limit)).handle()
    }

    /// A missed deadline goes on with `otherwise`.
    pub fn within_or(self, time: Duration, otherwise: fn(()) -> S) -> Handle<S, P> {
        let otherwise = erase::<P, (), (), S>((), move |v| Ok(otherwise(v)));
        self.0
            .edit(|node| {
                node.wait = Some(time);
                node.otherwise = Some(otherwise);
            })
            .handle()
    }
}
