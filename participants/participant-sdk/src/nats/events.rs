//! From a participant's database into the stream of published events.

use super::link::Link;
use crate::{
    clock::{Clock, SystemClock},
    database::{Database, Fault},
    outbox::{EventNumber, Published, StreamMade},
};
use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tercet_core::{Millis, Namespace};
use tercet_nats::{
    Settings,
    event::Event,
    streams::{EVENTS_KEPT, Stream, StreamError, Streams},
};

/// Events that are sent before the first answer is waited for.
const PAGE: u32 = 256;

/// Between two looks for events that need not be kept any longer, and how many of them are dropped at once.
const PURGE_EVERY: Duration = Duration::from_secs(10 * 60);
const PURGED_AT_ONCE: u32 = 1_000;

/// Tells the world what a participant has published: each event to a stream, until that has taken it, in the order of their numbers. Call
/// [`EventRelay::sweep`] again and again.
///
/// A stream that is lost and made again is given once more what the last 7 days have published. An event may come twice, and after a
/// failure also behind a later one of its subject: consumers drop what they have seen by its id, or by its version.
#[derive(Debug)]
pub struct EventRelay<D> {
    database: D,
    source: String,
    namespace: Namespace,
    link: Link,
    seen: Mutex<Seen>,
}

/// What is remembered between sweeps.
#[derive(Debug, Default)]
struct Seen {
    /// The stream that was there last time.
    stream: Option<StreamMade>,
    /// When it was last looked for what is no longer kept.
    purged: Option<Millis>,
    /// Events that no stream takes, and of which that was said.
    too_large: BTreeSet<EventNumber>,
}

impl<D: Database> EventRelay<D> {
    /// From that database into the stream of that namespace; `source` is the participant's name. The connection is made by the first
    /// sweep.
    pub fn new(database: D, source: &str, settings: Settings, namespace: Namespace) -> Self {
        let link = Link::new(settings, "tercet-events");
        Self { database, source: source.to_owned(), namespace, link, seen: Mutex::default() }
    }

    /// Sends each event that no stream has taken, once; how many were taken. What is in the way is logged once, and the rest stays for the
    /// next sweep.
    ///
    /// # Errors
    /// When the database fails: nothing is lost.
    pub async fn sweep(&self) -> Result<u64, Fault> {
        let client = match self.link.up().await {
            Ok(client) => client.clone(),
            Err(error) => return Ok(self.left(&error)),
        };
        let streams = Streams::new(client, &self.link.settings, self.namespace.clone());
        let stream = match streams.ensure(Stream::Events).await {
            Ok(found) => StreamMade(found.made),
            Err(error) => return Ok(self.left(&error)),
        };
        self.recognise(stream).await?;
        let mut taken = 0;
        let mut after = None;
        loop {
            let page = self.database.events_untaken(after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.number);
            let (numbers, failed) = self.send(&streams, &page).await;
            self.database.events_take(&numbers, stream, SystemClock.now()).await?;
            taken += numbers.len() as u64;
            if let Some(error) = failed {
                self.left(&error);
                return Ok(taken);
            }
        }
        self.link.say(None);
        self.purge().await?;
        Ok(taken)
    }

    fn left(&self, why: &dyn std::error::Error) -> u64 {
        self.link.say(Some(why.to_string()));
        0
    }

    /// What another stream had taken is gone with it.
    async fn recognise(&self, stream: StreamMade) -> Result<(), Fault> {
        if self.seen().stream == Some(stream) {
            return Ok(());
        }
        let lost = self.database.events_untake(stream).await?;
        if lost > 0 {
            tracing::warn!(
                events = lost,
                "the stream of events was made anew: those that are still kept are published again"
            );
        }
        self.seen().stream = Some(stream);
        Ok(())
    }

    /// Sends a page; which of it were taken, and why the others were not. One that is too large delays no other.
    async fn send(&self, streams: &Streams, page: &[Published]) -> (Vec<EventNumber>, Option<StreamError>) {
        let messages = page.iter().map(|published| self.told(published).send(&self.namespace)).collect();
        let stored = streams.publish_all(Stream::Events, messages).await;
        let (mut taken, mut failed) = (Vec::new(), None);
        for (published, stored) in page.iter().zip(stored) {
            match stored {
                Ok(_) => taken.push(published.number),
                Err(error) if error.may_pass() => failed = Some(error),
                Err(error) if self.seen().too_large.insert(published.number) => {
                    tracing::error!(event = published.event.id(), %error, "an event cannot be published; it stays");
                }
                Err(_) => {}
            }
        }
        (taken, failed)
    }

    fn told(&self, published: &Published) -> Event {
        let event = &published.event;
        Event {
            id: event.id(),
            source: self.source.clone(),
            subject: event.subject.0.clone(),
            version: event.version.0,
            kind: event.kind.clone(),
            at: event.at,
            data: event.data.clone(),
        }
    }

    async fn purge(&self) -> Result<(), Fault> {
        let now = SystemClock.now();
        if self.seen().purged.is_some_and(|last| now.since(last) < PURGE_EVERY) {
            return Ok(());
        }
        let before = Millis(now.0.saturating_sub(i64::try_from(EVENTS_KEPT.as_millis()).unwrap_or(i64::MAX)));
        while self.database.events_purge(before, PURGED_AT_ONCE).await? == PURGED_AT_ONCE {}
        self.seen().purged = Some(now);
        Ok(())
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
