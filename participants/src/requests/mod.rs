//! What the shop asks of a channel, signed as the channel demands, and the channel's door, which verifies that before it does anything.
//!
//! | [`Demands`] | what is signed | by | replays |
//! |---|---|---|---|
//! | `Stamped` | `<seconds>.<nonce>.<body>`, in `tercet-signature` and `tercet-nonce` | HMAC-SHA256 | refused within the window |
//! | `WeChat` | `POST\n<path>\n<seconds>\n<nonce>\n<body>\n`, in `authorization` | RSA-SHA256 | refused within the window |
//! | `Alipay` | the form's fields but `sign`, sorted, the question in `biz_content` | RSA-SHA256 (RSA2) | answered with what became of the first |
//!
//! The window, the keys and the bytes that are signed are those of [callbacks](crate::callbacks). What is not signed as it should
//! be is answered so, and the channel vouches that it did nothing: to whoever asked that is *not sent*, never *unknown*. A replay
//! alone is *unknown*, since the first copy was taken.

mod alipay;
mod door;
mod signing;
mod stamped;
mod wechat;

pub use door::Door;
pub use signing::Signing;

use crate::{
    callbacks::{Alipay, BadKey, Forged, NotTaken, PrivateKey, PublicKeys, SharedKey, Unreadable},
    channel::{ChargeOrder, RefundOrder},
    ids::{PaymentId, RefundId},
};
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use tercet_core::Millis;

/// What a channel is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// To take money.
    Charge(ChargeOrder),
    /// What became of a charge.
    QueryCharge(PaymentId),
    /// To make a charge's reference unusable.
    CloseCharge(PaymentId),
    /// To give money back.
    Refund(RefundOrder),
    /// What became of a refund.
    QueryRefund(RefundId),
    /// To make a refund's reference unusable.
    CloseRefund(RefundId),
}

impl Ask {
    /// The question's name in paths and methods.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Charge(_) => "charge",
            Self::QueryCharge(_) => "query_charge",
            Self::CloseCharge(_) => "close_charge",
            Self::Refund(_) => "refund",
            Self::QueryRefund(_) => "query_refund",
            Self::CloseRefund(_) => "close_refund",
        }
    }

    fn to_json(&self) -> Result<Vec<u8>, NotSigned> {
        serde_json::to_vec(self).map_err(|error| NotSigned::Unwritable(error.to_string()))
    }

    fn from_json(body: &[u8]) -> Result<Self, Unreadable> {
        serde_json::from_slice(body).map_err(|_| Unreadable("body"))
    }
}

/// A request as it goes out, to be posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Where it goes at the channel.
    pub path: String,
    /// The headers that sign it, if it is not the body that does.
    pub headers: HeaderMap,
    /// The bytes that are signed.
    pub body: Vec<u8>,
}

/// Why a request does not leave.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSigned {
    /// The key, or the system's random numbers.
    #[error(transparent)]
    Key(#[from] BadKey),
    /// The request itself: a bug.
    #[error("failed to write the request: {0}")]
    Unwritable(String),
}

/// What the shop signs with.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// HMAC with timestamp and nonce.
    Stamped(SharedKey),
    /// As WeChat Pay v3 demands it.
    WeChat {
        /// The merchant's number at the channel.
        merchant: String,
        /// The serial number of its key.
        serial: String,
        /// The key.
        key: PrivateKey,
    },
    /// As Alipay demands it.
    Alipay {
        /// The merchant's application.
        app: String,
        /// Its key.
        key: PrivateKey,
    },
}

impl Credentials {
    /// The request for that, as it is signed at `now`.
    ///
    /// # Errors
    /// When the system gives no random numbers; nothing leaves then.
    pub fn sign(&self, ask: &Ask, now: Millis) -> Result<Request, NotSigned> {
        match self {
            Self::Stamped(key) => stamped::sign(key, ask, now),
            Self::WeChat { merchant, serial, key } => wechat::sign(merchant, serial, key, ask, now),
            Self::Alipay { app, key } => alipay::sign(app, key, ask, now),
        }
    }
}

/// How a channel wants requests signed, and what it verifies that with.
#[derive(Clone, Debug)]
pub enum Demands {
    /// HMAC with timestamp and nonce; any of these keys.
    Stamped(Vec<SharedKey>),
    /// As WeChat Pay v3 demands it.
    WeChat {
        /// The merchant's number.
        merchant: String,
        /// The merchant's public keys, by serial number.
        keys: PublicKeys,
    },
    /// As Alipay demands it: the keys are the merchant's.
    Alipay(Alipay),
}

/// What makes a request one of a kind: when it was signed, in seconds since 1970, and its nonce.
type Stamp = (i64, String);

impl Demands {
    /// Verifies, then reads: what is asked, and by which stamp a replay is known.
    ///
    /// # Errors
    /// When the signature does not fit, nothing of the body having been parsed but what it signs; or when it is not understood.
    pub fn open(&self, request: &Request, now: Millis) -> Result<(Ask, Option<Stamp>), NotTaken> {
        let (ask, stamp, path) = match self {
            Self::Stamped(keys) => {
                let stamp = stamped::verify(keys, request, now)?;
                let ask = Ask::from_json(&request.body)?;
                let path = stamped::path(&ask);
                (ask, Some(stamp), path)
            }
            Self::WeChat { merchant, keys } => {
                let stamp = wechat::verify(merchant, keys, request, now)?;
                let ask = Ask::from_json(&request.body)?;
                let path = wechat::path(&ask);
                (ask, Some(stamp), path)
            }
            Self::Alipay(merchant) => (alipay::open(merchant, request, now)?, None, alipay::PATH.to_owned()),
        };
        if path == request.path { Ok((ask, stamp)) } else { Err(Unreadable("path").into()) }
    }
}

/// A nonce as it comes: 1 to 64 letters and digits, so that nothing in it looks like what stands around it.
fn nonce_in(text: &str, name: &'static str) -> Result<String, Forged> {
    let fits = (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if fits { Ok(text.to_owned()) } else { Err(Forged::Malformed(name)) }
}
