//! The schemes: signatures that another program made, round trips, and everything that must not pass.

use super::*;
use crate::callbacks::{BadKey, Forged, NotTaken, SendError, Signed, Unreadable, WINDOW, signed_form, stamp};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

/// What `openssl dgst -sha256` made of these messages, with the secret and with the first key.
const HMAC_TAG: &str = "265c60a96969cdcb96a6e6026b1c8a7c4d6652a0da581180e67b8a1b2e43cd6f";
const WECHAT_SIGNATURE: &str = "NkinvFwPRe1uHiGOOpA+ShPLsQMf8wbIW9uem7oaNAaN0ZkL4mRQFCCV7suGckdVn90vsK5oChaFY7xEq474GcUXF9N4329ZMHE2cDjMRW1aypkARkVWTbx9CbMFECxe36J84KLtIhgxd1LMLXryFgUkSyn+AgoxynfephFFbQhglfP3IHaLssz7lpLv1fA5jizHn2gODWu2gZWKNKUk63kybpma73acFprVW6zmblPMozuFJV28NmLgGVHr2NNJoyP6vbErbyITVPGt0dtzAm7cm5VMOPHqyw7btDAeSBQI4pCwPntOPAmGyvxWb68jPxepY20/JgbGhLA+RrAxBw==";
const ALIPAY_SIGNATURE: &str = "fK+diwuKXBub39D+JjsSF8uuWUj6quszHIzLk9btmbL15U0/8d8LYgnCZimvLm08hQwWpM7L8a0W8VEq8kAJ3lLaJvX348RfAgWuIDe3zQCTgKEWiElH4GrsprlouriXHGyH4XqmkCex8L83w2CbMVJ6AuC2nogXD2oPvkiIOdrliGO8Jk2JBkLDbdbIVACN3ROmCxNfmwg7teywtSG0EYHXrP7wsGSJ7uiU6K4pqCwQG00z6iuN17Y64Dr4RWME3PGAaCKREXDC0C3I7k5roeQSFEJEYLdgQJ47OBqOkS2XaIvvSt2heXICWq3p1LVgAO8w70iz90Kj6GvtBzuWaw==";
const BODY: &str = r#"{"charge":{"reference":"pay-1","order":"order-1","transaction":"ch-1","amount":{"minor":8963,"currency":"EUR"},"outcome":"paid","at":1700000000000}}"#;

/// A buyer's reference with everything that a form escapes.
const ORDER: &str = "Tee & Ruhe ☕ 1+1=2";

fn headers<const N: usize>(pairs: [(&str, &str); N]) -> HeaderMap {
    let pair =
        |(name, value): (&str, &str)| (HeaderName::try_from(name).unwrap(), HeaderValue::from_str(value).unwrap());
    pairs.into_iter().map(pair).collect()
}

fn wechat_headers(timestamp: &str, nonce: &str, serial: &str, signature: &str) -> HeaderMap {
    headers([
        ("Wechatpay-Timestamp", timestamp),
        ("Wechatpay-Nonce", nonce),
        ("Wechatpay-Serial", serial),
        ("Wechatpay-Signature", signature),
    ])
}

#[test]
fn what_another_program_signed_is_taken_and_ours_is_the_same() {
    let [(_, stamped, stamps), (_, wechat, _), (_, alipay, notifies)] = schemes();
    let header = format!("t=1700000000,v1={HMAC_TAG}");
    assert_eq!(stamped.open(&headers([("Tercet-Signature", &header)]), BODY.as_bytes(), AT), Ok(paid("order-1")));
    let ours = stamps.sign(&paid("order-1"), AT).unwrap();
    assert_eq!((ours.headers["tercet-signature"].to_str().unwrap(), ours.body.as_slice()), (&*header, BODY.as_bytes()));

    let signed = wechat_headers("1700000000", "n0nce", SERIAL, WECHAT_SIGNATURE);
    assert_eq!(wechat.open(&signed, BODY.as_bytes(), AT), Ok(paid("order-1")));

    let ours = String::from_utf8(notifies.sign(&paid(ORDER), AT).unwrap().body).unwrap();
    let theirs: Vec<(String, String)> = form_urlencoded::parse(ours.as_bytes()).into_owned().collect();
    let signature = theirs.iter().find(|(name, _)| name == "sign").map(|(_, value)| value.as_str());
    assert_eq!(signature, Some(ALIPAY_SIGNATURE));
    assert_eq!(alipay.open(&HeaderMap::new(), ours.as_bytes(), AT), Ok(paid(ORDER)));
}

