//! A participant at the other end of a connection: what the [conformance kit](crate::conformance) and tests call it through.

use super::{ConnectError, Settings};
use std::time::Duration;
use tercet_core::{Answer, Answering, Call, ContractName, Namespace, Participant, Phase};
use tercet_nats::{
    async_nats::{Client, Request},
    connect, protocol,
};

/// Asks a participant over NATS, once for each call: what repeats calls is an orchestrator.
#[derive(Clone, Debug)]
pub struct Caller {
    client: Client,
    namespace: Namespace,
    name: String,
    contracts: Vec<ContractName>,
}

impl Caller {
    /// A caller of the participant `name`, which answers for `contracts`.
    ///
    /// # Errors
    /// When there is no connection.
    pub async fn of(
        settings: &Settings, namespace: Namespace, name: &str, contracts: Vec<ContractName>,
    ) -> Result<Self, ConnectError> {
        let client = connect(settings, "tercet-caller").await?;
        Ok(Self { client, namespace, name: name.to_owned(), contracts })
    }

    /// The answer, or why there is none: then nobody knows what was done.
    ///
    /// # Errors
    /// What came in place of an answer.
    pub async fn ask(&self, call: &Call) -> Result<Answer, String> {
        let sent = protocol::send(&self.namespace, call).map_err(|error| error.to_string())?;
        if call.phase == Phase::Forget {
            let published = self.client.publish_with_headers(sent.subject, sent.headers, sent.body.into()).await;
            return published.map(|()| Answer::Done(tercet_core::Payload::null())).map_err(|error| error.to_string());
        }
        let wait = call.timeout + Duration::from_secs(1);
        let request = Request::new().headers(sent.headers).payload(sent.body.into()).timeout(Some(wait));
        let reply = self.client.send_request(sent.subject, request).await.map_err(|error| error.to_string())?;
        protocol::answered(reply.headers.as_ref(), &reply.payload).map_err(|error| error.to_string())
    }
}

impl Participant for Caller {
    fn name(&self) -> &str {
        &self.name
    }

    fn contracts(&self) -> Vec<ContractName> {
        self.contracts.clone()
    }

    /// No answer is `expired`: nobody knows.
    fn call(&self, call: Call) -> Answering<'_> {
        Box::pin(async move {
            self.ask(&call).await.unwrap_or_else(|error| {
                tracing::warn!(%error, "no answer");
                Answer::Expired
            })
        })
    }
}
