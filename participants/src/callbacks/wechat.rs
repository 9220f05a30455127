//! RSA as WeChat Pay v3 does it: four headers, SHA256-RSA over `timestamp\nnonce\nbody\n`, the key chosen by its serial number.

use super::{
    Forged,
    keys::{BadKey, PrivateKey, PublicKey},
    one, within_window,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use base64::{Engine, engine::general_purpose::STANDARD};
use std::collections::BTreeMap;
use tercet_core::Millis;

const TIMESTAMP: &str = "wechatpay-timestamp";
const NONCE: &str = "wechatpay-nonce";
const SERIAL: &str = "wechatpay-serial";
const SIGNATURE: &str = "wechatpay-signature";

/// The channel's public keys, by serial number: the old one stays while the channel changes to a new one.
pub type PublicKeys = BTreeMap<String, PublicKey>;

/// Whether the channel has signed `body` within the window around `now`.
pub(super) fn verify(keys: &PublicKeys, headers: &HeaderMap, body: &[u8], now: Millis) -> Result<(), Forged> {
    let (timestamp, nonce) = (one(headers, TIMESTAMP)?, one(headers, NONCE)?);
    let (serial, signature) = (one(headers, SERIAL)?, one(headers, SIGNATURE)?);
    let signature = STANDARD.decode(signature).map_err(|_| Forged::Malformed(SIGNATURE))?;
    let seconds: i64 = timestamp.parse().map_err(|_| Forged::Malformed(TIMESTAMP))?;
    let key = keys.get(serial).ok_or(Forged::UnknownKey)?;
    if !key.verifies(&message(timestamp, nonce, body), &signature) {
        return Err(Forged::Signature);
    }
    within_window(seconds, now)
}

/// The headers by which the channel signs `body` at `now`.
pub(super) fn sign(serial: &str, key: &PrivateKey, body: &[u8], nonce: &str, now: Millis) -> Result<HeaderMap, BadKey> {
    let timestamp = now.0.div_euclid(1_000).to_string();
    let signature = STANDARD.encode(key.sign(&message(&timestamp, nonce, body))?);
    let pairs = [(TIMESTAMP, timestamp.as_str()), (NONCE, nonce), (SERIAL, serial), (SIGNATURE, &signature)];
    let header = |(name, value)| Some((HeaderName::from_static(name), HeaderValue::from_str(value).ok()?));
    Ok(pairs.into_iter().filter_map(header).collect())
}

/// The bytes that are signed.
pub(crate) fn message(timestamp: &str, nonce: &str, body: &[u8]) -> Vec<u8> {
    [timestamp.as_bytes(), b"\n", nonce.as_bytes(), b"\n", body, b"\n"].concat()
}
