//! Storing messages: done when the server has said so.

use super::{Stream, StreamError, Streams};
use async_nats::{
    HeaderMap,
    header::NATS_MESSAGE_ID,
    jetstream::{
        context::{PublishAckFuture, PublishError, PublishErrorKind},
        message::PublishMessage,
    },
};

/// A message to be stored.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Where to.
    pub subject: String,
    /// The same for the same message, however often it is sent. Without one the server tells no copies apart.
    pub id: Option<String>,
    /// What is said about it.
    pub headers: HeaderMap,
    /// What it says.
    pub body: Vec<u8>,
}

/// A message that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its number in the stream.
    pub number: u64,
    /// It had been stored before, under the same id.
    pub before: bool,
}

impl Streams {
    /// Stores a message; a stream that is missing is made.
    ///
    /// # Errors
    /// Why it is not stored, or nobody knows: send it again, with the same id.
    pub async fn publish(&self, stream: Stream, message: Outgoing) -> Result<Stored, StreamError> {
        match self.publish_once(stream, message.clone()).await {
            Err(StreamError::Missing { .. }) => {
                self.ensure(stream).await?;
                self.publish_once(stream, message).await
            }
            stored => stored,
        }
    }

    async fn publish_once(&self, stream: Stream, message: Outgoing) -> Result<Stored, StreamError> {
        let sent = self.send(stream, message).await?;
        self.stored(stream, sent).await
    }

    /// Stores messages in their order, without waiting for one before the next is sent; what became of each.
    pub async fn publish_all(&self, stream: Stream, messages: Vec<Outgoing>) -> Vec<Result<Stored, StreamError>> {
        let mut sent = Vec::with_capacity(messages.len());
        for message in messages {
            sent.push(self.send(stream, message).await);
        }
        let mut stored: Vec<Result<Stored, StreamError>> = Vec::with_capacity(sent.len());
        for sent in sent {
            // Where one answer has not come in time, the others are not waited for as long again, each after the other.
            let lost = stored.last().and_then(|last| last.as_ref().err());
            let lost = lost.filter(|error| matches!(error, StreamError::Unreachable { .. })).cloned();
            stored.push(match (lost, sent) {
                (Some(lost), _) => Err(lost),
                (None, Ok(sent)) => self.stored(stream, sent).await,
                (None, Err(error)) => Err(error),
            });
        }
        stored
    }

    async fn send(&self, stream: Stream, message: Outgoing) -> Result<PublishAckFuture, StreamError> {
        self.connected()?;
        let Outgoing { subject, id, mut headers, body } = message;
        if let Some(id) = id {
            headers.insert(NATS_MESSAGE_ID, id);
        }
        let publish = PublishMessage::build().payload(body.into()).headers(headers);
        self.context.send_publish(subject, publish).await.map_err(|error| self.failed(stream, &error))
    }

    async fn stored(&self, stream: Stream, sent: PublishAckFuture) -> Result<Stored, StreamError> {
        let ack = sent.await.map_err(|error| self.failed(stream, &error))?;
        Ok(Stored { number: ack.sequence, before: ack.duplicate })
    }

    fn failed(&self, stream: Stream, error: &PublishError) -> StreamError {
        let servers = self.servers.clone();
        let why = error.to_string();
        match error.kind() {
            // Nobody listens there: no stream, or no JetStream.
            PublishErrorKind::StreamNotFound => self.missing(stream),
            PublishErrorKind::MaxPayloadExceeded => StreamError::TooLarge { servers, why },
            PublishErrorKind::Other => StreamError::Refused { servers, stream: stream.name(&self.namespace), why },
            _ => StreamError::Unreachable { servers, why },
        }
    }
}
