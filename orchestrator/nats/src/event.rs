//! Published events on the wire: CloudEvents 1.0 in NATS's binary mode, each attribute a header, the data as the body.
//!
//! Subject `tercet.<namespace>.out.events.<source>.<kind>`, as in `tercet.shop.out.events.orders.order.paid`. The pair of `ce-source`
//! and `ce-id` is the same however often an event is told, and so is `Nats-Msg-Id`, which is made of both: consumers drop what they have
//! seen by it, and of two events of one subject the one with the lower `ce-version`.

use crate::{
    moment::{parsed, rfc3339},
    protocol::Unreadable,
    streams::Outgoing,
};
use async_nats::{HeaderMap, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use tercet_core::{Millis, Namespace, Payload};

/// The version of CloudEvents.
const SPEC_VERSION: &str = "1.0";

const CE_ID: &str = "ce-id";
const CE_SOURCE: &str = "ce-source";
const CE_SPEC_VERSION: &str = "ce-specversion";
const CE_TYPE: &str = "ce-type";
const CE_TIME: &str = "ce-time";
const CE_SUBJECT: &str = "ce-subject";
const CE_VERSION: &str = "ce-version";
const CE_DATA_CONTENT_TYPE: &str = "ce-datacontenttype";

/// What the binding of CloudEvents encodes in a header's value.
const ENCODED: AsciiSet = CONTROLS.add(b' ').add(b'"').add(b'%');

/// What cannot stand in a token of a subject, dots among it.
const NO_TOKEN: AsciiSet = NON_ALPHANUMERIC.remove(b'_').remove(b'-');

/// A change that has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The same however often it is told; its source's own.
    pub id: String,
    /// The participant that published it.
    pub source: String,
    /// About what.
    pub subject: String,
    /// Which of its subject's changes, from 1.
    pub version: i64,
    /// What happened, as in `order.paid`.
    pub kind: String,
    /// When.
    pub at: Millis,
    /// The state that it led to.
    pub data: Payload,
}

impl Event {
    /// The event as it is sent.
    #[must_use]
    pub fn send(&self, namespace: &Namespace) -> Outgoing {
        let source = format!("/tercet/{namespace}/{}", self.source);
        let id = encoded(&format!("{source}/{}", self.id));
        let mut headers = HeaderMap::new();
        let mut set = |name: &'static str, value: &str| headers.insert(name, encoded(value));
        set(CE_ID, &self.id);
        set(CE_SOURCE, &source);
        set(CE_SPEC_VERSION, SPEC_VERSION);
        set(CE_TYPE, &self.kind);
        set(CE_TIME, &rfc3339(self.at));
        set(CE_SUBJECT, &self.subject);
        set(CE_VERSION, &self.version.to_string());
        set(CE_DATA_CONTENT_TYPE, "application/json");
        let kind: Vec<_> = self.kind.split('.').map(token).collect();
        let subject = format!("tercet.{namespace}.out.events.{}.{}", token(&self.source), kind.join("."));
        Outgoing { subject, id: Some(id), headers, body: self.data.as_str().as_bytes().to_vec() }
    }

    /// The event as it came.
    ///
    /// # Errors
    /// What of it cannot be read.
    pub fn receive(headers: &HeaderMap, body: &[u8]) -> Result<Self, Unreadable> {
        let at = text(headers, CE_TIME)?;
        let version = text(headers, CE_VERSION)?;
        let source = text(headers, CE_SOURCE)?;
        let unreadable = |name, why: &dyn std::fmt::Display| Unreadable::Header { name, why: why.to_string() };
        Ok(Self {
            id: text(headers, CE_ID)?,
            source: source.rsplit('/').next().unwrap_or_default().to_owned(),
            subject: text(headers, CE_SUBJECT)?,
            version: version.parse().map_err(|error| unreadable(CE_VERSION, &error))?,
            kind: text(headers, CE_TYPE)?,
            at: parsed(&at).ok_or_else(|| unreadable(CE_TIME, &"it is no moment"))?,
            data: Payload::from_bytes(body).map_err(|error| Unreadable::Body(error.to_string()))?,
        })
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, &ENCODED).to_string()
}

/// No token of a subject is empty.
fn token(text: &str) -> String {
    if text.is_empty() { "%".to_owned() } else { utf8_percent_encode(text, &NO_TOKEN).to_string() }
}

fn text(headers: &HeaderMap, name: &'static str) -> Result<String, Unreadable> {
    let value = headers.get(name).map(HeaderValue::as_str).ok_or(Unreadable::Missing(name))?;
    let text = percent_decode_str(value).decode_utf8();
    Ok(text.map_err(|error| Unreadable::Header { name, why: error.to_string() })?.into_owned())
}
