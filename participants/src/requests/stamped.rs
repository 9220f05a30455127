//! HMAC-SHA256 with timestamp and nonce: a callback's header, over a body that has the nonce before it.

use super::{Ask, NotSigned, Request, Stamp, nonce_in};
use crate::callbacks::{Forged, SharedKey, nonce, one, stamped};
use axum::http::{HeaderName, HeaderValue};
use tercet_core::Millis;

const NONCE: &str = "tercet-nonce";

pub(super) fn path(ask: &Ask) -> String {
    format!("/v1/{}", ask.as_str())
}

pub(super) fn sign(key: &SharedKey, ask: &Ask, now: Millis) -> Result<Request, NotSigned> {
    let (body, nonce) = (ask.to_json()?, nonce()?);
    let mut headers = stamped::sign(key, &message(&nonce, &body), now);
    if let Ok(value) = HeaderValue::from_str(&nonce) {
        headers.insert(HeaderName::from_static(NONCE), value);
    }
    Ok(Request { path: path(ask), headers, body })
}

pub(super) fn verify(keys: &[SharedKey], request: &Request, now: Millis) -> Result<Stamp, Forged> {
    let nonce = nonce_in(one(&request.headers, NONCE)?, NONCE)?;
    let seconds = stamped::verify(keys, &request.headers, &message(&nonce, &request.body), now)?;
    Ok((seconds, nonce))
}

fn message(nonce: &str, body: &[u8]) -> Vec<u8> {
    [nonce.as_bytes(), b".", body].concat()
}
