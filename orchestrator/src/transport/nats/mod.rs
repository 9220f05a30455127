//! Participants over NATS: core request–reply, one subject for each phase of an operation.
//!
//! The journal makes a call durable, not the broker: a call without an answer is made again by the engine. Replies come to an inbox of
//! this transport's own, so that what waits can be let go of, and a reply that comes after its call's timeout still finds its call.

mod discovery;
mod link;

pub use discovery::{Discovered, Operation};

use super::{CallError, Calling, Transport};
use link::Link;
use std::{sync::Arc, time::Duration};
use tercet_core::{Answer, Call, ContractName, Namespace, Payload, Phase};
use tercet_nats::{
    ConnectError, Settings,
    async_nats::{Client, Message, StatusCode, client::PublishErrorKind},
    protocol,
    streams::Streams,
};

/// How long after a call's timeout its answer is still waited for: it is evidence.
const LATE: Duration = Duration::from_secs(5 * 60);

/// Room that a try leaves: its confirm and its cancel say a little more, and must find theirs.
const RESERVE: usize = 256;

/// Calls participants over NATS.
#[derive(Clone, Debug)]
pub struct Nats {
    namespace: Namespace,
    link: Arc<Link>,
}

impl Nats {
    /// A transport of that namespace. Where no server is there yet, or it does not let this client in yet, it is tried again and again,
    /// and until then calls are not sent, which costs no attempt.
    ///
    /// # Errors
    /// What will not pass by itself: a file that cannot be read, say, or a server that is too old.
    pub async fn start(settings: Settings, namespace: Namespace) -> Result<Self, ConnectError> {
        Ok(Self { namespace, link: Link::start(settings).await? })
    }

    /// Why no server is there now, if none is.
    ///
    /// # Errors
    /// The reason.
    pub fn connected(&self) -> Result<(), String> {
        self.link.up().map(drop)
    }

    /// The participants of this namespace that are there now: who answers within `patience`.
    ///
    /// # Errors
    /// Why no server can be asked.
    pub async fn participants(&self, patience: Duration) -> Result<Vec<Discovered>, String> {
        let (client, _) = self.link.up()?;
        discovery::discover(&client, &self.namespace, patience).await
    }

    /// The streams of this namespace.
    ///
    /// # Errors
    /// Why no server can be asked.
    pub fn streams(&self) -> Result<Streams, String> {
        let (client, _) = self.link.up()?;
        Ok(Streams::new(client, self.link.settings(), self.namespace.clone()))
    }

    /// Sends what is still on its way out and lets go of the connection: no call is answered afterwards.
    pub async fn close(&self) {
        self.link.close().await;
    }
}

impl Transport for Nats {
    fn call(&self, call: Call) -> Calling {
        let this = self.clone();
        Box::pin(async move { this.ask(call).await })
    }
}

impl Nats {
    async fn ask(&self, call: Call) -> Result<Answer, CallError> {
        let (client, inbox) = self.link.up().map_err(CallError::Unsent)?;
        if call.phase == Phase::Forget {
            return match self.publish(&client, &call, None).await {
                Ok(()) => Ok(Answer::Done(Payload::null())),
                Err(failed) => failed.answer(&call),
            };
        }
        let waiting = self.link.wait();
        let respond = waiting.subject(&inbox);
        let sent = match self.publish(&client, &call, Some(&respond)).await {
            // Room is made by leaving out the try's reply: the participant has it in its barrier's row.
            Err(Failed::TooLarge(_)) if call.reply.is_some() => {
                self.publish(&client, &Call { reply: None, ..call.clone() }, Some(&respond)).await
            }
            sent => sent,
        };
        if let Err(failed) = sent {
            return failed.answer(&call);
        }
        // An answer may be long in coming: what was asked is not kept until then.
        let (contract, patience) = (call.contract.clone(), call.timeout + LATE);
        drop(call);
        heard(&contract, waiting.reply(patience).await)
    }

    async fn publish(&self, client: &Client, call: &Call, respond: Option<&str>) -> Result<(), Failed> {
        let sent = protocol::send(&self.namespace, call).map_err(|error| Failed::Unsent(error.to_string()))?;
        let most = client.server_info().max_payload;
        if call.phase == Phase::Try && sent.bytes() + RESERVE > most {
            return Err(Failed::TooLarge(format!("the request takes {} bytes of the server's {most}", sent.bytes())));
        }
        let (subject, headers, body) = (sent.subject, sent.headers, sent.body.into());
        let published = match respond {
            Some(respond) => client.publish_with_reply_and_headers(subject, respond.to_owned(), headers, body).await,
            None => client.publish_with_headers(subject, headers, body).await,
        };
        published.map_err(|error| match error.kind() {
            PublishErrorKind::MaxPayloadExceeded => Failed::TooLarge(error.to_string()),
            _ => Failed::Unsent(error.to_string()),
        })
    }
}

/// Nothing was sent.
enum Failed {
    /// It is larger than the server takes; how much.
    TooLarge(String),
    /// Why.
    Unsent(String),
}

impl Failed {
    /// What is too large for a server is a no to this attempt, whose retry would not be smaller. Of a query or a close a no would say
    /// something about the effect, which nobody knows.
    fn answer(self, call: &Call) -> Result<Answer, CallError> {
        match self {
            Self::TooLarge(why) if matches!(call.phase, Phase::Try | Phase::Confirm | Phase::Cancel) => {
                Ok(Answer::refused(
                    "request_too_large",
                    format!("{why}; raise `max_payload` of nats-server, or send less"),
                ))
            }
            Self::TooLarge(why) | Self::Unsent(why) => Err(CallError::Unsent(why)),
        }
    }
}

fn heard(contract: &ContractName, reply: Option<Message>) -> Result<Answer, CallError> {
    let Some(reply) = reply else { return Err(CallError::Silent("no answer came".to_owned())) };
    if reply.status == Some(StatusCode::NO_RESPONDERS) {
        return Err(CallError::NoResponder { contract: contract.to_string() });
    }
    protocol::answered(reply.headers.as_ref(), &reply.payload).map_err(|error| CallError::Silent(error.to_string()))
}
