//! The wire protocol: a call as subject, headers and body, and an answer as headers and body. Any language with a NATS client can
//! speak it; `orchestrator/asyncapi.json` writes it down.
//!
//! Subject `tercet.<namespace>.<participant>.<operation>.<phase>`. The body of a confirm or cancel is `{"request": …, "reply": …}`,
//! without `reply` where it is not known; that of every other phase is the request.

use crate::streams::Outgoing;
use async_nats::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{fmt::Write, str::FromStr, time::Duration};
use tercet_core::{Answer, BadName, Call, ContractName, IdempotencyKey, Millis, Namespace, Payload, Phase, Refusal};

/// What orchestrators listen to: `tercet.<namespace>.<word>`, answered after their commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Start a saga.
    Start,
    /// Tell a saga.
    Signal,
    /// Say what became of a phase that was answered *pending*.
    Complete,
}

impl Door {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Start, Self::Signal, Self::Complete];

    /// The last token of its subjects.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Signal => "signal",
            Self::Complete => "complete",
        }
    }

    /// Its subject, by request–reply.
    #[must_use]
    pub fn subject(self, namespace: &Namespace) -> String {
        format!("tercet.{namespace}.{}", self.word())
    }

    /// Its subject, by way of a stream.
    #[must_use]
    pub fn stored(self, namespace: &Namespace) -> String {
        format!("tercet.{namespace}.in.{}", self.word())
    }

    /// Where what came by way of a stream and can never succeed is laid aside.
    #[must_use]
    pub fn dead(self, namespace: &Namespace) -> String {
        format!("tercet.{namespace}.dead.{}", self.word())
    }

    /// The door that a subject of the streams belongs to.
    #[must_use]
    pub fn of(subject: &str) -> Option<Self> {
        let word = subject.rsplit('.').next()?;
        Self::ALL.into_iter().find(|door| door.word() == word)
    }
}

/// A message for that door, as a stream is given it. Its id is made of what it says: the same message is stored once, however often it
/// is sent, and another under the same key is another message.
#[must_use]
pub fn store(namespace: &Namespace, door: Door, body: Vec<u8>) -> Outgoing {
    let subject = door.stored(namespace);
    let of = Sha256::new().chain_update(subject.as_bytes()).chain_update(b"\n").chain_update(&body);
    Outgoing { subject, id: Some(hex(&of.finalize())), headers: HeaderMap::new(), body }
}

/// Every instance of a participant listens in this queue group, in whatever language it is written: so one of them gets a call.
pub const QUEUE_GROUP: &str = "q";

/// The endpoint's metadata that names the contracts it answers for, with commas between them.
pub const CONTRACTS: &str = "tercet.contracts";

/// The service's metadata that names its namespace.
pub const NAMESPACE: &str = "tercet.namespace";

/// The saga's id.
pub const SAGA: &str = "Tercet-Saga";
/// The step instance.
pub const STEP: &str = "Tercet-Step";
/// What a third party must know the effect by; what is not visible ASCII in it, and `%`, is percent-encoded.
pub const KEY: &str = "Tercet-Key";
/// The operation with its version.
pub const CONTRACT: &str = "Tercet-Contract";
/// The phase, as in the subject.
pub const PHASE: &str = "Tercet-Phase";
/// Which attempt, from 1.
pub const ATTEMPT: &str = "Tercet-Attempt";
/// When the attempt was made, in milliseconds since 1970, UTC.
pub const ISSUED: &str = "Tercet-Issued";
/// How long the caller waits, in milliseconds.
pub const TIMEOUT: &str = "Tercet-Timeout";
/// Until when a third party may still carry it out, in milliseconds since 1970, UTC.
pub const EXPIRES: &str = "Tercet-Expires";
/// `true` on a query that fences the attempts so far.
pub const FENCE: &str = "Tercet-Fence";
/// The trace that the call belongs to, as W3C Trace Context has it.
pub const TRACEPARENT: &str = "traceparent";
/// An answer's word.
pub const OUTCOME: &str = "Tercet-Outcome";
/// Why a message is a dead letter: a code.
pub const CODE: &str = "Tercet-Code";
/// Why a message is a dead letter, in words; what is not printable ASCII in it, and `%`, is percent-encoded.
pub const REASON: &str = "Tercet-Reason";
/// When a dead letter had first been stored, in milliseconds since 1970, UTC, by the server's clock.
pub const CAME: &str = "Tercet-Came";

/// The messages of the same stream that a dead letter's body is in, one after the other: their numbers, with commas between them. Only
/// of one that is larger, with its reason, than the server takes.
pub const PARTS: &str = "Tercet-Parts";
/// On a message that is a part of a dead letter's body: what the letter is known by.
pub const PART: &str = "Tercet-Part";

