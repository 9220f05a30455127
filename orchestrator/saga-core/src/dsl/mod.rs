//! The DSL: typed handles. Edges are the data flow, so a drawing cannot lie, a cycle cannot be written, and a step cannot read
//! what is not there yet; which part of a saga's life a step stands in is in the types.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use tercet_core::{Definition, Operation, Saga, kind, minutes, schemars::JsonSchema};
//!
//! #[derive(Serialize, Deserialize, JsonSchema)]
//! pub struct Refund { payment: u64, amount_minor: i64 }
//! #[derive(Serialize, Deserialize, JsonSchema)]
//! pub struct Held { payment: u64, amount_minor: i64 }
//!
//! pub struct Hold;
//! impl Operation for Hold {
//!     const NAME: &'static str = "payments.hold/1";
//!     type Kind = kind::Tcc;
//!     type Request = Refund;
//!     type Reply = Held;
//! }
//! pub struct Move;
//! impl Operation for Move {
//!     const NAME: &'static str = "gateway.move/1";
//!     type Kind = kind::Pivot;
//!     type Request = Held;
//!     type Reply = i64;
//! }
//!
//! pub fn give_back() -> Definition<Refund, i64> {
//!     let saga = Saga::<Refund>::new("give_back", 1);
//!     let hold = saga.tcc("hold", Hold).request(saga.input(), |r| r);
//!     let moved = saga.pivot("money", Move).query_every(minutes(3)).request(hold, |h| h);
//!     saga.output(moved, |at| at)
//! }
//! assert_eq!(give_back().build().unwrap().nodes().len(), 2);
//! ```

pub(crate) mod draft;
mod handle;
mod scope;
mod step;

pub use draft::REQUEST_BYTES_MAX;
pub use handle::{
    AfterDecision, Anywhere, BeforeDecision, Cancelled, Confirmed, Handle, Input, Inputs, ReadableIn, Results, Source,
    Trying,
};
pub(crate) use handle::{From, Marker};
pub use scope::Scope;
pub use step::{Child, Step, Told, Wait};

use crate::{Data, Definition, Is, Operation, StepKind, definition::Part, kind};
use draft::{Draft, erase};
use std::{cell::RefCell, marker::PhantomData, ops::Deref, rc::Rc, time::Duration};

/// A saga under declaration; it is its own `Scope<Trying>`.
#[derive(Debug)]
pub struct Saga<In> {
    trying: Scope<Trying>,
    of: Marker<In>,
}

impl<In> Deref for Saga<In> {
    type Target = Scope<Trying>;

    fn deref(&self) -> &Scope<Trying> {
        &self.trying
    }
}

impl<In: Data> Saga<In> {
    /// A definition's name and version. A version that has run is never edited: its sagas finish on it; write the next one.
    #[must_use]
    pub fn new(name: &'static str, version: u32) -> Self {
        let draft = Rc::new(RefCell::new(Draft::new(name, version)));
        Self { trying: Scope::new(draft, Part::Trying, None), of: PhantomData }
    }

    /// What the saga is started with.
    #[must_use]
    pub fn input(&self) -> Handle<In, Input> {
        Handle::at(Source { saga: self.trying.draft.borrow().tag, from: From::Input, lifted: 0 })
    }

    /// Undecided after `time` it aborts; with a pivot out, the pivot is closed, or its outcome waited for.
    #[must_use]
    pub fn deadline(self, time: Duration) -> Self {
        self.trying.draft.borrow_mut().deadline = Some(time);
        self
    }

    /// The step whose success is the decision to commit. It waits for every other step before the decision by itself. On the
    /// saga alone: a pivot in a branch or a fan-out cannot be written.
    pub fn pivot<O: Operation>(&self, name: &str, _operation: O) -> Step<'_, Trying, O::Request, O::Reply, Confirmed>
    where
        O::Kind: Is<kind::Pivot>,
    {
        self.operation::<O, Confirmed>(name, StepKind::Pivot)
    }

    /// A child saga as the pivot.
    pub fn pivot_child<C: Data, O: Data>(
        &self, name: &str, definition: fn() -> Definition<C, O>,
    ) -> Child<'_, Trying, C, O, Confirmed> {
        Child(self.child_step(name, definition).edit(|node| node.is_pivot = true))
    }

    /// What follows a commit. A step there starts when what it reads or comes after is there, and waits for nothing else.
    pub fn on_confirmed<R>(&self, body: impl FnOnce(&Scope<Confirmed>) -> R) -> R {
        body(&self.inner(Part::Confirmed, None))
    }

    /// What follows an abort, once everything is undone.
    pub fn on_cancelled<R>(&self, body: impl FnOnce(&Scope<Cancelled>) -> R) -> R {
        body(&self.inner(Part::Cancelled, None))
    }

    /// What a confirmed saga answers. Ends the declaration.
    pub fn output<V: 'static, I: Inputs<Confirmed, Values = V>, Out: Data>(
        self, inputs: I, map: fn(V) -> Out,
    ) -> Definition<In, Out> {
        let output = erase(inputs, move |v| Ok(map(v)));
        let draft = self.trying.draft.borrow();
        let draft = Draft {
            name: draft.name,
            version: draft.version,
            tag: draft.tag,
            nodes: draft.nodes.clone(),
            deadline: draft.deadline,
            errors: draft.errors.clone(),
        };
        Definition::new(draft, output)
    }
}
