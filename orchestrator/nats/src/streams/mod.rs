//! JetStream's streams: what must outlive its sender. Nothing in them is the truth: the databases are, and an empty broker loses and
//! doubles no effect.
//!
//! | stream | subjects | kept |
//! |---|---|---|
//! | `TERCET_<namespace>_IN` | `tercet.<namespace>.in.start`, `.signal`, `.complete` | until a node has committed it |
//! | `TERCET_<namespace>_DEAD` | `tercet.<namespace>.dead.start`, `.signal`, `.complete` | until somebody drops it |
//! | `TERCET_<namespace>_EVENTS` | `tercet.<namespace>.out.events.<source>.<kind>` | 7 days |
//!
//! A server answers what it made of a configuration, and an old one leaves out what it does not know without a word: so each answer is
//! read back and compared. Nothing is asked for that nats-server 2.9 does not have.

mod coming;
mod compare;
mod error;
mod publish;
mod read;
#[cfg(test)]
mod tests;

pub use coming::{Came, Coming};
pub use compare::Difference;
pub use error::StreamError;
pub use publish::{Outgoing, Stored};
pub use read::{Begin, Kept};

use crate::{Settings, protocol::Door};
use async_nats::{
    Client,
    connection::State,
    jetstream::{
        self, Context, ErrorCode,
        consumer::PullConsumer,
        context::{ContextBuilder, RequestErrorKind},
        response::Response,
    },
};
use compare::difference;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{sync::atomic::Ordering, time::Duration};
use tercet_core::{Millis, Namespace};

/// How long published events are kept.
pub const EVENTS_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long JetStream may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Within this time JetStream itself drops a message whose id it has seen. Afterwards Tercet finds it by its key.
const DUPLICATES: Duration = Duration::from_secs(120);

/// What an administrator may set otherwise, once a stream is there.
const FREE: [&str; 3] = ["max_age", "duplicate_window", "num_replicas"];

/// One of a namespace's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Starts, signals and completions that wait for a node.
    In,
    /// Those that can never succeed, with the reason.
    Dead,
    /// What participants publish.
    Events,
}

impl Stream {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::In, Self::Dead, Self::Events];

    /// Its name.
    #[must_use]
    pub fn name(self, namespace: &Namespace) -> String {
        let word = match self {
            Self::In => "IN",
            Self::Dead => "DEAD",
            Self::Events => "EVENTS",
        };
        format!("TERCET_{namespace}_{word}")
    }

    fn subjects(self, namespace: &Namespace) -> Vec<String> {
        match self {
            Self::In => Door::ALL.map(|door| door.stored(namespace)).into(),
            Self::Dead => Door::ALL.map(|door| door.dead(namespace)).into(),
            // A token more than a call's subject has, so that no participant's name can get in its way.
            Self::Events => vec![format!("tercet.{namespace}.out.events.*.>")],
        }
    }

    fn wanted(self, namespace: &Namespace, replicas: u8) -> Value {
        let mut wanted = json!({
            "name": self.name(namespace),
            "subjects": self.subjects(namespace),
            "retention": if self == Self::In { "workqueue" } else { "limits" },
            "storage": "file",
            "discard": "old",
            "duplicate_window": nanos(DUPLICATES),
            "num_replicas": replicas,
        });
        if self == Self::Events {
            wanted["max_age"] = nanos(EVENTS_KEPT).into();
        }
        wanted
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A stream that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// When it was made, in nanoseconds since 1970: one that was wiped and made again is another stream.
    pub made: i64,
    /// How long it keeps a message; for ever without.
    pub kept: Option<Duration>,
}

/// What a stream has in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Messages.
    pub messages: u64,
    /// When the oldest of them was stored, by the server's clock.
    pub oldest: Option<Millis>,
}

/// The streams of a namespace, through one connection.
#[derive(Clone, Debug)]
pub struct Streams {
    context: Context,
    namespace: Namespace,
    servers: String,
    replicas: u8,
}

/// The part of an answer that is looked at.
#[derive(Deserialize)]
struct Answered {
    config: Value,
    #[serde(default)]
    state: Value,
    #[serde(default)]
    created: String,
    #[serde(default)]
    name: String,
}

impl Streams {
    /// Those of that namespace. Nothing is asked yet.
    #[must_use]
    pub fn new(client: Client, settings: &Settings, namespace: Namespace) -> Self {
        let context = ContextBuilder::new().timeout(ANSWER_MAX).build(client);
        Self { context, namespace, servers: settings.shown(), replicas: settings.replicas.unwrap_or(1) }
    }

