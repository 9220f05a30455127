//! Requests to the channel: each way of signing them, everything that may be wrong with one, and what whoever asked makes of that.

use super::{
    Bench, Step, bench,
    callbacks::{APP, SERIAL, key_one, key_two, public_one, shared},
    eur, id, sale,
};
use crate::{
    callbacks::{Alipay, PrivateKey, SharedKey, WINDOW},
    channel::{Behaviour, ChargeOrder, How, RefundOrder, Said},
    clock::Clock,
    gateway::{Gateway, Refund, RefundMoney},
    heard::handed,
    orders::OrderState,
    payments::{Charge, Charged, Payments, Record, ToCharge, ToRecord},
    requests::{Ask, Credentials, Demands, Door, Request, Signing},
    shop::Ticking,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use std::{sync::Arc, time::Duration};
use tercet_core::{Answer, Operation, Participant, Phase};
use tercet_participant::{BuildError, Handed, Service, conformance::Calls};
use tokio::sync::Notify;

const MERCHANT: &str = "1900000001";

fn wechat(serial: &str, key: PrivateKey) -> Credentials {
    Credentials::WeChat { merchant: MERCHANT.to_owned(), serial: serial.to_owned(), key }
}

fn alipay(app: &str, key: PrivateKey) -> Credentials {
    Credentials::Alipay { app: app.to_owned(), key }
}

/// Every way: its name, what the channel demands, what signs, and what signs wrongly.
fn ways() -> [(&'static str, Demands, Credentials, Vec<Credentials>); 3] {
    let merchant = |merchant: &str| Credentials::WeChat {
        merchant: merchant.to_owned(),
        serial: SERIAL.to_owned(),
        key: key_one(),
    };
    [
        (
            "stamped",
            Demands::Stamped(vec![shared()]),
            Credentials::Stamped(shared()),
            vec![Credentials::Stamped(SharedKey::new(b"a secret of somebody else").unwrap())],
        ),
        (
            "wechat",
            Demands::WeChat { merchant: MERCHANT.to_owned(), keys: [(SERIAL.to_owned(), public_one())].into() },
            wechat(SERIAL, key_one()),
            vec![wechat(SERIAL, key_two()), wechat("8888", key_one()), merchant("1900000002")],
        ),
        (
            "alipay",
            Demands::Alipay(Alipay { app: APP.to_owned(), keys: vec![public_one()] }),
            alipay(APP, key_one()),
            vec![alipay(APP, key_two()), alipay("app-8", key_one())],
        ),
    ]
}

fn charge() -> Ask {
    let (reference, order, how) = (id("pay-1"), id("o-1"), How::PayLink);
    Ask::Charge(ChargeOrder { reference, order, amount: eur(8_963), how, expires: None })
}

fn refund() -> Ask {
    Ask::Refund(RefundOrder { reference: id("r-1"), charge: id("pay-o-1"), amount: eur(8_963) })
}

fn said(said: Result<Said, crate::channel::Silence>) -> String {
    match said.unwrap() {
        Said::Rejected { code, message } => format!("{code}: {message}"),
        Said::Succeeded { amount, .. } => format!("gave back {amount}"),
        other => format!("{other:?}"),
    }
}

/// The request with `from` replaced in its body, wherever that stands.
fn altered(request: &Request, from: &str, to: &str) -> Request {
    let body = String::from_utf8(request.body.clone()).unwrap();
    assert!(body.contains(from), "{body}");
    Request { body: body.replace(from, to).into_bytes(), ..request.clone() }
}

async fn requests(bench: &Bench) -> i64 {
    bench.shop.channel().ledger().await.unwrap().requests
}

/// What is said to each forgery, then to the right request and to its copies.
async fn said_to_all((name, demands, right, wrong): (&str, Demands, Credentials, Vec<Credentials>)) -> Vec<String> {
    let bench = bench(Behaviour::Succeed).await;
    bench.shop.seed(&[sale("o-1", OrderState::Paid)]).await.unwrap();
    let charges = bench.shop.channel().ledger().await.unwrap().charges;
    let door = Door::new(bench.shop.channel.clone(), demands, bench.clock.clone());
    let signed = |credentials: &Credentials, ask, at| credentials.sign(&ask, at).unwrap();
    let request = signed(&right, refund(), bench.clock.now());
    let asked = signed(&right, charge(), bench.clock.now());
    let mut table = Vec::new();
    let mut say = async |what: &str, request: &Request| {
        table.push(format!("{name}, {what}: {}", said(door.asked(request).await)));
    };
    say("another amount", &altered(&request, "8963", "8964")).await;
    say("another charge", &altered(&request, "pay-o-1", "pay-o-2")).await;
    say("another order", &altered(&asked, "o-1", "o-2")).await;
    say("elsewhere", &Request { path: format!("{}x", request.path), ..request.clone() }).await;
    if name != "alipay" {
        let headers = request.headers.iter().skip(1).map(|(name, value)| (name.clone(), value.clone())).collect();
        say("without a header", &Request { headers, ..request.clone() }).await;
    }
    for wrong in wrong {
        say("wrong key", &signed(&wrong, refund(), bench.clock.now())).await;
    }
    bench.clock.advance(WINDOW + Duration::from_secs(1));
    say("too old", &request).await;
    let ahead = bench.clock.now().plus(WINDOW + Duration::from_secs(1));
    say("too far ahead", &signed(&right, refund(), ahead)).await;
    assert_eq!(requests(&bench).await, 0, "{name}: the channel has heard of nothing");
    assert_eq!(bench.shop.channel().ledger().await.unwrap().charges, charges, "{name}");
    let fresh = signed(&right, refund(), bench.clock.now());
    say("right", &fresh).await;
    say("once more", &fresh).await;
    bench.clock.advance(WINDOW);
    say("once more, much later", &fresh).await;
    bench.clock.advance(Duration::from_secs(1));
    say("and too late", &fresh).await;
    assert_eq!(requests(&bench).await, if name == "alipay" { 3 } else { 1 }, "{name}: a replay does nothing");
    table
}

#[tokio::test]
async fn what_is_not_signed_as_the_channel_demands_is_refused_and_nothing_is_done() {
    let mut table = Vec::new();
    for way in ways() {
        table.extend(said_to_all(way).await);
    }
    insta::assert_snapshot!(table.join("\n"), @r"
    stamped, another amount: signature_refused: the signature does not fit
    stamped, another charge: signature_refused: the signature does not fit
    stamped, another order: signature_refused: the signature does not fit
    stamped, elsewhere: request_unreadable: `path` cannot be read
    stamped, without a header: signature_refused: `tercet-signature` is missing
    stamped, wrong key: signature_refused: the signature does not fit
    stamped, too old: request_stale: the signature's time is more than 300 seconds from ours
    stamped, too far ahead: request_stale: the signature's time is more than 300 seconds from ours
    stamped, right: gave back 89.63 EUR
    stamped, once more: request_replayed: the same request was there before
    stamped, once more, much later: request_replayed: the same request was there before
    stamped, and too late: request_stale: the signature's time is more than 300 seconds from ours
    wechat, another amount: signature_refused: the signature does not fit
    wechat, another charge: signature_refused: the signature does not fit
    wechat, another order: signature_refused: the signature does not fit
    wechat, elsewhere: signature_refused: the signature does not fit
    wechat, without a header: signature_refused: `authorization` is missing
    wechat, wrong key: signature_refused: the signature does not fit
    wechat, wrong key: signature_refused: the signature does not fit
    wechat, wrong key: signature_refused: it is for another merchant's application
    wechat, too old: request_stale: the signature's time is more than 300 seconds from ours
    wechat, too far ahead: request_stale: the signature's time is more than 300 seconds from ours
    wechat, right: gave back 89.63 EUR
    wechat, once more: request_replayed: the same request was there before
    wechat, once more, much later: request_replayed: the same request was there before
    wechat, and too late: request_stale: the signature's time is more than 300 seconds from ours
    alipay, another amount: signature_refused: the signature does not fit
    alipay, another charge: signature_refused: the signature does not fit
    alipay, another order: signature_refused: the signature does not fit
    alipay, elsewhere: request_unreadable: `path` cannot be read
    alipay, wrong key: signature_refused: the signature does not fit
    alipay, wrong key: signature_refused: it is for another merchant's application
    alipay, too old: request_stale: the signature's time is more than 300 seconds from ours
    alipay, too far ahead: request_stale: the signature's time is more than 300 seconds from ours
    alipay, right: gave back 89.63 EUR
    alipay, once more: gave back 89.63 EUR
    alipay, once more, much later: gave back 89.63 EUR
    alipay, and too late: request_stale: the signature's time is more than 300 seconds from ours
    ");
}

#[tokio::test]
async fn what_signs_is_as_the_channels_write_it_down() {
    let at = bench(Behaviour::Succeed).await.clock.now();
    let seconds = at.0 / 1_000;
    let verify = |message: &str, signature: &str| {
        assert!(public_one().verifies(message.as_bytes(), &STANDARD.decode(signature).unwrap()), "{message}");
    };
    let request = wechat(SERIAL, key_one()).sign(&charge(), at).unwrap();
    let header = request.headers["authorization"].to_str().unwrap();
    let part = |name: &str| header.split(&format!("{name}=\"")).nth(1).unwrap().split('"').next().unwrap();
    let body = std::str::from_utf8(&request.body).unwrap();
    verify(&format!("POST\n/v3/charge\n{seconds}\n{}\n{body}\n", part("nonce_str")), part("signature"));
    assert!(header.starts_with("WECHATPAY2-SHA256-RSA2048 "), "{header}");

    let request = alipay(APP, key_one()).sign(&charge(), at).unwrap();
    let form: Vec<_> = form_urlencoded::parse(&request.body).into_owned().collect();
    let mut fields: Vec<_> = form.iter().filter(|(name, _)| name != "sign").map(|(n, v)| format!("{n}={v}")).collect();
    fields.sort();
    verify(&fields.join("&"), &form.iter().find(|(name, _)| name == "sign").unwrap().1);
    insta::assert_snapshot!(fields.join("\n"), @r#"
    app_id=app-7
    biz_content={"charge":{"reference":"pay-1","order":"o-1","amount":{"minor":8963,"currency":"EUR"},"how":"pay_link","expires":null}}
    charset=utf-8
    method=tercet.charge
    sign_type=RSA2
    timestamp=2023-11-15 06:13:20
    version=1.0
    "#);
}

/// The steps of a charge and of a refund whose participants sign so, at the shop's own channel.
fn steps(bench: &Bench, credentials: &Credentials, demands: &Demands) -> [Step; 2] {
    let clock: Arc<dyn Clock> = bench.clock.clone();
    let tick = || Ticking(bench.clock.clone());
    let door = Arc::new(Door::new(bench.shop.channel.clone(), demands.clone(), clock.clone()));
    let asked = Arc::new(Signing::new(credentials.clone(), clock.clone(), door));
    let (patience, kept, dbs) = (Duration::from_secs(60), Arc::new(Notify::new()), &bench.shop.databases);
    let gateway = Gateway::new(dbs.gateway.clone(), asked.clone(), clock.clone(), patience, kept.clone());
    let payments = Payments::new(dbs.payments.clone(), asked, clock, patience, kept);
    let gateway = Service::builder("gateway", dbs.gateway.clone(), gateway).pivot::<Refund>().clock(tick()).build();
    let payments = Service::builder("payments", dbs.payments.clone(), payments).pivot::<Charge>().clock(tick()).build();
    let (payment, order, user) = (id("pay-1"), id("o-9"), id("mia"));
    let charge = ToCharge { payment, order, user, amount: eur(1_000), how: How::DirectDebit, expires_at_ms: None };
    let refund = RefundMoney { refund: id("r-1"), payment: id("pay-o-1"), amount: eur(8_963) };
    [step::<Charge>(payments, &charge, 5, "pay-1"), step::<Refund>(gateway, &refund, 6, "r-1")]
}

fn step<O: Operation>(
    participant: Result<impl Participant, BuildError>, request: &O::Request, saga: u64, key: &str,
) -> Step {
    let (participant, calls) = (Arc::new(participant.unwrap()), Calls::of::<O>(request).unwrap().saga(saga));
    Step { participant, calls, key: Some(key.to_owned()) }
}

#[tokio::test]
async fn a_refused_signature_is_a_certain_no_and_passes_once_the_key_is_mended() {
    for (name, demands, right, wrong) in ways() {
        let bench = bench(Behaviour::Succeed).await;
        bench.shop.seed(&[sale("o-1", OrderState::Paid)]).await.unwrap();
        let (payment, order, user) = (id("pay-1"), id("o-9"), id("mia"));
        let record = ToRecord { payment, order, user, amount: eur(1_000), attempt: 1, how: How::DirectDebit };
        bench.step::<Record>(4, &record).try_().await;
        for step in steps(&bench, &wrong[0], &demands) {
            match step.ask(Phase::Try, 1).await {
                Answer::Retry { reason, .. } => assert!(reason.starts_with("signature_refused"), "{name}: {reason}"),
                other => panic!("{name}: {}", super::line(&other)),
            }
        }
        assert_eq!(requests(&bench).await, 0, "{name}: nothing has reached the channel");
        bench.is_sound().await;
        for step in steps(&bench, &right, &demands) {
            assert_eq!(step.ask(Phase::Try, 2).await.as_str(), "done", "{name}");
        }
        bench.is_sound().await;
    }
}

#[test]
fn a_replay_was_taken_before_so_nobody_knows() {
    let said = |code: &str| Ok(Said::Rejected { code: code.to_owned(), message: String::new() });
    let heard = |code: &str| handed::<Charged>(said(code), eur(1), Duration::ZERO);
    assert!(matches!(heard("request_replayed"), Handed::Unknown { .. }));
    for code in ["signature_refused", "request_stale", "request_unreadable", "not_signed"] {
        assert!(matches!(heard(code), Handed::NotSent { .. }), "{code}");
    }
}
