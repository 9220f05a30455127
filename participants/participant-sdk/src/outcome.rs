//! What a handler says: done, a definite no, not now, or later; and what a third party said, where *unknown* is a word of its own.

use crate::database::Fault;
use serde::Serialize;
use std::time::Duration;
use tercet_core::{Payload, Refusal};

/// A handler's result. `Ok` is *done*; everything else is [`Otherwise`], so `?` works on database errors and refusals alike.
///
/// ```
/// use tercet_participant::{Outcome, refuse, sea_orm::DbErr};
///
/// fn left(stock: Result<u32, DbErr>, wanted: u32) -> Outcome<u32> {
///     match stock?.checked_sub(wanted) {
///         Some(left) => Ok(left),
///         None => refuse("no_stock", "there are fewer pieces than asked for")?,
///     }
/// }
/// assert!(left(Ok(3), 4).is_err());
/// ```
pub type Outcome<T> = Result<T, Otherwise>;

/// Why a handler is not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Otherwise {
    /// A definite business no. What the handler wrote is rolled back, and the refusal is remembered.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// Not now. All is rolled back, the barrier's row included: nothing happened and nothing was sent.
    #[error("{reason}")]
    Retry {
        /// How long the asker should wait at least.
        after: Option<Duration>,
        /// Why, for people.
        reason: String,
    },
    /// Accepted: what the handler wrote is kept, and a [completion](crate::outbox::Outbox::complete) reports later.
    #[error("accepted, to be reported later")]
    Pending(Payload),
    /// The database failed: all is rolled back. The runner starts the transaction anew where that helps.
    #[error("{0}")]
    Fault(#[from] Fault),
}

impl From<sea_orm::DbErr> for Otherwise {
    fn from(error: sea_orm::DbErr) -> Self {
        Self::Fault(error.into())
    }
}

/// *Not now*, as a handler returns it: nothing happened, nothing was sent.
///
/// # Errors
/// Always: that is its purpose.
pub fn retry<T>(reason: impl Into<String>) -> Outcome<T> {
    Err(Otherwise::Retry { after: None, reason: reason.into() })
}

/// *Not now, but after that long*.
///
/// # Errors
/// Always: that is its purpose.
pub fn retry_after<T>(after: Duration, reason: impl Into<String>) -> Outcome<T> {
    Err(Otherwise::Retry { after: Some(after), reason: reason.into() })
}

/// *Accepted*, with a note that is journaled and shown (a pay link, say).
///
/// # Errors
/// Always: that is its purpose. A note that cannot be written as JSON is left out.
pub fn pending<T>(note: &(impl Serialize + ?Sized)) -> Outcome<T> {
    Err(Otherwise::Pending(note_of(note)))
}

fn note_of(note: &(impl Serialize + ?Sized)) -> Payload {
    Payload::of(note).unwrap_or_else(|_| Payload::null())
}

/// What became of an attempt that was handed on to a third party.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handed<T> {
    /// It is done.
    Done(T),
    /// The third party said a definite no to this attempt.
    Refused(Refusal),
    /// The third party accepted it and reports later; the note is journaled and shown.
    Pending(Payload),
    /// The third party certainly did not get it, or certainly did nothing: the same key may be tried again.
    NotSent {
        /// How long the asker should wait at least.
        after: Option<Duration>,
        /// Why, for people.
        reason: String,
    },
    /// A timeout, a broken connection, an answer that cannot be read: it may or may not have happened.
    Unknown {
        /// What was seen, for people.
        reason: String,
    },
}

impl<T> Handed<T> {
    /// A definite no.
    pub fn refused(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Refused(Refusal::new(code, message))
    }

    /// Accepted, with a note.
    pub fn pending(note: &(impl Serialize + ?Sized)) -> Self {
        Self::Pending(note_of(note))
    }

    /// Certainly not done.
    pub fn not_sent(reason: impl Into<String>) -> Self {
        Self::NotSent { after: None, reason: reason.into() }
    }

