//! The way in over NATS: starts, signals and completions, by request–reply, and by way of a stream.
//!
//! *By request–reply* each is answered after the commit. Whoever sends one keeps it until it is answered `done` (an outbox, say), so it
//! may come any number of times. Only what can never succeed is answered `refused`; everything else is `retry`, or no answer at all.
//!
//! *By way of a stream* (JetStream's, `tercet.<namespace>.in.*`) they come from services that have no database to keep them in. What the
//! server has acknowledged is kept by the server, and by nobody else, until a node has committed it: that is the broker's own guarantee
//! and no more. A server that loses its disk, or acknowledges before its disk has it (the default: `sync_interval` is two minutes), loses
//! what no node had taken. What a node has taken is in the journal, and safe from whatever becomes of the broker. Nodes share the messages;
//! one that cannot be taken now comes again, and one that can never succeed is laid aside as a [dead letter](DeadLetters), with its
//! reason.
//!
//! A signal whose saga is not there yet waits for it, at [growing intervals](Waits); one whose saga is not started within a day
//! (`ingress.wait`) is laid aside, too, as `no_saga`.
//!
//! | metric | what |
//! |---|---|
//! | `tercet_dead_letters_total` | messages that were laid aside, by `code` |
//! | `tercet_stored_messages` | messages in the stream that no node has taken: the same at every node |
//! | `tercet_stored_oldest_seconds` | how long the oldest of them has waited |

mod dead;
mod stored;
mod waits;

pub use dead::{DeadLetter, DeadLetters};
pub use waits::Waits;

use crate::engine::{Engine, EngineError};
use futures_util::StreamExt;
use serde::{Deserialize, de::DeserializeOwned};
use std::{sync::Arc, time::Duration};
use tercet_core::{Answer, DefinitionName, Payload, Phase, SagaId, SagaKey, SignalId, Signalled, StepInstance};
use tercet_nats::{
    Patience, Settings,
    async_nats::{Client, Message, SubscribeError},
    protocol::{self, Door, QUEUE_GROUP},
    settled,
    streams::Streams,
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// What the servers call this client.
const NAME: &str = "tercet-ingress";

/// Messages that are handled at once: the engine writes them together.
const AT_ONCE: u32 = 1024;

/// Starts among them: one may wait for its participants, and what is told to sagas that are there is not to wait with it.
const STARTS_AT_ONCE: usize = AT_ONCE as usize / 2;

/// How long a start waits until it may be handled, before it is to come again.
const START_WAIT: Duration = Duration::from_secs(1);

/// How long messages that are being handled may take when no more are taken in.
const DRAIN_MAX: Duration = Duration::from_secs(4);

/// A saga to start.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Start {
    definition: DefinitionName,
    version: Option<u32>,
    key: SagaKey,
    input: Payload,
}

/// Something to tell a saga.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    id: SignalId,
    definition: DefinitionName,
    key: SagaKey,
    signal: String,
    payload: Payload,
}

/// What became of a phase that was answered *pending*.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Completion {
    saga: SagaId,
    step: StepInstance,
    phase: Phase,
    answer: Answer,
}

/// An engine's way in.
#[derive(Clone, Debug)]
pub struct Ingress {
    engine: Engine,
    waits: Waits,
    /// Turns of starts, whichever way they came.
    starts: Arc<Semaphore>,
}

/// What is said to a message that was not taken in.
enum No {
    /// It can never succeed: a code, and why.
    Never(&'static str, String),
    /// Not now.
    Later(String),
    /// Its saga is not there, and may come.
    Early(String),
}

impl Ingress {
    /// The way into that engine, for its namespace.
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        Self { engine, waits: Waits::default(), starts: Arc::new(Semaphore::new(STARTS_AT_ONCE)) }
    }

    /// Tries what cannot be taken yet for so long, and so often.
    #[must_use]
    pub fn waits(self, waits: Waits) -> Self {
        Self { waits, ..self }
    }

