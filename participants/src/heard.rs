//! What the channel said, in the words in which a pivot is answered. Only a word that is final there is definite here.

use crate::{
    channel::{Said, Silence},
    clock::Clock,
    money::Money,
};
use std::{collections::BTreeMap, time::Duration};
use tercet_core::Payload;
use tercet_participant::{Closing, Found, Handed};

/// Money that has moved, as the channel says it.
pub(crate) struct Moved {
    /// The channel's own id of it.
    pub(crate) transaction: String,
    /// How much.
    pub(crate) amount: Money,
    /// When, by the channel's clock.
    pub(crate) at_ms: i64,
}

/// What the channel says within that time.
pub(crate) async fn within(
    clock: &dyn Clock, limit: Duration, ask: impl Future<Output = Result<Said, Silence>> + Send,
) -> Result<Said, Silence> {
    tokio::select! {
        biased;
        said = ask => said,
        () = clock.sleep(limit) => Err(Silence),
    }
}

/// A rejection that vouches that nothing was done: it passes by itself, or once somebody has mended how requests are signed.
fn is_not_taken(code: &str) -> bool {
    let passes = matches!(code, "insufficient_balance" | "channel_maintenance" | "system_busy" | "rate_limited");
    // Not a replay: its first copy was taken.
    passes || matches!(code, "signature_refused" | "request_stale" | "request_unreadable" | "not_signed")
}

/// The channel's word without what only one of the three questions can make of it.
enum Word<T> {
    Done(T),
    Pending(Payload),
    Failed(String, String),
    Closed,
    Rejected(String, String),
    NotFound,
    Unknown(String),
}

fn pending<T>(name: &'static str, value: String) -> Word<T> {
    let note = Payload::of(&BTreeMap::from([(name, value)]));
    Word::Pending(note.unwrap_or_else(|_| Payload::null()))
}

/// The money moved, if it is the amount that was asked for; else nobody knows what was done.
fn word<T: From<Moved>>(said: Result<Said, Silence>, asked: Money) -> Word<T> {
    match said {
        Err(silence) => Word::Unknown(silence.to_string()),
        Ok(Said::Succeeded { amount, .. }) if amount != asked => {
            Word::Unknown(format!("the channel speaks of {amount}, not of {asked}"))
        }
        Ok(Said::Succeeded { transaction, amount, at }) => {
            Word::Done(Moved { transaction, amount, at_ms: at.0 }.into())
        }
        Ok(Said::Processing { transaction }) => pending("transaction", transaction),
        Ok(Said::Open { link }) => pending("pay_link", link),
        Ok(Said::Failed { code, message }) => Word::Failed(code, message),
        Ok(Said::Closed) => Word::Closed,
        Ok(Said::Rejected { code, message }) => Word::Rejected(code, message),
        Ok(Said::NotFound) => Word::NotFound,
    }
}

/// In answer to an execute.
pub(crate) fn handed<T: From<Moved>>(said: Result<Said, Silence>, asked: Money, patience: Duration) -> Handed<T> {
    match word(said, asked) {
        Word::Done(done) => Handed::Done(done),
        Word::Pending(note) => Handed::Pending(note),
        Word::Failed(code, message) => Handed::refused(code, message),
        Word::Closed => Handed::refused("closed", "the channel has closed it"),
        Word::Rejected(code, message) if is_not_taken(&code) => {
            Handed::NotSent { after: Some(patience), reason: format!("{code}: {message}") }
        }
        // Rejected now, which says nothing about an earlier request under the same reference.
        Word::Rejected(code, message) => Handed::unknown(format!("{code}: {message}")),
        Word::NotFound => Handed::unknown("the channel does not know what it was just given"),
        Word::Unknown(reason) => Handed::unknown(reason),
    }
}

/// In answer to a query.
pub(crate) fn found<T: From<Moved>>(said: Result<Said, Silence>, asked: Money) -> Found<T> {
    match word(said, asked) {
        Word::Done(done) => Found::Done(done),
        Word::Pending(note) => Found::Pending(note),
        Word::Failed(code, message) => Found::refused(code, message),
        Word::Closed => Found::refused("closed", "the channel has closed it"),
        Word::NotFound => Found::Absent,
        Word::Rejected(code, message) => Found::unknown(format!("{code}: {message}")),
        Word::Unknown(reason) => Found::unknown(reason),
    }
}

/// In answer to a close.
pub(crate) fn closing<T: From<Moved>>(said: Result<Said, Silence>, asked: Money) -> Closing<T> {
    match word(said, asked) {
        Word::Done(done) => Closing::Done(done),
        // What has failed for good is as unusable as what was closed.
        Word::Closed | Word::Failed(..) => Closing::Closed,
        Word::NotFound => Closing::Absent,
        Word::Pending(_) => Closing::unknown("the channel is still at it"),
        Word::Rejected(code, message) => Closing::unknown(format!("{code}: {message}")),
        Word::Unknown(reason) => Closing::unknown(reason),
    }
}
