//! Reading what a stream keeps, and deleting one of it.

use super::{Stream, StreamError, Streams};
use crate::moment::rfc3339;
use async_nats::{
    HeaderMap,
    datetime::DateTime,
    jetstream::{
        ErrorCode,
        stream::{DeleteMessageErrorKind, RawMessageErrorKind},
    },
};
use futures_util::StreamExt;
use serde_json::json;
use std::time::Duration;
use tercet_core::Millis;

/// How long a page may take to come.
const PAGE_MAX: Duration = Duration::from_secs(10);

/// How long the server remembers a reader that went away without a word.
const READER_KEPT: Duration = Duration::from_secs(30);

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At that number, or the next that is there.
    Number(u64),
    /// At the first message that was stored then or later.
    Time(Millis),
}

/// A message that a stream keeps.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Its number in the stream: none is given twice as long as the stream is not made anew.
    pub number: u64,
    /// When it was stored, by the server's clock.
    pub at: Millis,
    /// Where it was sent to.
    pub subject: String,
    /// What is said about it.
    pub headers: HeaderMap,
    /// What it says.
    pub body: Vec<u8>,
}

impl Streams {
    /// At most `limit` messages, in order; fewer only when no more are there.
    ///
    /// # Errors
    /// Why they cannot be read.
    pub async fn page(&self, stream: Stream, from: Begin, limit: usize) -> Result<Vec<Kept>, StreamError> {
        let mut wanted = json!({
            "ack_policy": "none",
            "replay_policy": "instant",
            "inactive_threshold": super::nanos(READER_KEPT),
        });
        match from {
            Begin::Number(number) => {
                wanted["deliver_policy"] = "by_start_sequence".into();
                wanted["opt_start_seq"] = number.max(1).into();
            }
            Begin::Time(at) => {
                wanted["deliver_policy"] = "by_start_time".into();
                // Without closing zeros, as the server says it again.
                let at = rfc3339(at);
                let at = at.trim_end_matches('Z').trim_end_matches('0').trim_end_matches('.');
                wanted["opt_start_time"] = format!("{at}Z").into();
            }
        }
        let reader = self.consume(stream, "", &wanted).await?;
        let reading = async {
            let mut coming = reader.fetch().max_messages(limit).messages().await.map_err(|e| self.unreachable(&e))?;
            let mut page = Vec::new();
            while let Some(message) = coming.next().await {
                let message = message.map_err(|error| self.unreachable(&*error))?;
                let info = message.info().map_err(|error| StreamError::Unreadable { what: error.to_string() })?;
                page.push(Kept {
                    number: info.stream_sequence,
                    at: millis(info.published),
                    subject: message.subject.to_string(),
                    headers: message.headers.clone().unwrap_or_default(),
                    body: message.payload.to_vec(),
                });
            }
            Ok(page)
        };
        let page = tokio::time::timeout(PAGE_MAX, reading).await;
        let name = stream.name(&self.namespace);
        // One that is not deleted is forgotten soon.
        drop(self.context.delete_consumer_from_stream(&reader.cached_info().name, &name).await);
        page.unwrap_or_else(|_| {
            Err(StreamError::Unreachable {
                servers: self.servers.clone(),
                why: "a page did not come in time".to_owned(),
            })
        })
    }

    /// The message of that number, if it is there.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub async fn message(&self, stream: Stream, number: u64) -> Result<Option<Kept>, StreamError> {
        self.find(stream).await?;
        let handle = self.context.get_stream_no_info(stream.name(&self.namespace)).await;
        let handle = handle.map_err(|error| self.unreachable(&error))?;
        match handle.get_raw_message(number).await {
            Ok(raw) => Ok(Some(Kept {
                number: raw.sequence,
                at: millis(raw.time),
                subject: raw.subject.to_string(),
                headers: raw.headers,
                body: raw.payload.to_vec(),
            })),
            Err(error) => match error.kind() {
                RawMessageErrorKind::NoMessageFound => Ok(None),
                RawMessageErrorKind::JetStream(error) if is_nothing(error.error_code()) => Ok(None),
                _ => Err(self.unreachable(&error)),
            },
        }
    }

    /// Deletes the message of that number; whether it was there.
    ///
    /// # Errors
    /// Why it is not known to be deleted.
    pub async fn delete(&self, stream: Stream, number: u64) -> Result<bool, StreamError> {
        self.find(stream).await?;
        let handle = self.context.get_stream_no_info(stream.name(&self.namespace)).await;
        let handle = handle.map_err(|error| self.unreachable(&error))?;
        match handle.delete_message(number).await {
            Ok(deleted) => Ok(deleted),
            Err(error) => match error.kind() {
                DeleteMessageErrorKind::JetStream(error) if is_nothing(error.error_code()) => Ok(false),
                _ => Err(self.unreachable(&error)),
            },
        }
    }
}

/// A number that never was, or is no more. An old server says of the first that the sequence was not found, of the second that deleting
/// failed.
fn is_nothing(code: ErrorCode) -> bool {
    [ErrorCode::NO_MESSAGE_FOUND, ErrorCode::SEQUENCE_NOT_FOUND, ErrorCode::STREAM_MESSAGE_DELETE_FAILED]
        .contains(&code)
}

pub(super) fn millis(moment: DateTime) -> Millis {
    Millis(i64::try_from(moment.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX))
}