#[test]
fn every_report_comes_back_as_it_was_signed() {
    for (name, scheme, signer) in schemes() {
        for report in [paid("order-1"), paid(ORDER), refunded()] {
            let Signed { headers, body, .. } = signer.sign(&report, AT).unwrap();
            assert_eq!(scheme.open(&headers, &body, AT), Ok(report), "{name}");
        }
    }
}

#[test]
fn only_what_alipay_reports_is_sent_as_alipay() {
    let [_, _, (_, _, alipay)] = schemes();
    let said = Said::Processing { transaction: "re-1".to_owned() };
    let processing = Report::Refund(Callback { reference: id("r-1"), transaction: "re-1".to_owned(), said });
    assert_eq!(alipay.sign(&processing, AT).unwrap_err(), SendError::NotReported);
}

/// A callback that is right but for one thing, and what is said of it.
fn forgeries() -> Vec<(&'static str, Scheme, HeaderMap, Vec<u8>)> {
    let mut all = Vec::new();
    for (name, scheme, signer) in schemes() {
        let Signed { headers, body, .. } = signer.sign(&paid("order-1"), AT).unwrap();
        let mut other = body.clone();
        // "89.63" or "8963" becomes another amount.
        let digit = other.windows(2).position(|pair| pair == b"89").unwrap();
        other[digit] = b'9';
        all.push((name, scheme.clone(), headers.clone(), other));
        all.push((name, scheme.clone(), headers.clone(), Vec::new()));
        all.push((name, scheme.clone(), HeaderMap::new(), br#"{"charge":1}"#.to_vec()));
        all.extend(changed_headers(&headers).into_iter().map(|headers| (name, scheme.clone(), headers, body.clone())));
    }
    all.extend(changed_forms());
    all
}

/// Each header left out, doubled, and with another last character.
fn changed_headers(headers: &HeaderMap) -> Vec<HeaderMap> {
    let mut all = Vec::new();
    for (name, value) in headers {
        let mut without = headers.clone();
        without.remove(name);
        let mut doubled = headers.clone();
        doubled.append(name, value.clone());
        let mut changed = headers.clone();
        let text = value.to_str().unwrap();
        let last = if text.ends_with('1') { '2' } else { '1' };
        let text = format!("{}{last}", &text[..text.len() - 1]);
        changed.insert(name, HeaderValue::from_str(&text).unwrap());
        all.extend([without, doubled, changed]);
    }
    all
}

/// Alipay's form: each field left out, doubled and changed, and one added.
fn changed_forms() -> Vec<(&'static str, Scheme, HeaderMap, Vec<u8>)> {
    let [_, _, (name, scheme, signer)] = schemes();
    let body = signer.sign(&paid("order-1"), AT).unwrap().body;
    let fields: Vec<(String, String)> = form_urlencoded::parse(&body).into_owned().collect();
    let mut forms = vec![[fields.clone(), vec![("zzz".to_owned(), "1".to_owned())]].concat()];
    for index in 0..fields.len() {
        let mut without = fields.clone();
        let taken = without.remove(index);
        let doubled = [fields.clone(), vec![taken]].concat();
        let mut changed = fields.clone();
        changed[index].1.push('x');
        forms.extend([without, doubled, changed]);
    }
    let form = |fields| form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish().into_bytes();
    forms
        .into_iter()
        .map(|fields: Vec<(String, String)>| (name, scheme.clone(), HeaderMap::new(), form(fields)))
        .collect()
}

#[test]
fn nothing_that_was_changed_on_its_way_passes() {
    let forgeries = forgeries();
    assert_eq!(forgeries.len(), 3 * 3 + 3 + 3 * 4 + 1 + 3 * 13);
    for (name, scheme, headers, body) in forgeries {
        let said = scheme.open(&headers, &body, AT);
        assert!(matches!(said, Err(NotTaken::Forged(_))), "{name}: {said:?}, {headers:?}");
    }
}

#[test]
fn each_forgery_is_told_from_the_others() {
    let [(_, stamped, _), (_, wechat, _), (_, alipay, _)] = schemes();
    let stamp = |text: &str| stamped.open(&headers([("Tercet-Signature", text)]), BODY.as_bytes(), AT).unwrap_err();
    assert_eq!(stamp(""), Forged::Malformed("tercet-signature").into());
    assert_eq!(stamp("t=1700000000"), Forged::Malformed("tercet-signature").into());
    assert_eq!(stamp(&format!("v1={HMAC_TAG}")), Forged::Malformed("tercet-signature").into());
    assert_eq!(stamp(&format!("t=1,t=1700000000,v1={HMAC_TAG}")), Forged::Malformed("tercet-signature").into());
    assert_eq!(stamp(&format!("t=1700000001,v1={HMAC_TAG}")), Forged::Signature.into());
    assert_eq!(stamp(&format!("t=1700000000,v1={HMAC_TAG}00")), Forged::Signature.into());
    assert_eq!(stamp("t=1700000000,v1="), Forged::Signature.into());
    let missing = stamped.open(&HeaderMap::new(), BODY.as_bytes(), AT).unwrap_err();
    assert_eq!(missing, Forged::Missing("tercet-signature").into());

    let ask = |headers: &HeaderMap| wechat.open(headers, BODY.as_bytes(), AT).unwrap_err();
    assert_eq!(ask(&wechat_headers("1700000000", "n0nce", "8888", WECHAT_SIGNATURE)), Forged::UnknownKey.into());
    assert_eq!(
        ask(&wechat_headers("now", "n0nce", SERIAL, WECHAT_SIGNATURE)),
        Forged::Malformed("wechatpay-timestamp").into()
    );
    assert_eq!(ask(&wechat_headers("1700000000", "other", SERIAL, WECHAT_SIGNATURE)), Forged::Signature.into());
    // What the channel sends on purpose to see whether anybody looks.
    let probe = format!("WECHATPAY/SIGNTEST/{}", &WECHAT_SIGNATURE[19..]);
    assert_eq!(ask(&wechat_headers("1700000000", "n0nce", SERIAL, &probe)), Forged::Signature.into());

    let form = |signer: Signer| signer.sign(&paid("order-1"), AT).unwrap().body;
    let notice = |body: &[u8]| alipay.open(&HeaderMap::new(), body, AT).unwrap_err();
    let elsewhere = Signer::Alipay { app: "app-8".to_owned(), key: key_one() };
    assert_eq!(notice(&form(elsewhere)), Forged::OtherParty.into());
    let another = Signer::Alipay { app: APP.to_owned(), key: key_two() };
    assert_eq!(notice(&form(another)), Forged::Signature.into());
    assert_eq!(notice(b"app_id=app-7"), Forged::Missing("sign").into());
    assert_eq!(notice(b"app_id=%ff&sign=1&sign_type=RSA2"), Forged::Malformed("form").into());
    assert_eq!(notice(b"app_id=app-7&sign=1&sign_type=RSA"), Forged::Malformed("sign_type").into());
}

#[test]
fn a_timestamp_is_taken_for_five_minutes_either_way() {
    let seconds = i64::try_from(WINDOW.as_secs()).unwrap();
    for (name, scheme, signer) in schemes().into_iter().take(2) {
        let Signed { headers, body, .. } = signer.sign(&paid("order-1"), AT).unwrap();
        for (apart, taken) in [(-seconds - 1, false), (-seconds, true), (seconds, true), (seconds + 1, false)] {
            let said = scheme.open(&headers, &body, Millis(AT.0 + apart * 1_000));
            let expected = if taken { Ok(paid("order-1")) } else { Err(Forged::Stale.into()) };
            assert_eq!(said, expected, "{name}, {apart} s later");
        }
    }
}

#[test]
fn keys_can_be_changed_without_a_callback_that_is_refused() {
    let (old, new) = (shared(), SharedKey::new(b"the channel's next secret").unwrap());
    let stamped = Scheme::Stamped(vec![new.clone(), old.clone()]);
    let keys = [(SERIAL.to_owned(), public_one()), ("8888".to_owned(), key_two().public())];
    let wechat = Scheme::WeChat(keys.into());
    let alipay = Scheme::Alipay(Alipay { app: APP.to_owned(), keys: vec![key_two().public(), public_one()] });
    let of_wechat = |serial: &str, key| Signer::WeChat { serial: serial.to_owned(), key };
    let of_alipay = |key| Signer::Alipay { app: APP.to_owned(), key };
    let changing = [
        (stamped, [Signer::Stamped(old), Signer::Stamped(new)]),
        (wechat, [of_wechat(SERIAL, key_one()), of_wechat("8888", key_two())]),
        (alipay, [of_alipay(key_one()), of_alipay(key_two())]),
    ];
    for (scheme, signers) in changing {
        for signer in signers {
            let Signed { headers, body, .. } = signer.sign(&paid("order-1"), AT).unwrap();
            assert_eq!(scheme.open(&headers, &body, AT), Ok(paid("order-1")));
        }
    }
    // Each key under its own serial number alone.
    let crossed = of_wechat("8888", key_one()).sign(&paid("order-1"), AT).unwrap();
    let wechat = Scheme::WeChat([("8888".to_owned(), key_two().public())].into());
    assert_eq!(wechat.open(&crossed.headers, &crossed.body, AT), Err(Forged::Signature.into()));
}

#[test]
fn the_order_of_a_forms_fields_changes_nothing() {
    let [_, _, (_, scheme, signer)] = schemes();
    let body = signer.sign(&paid(ORDER), AT).unwrap().body;
    let mut fields: Vec<&[u8]> = body.split(|&byte| byte == b'&').collect();
    fields.reverse();
    assert_eq!(scheme.open(&HeaderMap::new(), &fields.join(&b'&'), AT), Ok(paid(ORDER)));
    // A space may be a plus or an escape.
    let escaped = String::from_utf8(body).unwrap().replace('+', "%20");
    assert_eq!(scheme.open(&HeaderMap::new(), escaped.as_bytes(), AT), Ok(paid(ORDER)));
}

#[test]
fn what_is_well_signed_and_not_understood_is_no_forgery() {
    let [(_, stamped, _), _, (_, alipay, _)] = schemes();
    let said = stamped.open(&stamp(&shared(), b"not json", AT), b"not json", AT);
    assert_eq!(said, Err(NotTaken::Unreadable(Unreadable("body"))));
    let fields = [("app_id", APP), ("trade_status", "WAIT_BUYER_PAY")];
    let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let odd = signed_form(&key_one(), fields.into()).unwrap();
    assert_eq!(alipay.open(&HeaderMap::new(), &odd, AT), Err(NotTaken::Unreadable(Unreadable("trade_status"))));
}

#[test]
fn keys_that_are_none_are_refused_and_none_is_printed() {
    let refused = [
        SharedKey::new(b"short").unwrap_err(),
        PublicKey::from_pem("-----BEGIN PUBLIC KEY-----\nMCowBQ==\n-----END PUBLIC KEY-----").unwrap_err(),
        PublicKey::from_pem(include_str!("../keys/one.private.pem")).unwrap_err(),
        PrivateKey::from_pem(include_str!("../keys/one.public.pem")).unwrap_err(),
        PrivateKey::from_pem("-----BEGIN PRIVATE KEY-----\nMCowBQ==\n-----END PRIVATE KEY-----").unwrap_err(),
    ];
    let said = refused.map(|error: BadKey| error.to_string()).join("\n");
    insta::assert_snapshot!(said, @"
    a shared secret has 16 bytes or more, this one has 5
    this is no RSA key of 2048 to 8192 bits: it is of another kind
    this is no `PUBLIC KEY` in PEM form
    this is no `PRIVATE KEY` in PEM form
    this is no RSA key of 2048 to 8192 bits: InvalidEncoding
    ");
    let printed = format!("{:?} {:?} {:?}", shared(), key_one(), public_one());
    assert_eq!(printed, "SharedKey(…) PrivateKey(…) PublicKey(…)");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_flipped_bit_of_a_body_passes(which in 0_usize..3, at in 0_usize..400, bit in 0_u8..8, order in "[ -~é☕&=+%]{1,20}") {
        let (_, scheme, signer) = schemes()[which].clone();
        let report = paid(&order);
        let Signed { headers, mut body, .. } = signer.sign(&report, AT).unwrap();
        let at = at % body.len();
        body[at] ^= 1 << bit;
        // A form may be written in several ways: an escape's letters in either case.
        match scheme.open(&headers, &body, AT) {
            Ok(read) => prop_assert!(which == 2 && read == report, "{read:?}"),
            Err(error) => prop_assert!(matches!(error, NotTaken::Forged(_)), "{error:?}"),
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), header in "[ -~]{0,80}") {
        for (_, scheme, signer) in schemes() {
            let names: Vec<HeaderName> = signer.sign(&paid("order-1"), AT).unwrap().headers.keys().cloned().collect();
            let value = HeaderValue::from_str(&header).unwrap();
            let headers: HeaderMap = names.into_iter().map(|name| (name, value.clone())).collect();
            prop_assert!(scheme.open(&headers, &bytes, AT).is_err());
        }
    }
}
