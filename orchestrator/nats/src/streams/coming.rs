//! What comes in by way of a stream, shared by all nodes of a namespace: each message goes to one of them, and comes again until it is
//! told to be done.

use super::{Found, Stream, StreamError, Streams, nanos, read::millis};
use crate::protocol::Door;
use async_nats::{
    HeaderMap,
    jetstream::{
        AckKind, Message,
        consumer::pull::{self, MessagesError, MessagesErrorKind},
    },
};
use futures_util::{FutureExt, StreamExt};
use serde_json::json;
use std::time::Duration;
use tercet_core::Millis;

/// The consumer that all nodes of a namespace share.
const CONSUMER: &str = "nodes";

/// How long a message that came may take before another node gets it, too.
const ACK_WAIT: Duration = Duration::from_secs(30);

/// How long one request for messages stands, and how often the server says meanwhile that it is there.
const STANDS: Duration = Duration::from_secs(30);
const HEARTBEAT: Duration = Duration::from_secs(3);

/// How often it is looked whether the connection is another one.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Messages as they come, over one connection: after it was lost nobody knows what is still there of the stream.
pub struct Coming {
    messages: pull::Stream,
    streams: Streams,
    stream: Found,
    connects: u64,
}

/// A message that has come, and comes again unless it is [done](Self::done).
pub struct Came {
    message: Message,
    made: i64,
    streams: Streams,
    connects: u64,
    /// Its number in the stream.
    pub number: u64,
    /// When it was stored, by the server's clock.
    pub at: Millis,
    /// How often it has come, this time among them.
    pub times: u64,
}

impl Streams {
    /// Takes messages in, at most `ahead` of what is asked for. The stream and what nodes share it by are made where they are missing.
    ///
    /// # Errors
    /// Why none can come.
    pub async fn coming(&self, ahead: usize) -> Result<Coming, StreamError> {
        let connects = self.connects();
        let stream = self.ensure(Stream::In).await?;
        let wanted = json!({
            "durable_name": CONSUMER,
            "ack_policy": "explicit",
            "ack_wait": nanos(ACK_WAIT),
            "deliver_policy": "all",
            "replay_policy": "instant",
            // What is not taken yet is asked again for ever, and however much of it there is holds up nothing else.
            "max_deliver": -1,
            "max_ack_pending": -1,
        });
        let consumer = self.consume(Stream::In, CONSUMER, &wanted).await?;
        let messages = consumer.stream().max_messages_per_batch(ahead).expires(STANDS).heartbeat(HEARTBEAT);
        let messages = messages.messages().await.map_err(|error| self.unreachable(&error))?;
        Ok(Coming { messages, streams: self.clone(), stream, connects })
    }
}

impl Coming {
    /// The stream that they come from.
    #[must_use]
    pub fn stream(&self) -> &Found {
        &self.stream
    }

    /// The next message. A connection that is lost is waited for.
    ///
    /// # Errors
    /// Why no more come: open it anew.
    pub async fn next(&mut self) -> Result<Came, StreamError> {
        loop {
            let next = tokio::time::timeout(LOOK_EVERY, self.messages.next()).await;
            if self.streams.connects() != self.connects {
                if let Ok(Some(Ok(message))) = next {
                    // Of which stream it is nobody knows: that one's number is not this one's.
                    self.came(message, self.streams.connects())?.later(Duration::ZERO).await;
                }
                let (servers, stream) = self.named();
                return Err(StreamError::Reconnected { servers, stream });
            }
            match next {
                Ok(Some(Ok(message))) => return self.came(message, self.connects),
                Ok(Some(Err(error))) if self.streams.connected().is_ok() => return Err(self.ended(&error)),
                Ok(None) => {
                    let (servers, _) = self.named();
                    return Err(StreamError::Unreachable { servers, why: "the connection has ended".to_owned() });
                }
                Ok(Some(Err(_))) | Err(_) => {}
            }
        }
    }

    fn ended(&self, error: &MessagesError) -> StreamError {
        match error.kind() {
            MessagesErrorKind::ConsumerDeleted | MessagesErrorKind::NoResponders => {
                let (servers, stream) = self.named();
                StreamError::Gone { servers, stream }
            }
            _ => self.streams.unreachable(error),
        }
    }

    fn named(&self) -> (String, String) {
        (self.streams.servers.clone(), Stream::In.name(&self.streams.namespace))
    }

    /// Gives back what came and nobody has asked for, so that other nodes get it at once.
    pub async fn give_back(mut self) {
        while let Some(Some(Ok(message))) = self.messages.next().now_or_never() {
            if let Ok(came) = self.came(message, self.streams.connects()) {
                came.later(Duration::ZERO).await;
            }
        }
    }

    fn came(&self, message: Message, connects: u64) -> Result<Came, StreamError> {
        let unreadable = |error: async_nats::Error| StreamError::Unreadable { what: error.to_string() };
        let info = message.info().map_err(unreadable)?;
        let (number, at) = (info.stream_sequence, millis(info.published));
        let times = u64::try_from(info.delivered).unwrap_or_default();
        let streams = self.streams.clone();
        Ok(Came { number, at, times, made: self.stream.made, message, streams, connects })
    }
}

impl Came {
    /// The door that it came to; each subject of the stream has one.
    #[must_use]
    pub fn door(&self) -> Option<Door> {
        Door::of(&self.message.subject)
    }

    /// What it says.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.message.payload
    }

    /// What is said about it.
    #[must_use]
    pub fn headers(&self) -> HeaderMap {
        self.message.headers.clone().unwrap_or_default()
    }

    /// The same however often it comes, and no other message's, whatever becomes of the stream.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}-{}", self.made, self.number)
    }

    /// It is committed, and need not come again. Where this does not reach the server it does, which does no harm.
    pub async fn done(self) {
        self.answer(AckKind::Ack).await;
    }

    /// It is to come again, after a while.
    pub async fn later(self, after: Duration) {
        self.answer(AckKind::Nak((!after.is_zero()).then_some(after))).await;
    }

    /// Not over another connection: behind that one the stream may be another, with another message under this number.
    async fn answer(self, kind: AckKind) {
        if self.streams.connects() != self.connects {
            tracing::debug!(
                message.number = self.number,
                "the connection is another one by now: the message comes again"
            );
            return;
        }
        if let Err(error) = self.message.ack_with(kind).await {
            tracing::debug!(%error, message.number = self.number, "what was said about a message could not be sent");
        }
    }
}

impl std::fmt::Debug for Coming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Coming").field("streams", &self.streams).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Came {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Came").field("number", &self.number).field("times", &self.times).finish_non_exhaustive()
    }
}
