//! Events: what a participant publishes about its own rows, once for each version, in the transaction of the change.
//!
//! A row's owner calls [`Outbox::publish`](super::Outbox::publish) where it raises the row's version, and nowhere else. The
//! database has the pair of subject and version once, so that a change cannot be told twice. Events stay until a broker's stream has
//! taken them, and 7 days longer, so that a stream that is lost and made again is given them again; as long as they stay they are read
//! here, too, with [`Database::events`](crate::Database::events). Without a broker they stay.
//!
//! # Order, and what a reader may lean on
//!
//! A subject's events are in the order of their versions: whoever sees version 3 before version 2 knows that one is still to come.
//! An [`EventNumber`] orders all of a database's events. On SQLite there is one writer, it commits before the next begins, and so
//! numbers become visible in their order: a page after a number misses nothing. On a database with several writers a smaller number
//! may be committed after a larger one, and one that was rolled back leaves a gap: a page after a number may pass by what is committed later.
//! Whoever must miss nothing there reads it as a queue: by rows that were not yet taken, each taken by its number, never by a range.

use serde::{Deserialize, Serialize};
use std::fmt;
use tercet_core::{Millis, Payload};

/// What an event is about: an order's id, say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Subject(pub String);

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Which change of its subject an event tells: 1, 2, 3, without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventVersion(pub i64);

/// Where an event stands among all of its database's: see [the module](self) on what that is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventNumber(pub i64);

/// A stream of a broker, by the moment at which it was made (nanoseconds since 1970, by the broker's clock): one that was lost and made
/// again is another stream, and has nothing of what the first had taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StreamMade(pub i64);

/// A change that has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// About what.
    pub subject: Subject,
    /// Which of its changes.
    pub version: EventVersion,
    /// What happened, as in `order.paid`.
    pub kind: String,
    /// When, by the participant's clock.
    pub at: Millis,
    /// The state that it led to.
    pub data: Payload,
}

/// Characters of a subject, and of a kind, at most.
const SUBJECT_MAX: usize = 255;
const KIND_MAX: usize = 64;

impl Event {
    /// What one database would refuse, none is asked.
    pub(crate) fn checked(&self) -> Result<(), &'static str> {
        match (self.subject.0.as_str(), self.kind.as_str()) {
            (subject, kind) if subject.contains('\0') || kind.contains('\0') => {
                Err("its subject or kind has the character U+0000")
            }
            (subject, _) if subject.chars().count() > SUBJECT_MAX => Err("its subject has more than 255 characters"),
            (_, kind) if kind.chars().count() > KIND_MAX => Err("its kind has more than 64 characters"),
            _ => Ok(()),
        }
    }

    /// The event's id, the same however often it is told: consumers drop what they have seen by it.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}@{}", self.subject, self.version.0)
    }
}

/// An event as it stands in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Where it stands.
    pub number: EventNumber,
    /// What it says.
    pub event: Event,
}

/// Which events are wanted; all of them by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// About this subject.
    pub subject: Option<Subject>,
    /// That happened then or later.
    pub since: Option<Millis>,
    /// That stand after this one.
    pub after: Option<EventNumber>,
}
