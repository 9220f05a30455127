//! Scopes: where steps are declared, one part of a saga's life at one depth of branches and fan-outs.

use super::{
    AfterDecision, Anywhere, BeforeDecision, Child, Handle, Inputs, Marker, Results, Source, Step, Told, Wait,
    draft::{Draft, erase, readable, schema_of},
    handle::From,
};
use crate::{
    Data, Definition, Is, Operation, Signal, StepKind, Verdict,
    definition::{Node, NodeId, Part},
    kind,
    policy::Policy,
};
use std::{cell::RefCell, marker::PhantomData, rc::Rc, time::Duration};

/// Where steps are declared: one part of the life, at one depth of `when` and `for_each`.
pub struct Scope<P> {
    pub(super) draft: Rc<RefCell<Draft>>,
    part: Part,
    within: Option<NodeId>,
    of: Marker<P>,
}

macro_rules! steps { ($($(#[$doc:meta])+ $name:ident $kind:ident $stands:ident)+) => { $(
    $(#[$doc])+
    pub fn $name<O: Operation>(&self, name: &str, _operation: O) -> Step<'_, P, O::Request, O::Reply>
    where
        P: $stands,
        O::Kind: Is<kind::$kind>,
    {
        self.operation::<O, P>(name, StepKind::$kind)
    }
)+ } }

impl<P> Scope<P> {
    steps! {
        /// A step that is tried, then confirmed or cancelled.
        tcc Tcc BeforeDecision
        /// A step that is executed, and compensated if the saga aborts.
        compensable Compensable BeforeDecision
        /// A step that is executed until it is done.
        retriable Retriable AfterDecision
        /// A step without undo whose unknown outcome is queried, never repeated in the dark; a definite no parks it.
        external External AfterDecision
        /// A question without effect.
        read Read Anywhere
    }

    /// Tells another saga something; its verdict is the reply.
    pub fn signal<S: Signal>(&self, name: &str) -> Told<'_, P, S>
    where
        P: AfterDecision,
    {
        let step = self.step(name, StepKind::Signal);
        Told(step.edit(|node| {
            node.contract = Some(S::NAME.to_owned());
            node.request_schema = schema_of::<S>();
            node.readable = readable::<Verdict>;
        }))
    }

    /// Waits to be told `S`.
    pub fn wait_for<S: Signal>(&self, name: &str) -> Wait<'_, P, S> {
        let step = self.step(name, StepKind::Wait);
        Wait(step.edit(|node| {
            node.contract = Some(S::NAME.to_owned());
            node.reply_schema = schema_of::<S>();
            node.readable = readable::<S>;
        }))
    }

    /// Waits for `time`, from the moment that everything before it is done.
    pub fn sleep(&self, name: &str, time: Duration) -> Handle<(), P> {
        self.pause(name, time, ())
    }

    /// Waits for `time`, from the moment that `earlier` is done.
    pub fn sleep_after<I: Inputs<P>>(&self, name: &str, time: Duration, earlier: I) -> Handle<(), P> {
        self.pause(name, time, earlier)
    }

    fn pause<I: Inputs<P>>(&self, name: &str, time: Duration, earlier: I) -> Handle<(), P> {
        let after = earlier.sources();
        self.step::<(), (), P>(name, StepKind::Sleep)
            .edit(|node| {
                node.wait = Some(time);
                node.after.extend(after);
            })
            .handle()
    }

    /// Another saga as a step. Before the decision its definition must be undone by another ([`Child::undone_by`]).
    pub fn child<C: Data, O: Data>(&self, name: &str, definition: fn() -> Definition<C, O>) -> Child<'_, P, C, O> {
        Child(self.child_step::<C, O, P>(name, definition))
    }

    pub(super) fn child_step<C: Data, O: Data, To>(
        &self, name: &str, definition: fn() -> Definition<C, O>,
    ) -> Step<'_, P, C, O, To> {
        let child = super::draft::child_of(definition);
        let step = self.step(name, StepKind::Child);
        let name = step.name();
        self.draft.borrow_mut().children(&name, &child);
        step.edit(|node| {
            node.child = child.ok();
            node.request_schema = schema_of::<C>();
            node.reply_schema = schema_of::<O>();
            node.readable = readable::<O>;
        })
    }

    /// A branch: `body`'s steps run if `test` holds. Outside, its results are `Option`s.
    pub fn when<V: 'static, I: Inputs<P, Values = V>, R: Results>(
        &self, name: &str, inputs: I, test: fn(V) -> bool, body: impl FnOnce(&Self) -> R,
    ) -> R::Optional {
        let test = erase(inputs, move |v| Ok(test(v)));
        let step = self.step::<(), (), P>(name, StepKind::When).edit(|node| node.request = Some(test));
        body(&self.inner(self.part, Some(step.node()))).optional()
    }

    /// A fan-out: `body`'s steps run once for each of `items`, side by side. Outside, its results are `Vec`s in the items' order.
    pub fn for_each<V: 'static, I: Inputs<P, Values = V>, T: Data, R: Results>(
        &self, name: &str, inputs: I, items: fn(V) -> Vec<T>, body: impl FnOnce(&Self, Handle<T, P>) -> R,
    ) -> R::Many {
        let items = erase(inputs, move |v| Ok(items(v)));
        let step = self.step::<(), (), P>(name, StepKind::ForEach).edit(|node| node.request = Some(items));
        let item = Handle::at(Source { from: From::Item(step.node()), ..step.source() });
        body(&self.inner(self.part, Some(step.node())), item).many()
    }

    pub(super) fn new(draft: Rc<RefCell<Draft>>, part: Part, within: Option<NodeId>) -> Self {
        Self { draft, part, within, of: PhantomData }
    }

    pub(super) fn inner<Q>(&self, part: Part, within: Option<NodeId>) -> Scope<Q> {
        Scope::new(self.draft.clone(), part, within)
    }

    pub(super) fn operation<O: Operation, To>(
        &self, name: &str, kind: StepKind,
    ) -> Step<'_, P, O::Request, O::Reply, To> {
        self.step(name, kind).edit(|node| {
            node.contract = Some(O::NAME.to_owned());
            node.request_schema = schema_of::<O::Request>();
            node.reply_schema = schema_of::<O::Reply>();
            node.readable = readable::<O::Reply>;
            node.queries = O::QUERIES;
            node.closes = O::CLOSES;
            node.expires_after = O::EXPIRES_AFTER;
            if kind.is_irreversible() {
                node.policy = Policy::PIVOT;
            }
        })
    }

    pub(super) fn step<T, R, To>(&self, name: &str, kind: StepKind) -> Step<'_, P, T, R, To> {
        let mut draft = self.draft.borrow_mut();
        let name = draft.name(name);
        let node = draft.push(Node::new(name, kind, self.part, self.within));
        let saga = draft.tag;
        Step::new(&self.draft, Source { saga, from: From::Done(node), lifted: 0 }, node)
    }
}

impl<P> std::fmt::Debug for Scope<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scope").field("part", &self.part).field("within", &self.within).finish_non_exhaustive()
    }
}
