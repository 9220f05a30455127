//! As WeChat Pay v3 demands it: one `authorization` header, SHA256-RSA over the method, the path, and what a callback signs, too.

use super::{Ask, NotSigned, Request, Stamp, nonce_in};
use crate::callbacks::{Forged, PrivateKey, PublicKeys, nonce, one, wechat, within_window};
use axum::http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use base64::{Engine, engine::general_purpose::STANDARD};
use tercet_core::Millis;

const HEADER: &str = "authorization";
const KIND: &str = "WECHATPAY2-SHA256-RSA2048";

pub(super) fn path(ask: &Ask) -> String {
    format!("/v3/{}", ask.as_str())
}

pub(super) fn sign(
    merchant: &str, serial: &str, key: &PrivateKey, ask: &Ask, now: Millis,
) -> Result<Request, NotSigned> {
    let (path, body, nonce) = (path(ask), ask.to_json()?, nonce()?);
    let timestamp = now.0.div_euclid(1_000).to_string();
    let signature = STANDARD.encode(key.sign(&message(&path, &timestamp, &nonce, &body))?);
    let text = format!(
        "{KIND} mchid=\"{merchant}\",nonce_str=\"{nonce}\",signature=\"{signature}\",timestamp=\"{timestamp}\",serial_no=\"{serial}\""
    );
    let headers: HeaderMap = HeaderValue::from_str(&text).into_iter().map(|value| (AUTHORIZATION, value)).collect();
    Ok(Request { path, headers, body })
}

pub(super) fn verify(merchant: &str, keys: &PublicKeys, request: &Request, now: Millis) -> Result<Stamp, Forged> {
    let text = one(&request.headers, HEADER)?;
    let text = text.strip_prefix(KIND).and_then(|rest| rest.strip_prefix(' ')).ok_or(Forged::Malformed(HEADER))?;
    let (timestamp, nonce) = (part(text, "timestamp")?, nonce_in(part(text, "nonce_str")?, HEADER)?);
    let signature = STANDARD.decode(part(text, "signature")?).map_err(|_| Forged::Malformed(HEADER))?;
    let seconds: i64 = timestamp.parse().map_err(|_| Forged::Malformed(HEADER))?;
    let key = keys.get(part(text, "serial_no")?).ok_or(Forged::UnknownKey)?;
    if !key.verifies(&message(&request.path, timestamp, &nonce, &request.body), &signature) {
        return Err(Forged::Signature);
    }
    if part(text, "mchid")? != merchant {
        return Err(Forged::OtherParty);
    }
    within_window(seconds, now)?;
    Ok((seconds, nonce))
}

fn message(path: &str, timestamp: &str, nonce: &str, body: &[u8]) -> Vec<u8> {
    [format!("POST\n{path}\n").as_bytes(), &wechat::message(timestamp, nonce, body)].concat()
}

/// The value of the one part of that name: `name="value"`.
fn part<'a>(text: &'a str, name: &'static str) -> Result<&'a str, Forged> {
    let mut values = text.split(',').filter_map(|part| part.trim().split_once('=')).filter(|(key, _)| *key == name);
    match (values.next(), values.next()) {
        (None, _) => Err(Forged::Missing(name)),
        (Some(_), Some(_)) => Err(Forged::Doubled(name)),
        (Some((_, value)), None) => {
            value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or(Forged::Malformed(name))
        }
    }
}
