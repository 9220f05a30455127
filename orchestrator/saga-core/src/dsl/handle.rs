//! Handles: typed, `Copy` names of results to come, and which part of a saga's life may read which.

use crate::{Data, Payload};
use std::marker::PhantomData;

/// A type that a value speaks of without holding one.
pub(crate) type Marker<T> = PhantomData<fn() -> T>;

/// The saga's own input: readable everywhere.
#[derive(Debug)]
pub enum Input {}
/// Before the decision.
#[derive(Debug)]
pub enum Trying {}
/// After the decision to commit.
#[derive(Debug)]
pub enum Confirmed {}
/// After the decision to abort.
#[derive(Debug)]
pub enum Cancelled {}

/// A result made in part `Self` may be read by a step that stands in part `P`.
#[diagnostic::on_unimplemented(
    message = "a result of part `{Self}` cannot be read in part `{P}` of a saga",
    label = "this result may not be there yet, or never",
    note = "the pivot's result, and results of `on_confirmed`, are there after a commit only",
    note = "in `on_cancelled` read the saga's input, or a step's result through `.if_done()`, an `Option`"
)]
pub trait ReadableIn<P> {}
impl<P> ReadableIn<P> for Input {}
impl ReadableIn<Self> for Trying {}
/// A tcc step's result is there for `on_confirmed` once its confirm is done.
impl ReadableIn<Confirmed> for Trying {}
impl ReadableIn<Self> for Confirmed {}
impl ReadableIn<Self> for Cancelled {}

/// The part before the decision.
#[diagnostic::on_unimplemented(
    message = "this cannot stand after the decision",
    label = "only before the decision can it be undone, or abort the saga",
    note = "after the decision there are `retriable`, `external`, `signal`, and `within_or` for a wait"
)]
pub trait BeforeDecision {}
impl BeforeDecision for Trying {}

/// The parts after the decision.
#[diagnostic::on_unimplemented(
    message = "this cannot stand before the decision",
    label = "it has no undo: put it into `on_confirmed` or `on_cancelled`"
)]
pub trait AfterDecision {}
impl AfterDecision for Confirmed {}
impl AfterDecision for Cancelled {}

/// Every part.
pub trait Anywhere {}
impl<P> Anywhere for P {}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// Which saga's declaration made the handle; a handle of another one is refused by `build`.
    pub(crate) saga: u32,
    /// The node, or the saga's input.
    pub(crate) from: From,
    /// Out of how many branches and fan-outs the handle was handed: each made it an `Option` or a `Vec`.
    pub(crate) lifted: u8,
}

/// What of a node a handle names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// The saga's input.
    Input,
    /// The node's result.
    Done(u32),
    /// The node's result, if it was done before the abort.
    IfDone {
        /// The node.
        node: u32,
        /// Out of how many branches and fan-outs the handle had been handed when `.if_done()` was called: so much of it is
        /// there as a whole or not at all, and what it is handed out of later is gone through one by one.
        lifted: u8,
    },
    /// The item of a fan-out, for those who stand in it.
    Item(u32),
}

impl From {
    pub(crate) fn node(self) -> Option<u32> {
        match self {
            Self::Input => None,
            Self::Done(node) | Self::IfDone { node, .. } | Self::Item(node) => Some(node),
        }
    }
}

/// A result to come, of type `T`, made in part `P` of a saga's life.
pub struct Handle<T, P> {
    source: Source,
    of: Marker<(T, P)>,
}

impl<T, P> std::fmt::Debug for Handle<T, P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.source.fmt(f)
    }
}

impl<T, P> Clone for Handle<T, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, P> Copy for Handle<T, P> {}

impl<T, P> Handle<T, P> {
    pub(crate) fn at(source: Source) -> Self {
        Self { source, of: PhantomData }
    }
}

impl<T> Handle<T, Trying> {
    /// For `on_cancelled`: the result, if the step was done before the abort.
    #[must_use]
    pub fn if_done(self) -> Handle<Option<T>, Cancelled> {
        let from = match self.source.from {
            From::Done(node) => From::IfDone { node, lifted: self.source.lifted },
            other => other,
        };
        Handle::at(Source { from, ..self.source })
    }
}