/// Clients trim headers, and not all of them take every character.
const NOT_VISIBLE: AsciiSet = CONTROLS.add(b' ').add(b'%');

/// For people to read, blanks and all.
const NOT_PRINTABLE: AsciiSet = CONTROLS.add(b'%');

/// Why something that came over the wire cannot be read. Nobody knows what it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// A header that must be there.
    #[error("the header {0} is missing")]
    Missing(&'static str),
    /// A header of another form.
    #[error("the header {name} cannot be read: {why}")]
    Header {
        /// Which.
        name: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A body that is not the JSON that it must be.
    #[error("the body cannot be read: {0}")]
    Body(String),
    /// The error that a NATS service answers with.
    #[error("{0}")]
    Service(String),
}

/// A call on the wire.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Where to.
    pub subject: String,
    /// What is said about it.
    pub headers: HeaderMap,
    /// The request, and what goes with it.
    pub body: Vec<u8>,
}

impl Sent {
    /// About what it takes of a server's `max_payload`: headers and body.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let lines = |(name, values): (&HeaderName, &Vec<HeaderValue>)| -> usize {
            let name: &str = name.as_ref();
            values.iter().map(|value| name.len() + value.as_str().len() + 4).sum()
        };
        self.headers.iter().map(lines).sum::<usize>() + self.body.len()
    }
}

#[derive(Serialize, Deserialize)]
struct WithReply {
    request: Payload,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply: Option<Payload>,
}

#[derive(Serialize, Deserialize)]
struct NotNow {
    reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after_ms: Option<u64>,
}

/// The subjects of an operation, all phases: `tercet.<namespace>.<participant>.<operation>.*`.
///
/// # Errors
/// When the contract's name is none.
pub fn subjects(namespace: &Namespace, contract: &ContractName) -> Result<String, BadName> {
    subject(namespace, contract, "*")
}

fn subject(namespace: &Namespace, contract: &ContractName, phase: &str) -> Result<String, BadName> {
    let (participant, operation, _) = contract.parts()?;
    Ok(format!("tercet.{namespace}.{participant}.{operation}.{phase}"))
}

/// A call as it is sent.
///
/// # Errors
/// When it cannot be said in headers.
pub fn send(namespace: &Namespace, call: &Call) -> Result<Sent, Unreadable> {
    let subject = subject(namespace, &call.contract, call.phase.as_str());
    let subject = subject.map_err(|error| unreadable(CONTRACT, &error))?;
    let mut headers = HeaderMap::new();
    let mut set = |name: &'static str, value: &str| -> Result<(), Unreadable> {
        headers.insert(name, HeaderValue::from_str(value).map_err(|error| unreadable(name, &error))?);
        Ok(())
    };
    set(SAGA, &call.saga.to_string())?;
    set(STEP, call.step.as_str())?;
    set(KEY, &utf8_percent_encode(call.key.as_str(), &NOT_VISIBLE).to_string())?;
    set(CONTRACT, call.contract.as_str())?;
    set(PHASE, call.phase.as_str())?;
    set(ATTEMPT, &call.attempt.to_string())?;
    set(ISSUED, &call.issued.0.to_string())?;
    set(TIMEOUT, &call.timeout.as_millis().to_string())?;
    if let Some(expires) = call.expires {
        set(EXPIRES, &expires.0.to_string())?;
    }
    if call.fence {
        set(FENCE, "true")?;
    }
    set(TRACEPARENT, &traceparent(call))?;
    let body = match call.phase {
        Phase::Confirm | Phase::Cancel => {
            let both = WithReply { request: call.request.clone(), reply: call.reply.clone() };
            serde_json::to_vec(&both).map_err(|error| Unreadable::Body(error.to_string()))?
        }
        _ => call.request.as_str().as_bytes().to_vec(),
    };
    Ok(Sent { subject, headers, body })
}

