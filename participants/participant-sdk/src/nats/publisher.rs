//! Starts, signals and completions of a service that has no database to keep them in: a broker's stream keeps them.

use super::link::Link;
use crate::outbox::{Completion, Start, Told};
use serde::Serialize;
use tercet_core::Namespace;
use tercet_nats::{
    ConnectError, Settings,
    protocol::{self, Door},
    streams::{Stored, Stream, StreamError, Streams},
};

/// Sends starts, signals and completions to a stream that a node of Tercet takes them from.
///
/// What is *stored* is kept by the broker, and by nobody else, until a node has committed it: that is the guarantee of the broker, and no
/// more. One that loses its disk, or says that it has stored what its disk does not have yet (nats-server does, unless it is told to
/// `sync_interval: always`, or keeps several replicas), loses it. A service that has a database keeps what it sends in its own transaction
/// instead: see [`Outbox`](crate::Outbox).
///
/// It may be sent any number of times: a start is known by its key, a signal by its id, a completion by its step. What can never succeed
/// is laid aside as a dead letter, and nobody is told but the one who looks: `tercet dead-letter list`.
///
/// ```no_run
/// use tercet_core::Payload;
/// use tercet_participant::{nats::{Publisher, Settings}, outbox::Start};
/// # async fn publish() -> Result<(), Box<dyn std::error::Error>> {
/// let publisher = Publisher::new(Settings::of("nats://127.0.0.1:4222")?, "default".parse()?);
/// let input = Payload::of(&serde_json::json!({ "order": "o-7" }))?;
/// publisher.start(&Start { definition: "refund".parse()?, key: "r-7".parse()?, input }).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Publisher {
    link: Link,
    namespace: Namespace,
}

/// Why a message is not known to be stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// There is no connection: it was not sent.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The stream cannot be used, or no answer came: it may be stored.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// It cannot be written as JSON.
    #[error("failed to write a message as JSON: {0}")]
    Json(String),
}

impl PublishError {
    /// The same again may succeed.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Connect(error) => error.may_pass(),
            Self::Stream(error) => error.may_pass(),
            Self::Json(_) => false,
        }
    }
}

impl Publisher {
    /// The stream of that namespace. The connection is made by the first message.
    #[must_use]
    pub fn new(settings: Settings, namespace: Namespace) -> Self {
        Self { link: Link::new(settings, "tercet-publisher"), namespace }
    }

    /// Has a saga started.
    ///
    /// # Errors
    /// When it is not known to be stored: send it again.
    pub async fn start(&self, start: &Start) -> Result<Stored, PublishError> {
        self.store(Door::Start, start).await
    }

    /// Has a saga told something.
    ///
    /// # Errors
    /// When it is not known to be stored: send it again.
    pub async fn signal(&self, told: &Told) -> Result<Stored, PublishError> {
        self.store(Door::Signal, told).await
    }

    /// Reports what became of a phase that was answered *pending*.
    ///
    /// # Errors
    /// When it is not known to be stored: send it again.
    pub async fn complete(&self, completion: &Completion) -> Result<Stored, PublishError> {
        self.store(Door::Complete, completion).await
    }

    async fn store<T: Serialize>(&self, door: Door, message: &T) -> Result<Stored, PublishError> {
        let body = serde_json::to_vec(message).map_err(|error| PublishError::Json(error.to_string()))?;
        let client = self.link.up().await?.clone();
        let streams = Streams::new(client, &self.link.settings, self.namespace.clone());
        Ok(streams.publish(Stream::In, protocol::store(&self.namespace, door, body)).await?)
    }
}
