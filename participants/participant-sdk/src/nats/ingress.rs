//! The way into Tercet over NATS: what an outbox's relay sends its messages through.

use super::link::Link;
use crate::{
    database::Boxed,
    outbox::{Acknowledged, Completion, Ingress, Start, Told},
};
use serde::Serialize;
use std::time::Duration;
use tercet_core::{Answer, Namespace};
use tercet_nats::{
    Settings,
    async_nats::Request,
    protocol::{self, Door},
};

/// How long Tercet may take to answer after its commit. A message that is not answered in time is sent again.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Sends starts, signals and completions to whichever node of Tercet is there.
#[derive(Debug)]
pub struct NatsIngress {
    link: Link,
    namespace: Namespace,
}

impl NatsIngress {
    /// The way into that namespace. The connection is made by the first message, and where there is none the message stays where it is.
    #[must_use]
    pub fn new(settings: Settings, namespace: Namespace) -> Self {
        Self { link: Link::new(settings, "tercet-relay"), namespace }
    }

    async fn send<T: Serialize>(&self, door: Door, message: &T) -> Acknowledged {
        let body = match serde_json::to_vec(message) {
            Ok(body) => body,
            Err(error) => return Acknowledged::Never(error.to_string()),
        };
        let client = match self.link.up().await {
            Ok(client) => client,
            Err(error) => return Acknowledged::Unavailable(error.to_string()),
        };
        let request = Request::new().payload(body.into()).timeout(Some(ANSWER_MAX));
        let reply = match client.send_request(door.subject(&self.namespace), request).await {
            Ok(reply) => reply,
            Err(error) => return Acknowledged::Unavailable(error.to_string()),
        };
        match protocol::answered(reply.headers.as_ref(), &reply.payload) {
            Ok(Answer::Done(_)) => Acknowledged::Yes,
            Ok(Answer::Refused(refusal)) => Acknowledged::Never(refusal.to_string()),
            Ok(Answer::Retry { reason, .. }) => Acknowledged::Unavailable(reason),
            Ok(other) => Acknowledged::Unavailable(format!("it was answered `{}`", other.as_str())),
            Err(error) => Acknowledged::Unavailable(error.to_string()),
        }
    }
}

impl Ingress for NatsIngress {
    fn complete(&self, completion: Completion) -> Boxed<'_, Acknowledged> {
        Box::pin(async move { self.send(Door::Complete, &completion).await })
    }

    fn start(&self, start: Start) -> Boxed<'_, Acknowledged> {
        Box::pin(async move { self.send(Door::Start, &start).await })
    }

    fn signal(&self, told: Told) -> Boxed<'_, Acknowledged> {
        Box::pin(async move { self.send(Door::Signal, &told).await })
    }
}

/// A relay's own, shared by the relays of a process.
impl<I: Ingress + ?Sized> Ingress for std::sync::Arc<I> {
    fn complete(&self, completion: Completion) -> Boxed<'_, Acknowledged> {
        (**self).complete(completion)
    }

    fn start(&self, start: Start) -> Boxed<'_, Acknowledged> {
        (**self).start(start)
    }

    fn signal(&self, told: Told) -> Boxed<'_, Acknowledged> {
        (**self).signal(told)
    }
}
