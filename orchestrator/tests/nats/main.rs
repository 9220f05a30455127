//! The engine's side of NATS, against real servers and whatever may sit at the other end.

#![expect(clippy::unwrap_used, reason = "tests")]

mod ingress;
mod letters;
mod waiting;

use futures_util::StreamExt;
use std::time::Duration;
use tercet::transport::{CallError, Nats as Transporting, Transport};
use tercet_core::{Answer, Call, Millis, Namespace, PANICKED, Payload, Phase, SagaId};
use tercet_nats::{
    Settings,
    async_nats::{Client, HeaderMap, Message},
    connect, settled,
};
use tercet_servers::nats::{Nats, Setup, Version};

const SUBJECT: &str = "tercet.shop.inventory.reserve.*";

fn settings(server: &Nats) -> Settings {
    Settings::of(&server.url()).unwrap()
}

fn shop() -> Namespace {
    "shop".parse().unwrap()
}

fn call(phase: Phase) -> Call {
    Call {
        saga: SagaId::from_bytes([7; 16]),
        step: "reserve".parse().unwrap(),
        key: "key".parse().unwrap(),
        contract: "inventory.reserve/1".parse().unwrap(),
        phase,
        attempt: 1,
        issued: Millis(1_800_000_000_000),
        timeout: Duration::from_millis(50),
        expires: None,
        fence: false,
        request: Payload::of(&"one").unwrap(),
        reply: matches!(phase, Phase::Confirm | Phase::Cancel).then(|| Payload::of(&"reply").unwrap()),
    }
}

async fn client(server: &Nats) -> Client {
    connect(&settings(server), "test").await.unwrap()
}

/// Somebody who answers each call with what `answer` makes of it, after a while.
async fn responder(server: &Nats, after: Duration, answer: fn(&Message) -> (HeaderMap, Vec<u8>)) {
    let client = client(server).await;
    let mut calls = client.subscribe(SUBJECT).await.unwrap();
    assert!(settled(&client).await);
    tokio::spawn(async move {
        while let Some(call) = calls.next().await {
            let (client, (headers, body)) = (client.clone(), answer(&call));
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                if let Some(reply) = call.reply {
                    client.publish_with_headers(reply, headers, body.into()).await.unwrap();
                }
            });
        }
    });
}

fn with(name: &'static str, value: &str, body: &[u8]) -> (HeaderMap, Vec<u8>) {
    let mut headers = HeaderMap::new();
    headers.insert(name, value);
    (headers, body.to_vec())
}

/// Echoes the body that came.
fn echo(call: &Message) -> (HeaderMap, Vec<u8>) {
    with("Tercet-Outcome", "done", &call.payload)
}

