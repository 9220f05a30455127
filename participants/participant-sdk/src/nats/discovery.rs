//! What makes a participant a NATS service: `$SRV.PING`, `$SRV.INFO` and `$SRV.STATS` (the NATS service protocol, ADR-32).
//!
//! The client library's own services end their subscriptions without waiting for what is on its way; the endpoints here do not, and
//! so they answer for themselves.

use super::desk::{Desk, Endpoint, Service};
use futures_util::{
    StreamExt,
    stream::{SelectAll, select_all},
};
use serde_json::{Value, json};
use std::sync::Arc;
use tercet_nats::{
    async_nats::{Client, SubscribeError, Subscriber},
    protocol::{CONTRACTS, NAMESPACE, QUEUE_GROUP, subjects},
};

/// A participant in this process, as the others see it.
pub(super) struct Instance {
    name: String,
    id: String,
}

impl Instance {
    pub(super) fn new(client: &Client, name: &str) -> Self {
        // An inbox's name ends in what no other has.
        let inbox = client.new_inbox();
        let id = inbox.rsplit('.').next().unwrap_or(&inbox).to_owned();
        Self { name: name.to_owned(), id }
    }

    fn is_meant(&self, name: Option<&str>, id: Option<&str>) -> bool {
        name.is_none_or(|name| name == self.name) && id.is_none_or(|id| id == self.id)
    }
}

pub(super) async fn subscribe(
    client: &Client, instances: &[Instance],
) -> Result<SelectAll<Subscriber>, SubscribeError> {
    let mut questions = vec![client.subscribe("$SRV.*").await?];
    for Instance { name, id } in instances {
        questions.push(client.subscribe(format!("$SRV.*.{name}")).await?);
        questions.push(client.subscribe(format!("$SRV.*.{name}.{id}")).await?);
    }
    Ok(select_all(questions))
}

/// Answers every question about this process's participants, as long as the connection lasts.
pub(super) async fn answer(
    desk: Arc<Desk>, client: Client, instances: Vec<Instance>, mut questions: SelectAll<Subscriber>,
) {
    while let Some(question) = questions.next().await {
        let Some(reply) = question.reply else { continue };
        let mut parts = question.subject.split('.').skip(1);
        let (verb, name, id) = (parts.next(), parts.next(), parts.next());
        for (instance, service) in instances.iter().zip(&desk.services) {
            let said =
                verb.filter(|_| instance.is_meant(name, id)).and_then(|verb| say(&desk, instance, service, verb));
            if let Some(said) = said
                && client.publish(reply.clone(), said.to_string().into()).await.is_err()
            {
                return;
            }
        }
    }
}

fn say(desk: &Desk, Instance { name, id }: &Instance, service: &Service, verb: &str) -> Option<Value> {
    let (version, metadata) = (&desk.version, json!({ NAMESPACE: desk.namespace }));
    let subject = |endpoint: &Endpoint| {
        endpoint.contracts.first().and_then(|contract| subjects(&desk.namespace, contract).ok()).unwrap_or_default()
    };
    let said = match verb {
        "PING" => json!({
            "type": "io.nats.micro.v1.ping_response", "name": name, "id": id, "version": version, "metadata": metadata,
        }),
        "INFO" => {
            let contracts =
                |endpoint: &Endpoint| endpoint.contracts.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            let endpoint = |endpoint: &Endpoint| {
                json!({
                    "name": endpoint.operation, "subject": subject(endpoint), "queue_group": QUEUE_GROUP,
                    "metadata": { CONTRACTS: contracts(endpoint) },
                })
            };
            json!({
                "type": "io.nats.micro.v1.info_response", "name": name, "id": id, "version": version,
                "description": format!("The participant {name} of Tercet sagas"), "metadata": metadata,
                "endpoints": service.endpoints.iter().map(endpoint).collect::<Vec<_>>(),
            })
        }
        "STATS" => {
            let endpoint = |endpoint: &Endpoint| {
                let counts = endpoint.counts();
                let nanos = u64::try_from(counts.took.as_nanos()).unwrap_or(u64::MAX);
                json!({
                    "name": endpoint.operation, "subject": subject(endpoint), "queue_group": QUEUE_GROUP,
                    "num_requests": counts.calls, "num_errors": counts.errors,
                    "last_error": if counts.errors == 0 { String::new() } else { format!("500:{}", counts.last_error) },
                    "processing_time": nanos, "average_processing_time": nanos / counts.calls.max(1),
                })
            };
            json!({
                "type": "io.nats.micro.v1.stats_response", "name": name, "id": id, "version": version,
                "started": humantime::format_rfc3339_millis(desk.started).to_string(), "metadata": metadata,
                "endpoints": service.endpoints.iter().map(endpoint).collect::<Vec<_>>(),
            })
        }
        _ => return None,
    };
    Some(said)
}