    /// Takes messages in until `stop`; one that came is answered first. Any number of nodes share them.
    pub async fn serve(self, settings: Settings, stop: CancellationToken) {
        loop {
            let connected = Patience::new(&settings, NAME).connect(|_| {});
            let client = tokio::select! {
                () = stop.cancelled() => return,
                client = connected => client,
            };
            let streams = Streams::new(client.clone(), &settings, self.engine.settings().namespace.clone());
            let over = stop.child_token();
            let listening = async {
                let ended = self.listen(&client, &stop).await;
                over.cancel();
                ended
            };
            let (ended, ()) = tokio::join!(listening, self.take_stored(&streams, &over));
            match ended {
                Ok(()) if stop.is_cancelled() => return,
                Ok(()) => tracing::warn!("the way in over NATS has ended; it is opened anew"),
                Err(error) => tracing::warn!(%error, "failed to open the way in over NATS; it is tried again"),
            }
        }
    }

    async fn listen(&self, client: &Client, stop: &CancellationToken) -> Result<(), SubscribeError> {
        let namespace = &self.engine.settings().namespace;
        let mut doors = Vec::new();
        for door in Door::ALL {
            let messages = client.queue_subscribe(door.subject(namespace), QUEUE_GROUP.to_owned()).await?;
            doors.push(messages.map(move |message| (door, message)).boxed());
        }
        let mut messages = futures_util::stream::select_all(doors);
        let permits = Arc::new(Semaphore::new(AT_ONCE as usize));
        loop {
            let next = async {
                let permit = permits.clone().acquire_owned().await.ok()?;
                Some((permit, messages.next().await?))
            };
            let (permit, (door, message)) = tokio::select! {
                () = stop.cancelled() => break,
                next = next => match next {
                    Some(next) => next,
                    None => return Ok(()),
                },
            };
            let (this, client) = (self.clone(), client.clone());
            tokio::spawn(async move {
                this.handle(&client, door, message).await;
                drop(permit);
            });
        }
        drop(messages);
        if tokio::time::timeout(DRAIN_MAX, permits.acquire_many(AT_ONCE)).await.is_err() {
            tracing::warn!("messages that came in were not answered in time; they are sent again");
        }
        settled(client).await;
        Ok(())
    }

    async fn handle(&self, client: &Client, door: Door, message: Message) {
        let answer = match self.take(door, &message.payload).await {
            Ok(saga) => Payload::of(&serde_json::json!({ "saga": saga }))
                .map_or_else(|_| Answer::retry("unreadable"), Answer::Done),
            Err(No::Never(code, why)) => Answer::refused(code, why),
            Err(No::Later(why) | No::Early(why)) => Answer::retry(why),
        };
        let (Some(reply), Ok((headers, body))) = (message.reply, protocol::answer(&answer)) else { return };
        if let Err(error) = client.publish_with_headers(reply, headers, body.into()).await {
            tracing::debug!(%error, "an answer could not be sent; the message comes again");
        }
    }

    /// Takes one in: durable when this returns its saga.
    async fn take(&self, door: Door, body: &[u8]) -> Result<SagaId, No> {
        match door {
            Door::Start => self.start(body).await,
            Door::Signal => self.signal(body).await,
            Door::Complete => self.complete(body).await,
        }
    }

    async fn start(&self, body: &[u8]) -> Result<SagaId, No> {
        let Start { definition, version, key, input } = read(body)?;
        let turn = tokio::time::timeout(START_WAIT, self.starts.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            return Err(No::Later(format!("{STARTS_AT_ONCE} starts are waiting for their participants: try again")));
        };
        Ok(self.engine.start(definition, version, key, input).await?.id)
    }

    async fn signal(&self, body: &[u8]) -> Result<SagaId, No> {
        let Told { id, definition, key, signal, payload } = read(body)?;
        // The start of one that is not known may still be on its way.
        let unknown = || No::Early(format!("no saga `{definition}` is known under the key `{key}`"));
        let saga = self.engine.find(definition.clone(), key.clone()).await?.ok_or_else(unknown)?.id;
        self.engine.signal(saga, Signalled { id, name: signal, payload, from: None }).await?;
        Ok(saga)
    }

    async fn complete(&self, body: &[u8]) -> Result<SagaId, No> {
        let Completion { saga, step, phase, answer } = read(body)?;
        self.engine.complete(saga, step, phase, answer).await?;
        Ok(saga)
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, No> {
    serde_json::from_slice(body).map_err(|error| No::Never("bad_body", format!("the body cannot be read: {error}")))
}

impl From<EngineError> for No {
    fn from(error: EngineError) -> Self {
        if error.may_pass() { Self::Later(error.to_string()) } else { Self::Never(error.code(), error.to_string()) }
    }
}
