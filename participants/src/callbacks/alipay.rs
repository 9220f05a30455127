//! RSA as Alipay does it: a form whose fields `sign` and `sign_type` stand beside what they sign, the other fields, decoded and
//! sorted, as `name=value` joined by `&`. There is no window: Alipay repeats a notice for a day, so the participant tells copies
//! apart by the trade's number and status.

use super::{
    Forged, Unreadable,
    keys::{BadKey, PrivateKey, PublicKey},
    report::Report,
};
use crate::{
    channel::{Callback, ChargeCallback, ChargeOutcome, Said},
    money::{Currency, Money},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use percent_encoding::percent_decode;
use std::{
    collections::BTreeMap,
    time::{Duration, UNIX_EPOCH},
};
use tercet_core::Millis;

pub(crate) const SIGN: &str = "sign";
pub(crate) const SIGN_TYPE: &str = "sign_type";
pub(crate) const RSA2: &str = "RSA2";

/// What a channel of this kind is known by.
#[derive(Clone, Debug)]
pub struct Alipay {
    /// The merchant's application: a notice for another one is refused, however well it is signed.
    pub app: String,
    /// The channel's public keys: more than one while it changes them.
    pub keys: Vec<PublicKey>,
}

/// The fields of a form, in the order of their names.
pub(crate) type Form = BTreeMap<String, String>;

impl Alipay {
    /// The fields, if the channel has signed them.
    pub(super) fn verify(&self, body: &[u8]) -> Result<Form, Forged> {
        let mut form = parsed(body).ok_or(Forged::Malformed("form"))?;
        let signature = form.remove(SIGN).ok_or(Forged::Missing(SIGN))?;
        let kind = form.remove(SIGN_TYPE).ok_or(Forged::Missing(SIGN_TYPE))?;
        if kind != RSA2 {
            return Err(Forged::Malformed(SIGN_TYPE));
        }
        let signature = STANDARD.decode(signature).map_err(|_| Forged::Malformed(SIGN))?;
        let message = message(&form);
        if !self.keys.iter().any(|key| key.verifies(message.as_bytes(), &signature)) {
            return Err(Forged::Signature);
        }
        if form.get("app_id").is_some_and(|app| *app == self.app) { Ok(form) } else { Err(Forged::OtherParty) }
    }
}

/// The form in which `key` signs those fields.
pub(crate) fn sign(key: &PrivateKey, mut form: Form) -> Result<Vec<u8>, BadKey> {
    let signature = STANDARD.encode(key.sign(message(&form).as_bytes())?);
    form.insert(SIGN.to_owned(), signature);
    form.insert(SIGN_TYPE.to_owned(), RSA2.to_owned());
    Ok(encoded(form))
}

/// The form as it is posted.
pub(crate) fn encoded(form: Form) -> Vec<u8> {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish().into_bytes()
}

/// What is signed of those fields.
pub(crate) fn message(form: &Form) -> String {
    let fields: Vec<String> = form.iter().map(|(name, value)| format!("{name}={value}")).collect();
    fields.join("&")
}

/// Strictly: a name that stands twice, or bytes that are not UTF-8, could be read in two ways.
pub(crate) fn parsed(body: &[u8]) -> Option<Form> {
    let mut form = Form::new();
    for field in body.split(|&byte| byte == b'&').filter(|field| !field.is_empty()) {
        let mut halves = field.splitn(2, |&byte| byte == b'=');
        let (name, value) = (decoded(halves.next()?)?, decoded(halves.next().unwrap_or_default())?);
        if form.insert(name, value).is_some() {
            return None;
        }
    }
    Some(form)
}

fn decoded(text: &[u8]) -> Option<String> {
    let spaced: Vec<u8> = text.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
    percent_decode(&spaced).decode_utf8().ok().map(Into::into)
}

/// Alipay's clock shows the time in Beijing.
const BEIJING: Duration = Duration::from_secs(8 * 3_600);

pub(crate) fn time(at: Millis) -> String {
    let since = Duration::from_millis(u64::try_from(at.0).unwrap_or(0)) + BEIJING;
    humantime::format_rfc3339_seconds(UNIX_EPOCH + since).to_string().replace('T', " ").replace('Z', "")
}

pub(crate) fn at(text: &str) -> Option<Millis> {
    let since = humantime::parse_rfc3339_weak(text).ok()?.duration_since(UNIX_EPOCH).ok()?.checked_sub(BEIJING)?;
    i64::try_from(since.as_millis()).ok().map(Millis)
}

fn decimal(amount: Money) -> String {
    let text = amount.to_string();
    text.split_once(' ').map_or(text.clone(), |(number, _)| number.to_owned())
}

/// The fields in which Alipay reports that, but for those that sign; nothing for what it does not report.
pub(super) fn fields(app: &str, report: &Report) -> Option<Form> {
    let about = match report {
        Report::Charge(charge) => charge_fields(charge),
        Report::Refund(refund) => refund_fields(refund)?,
    };
    let mut form: Form = about.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let fixed = [("app_id", app), ("charset", "utf-8"), ("notify_type", "trade_status_sync"), ("version", "1.0")];
    form.extend(fixed.map(|(name, value)| (name.to_owned(), value.to_owned())));
    Some(form)
}

fn charge_fields(charge: &ChargeCallback) -> Vec<(&'static str, String)> {
    // Alipay knows no failed trade: it is closed, which is as final.
    let status = match charge.outcome {
        ChargeOutcome::Paid => "TRADE_SUCCESS",
        ChargeOutcome::Failed | ChargeOutcome::Closed => "TRADE_CLOSED",
    };
    vec![
        ("out_trade_no", charge.reference.to_string()),
        ("passback_params", charge.order.to_string()),
        ("trade_no", charge.transaction.clone()),
        ("trade_status", status.to_owned()),
        ("total_amount", decimal(charge.amount)),
        ("trans_currency", charge.amount.currency.to_string()),
        ("gmt_payment", time(charge.at)),
    ]
}

fn refund_fields(refund: &Callback) -> Option<Vec<(&'static str, String)>> {
    let mut fields = vec![("out_biz_no", refund.reference.to_string()), ("trade_no", refund.transaction.clone())];
    match &refund.said {
        Said::Succeeded { amount, at, .. } => fields.extend([
            ("refund_status", "REFUND_SUCCESS".to_owned()),
            ("refund_fee", decimal(*amount)),
            ("trans_currency", amount.currency.to_string()),
            ("gmt_refund", time(*at)),
        ]),
        Said::Failed { code, message } => fields.extend([
            ("refund_status", "REFUND_FAIL".to_owned()),
            ("sub_code", code.clone()),
            ("sub_msg", message.clone()),
        ]),
        _ => return None,
    }
    Some(fields)
}

/// What a notice reports.
pub(super) fn report(form: &Form) -> Result<Report, Unreadable> {
    if form.contains_key("out_biz_no") { refund(form).map(Report::Refund) } else { charge(form).map(Report::Charge) }
}

fn charge(form: &Form) -> Result<ChargeCallback, Unreadable> {
    let outcome = match field(form, "trade_status")? {
        "TRADE_SUCCESS" | "TRADE_FINISHED" => ChargeOutcome::Paid,
        "TRADE_CLOSED" => ChargeOutcome::Closed,
        _ => return Err(Unreadable("trade_status")),
    };
    Ok(ChargeCallback {
        reference: read(form, "out_trade_no")?,
        order: read(form, "passback_params")?,
        transaction: field(form, "trade_no")?.to_owned(),
        amount: amount(form, "total_amount")?,
        outcome,
        at: at(field(form, "gmt_payment")?).ok_or(Unreadable("gmt_payment"))?,
    })
}

fn refund(form: &Form) -> Result<Callback, Unreadable> {
    let transaction = field(form, "trade_no")?.to_owned();
    let said = match field(form, "refund_status")? {
        "REFUND_SUCCESS" => Said::Succeeded {
            transaction: transaction.clone(),
            amount: amount(form, "refund_fee")?,
            at: at(field(form, "gmt_refund")?).ok_or(Unreadable("gmt_refund"))?,
        },
        "REFUND_FAIL" => {
            Said::Failed { code: field(form, "sub_code")?.to_owned(), message: field(form, "sub_msg")?.to_owned() }
        }
        _ => return Err(Unreadable("refund_status")),
    };
    Ok(Callback { reference: read(form, "out_biz_no")?, transaction, said })
}

fn field<'a>(form: &'a Form, name: &'static str) -> Result<&'a str, Unreadable> {
    form.get(name).map(String::as_str).ok_or(Unreadable(name))
}

fn read<T: std::str::FromStr>(form: &Form, name: &'static str) -> Result<T, Unreadable> {
    field(form, name)?.parse().map_err(|_| Unreadable(name))
}

fn amount(form: &Form, name: &'static str) -> Result<Money, Unreadable> {
    let currency: Currency = read(form, "trans_currency")?;
    Money::parse(field(form, name)?, currency).map_err(|_| Unreadable(name))
}