/// A saga is a trace, named by its id; an attempt is a span.
fn traceparent(call: &Call) -> String {
    let of = format!("{}/{}/{}/{}", call.saga, call.step, call.phase, call.attempt);
    let span = Sha256::digest(of.as_bytes());
    format!("00-{}-{}-01", hex(call.saga.as_bytes()), hex(&span[..8]))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A call as it came.
///
/// # Errors
/// What of it cannot be read.
pub fn receive(headers: Option<&HeaderMap>, body: &[u8]) -> Result<Call, Unreadable> {
    let headers = headers.ok_or(Unreadable::Missing(CONTRACT))?;
    let phase = match text(headers, PHASE)? {
        "try" => Phase::Try,
        "confirm" => Phase::Confirm,
        "cancel" => Phase::Cancel,
        "query" => Phase::Query,
        "close" => Phase::Close,
        "forget" => Phase::Forget,
        other => return Err(unreadable(PHASE, &format!("`{other}` is no phase"))),
    };
    let (request, reply) = match phase {
        Phase::Confirm | Phase::Cancel => {
            let both: WithReply = json(body)?;
            (both.request, both.reply)
        }
        _ => (payload(body)?, None),
    };
    Ok(Call {
        saga: parsed(headers, SAGA)?,
        step: parsed(headers, STEP)?,
        key: key(headers)?,
        contract: parsed(headers, CONTRACT)?,
        phase,
        attempt: parsed(headers, ATTEMPT)?,
        issued: Millis(parsed(headers, ISSUED)?),
        timeout: Duration::from_millis(parsed(headers, TIMEOUT)?),
        expires: match headers.get(EXPIRES) {
            Some(_) => Some(Millis(parsed(headers, EXPIRES)?)),
            None => None,
        },
        fence: headers.get(FENCE).is_some_and(|value| value.as_str() == "true"),
        request,
        reply,
    })
}

/// An answer as it is sent: its word in a header, the rest as the body.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn answer(answer: &Answer) -> Result<(HeaderMap, Vec<u8>), Unreadable> {
    let mut headers = HeaderMap::new();
    headers.insert(OUTCOME, answer.as_str());
    let body = match answer {
        Answer::Done(payload) | Answer::Pending(payload) => Ok(payload.as_str().as_bytes().to_vec()),
        Answer::Refused(refusal) => serde_json::to_vec(refusal),
        Answer::Retry { after, reason } => {
            let after_ms = after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
            serde_json::to_vec(&NotNow { reason: reason.clone(), after_ms })
        }
        Answer::Expired | Answer::Absent | Answer::Closed => Ok(Vec::new()),
    };
    Ok((headers, body.map_err(|error| Unreadable::Body(error.to_string()))?))
}

/// An answer as it came.
///
/// # Errors
/// When it cannot be read; then nobody knows what was done.
pub fn answered(headers: Option<&HeaderMap>, body: &[u8]) -> Result<Answer, Unreadable> {
    let headers = headers.ok_or(Unreadable::Missing(OUTCOME))?;
    if let Some(error) = headers.get(async_nats::service::NATS_SERVICE_ERROR) {
        return Err(Unreadable::Service(error.as_str().to_owned()));
    }
    Ok(match text(headers, OUTCOME)? {
        "done" => Answer::Done(payload(body)?),
        "pending" => Answer::Pending(payload(body)?),
        "refused" => Answer::Refused(json::<Refusal>(body)?),
        "retry" => {
            let NotNow { reason, after_ms } = json(body)?;
            Answer::Retry { after: after_ms.map(Duration::from_millis), reason }
        }
        "expired" => Answer::Expired,
        "absent" => Answer::Absent,
        "closed" => Answer::Closed,
        other => return Err(unreadable(OUTCOME, &format!("`{other}` is no outcome"))),
    })
}

/// A text as a header has it: what is not printable ASCII in it, and `%`, is percent-encoded.
#[must_use]
pub fn printable(text: &str) -> String {
    utf8_percent_encode(text, &NOT_PRINTABLE).to_string()
}

/// The text that [`printable`] made this of.
#[must_use]
pub fn plain(value: &str) -> String {
    percent_decode_str(value).decode_utf8_lossy().into_owned()
}

fn key(headers: &HeaderMap) -> Result<IdempotencyKey, Unreadable> {
    let text = percent_decode_str(text(headers, KEY)?).decode_utf8();
    text.map_err(|error| unreadable(KEY, &error))?.parse().map_err(|error| unreadable(KEY, &error))
}

fn text<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, Unreadable> {
    headers.get(name).map(HeaderValue::as_str).ok_or(Unreadable::Missing(name))
}

fn parsed<T: FromStr<Err: std::fmt::Display>>(headers: &HeaderMap, name: &'static str) -> Result<T, Unreadable> {
    text(headers, name)?.parse().map_err(|error: T::Err| unreadable(name, &error))
}

fn unreadable(name: &'static str, why: &dyn std::fmt::Display) -> Unreadable {
    Unreadable::Header { name, why: why.to_string() }
}

/// Nothing is `null`: the reply of an operation that has nothing to say.
fn payload(body: &[u8]) -> Result<Payload, Unreadable> {
    if body.is_empty() {
        return Ok(Payload::null());
    }
    Payload::from_bytes(body).map_err(|error| Unreadable::Body(error.to_string()))
}

fn json<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, Unreadable> {
    serde_json::from_slice(body).map_err(|error| Unreadable::Body(error.to_string()))
}
