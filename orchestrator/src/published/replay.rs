//! What a broker's stream has kept of published events, read again: page by page, from a moment on.

use super::{PublishedEvent, Wanted};
use std::time::Duration;
use tercet_core::Millis;
use tercet_nats::{
    event::Event,
    streams::{Begin, Kept, Stream, StreamError, Streams},
};

/// Messages that are read at once.
const CHUNK: usize = 500;

/// Chunks that are read for one page at most, when few of their events are wanted.
const CHUNKS_MAX: usize = 20;

/// An event is stored after it has happened. Those who say when are two machines: by so much their clocks may disagree.
const SKEW: Duration = Duration::from_secs(60);

/// Where a page ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// Which stream: one that was wiped and made again is another.
    pub(crate) made: i64,
    /// Its last message that was looked at.
    pub(crate) number: u64,
}

/// A page.
pub(crate) struct Page {
    pub(crate) events: Vec<PublishedEvent>,
    /// Where the next one begins; nothing where nothing stands yet.
    pub(crate) next: Option<Position>,
    /// More may stand there now.
    pub(crate) more: bool,
}

/// Why there is no page.
pub(crate) enum ReplayError {
    Stream(StreamError),
    /// The stream that the position is of is no more.
    Another,
}

impl From<StreamError> for ReplayError {
    fn from(error: StreamError) -> Self {
        Self::Stream(error)
    }
}

/// The events that are wanted, behind `after`, as the stream has them; what [`Wanted::after`] says is of no stream.
pub(crate) async fn replay(streams: &Streams, wanted: &Wanted, after: Option<Position>) -> Result<Page, ReplayError> {
    let made = streams.find(Stream::Events).await?.made;
    if after.is_some_and(|after| after.made != made) {
        return Err(ReplayError::Another);
    }
    let mut begin = match (after, wanted.since) {
        (Some(after), _) => Begin::Number(after.number + 1),
        (None, Some(since)) => {
            Begin::Time(Millis(since.0.saturating_sub(i64::try_from(SKEW.as_millis()).unwrap_or(0))))
        }
        (None, None) => Begin::Number(0),
    };
    let (limit, mut page) = (wanted.limit as usize, Page { events: Vec::new(), next: after, more: true });
    for _ in 0..CHUNKS_MAX {
        let chunk = streams.page(Stream::Events, begin, CHUNK).await?;
        let all_read = chunk.len() < CHUNK;
        for kept in chunk {
            if page.events.len() == limit {
                return Ok(page);
            }
            page.next = Some(Position { made, number: kept.number });
            begin = Begin::Number(kept.number + 1);
            page.events.extend(fitting(&kept, wanted));
        }
        if all_read {
            page.more = false;
            break;
        }
    }
    Ok(page)
}

fn fitting(kept: &Kept, wanted: &Wanted) -> Option<PublishedEvent> {
    let event = match Event::receive(&kept.headers, &kept.body) {
        Ok(event) => event,
        Err(error) => {
            tracing::warn!(%error, message.number = kept.number, subject = kept.subject, "what is no event is among the events");
            return None;
        }
    };
    let Event { id, source, subject, version, kind, at, data } = event;
    let fits =
        wanted.subject.as_ref().is_none_or(|wanted| *wanted == subject) && wanted.since.is_none_or(|since| at >= since);
    let number = i64::try_from(kept.number).unwrap_or(i64::MAX);
    fits.then_some(PublishedEvent { number, id, source, subject, version, kind, at, data })
}
