//! HMAC-SHA256 with a timestamp: one header, `t=<seconds>,v1=<hex>`, over `<seconds>.<body>`. Several `v1` may stand in it and
//! several keys be accepted, so that a key can be changed without a callback that is refused.

use super::{Forged, keys::SharedKey, one, within_window};
use axum::http::{HeaderMap, HeaderValue};
use tercet_core::Millis;

const HEADER: &str = "tercet-signature";

/// Signatures read of one header: of a sender that changes its key there are two.
const SIGNATURES_MAX: usize = 4;

/// When one of `keys` has signed `body`, in seconds since 1970; that is within the window around `now`.
pub(crate) fn verify(keys: &[SharedKey], headers: &HeaderMap, body: &[u8], now: Millis) -> Result<i64, Forged> {
    let header = one(headers, HEADER)?;
    let (time, tags) = parsed(header).ok_or(Forged::Malformed(HEADER))?;
    let seconds: i64 = time.parse().map_err(|_| Forged::Malformed(HEADER))?;
    let message = [time.as_bytes(), b".", body];
    // Every pair is tried, so that the time it takes says nothing of which one fits.
    let pairs = keys.iter().flat_map(|key| tags.iter().map(move |tag| (key, tag)));
    if !pairs.fold(false, |found, (key, tag)| found | key.verifies(&message, tag)) {
        return Err(Forged::Signature);
    }
    within_window(seconds, now)?;
    Ok(seconds)
}

/// The header by which `key` signs `body` at `now`.
pub(crate) fn sign(key: &SharedKey, body: &[u8], now: Millis) -> HeaderMap {
    let seconds = now.0.div_euclid(1_000).to_string();
    let tag = key.sign(&[seconds.as_bytes(), b".", body]);
    let hex: String = tag.iter().map(|byte| format!("{byte:02x}")).collect();
    let value = HeaderValue::from_str(&format!("t={seconds},v1={hex}"));
    value.into_iter().map(|value| (axum::http::HeaderName::from_static(HEADER), value)).collect()
}

/// The timestamp as it was written, and each `v1`; other schemes' parts are skipped, as a sender may have a `v0`, too.
fn parsed(header: &str) -> Option<(&str, Vec<Vec<u8>>)> {
    let mut time = None;
    let mut tags = Vec::new();
    for part in header.split(',') {
        match part.trim().split_once('=')? {
            ("t", text) if time.is_none() && text.bytes().all(|b| b.is_ascii_digit()) => time = Some(text),
            ("t", _) => return None,
            ("v1", text) if tags.len() < SIGNATURES_MAX => tags.push(unhex(text)?),
            ("v1", _) => return None,
            _ => {}
        }
    }
    time.filter(|_| !tags.is_empty()).map(|time| (time, tags))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}