    /// The same, with another reply.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Handed<U> {
        match self {
            Self::Done(reply) => Handed::Done(change(reply)),
            Self::Refused(refusal) => Handed::Refused(refusal),
            Self::Pending(note) => Handed::Pending(note),
            Self::NotSent { after, reason } => Handed::NotSent { after, reason },
            Self::Unknown { reason } => Handed::Unknown { reason },
        }
    }

    /// Nobody knows.
    pub fn unknown(reason: impl Into<String>) -> Self {
        Self::Unknown { reason: reason.into() }
    }
}

/// What a third party says it knows under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// It is done.
    Done(T),
    /// It has recorded a *final* failure: nothing will ever happen under this key. A failure it may still mend is [`Self::Pending`].
    Refused(Refusal),
    /// It knows nothing under the key. Not a no: an attempt may still be on its way.
    Absent,
    /// It is still at it.
    Pending(Payload),
    /// No usable answer.
    Unknown {
        /// What was seen, for people.
        reason: String,
    },
}

impl<T> Found<T> {
    /// A recorded, final failure.
    pub fn refused(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Refused(Refusal::new(code, message))
    }

    /// The same, with another reply.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Found<U> {
        match self {
            Self::Done(reply) => Found::Done(change(reply)),
            Self::Refused(refusal) => Found::Refused(refusal),
            Self::Absent => Found::Absent,
            Self::Pending(note) => Found::Pending(note),
            Self::Unknown { reason } => Found::Unknown { reason },
        }
    }

    /// Still at it, with a note.
    pub fn pending(note: &(impl Serialize + ?Sized)) -> Self {
        Self::Pending(note_of(note))
    }

    /// No usable answer.
    pub fn unknown(reason: impl Into<String>) -> Self {
        Self::Unknown { reason: reason.into() }
    }
}

/// What a third party says when it is asked to make a key unusable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closing<T> {
    /// It knew the effect, has not done it, and never will.
    Closed,
    /// Too late: it is done.
    Done(T),
    /// It knows nothing under the key: asked again later, since what was sent may still arrive.
    Absent,
    /// No usable answer.
    Unknown {
        /// What was seen, for people.
        reason: String,
    },
}

impl<T> Closing<T> {
    /// The same, with another reply.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Closing<U> {
        match self {
            Self::Closed => Closing::Closed,
            Self::Done(reply) => Closing::Done(change(reply)),
            Self::Absent => Closing::Absent,
            Self::Unknown { reason } => Closing::Unknown { reason },
        }
    }

    /// No usable answer.
    pub fn unknown(reason: impl Into<String>) -> Self {
        Self::Unknown { reason: reason.into() }
    }
}

/// What became of a third party's effect, as its record handler hears it, once for each change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled<T> {
    /// It is done. It may come after any of the others: evidence is never dropped.
    Done(T),
    /// A definite no.
    Refused(Refusal),
    /// Accepted, not yet done.
    Pending(Payload),
    /// The key is unusable from now on, and nothing was done under it.
    Closed,
}

impl<T> Settled<T> {
    pub(crate) fn try_map<U, E>(self, change: impl FnOnce(T) -> Result<U, E>) -> Result<Settled<U>, E> {
        Ok(match self {
            Self::Done(reply) => Settled::Done(change(reply)?),
            Self::Refused(refusal) => Settled::Refused(refusal),
            Self::Pending(note) => Settled::Pending(note),
            Self::Closed => Settled::Closed,
        })
    }
}

/// What a third party says when it is asked to void what may stand under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voided {
    /// Something stood under the key and is void now, or was void before.
    Done,
    /// Nothing stood under the key, and the third party refuses the key from now on.
    KeyRefused,
    /// Nothing stood under the key, but what was sent may still arrive: the SDK makes the effect under the same key and voids that.
    Nothing,
}
