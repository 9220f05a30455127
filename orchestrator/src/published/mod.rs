//! Events that participants have published, as a node shows them: those that it hosts, from their databases, and all others from the
//! broker's stream, where there is one. The node reads them and knows nothing of what they say.

#[cfg(all(feature = "api", feature = "nats"))]
pub(crate) mod replay;

use std::{future::Future, pin::Pin};
use tercet_core::{Millis, Payload};

/// A page of events to come, or why there is none.
pub type Paging<'a> = Pin<Box<dyn Future<Output = Result<Vec<PublishedEvent>, String>> + Send + 'a>>;

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// About this subject.
    pub subject: Option<String>,
    /// That happened then or later.
    pub since: Option<Millis>,
    /// That stand after this number.
    pub after: Option<i64>,
    /// At most so many.
    pub limit: u32,
}

/// A change that a participant has published, once for each version of its subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedEvent {
    /// Where it stands among its source's events.
    pub number: i64,
    /// The same however often it is told.
    pub id: String,
    /// Who published it.
    pub source: String,
    /// About what.
    pub subject: String,
    /// Which of its subject's changes.
    pub version: i64,
    /// What happened.
    pub kind: String,
    /// When.
    pub at: Millis,
    /// The state that it led to.
    pub data: Payload,
}

/// Where a node reads events.
pub trait EventSource: Send + Sync + 'static {
    /// The events that are wanted, in the order of their numbers.
    fn page(&self, wanted: Wanted) -> Paging<'_>;
}
