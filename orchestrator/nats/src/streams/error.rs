//! Why a stream cannot be used, in one line each.

use super::compare::Difference;

/// What is in the way. No text of it has a password in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The server has no JetStream, or not for this account.
    #[error(
        "failed to use JetStream at {servers}: nats-server runs without it, or this account may not use it; start it with `-js`, or \
         with `jetstream` in its configuration"
    )]
    Disabled {
        /// The servers.
        servers: String,
    },
    /// There is no such stream.
    #[error(
        "failed to find the stream {stream} at {servers}: a node with `nats.url` makes it; start one, or look at its log"
    )]
    Missing {
        /// The servers.
        servers: String,
        /// The stream.
        stream: String,
    },
    /// It is there, and not as it must be.
    #[error("failed to use the stream {stream} at {servers} (nats-server {version}): {difference}; {what_to_do}")]
    Differs {
        /// The servers.
        servers: String,
        /// The stream, or its consumer.
        stream: String,
        /// The option.
        difference: Box<Difference>,
        /// What the server says it is.
        version: String,
        /// What can be done about it.
        what_to_do: &'static str,
    },
    /// JetStream says no.
    #[error("failed to use the stream {stream} at {servers}: JetStream refuses: {why}")]
    Refused {
        /// The servers.
        servers: String,
        /// The stream.
        stream: String,
        /// What it says.
        why: String,
    },
    /// A message is larger than the server takes.
    #[error("failed to store a message at {servers}: {why}; raise `max_payload` of nats-server, or send less")]
    TooLarge {
        /// The servers.
        servers: String,
        /// How large.
        why: String,
    },
    /// What comes in has to be asked for anew: the connection was lost, and is there again.
    #[error("failed to go on with the stream {stream} at {servers}: the connection was made anew")]
    Reconnected {
        /// The servers.
        servers: String,
        /// The stream.
        stream: String,
    },
    /// Somebody has deleted the stream, or its consumer, while messages were taken from it.
    #[error("failed to go on with the stream {stream} at {servers}: it, or its consumer, was deleted")]
    Gone {
        /// The servers.
        servers: String,
        /// The stream.
        stream: String,
    },
    /// No answer came. What was to be stored may have been stored.
    #[error(
        "failed to reach JetStream at {servers}: {why}; it may be starting, or this user may not send to `$JS.API.>` and `tercet.>`"
    )]
    Unreachable {
        /// The servers.
        servers: String,
        /// What is known about it.
        why: String,
    },
    /// An answer that is none.
    #[error("failed to read an answer of JetStream: {what}")]
    Unreadable {
        /// What of it.
        what: String,
    },
}

impl StreamError {
    /// The same again may succeed: all but a message that stays too large.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        !matches!(self, Self::TooLarge { .. })
    }
}
