//! Callbacks over HTTP: what a payment channel reports by itself, verified over the raw bytes before anything of it is read, kept by
//! the participant it concerns, and only then acknowledged.
//!
//! | scheme | what is signed | by | within | answer when it is kept |
//! |---|---|---|---|---|
//! | [`Scheme::Stamped`] | `<seconds>.<body>`, in `tercet-signature` | HMAC-SHA256, any of several keys | 5 minutes | 204 |
//! | [`Scheme::WeChat`] | `<seconds>\n<nonce>\n<body>\n` | RSA-SHA256, the key of that serial number | 5 minutes | 204 |
//! | [`Scheme::Alipay`] | the form's fields, decoded and sorted | RSA-SHA256, any of several keys | – | the text `success` |
//!
//! A signature that does not fit is 401, and nothing is kept. What is well signed and could not be kept, or cannot be read, is
//! answered so that the channel sends it again. A copy of what is kept is acknowledged: the participant tells copies apart, and
//! compares amount and order. No key, body or header is logged.
//!
//! A channel without a key has no route: callbacks are off until somebody sets one.

pub(crate) mod alipay;
mod house;
mod keys;
mod report;
mod routes;
mod sender;
pub(crate) mod stamped;
pub(crate) mod wechat;

pub use alipay::Alipay;
pub use keys::{BadKey, PrivateKey, PublicKey, SharedKey};
pub use report::Report;
pub use routes::{BODY_BYTES_MAX, Callbacks, Verdict};
pub use sender::{SendError, Sender, Signed, Signer};
pub use wechat::PublicKeys;

pub(crate) use sender::nonce;

#[cfg(test)]
pub(crate) use {alipay::sign as signed_form, stamped::sign as stamp};

use axum::http::HeaderMap;
use std::time::Duration;
use tercet_core::Millis;

/// How far a callback's timestamp may be from our clock, either way.
pub const WINDOW: Duration = Duration::from_secs(300);

/// How a channel signs, and what that is verified with.
#[derive(Clone, Debug)]
pub enum Scheme {
    /// HMAC with a timestamp; any of these keys.
    Stamped(Vec<SharedKey>),
    /// As WeChat Pay v3 does it.
    WeChat(PublicKeys),
    /// As Alipay does it.
    Alipay(Alipay),
}

/// Why a callback is not the channel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forged {
    /// Something that signs is not there.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// Something that signs is there more than once.
    #[error("`{0}` is there more than once")]
    Doubled(&'static str),
    /// Something that signs cannot be read.
    #[error("`{0}` cannot be read")]
    Malformed(&'static str),
    /// The signature names a key that is not known here.
    #[error("the signature's key is not known here")]
    UnknownKey,
    /// The signature is not that of these bytes.
    #[error("the signature does not fit")]
    Signature,
    /// It was signed too long ago, or too far ahead.
    #[error("the signature's time is more than {} seconds from ours", WINDOW.as_secs())]
    Stale,
    /// It is well signed, for another merchant.
    #[error("it is for another merchant's application")]
    OtherParty,
}

/// What is well signed and still cannot be read; names the part, never its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` cannot be read")]
pub struct Unreadable(pub &'static str);

/// Why a callback is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// It is not the channel's.
    #[error(transparent)]
    Forged(#[from] Forged),
    /// It is, and says nothing that is understood here.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

impl Scheme {
    /// Verifies, then reads.
    ///
    /// # Errors
    /// When the signature does not fit, nothing of `body` having been parsed but what it signs; or when the body is not understood.
    pub fn open(&self, headers: &HeaderMap, body: &[u8], now: Millis) -> Result<Report, NotTaken> {
        match self {
            Self::Stamped(keys) => drop(stamped::verify(keys, headers, body, now)?),
            Self::WeChat(keys) => wechat::verify(keys, headers, body, now)?,
            Self::Alipay(alipay) => return Ok(alipay::report(&alipay.verify(body)?)?),
        }
        Ok(Report::from_json(body)?)
    }
}

/// The one header of that name.
pub(crate) fn one<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, Forged> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (None, _) => Err(Forged::Missing(name)),
        (Some(_), Some(_)) => Err(Forged::Doubled(name)),
        (Some(value), None) => value.to_str().map_err(|_| Forged::Malformed(name)),
    }
}

/// Whether a timestamp, in seconds since 1970, is near enough to `now` to be no replay.
pub(crate) fn within_window(seconds: i64, now: Millis) -> Result<(), Forged> {
    let apart = now.0.div_euclid(1_000).abs_diff(seconds);
    if apart <= WINDOW.as_secs() { Ok(()) } else { Err(Forged::Stale) }
}
