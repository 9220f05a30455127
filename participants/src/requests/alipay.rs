//! As Alipay demands it (RSA2): a form that is signed without `sign` and with `sign_type`, other than its notices. There is no nonce: a
//! replay within the window is answered like any other repetition, by the merchant's own reference.

use super::{Ask, NotSigned, Request};
use crate::callbacks::{
    Alipay, Forged, NotTaken, PrivateKey, Unreadable,
    alipay::{Form, RSA2, SIGN, SIGN_TYPE, at, encoded, message, parsed, time},
    within_window,
};
use axum::http::HeaderMap;
use base64::{Engine, engine::general_purpose::STANDARD};
use tercet_core::Millis;

/// Where every request goes; its method says what it is.
pub(super) const PATH: &str = "/gateway.do";

const BODY: &str = "biz_content";
const METHOD: &str = "method";
const TIMESTAMP: &str = "timestamp";

fn method(ask: &Ask) -> String {
    format!("tercet.{}", ask.as_str())
}

pub(super) fn sign(app: &str, key: &PrivateKey, ask: &Ask, now: Millis) -> Result<Request, NotSigned> {
    let body = String::from_utf8(ask.to_json()?).map_err(|error| NotSigned::Unwritable(error.to_string()))?;
    let fields = [
        ("app_id", app.to_owned()),
        (BODY, body),
        ("charset", "utf-8".to_owned()),
        (METHOD, method(ask)),
        (SIGN_TYPE, RSA2.to_owned()),
        (TIMESTAMP, time(now)),
        ("version", "1.0".to_owned()),
    ];
    let mut form: Form = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let signature = STANDARD.encode(key.sign(message(&form).as_bytes())?);
    form.insert(SIGN.to_owned(), signature);
    Ok(Request { path: PATH.to_owned(), headers: HeaderMap::new(), body: encoded(form) })
}

pub(super) fn open(merchant: &Alipay, request: &Request, now: Millis) -> Result<Ask, NotTaken> {
    let form = verify(merchant, &request.body, now)?;
    let field = |name: &'static str| form.get(name).ok_or(Unreadable(name));
    let ask = Ask::from_json(field(BODY)?.as_bytes()).map_err(|_| Unreadable(BODY))?;
    if *field(METHOD)? == method(&ask) { Ok(ask) } else { Err(Unreadable(METHOD).into()) }
}

fn verify(merchant: &Alipay, body: &[u8], now: Millis) -> Result<Form, Forged> {
    let mut form = parsed(body).ok_or(Forged::Malformed("form"))?;
    let signature = form.remove(SIGN).ok_or(Forged::Missing(SIGN))?;
    if form.get(SIGN_TYPE).is_none_or(|kind| kind != RSA2) {
        return Err(Forged::Malformed(SIGN_TYPE));
    }
    let signature = STANDARD.decode(signature).map_err(|_| Forged::Malformed(SIGN))?;
    let message = message(&form);
    if !merchant.keys.iter().any(|key| key.verifies(message.as_bytes(), &signature)) {
        return Err(Forged::Signature);
    }
    if form.get("app_id").is_none_or(|app| *app != merchant.app) {
        return Err(Forged::OtherParty);
    }
    let signed = form.get(TIMESTAMP).ok_or(Forged::Missing(TIMESTAMP))?;
    let signed = at(signed).ok_or(Forged::Malformed(TIMESTAMP))?;
    within_window(signed.0.div_euclid(1_000), now)?;
    Ok(form)
}