#[tokio::test]
async fn nobody_there_is_known_at_once_and_an_answer_comes_back_in_every_phase() {
    for version in Version::ALL {
        let server = Nats::start(version).unwrap();
        let transport = Transporting::start(settings(&server), shop()).await.unwrap();
        let nobody = transport.call(call(Phase::Try)).await;
        assert_eq!(nobody, Err(CallError::NoResponder { contract: "inventory.reserve/1".to_owned() }));
        responder(&server, Duration::ZERO, echo).await;
        let both = Payload::from_bytes(br#"{"request":"one","reply":"reply"}"#).unwrap();
        for phase in [Phase::Try, Phase::Confirm, Phase::Cancel, Phase::Query, Phase::Close] {
            let body = if matches!(phase, Phase::Confirm | Phase::Cancel) { &both } else { &call(phase).request };
            assert_eq!(transport.call(call(phase)).await, Ok(Answer::Done(body.clone())), "{phase}");
        }
        transport.close().await;
        assert!(matches!(transport.call(call(Phase::Try)).await, Err(CallError::Unsent(_))));
    }
}

#[tokio::test]
async fn the_end_of_a_saga_is_told_without_waiting_for_an_answer() {
    let server = Nats::start(Version::Floor).unwrap();
    let client = client(&server).await;
    let mut calls = client.subscribe(SUBJECT).await.unwrap();
    assert!(settled(&client).await);
    let transport = Transporting::start(settings(&server), shop()).await.unwrap();
    assert_eq!(transport.call(call(Phase::Forget)).await, Ok(Answer::Done(Payload::null())));
    let told = calls.next().await.unwrap();
    assert_eq!((told.subject.as_str(), told.reply), ("tercet.shop.inventory.reserve.forget", None));
}

/// A late answer is evidence: the engine has long stopped waiting, and hears it all the same.
#[tokio::test]
async fn an_answer_after_the_timeout_is_still_delivered() {
    let server = Nats::start(Version::Floor).unwrap();
    responder(&server, Duration::from_millis(400), echo).await;
    let transport = Transporting::start(settings(&server), shop()).await.unwrap();
    assert_eq!(transport.call(call(Phase::Try)).await, Ok(Answer::Done(Payload::of(&"one").unwrap())));
}

/// B20: what is no answer is *unknown*, and the answers after it come as quickly as ever.
#[tokio::test]
async fn b20_garbled_answers_are_no_answers_and_hold_up_no_other() {
    let server = Nats::start(Version::Floor).unwrap();
    responder(&server, Duration::ZERO, |call| {
        let body = call.payload.to_vec();
        let said = String::from_utf8_lossy(&body).into_owned();
        match said.trim_matches('"') {
            "no header" => (HeaderMap::new(), body),
            "empty" => with("Tercet-Outcome", "refused", b""),
            "byte" => with("Tercet-Outcome", "done", b"{"),
            "no text" => with("Tercet-Outcome", "done", b"\xff\xff"),
            "shape" => with("Tercet-Outcome", "refused", b"[1]"),
            "word" => with("Tercet-Outcome", "perhaps", b"{}"),
            "panic" => with("Nats-Service-Error", "the handler panicked: oh", b""),
            _ => with("Tercet-Outcome", "done", &body),
        }
    })
    .await;
    let transport = Transporting::start(settings(&server), shop()).await.unwrap();
    let ask = |text: &str| transport.call(Call { request: Payload::of(text).unwrap(), ..call(Phase::Try) });
    // An answer to nobody's question, among them.
    let stray = client(&server).await;
    for text in ["no header", "empty", "byte", "no text", "shape", "word"] {
        assert!(matches!(ask(text).await, Err(CallError::Silent(_))), "{text}");
        stray.publish("_INBOX.nobody.1", "?".into()).await.unwrap();
    }
    let Err(CallError::Silent(why)) = ask("panic").await else { unreachable!("a panic is no answer") };
    assert!(why.starts_with(PANICKED), "{why}");
    for number in 0..20 {
        let text = format!("good {number}");
        assert_eq!(ask(&text).await, Ok(Answer::Done(Payload::of(&text).unwrap())));
    }
}

/// B22: what is too large is never sent, and says what is wrong; of a query nothing is concluded from it.
#[tokio::test]
async fn b22_a_request_over_the_servers_limit_is_caught_before_it_leaves() {
    for version in Version::ALL {
        let server = Setup::default().payload_max(4096).start(version).unwrap();
        responder(&server, Duration::ZERO, echo).await;
        let transport = Transporting::start(settings(&server), shop()).await.unwrap();
        let large = |phase| Call { request: Payload::of(&"x".repeat(5000)).unwrap(), ..call(phase) };
        for phase in [Phase::Try, Phase::Confirm, Phase::Cancel] {
            let Ok(Answer::Refused(refusal)) = transport.call(large(phase)).await else { unreachable!("{phase}") };
            assert_eq!(refusal.code, "request_too_large");
            assert!(refusal.message.contains("4096"), "{refusal}");
        }
        for phase in [Phase::Query, Phase::Close] {
            assert!(matches!(transport.call(large(phase)).await, Err(CallError::Unsent(_))), "{phase}");
        }
        // The reply of a try is left out where there is no room for it: the participant has it.
        let confirm = Call { reply: Some(Payload::of(&"x".repeat(5000)).unwrap()), ..call(Phase::Confirm) };
        let without = Payload::from_bytes(br#"{"request":"one"}"#).unwrap();
        assert_eq!(transport.call(confirm).await, Ok(Answer::Done(without)));
    }
}

/// B23, and no order of starts: a server that is not there yet, that is killed, wiped, and comes back.
#[tokio::test]
async fn b23_a_server_that_comes_and_goes_costs_no_attempt() {
    for version in Version::ALL {
        let mut server = Setup::default().jetstream().start(version).unwrap();
        server.kill();
        let transport = Transporting::start(settings(&server), shop()).await.unwrap();
        let Err(CallError::Unsent(why)) = transport.call(call(Phase::Try)).await else { unreachable!("not there") };
        assert!(why.starts_with("failed to reach NATS at 127.0.0.1:"), "{why}");
        for _ in 0..2 {
            server.start_again().unwrap();
            responder(&server, Duration::ZERO, echo).await;
            let done = Ok(Answer::Done(Payload::of(&"one").unwrap()));
            while transport.call(call(Phase::Try)).await != done {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            server.wipe().unwrap();
            while transport.connected().is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let lost = transport.call(call(Phase::Try)).await;
            assert!(matches!(lost, Err(CallError::Unsent(_))), "{lost:?}");
        }
    }
}

/// A server that lets this client in no more, and then does again.
#[tokio::test]
async fn a_server_that_refuses_for_a_while_is_tried_until_it_does_not() {
    let mut server = Setup::default().token("right").start(Version::Current).unwrap();
    let config = server.folder().join("nats.conf");
    let right = std::fs::read_to_string(&config).unwrap();
    let login = tercet_nats::Login::Token("right".to_owned());
    let transport = Transporting::start(Settings { login, ..settings(&server) }, shop()).await.unwrap();
    assert_eq!(transport.connected(), Ok(()));
    server.kill();
    std::fs::write(&config, right.replace("right", "wrong")).unwrap();
    server.start_again().unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await; // some refused attempts
    assert!(matches!(transport.call(call(Phase::Try)).await, Err(CallError::Unsent(_))));
    server.kill();
    std::fs::write(&config, right).unwrap();
    server.start_again().unwrap();
    while transport.connected().is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