/// A handle, or a tuple of up to eight, readable in `P`. `Values` is what the mapper gets, by value.
pub trait Inputs<P>: Copy + 'static {
    /// What the mapper is called with.
    type Values: 'static;
    /// Where the values come from, in order.
    fn sources(&self) -> Vec<Source>;
    /// The values, from their JSON texts in the order of the sources.
    ///
    /// # Errors
    /// When a text is not of its type.
    fn read(raw: &[Payload]) -> serde_json::Result<Self::Values>;
}

impl<P> Inputs<P> for () {
    type Values = ();
    fn sources(&self) -> Vec<Source> {
        Vec::new()
    }
    fn read(_: &[Payload]) -> serde_json::Result<()> {
        Ok(())
    }
}

impl<T: Data, H: ReadableIn<P> + 'static, P> Inputs<P> for Handle<T, H> {
    type Values = T;
    fn sources(&self) -> Vec<Source> {
        vec![self.source]
    }
    fn read(raw: &[Payload]) -> serde_json::Result<T> {
        one(raw, 0)
    }
}

fn one<T: Data>(raw: &[Payload], at: usize) -> serde_json::Result<T> {
    raw.get(at).ok_or_else(|| serde::de::Error::custom("a value is missing"))?.parse()
}

macro_rules! tuples { ($(($($t:ident $h:ident $i:tt),+))+) => { $(
    impl<$($t: Data, $h: ReadableIn<P> + 'static,)+ P> Inputs<P> for ($(Handle<$t, $h>,)+) {
        type Values = ($($t,)+);
        fn sources(&self) -> Vec<Source> {
            vec![$(self.$i.source),+]
        }
        fn read(raw: &[Payload]) -> serde_json::Result<Self::Values> {
            Ok(($(one::<$t>(raw, $i)?,)+))
        }
    }
)+ } }
tuples! {
    (A HA 0, B HB 1)
    (A HA 0, B HB 1, C HC 2)
    (A HA 0, B HB 1, C HC 2, D HD 3)
    (A HA 0, B HB 1, C HC 2, D HD 3, E HE 4)
    (A HA 0, B HB 1, C HC 2, D HD 3, E HE 4, F HF 5)
    (A HA 0, B HB 1, C HC 2, D HD 3, E HE 4, F HF 5, G HG 6)
    (A HA 0, B HB 1, C HC 2, D HD 3, E HE 4, F HF 5, G HG 6, H HH 7)
}

/// What the body of `when` or `for_each` hands out: nothing, a handle, or two.
///
/// Outside of a branch a result is an `Option`, outside of a fan-out a `Vec`. (An operation that replies `()` reads as `None`
/// outside of its branch, taken or not: JSON has one null. Read the branch's test instead.)
pub trait Results {
    /// The same, outside of a branch.
    type Optional;
    /// The same, outside of a fan-out.
    type Many;
    /// As a branch hands it out.
    fn optional(self) -> Self::Optional;
    /// As a fan-out hands it out.
    fn many(self) -> Self::Many;
}

impl Results for () {
    type Optional = ();
    type Many = ();
    fn optional(self) {}
    fn many(self) {}
}

impl<T, P> Results for Handle<T, P> {
    type Optional = Handle<Option<T>, P>;
    type Many = Handle<Vec<T>, P>;
    fn optional(self) -> Self::Optional {
        Handle::at(Source { lifted: self.source.lifted + 1, ..self.source })
    }
    fn many(self) -> Self::Many {
        Handle::at(Source { lifted: self.source.lifted + 1, ..self.source })
    }
}

impl<A: Results, B: Results> Results for (A, B) {
    type Optional = (A::Optional, B::Optional);
    type Many = (A::Many, B::Many);
    fn optional(self) -> Self::Optional {
        (self.0.optional(), self.1.optional())
    }
    fn many(self) -> Self::Many {
        (self.0.many(), self.1.many())
    }
}
