//! Who is there: participants are NATS services, and say so themselves.

use futures_util::StreamExt;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, time::Duration};
use tercet_core::{Millis, Namespace};
use tercet_nats::{
    async_nats::{
        Client,
        service::{Info, Stats},
    },
    protocol::{CONTRACTS, NAMESPACE},
};
use tokio::time::Instant;

/// One running instance of a participant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovered {
    /// The participant's name.
    pub participant: String,
    /// The instance's own id.
    pub instance: String,
    /// The version of its program.
    pub version: String,
    /// Since when it runs, where it says so.
    pub started: Option<Millis>,
    /// What it offers.
    pub operations: Vec<Operation>,
}

/// An operation that an instance offers, and what became of its calls there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// The operation's name.
    pub operation: String,
    /// Its contracts, versions and all.
    pub contracts: Vec<String>,
    /// Calls answered.
    pub calls: u64,
    /// Of these, such as could not be read or whose handler panicked.
    pub errors: u64,
    /// What was wrong with the last of them.
    pub last_error: Option<String>,
    /// How long an answer took on average, in microseconds.
    pub average_us: u64,
}

pub(super) async fn discover(
    client: &Client, namespace: &Namespace, patience: Duration,
) -> Result<Vec<Discovered>, String> {
    let (infos, stats) =
        tokio::join!(gather::<Info>(client, "$SRV.INFO", patience), gather::<Stats>(client, "$SRV.STATS", patience),);
    let mut stats: BTreeMap<String, Stats> = stats?.into_iter().map(|stats| (stats.id.clone(), stats)).collect();
    let ours = |info: &Info| info.metadata.get(NAMESPACE).is_some_and(|name| name == namespace.as_str());
    let ours = infos?.into_iter().filter(ours);
    let mut found: Vec<_> = ours.map(|info| discovered(stats.remove(&info.id), info)).collect();
    found.sort_by(|a, b| (&a.participant, &a.instance).cmp(&(&b.participant, &b.instance)));
    Ok(found)
}

fn discovered(stats: Option<Stats>, info: Info) -> Discovered {
    let started = stats.as_ref().and_then(|stats| i64::try_from(stats.started.unix_timestamp_nanos() / 1_000_000).ok());
    let counts = stats.map(|stats| stats.endpoints).unwrap_or_default();
    let mut operations: Vec<_> = info
        .endpoints
        .into_iter()
        .map(|endpoint| {
            let counted = counts.iter().find(|counted| counted.name == endpoint.name).cloned().unwrap_or_default();
            let contracts = endpoint.metadata.get(CONTRACTS).map(|text| text.split(',').map(str::to_owned).collect());
            Operation {
                operation: endpoint.name,
                contracts: contracts.unwrap_or_default(),
                calls: u64::try_from(counted.requests).unwrap_or(u64::MAX),
                errors: u64::try_from(counted.errors).unwrap_or(u64::MAX),
                last_error: counted.last_error.map(|error| error.status),
                average_us: u64::try_from(counted.average_processing_time.as_micros()).unwrap_or(u64::MAX),
            }
        })
        .collect();
    operations.sort_by(|a, b| a.operation.cmp(&b.operation));
    Discovered {
        participant: info.name,
        instance: info.id,
        version: info.version,
        started: started.map(Millis),
        operations,
    }
}

/// Asks everybody, and takes every answer that comes in time; what is none of that shape is no participant's.
async fn gather<T: DeserializeOwned>(
    client: &Client, subject: &'static str, patience: Duration,
) -> Result<Vec<T>, String> {
    let inbox = client.new_inbox();
    let lost = |error: &dyn std::fmt::Display| format!("failed to ask for participants: {error}");
    let mut answers = client.subscribe(inbox.clone()).await.map_err(|error| lost(&error))?;
    client.publish_with_reply(subject, inbox, "".into()).await.map_err(|error| lost(&error))?;
    let until = Instant::now() + patience;
    let mut found = Vec::new();
    while let Ok(Some(answer)) = tokio::time::timeout_at(until, answers.next()).await {
        // Nobody is there: the server says so at once.
        if answer.status.is_some() {
            break;
        }
        found.extend(serde_json::from_slice(&answer.payload));
    }
    Ok(found)
}