    /// Whose they are.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Makes the stream where it is missing, and sees to it that it is as Tercet needs it.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub async fn ensure(&self, stream: Stream) -> Result<Found, StreamError> {
        match self.find(stream).await {
            Err(StreamError::Missing { .. }) => {
                let made = self.make(stream, &stream.wanted(&self.namespace, self.replicas)).await?;
                tracing::info!(stream = stream.name(&self.namespace), "made a stream that was not there");
                Ok(made)
            }
            found => found,
        }
    }

    /// The stream, if it is there and as Tercet needs it.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub async fn find(&self, stream: Stream) -> Result<Found, StreamError> {
        let name = stream.name(&self.namespace);
        let found = self.ask(stream, &format!("STREAM.INFO.{name}"), &json!(null)).await?;
        let mut wanted = stream.wanted(&self.namespace, self.replicas);
        if let Some(wanted) = wanted.as_object_mut() {
            wanted.retain(|key, _| !FREE.contains(&key.as_str()));
        }
        self.same(&name, &wanted, &found.config, "edit it, or delete it: a node makes it anew")?;
        found_of(&found)
    }

    /// What the stream has in it now.
    ///
    /// # Errors
    /// Why it cannot be asked.
    pub async fn standing(&self, stream: Stream) -> Result<Standing, StreamError> {
        let name = stream.name(&self.namespace);
        let found = self.ask(stream, &format!("STREAM.INFO.{name}"), &json!(null)).await?;
        let messages = found.state["messages"].as_u64().unwrap_or_default();
        let oldest = match found.state["first_ts"].as_str().filter(|_| messages > 0) {
            Some(text) => Some(Millis(nanos_of(text)? / 1_000_000)),
            None => None,
        };
        Ok(Standing { messages, oldest })
    }

    /// The most that a message may have, headers and body, as the server says it.
    #[must_use]
    pub fn payload_max(&self) -> usize {
        self.context.client().max_payload()
    }

    /// How often a connection was made.
    fn connects(&self) -> u64 {
        self.context.client().statistics().connects.load(Ordering::Relaxed)
    }

    async fn make(&self, stream: Stream, wanted: &Value) -> Result<Found, StreamError> {
        let name = stream.name(&self.namespace);
        let found = self.ask(stream, &format!("STREAM.CREATE.{name}"), wanted).await?;
        self.same(
            &name,
            wanted,
            &found.config,
            "this nats-server cannot do it: use a newer one, and delete the stream",
        )?;
        found_of(&found)
    }

    async fn consume(&self, stream: Stream, durable: &str, wanted: &Value) -> Result<PullConsumer, StreamError> {
        let name = stream.name(&self.namespace);
        let subject = if durable.is_empty() {
            format!("CONSUMER.CREATE.{name}")
        } else {
            format!("CONSUMER.CREATE.{name}.{durable}")
        };
        let made = self.ask(stream, &subject, &json!({ "stream_name": name, "config": wanted })).await?;
        let shown = format!("{name} > {}", made.name);
        self.same(&shown, wanted, &made.config, "this nats-server cannot do it: use a newer one")?;
        let consumer = self.context.get_consumer_from_stream(&made.name, &name).await;
        consumer.map_err(|error| self.unreachable(&error))
    }

    fn same(&self, stream: &str, wanted: &Value, found: &Value, what_to_do: &'static str) -> Result<(), StreamError> {
        match difference(wanted, found) {
            None => Ok(()),
            Some(difference) => Err(StreamError::Differs {
                servers: self.servers.clone(),
                stream: stream.to_owned(),
                difference: Box::new(difference),
                version: self.context.client().server_info().version,
                what_to_do,
            }),
        }
    }

    /// Asks JetStream itself, about that stream.
    async fn ask(&self, stream: Stream, subject: &str, body: &Value) -> Result<Answered, StreamError> {
        self.connected()?;
        match self.context.request::<_, _, Response<Answered>>(subject.to_owned(), body).await {
            Ok(Response::Ok(answered)) => Ok(answered),
            Ok(Response::Err { error }) => Err(self.said(stream, &error)),
            Err(error) if error.kind() == RequestErrorKind::NoResponders => Err(self.disabled()),
            Err(error) => Err(self.unreachable(&error)),
        }
    }

    /// What is sent without a connection waits for one, in memory: so it is not sent.
    fn connected(&self) -> Result<(), StreamError> {
        match self.context.client().connection_state() {
            State::Connected => Ok(()),
            _ => Err(StreamError::Unreachable {
                servers: self.servers.clone(),
                why: "the connection is lost".to_owned(),
            }),
        }
    }

    fn said(&self, stream: Stream, error: &jetstream::Error) -> StreamError {
        match error.error_code() {
            ErrorCode::STREAM_NOT_FOUND => self.missing(stream),
            ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => self.disabled(),
            _ => StreamError::Refused {
                servers: self.servers.clone(),
                stream: stream.name(&self.namespace),
                why: error.to_string(),
            },
        }
    }

    fn missing(&self, stream: Stream) -> StreamError {
        StreamError::Missing { servers: self.servers.clone(), stream: stream.name(&self.namespace) }
    }

    fn disabled(&self) -> StreamError {
        StreamError::Disabled { servers: self.servers.clone() }
    }

    fn unreachable(&self, error: &dyn std::error::Error) -> StreamError {
        StreamError::Unreachable { servers: self.servers.clone(), why: error.to_string() }
    }
}

/// Its own moment of birth, which nobody else's clock has a say in.
fn found_of(found: &Answered) -> Result<Found, StreamError> {
    let kept = found.config["max_age"].as_u64().filter(|age| *age > 0);
    Ok(Found { made: nanos_of(&found.created)?, kept: kept.map(Duration::from_nanos) })
}

/// RFC 3339 with nanoseconds, as the server writes it.
fn nanos_of(moment: &str) -> Result<i64, StreamError> {
    let unreadable = || StreamError::Unreadable { what: format!("the moment {moment:?} of a stream") };
    let moment = async_nats::datetime::parse_rfc3339(moment).map_err(|_| unreadable())?;
    i64::try_from(moment.unix_timestamp_nanos()).map_err(|_| unreadable())
}
