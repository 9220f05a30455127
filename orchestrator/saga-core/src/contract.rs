//! Contracts: what a participant offers and what a saga can be told. A crate of contracts needs nothing but this one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{fmt, time::Duration};

/// What may travel: requests, replies, inputs, outputs, signals. Its JSON schema is part of a definition's fingerprint.
pub trait Data: Serialize + DeserializeOwned + JsonSchema + Send + 'static {}
impl<T: Serialize + DeserializeOwned + JsonSchema + Send + 'static> Data for T {}

/// What a participant offers: a typed request and reply under a name, and the kind of step it can be.
///
/// ```
/// use tercet_core::{Operation, kind};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, schemars::JsonSchema)]
/// pub struct Lines { pub order: u64, pub pieces: u32 }
///
/// pub struct Reserve;
/// impl Operation for Reserve {
///     const NAME: &'static str = "inventory.reserve/1";
///     type Kind = kind::Tcc;
///     type Request = Lines;
///     type Reply = ();
/// }
/// ```
pub trait Operation: Send + Sync + 'static {
    /// `participant.operation/version`. A change that an old peer cannot read is a new version.
    const NAME: &'static str;
    /// One of [`kind`]: which phases it has and where in a saga it may stand.
    type Kind: Kind;
    /// What it is asked with.
    type Request: Data;
    /// What it answers when it is done.
    type Reply: Data;
    /// A pivot or external can be asked what became of an execute. Without it an unknown outcome goes to a person.
    const QUERIES: bool = true;
    /// A pivot's third party can make a key unusable and say so ("close order").
    const CLOSES: bool = false;
    /// An attempt carries this lifetime (a pay link's): after it, and a margin for clocks, *absent* is a final no.
    const EXPIRES_AFTER: Option<Duration> = None;
}

/// The phases of an operation's kind; implemented by the types in [`kind`] alone.
pub trait Kind: sealed::Sealed + 'static {
    /// The kind as a value.
    const KIND: StepKind;
}

mod sealed {
    pub trait Sealed {}
}

/// A kind of step as a value: how definitions, journals and drawings say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// Try, confirm, cancel; before the decision.
    Tcc,
    /// Execute, compensate; before the decision.
    Compensable,
    /// Execute, query, close; its success is the decision.
    Pivot,
    /// Execute until it is done; after the decision.
    Retriable,
    /// Execute and query, no undo; after the decision.
    External,
    /// Execute without effect; anywhere.
    Read,
    /// Told to another saga, whose verdict is the reply; after the decision.
    Signal,
    /// Waits to be told.
    Wait,
    /// Waits for a time.
    Sleep,
    /// A branch.
    When,
    /// A fan-out.
    ForEach,
    /// Another saga.
    Child,
}

impl StepKind {
    /// The kind as text, as in journals and drawings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcc => "tcc",
            Self::Compensable => "compensable",
            Self::Pivot => "pivot",
            Self::Retriable => "retriable",
            Self::External => "external",
            Self::Read => "read",
            Self::Signal => "signal",
            Self::Wait => "wait",
            Self::Sleep => "sleep",
            Self::When => "when",
            Self::ForEach => "for_each",
            Self::Child => "child",
        }
    }

    /// An attempt of it may have had an effect that no one can take back: it is queried, never repeated in the dark.
    #[must_use]
    pub const fn is_irreversible(self) -> bool {
        matches!(self, Self::Pivot | Self::External)
    }

    /// Its try or execute is undone when the saga aborts.
    #[must_use]
    pub const fn is_undone(self) -> bool {
        matches!(self, Self::Tcc | Self::Compensable)
    }
}

impl fmt::Display for StepKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The kinds of operation, as types: an [`Operation::Kind`] is one of them.
pub mod kind {
    use super::{Kind, StepKind, sealed::Sealed};

    macro_rules! kinds { ($($(#[$doc:meta])+ $name:ident)+) => { $(
        $(#[$doc])+
        #[derive(Debug)]
        pub enum $name {}
        impl Sealed for $name {}
        impl Kind for $name {
            const KIND: StepKind = StepKind::$name;
        }
    )+ } }

    kinds! {
        /// Try, confirm, cancel.
        Tcc
        /// Execute, compensate.
        Compensable
        /// Execute, query, and close where the third party can; no undo.
        Pivot
        /// Execute, until it is done.
        Retriable
        /// Execute, query; no undo; a definite no goes to a person.
        External
        /// Execute without effect.
        Read
    }
}

/// The kind that a step asks of its operation.
#[diagnostic::on_unimplemented(
    message = "the operation's contract is `{Self}`, this step needs `{K}`",
    label = "wrong kind of operation for this step"
)]
pub trait Is<K> {}
impl<K> Is<K> for K {}

/// Something told to a running saga; the type is its payload.
pub trait Signal: Data {
    /// `participant.signal/version`, as in `orders.paid/1`.
    const NAME: &'static str;
}

/// What became of a signal: the receiving saga's journal decides, once, and repeats it for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was taken, and the saga was decided with it.
    Accepted,
    /// The saga ended its wait without it.
    TooLate,
}

impl Verdict {
    /// The signal changed nothing.
    #[must_use]
    pub fn is_too_late(self) -> bool {
        self == Self::TooLate
    }
}

/// A definite business no: its sender vouches that no effect remains or ever will.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// Stable, for programs: `no_stock`.
    pub code: String,
    /// For people.
    pub message: String,
}

impl Refusal {
    /// A refusal of that code and message.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }
}

/// A refusal, as a mapper or participant returns it.
///
/// # Errors
/// Always: that is its purpose.
pub fn refuse<T>(code: impl Into<String>, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(code, message))
}
