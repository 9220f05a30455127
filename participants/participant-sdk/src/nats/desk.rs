//! What a call that came over NATS is answered by, and what is counted of it.

use crate::service::{Panicked, caught, fitting};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};
use tercet_core::{Answer, ContractName, Namespace, PANICKED, Participant};
use tercet_nats::{
    async_nats::{Client, HeaderMap, Message, client::PublishErrorKind, service::NATS_SERVICE_ERROR},
    protocol,
};
use tokio::sync::{RwLock, Semaphore};
use tracing::Instrument;

/// What headers and the like need of a message's size.
const HEADERS_BYTES: usize = 1024;

/// The participants of a process.
pub(super) struct Desk {
    pub(super) namespace: Namespace,
    pub(super) version: String,
    pub(super) started: SystemTime,
    pub(super) concurrency: usize,
    pub(super) permits: Arc<Semaphore>,
    pub(super) services: Vec<Service>,
    /// Closed for a moment while subscriptions end: nothing is sent then.
    pub(super) gate: RwLock<()>,
}

/// A participant.
pub(super) struct Service {
    participant: Arc<dyn Participant>,
    pub(super) endpoints: Vec<Endpoint>,
}

/// One of its operations.
pub(super) struct Endpoint {
    pub(super) operation: String,
    pub(super) contracts: Vec<ContractName>,
    counts: Mutex<Counts>,
}

#[derive(Clone, Default)]
pub(super) struct Counts {
    pub(super) calls: u64,
    pub(super) errors: u64,
    pub(super) last_error: String,
    pub(super) took: Duration,
}

impl Desk {
    pub(super) fn new(
        participants: Vec<Arc<dyn Participant>>, namespace: Namespace, version: String, concurrency: usize,
    ) -> Self {
        let services = participants.into_iter().map(Service::new).collect();
        let (permits, started, gate) = (Arc::new(Semaphore::new(concurrency)), SystemTime::now(), RwLock::new(()));
        Self { namespace, version, started, concurrency, permits, services, gate }
    }

    /// Answers one message, whatever it is.
    pub(super) async fn handle(&self, client: &Client, service: usize, endpoint: usize, message: Message) {
        let Some(service) = self.services.get(service) else { return };
        let Some(endpoint) = service.endpoints.get(endpoint) else { return };
        let begun = Instant::now();
        let answer = service.answer(endpoint, &message).await;
        endpoint.count(begun.elapsed(), answer.as_ref().err());
        if let Some(reply) = message.reply {
            let _open = self.gate.read().await;
            send(client, reply.to_string(), answer).await;
        }
    }
}

impl Service {
    fn new(participant: Arc<dyn Participant>) -> Self {
        let mut operations: BTreeMap<String, Vec<ContractName>> = BTreeMap::new();
        for contract in participant.contracts() {
            if let Ok((_, operation, _)) = contract.parts() {
                operations.entry(operation.to_owned()).or_default().push(contract);
            }
        }
        let endpoint =
            |(operation, contracts)| Endpoint { operation, contracts, counts: Mutex::new(Counts::default()) };
        Self { endpoints: operations.into_iter().map(endpoint).collect(), participant }
    }

    pub(super) fn name(&self) -> &str {
        self.participant.name()
    }

    /// The answer, or why nobody knows one.
    async fn answer(&self, endpoint: &Endpoint, message: &Message) -> Result<Answer, String> {
        let headers = message.headers.as_ref();
        let call = protocol::receive(headers, &message.payload).map_err(|error| error.to_string())?;
        let belongs = call.contract.parts().is_ok_and(|(participant, operation, _)| {
            participant == self.name()
                && operation == endpoint.operation
                && message.subject.ends_with(call.phase.as_str())
        });
        if !belongs {
            return Err(format!("{} {} does not belong on {}", call.contract, call.phase, message.subject));
        }
        let trace = headers.and_then(|headers| headers.get(protocol::TRACEPARENT));
        let span = tracing::info_span!("nats_call", traceparent = trace.map_or("", |trace| trace.as_str()));
        let answered = caught(self.participant.call(call).instrument(span)).await;
        answered.map_err(|Panicked(text)| format!("{PANICKED}: {text}"))
    }
}

impl Endpoint {
    fn count(&self, took: Duration, error: Option<&String>) {
        let mut counts = self.lock();
        counts.calls += 1;
        counts.took += took;
        if let Some(error) = error {
            tracing::warn!(operation = self.operation, %error, "a call that came to nothing");
            counts.errors += 1;
            counts.last_error.clone_from(error);
        }
    }

    pub(super) fn counts(&self) -> Counts {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer that the server does not take for its size goes without what is large in it: what was done is still reported as done.
async fn send(client: &Client, reply: String, answer: Result<Answer, String>) {
    let sent = publish(client, &reply, &answer).await;
    let sent = match (sent, answer) {
        (Err(PublishErrorKind::MaxPayloadExceeded), Ok(answer)) => {
            let limit = client.server_info().max_payload.saturating_sub(HEADERS_BYTES);
            publish(client, &reply, &Ok(fitting(answer, limit))).await
        }
        (sent, _) => sent,
    };
    if let Err(error) = sent {
        tracing::warn!(%error, "an answer could not be sent; the call is made again");
    }
}

async fn publish(client: &Client, reply: &str, answer: &Result<Answer, String>) -> Result<(), PublishErrorKind> {
    let encoded = match answer {
        Ok(answer) => protocol::answer(answer).map_err(|error| error.to_string()),
        Err(error) => Err(error.clone()),
    };
    let (headers, body) = encoded.unwrap_or_else(|error| {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_SERVICE_ERROR, error.replace(['\r', '\n'], " "));
        headers.insert(tercet_nats::async_nats::service::NATS_SERVICE_ERROR_CODE, "500");
        (headers, Vec::new())
    });
    client.publish_with_headers(reply.to_owned(), headers, body.into()).await.map_err(|error| error.kind())
}
