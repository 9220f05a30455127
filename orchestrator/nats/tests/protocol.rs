//! What is sent is what is read, byte for byte; what is garbled is never taken for an answer.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;
use tercet_core::{Answer, Call, Millis, Namespace, Payload, Phase, SagaId};
use tercet_nats::{
    async_nats::HeaderMap,
    protocol::{self, OUTCOME, answer, answered, receive, send},
};

fn call(phase: Phase) -> Call {
    Call {
        saga: SagaId::from_bytes([7; 16]),
        step: "lines[3].restock".parse().unwrap(),
        key: " 50 % of Zoë ".parse().unwrap(),
        contract: "inventory.put_back/2".parse().unwrap(),
        phase,
        attempt: 3,
        issued: Millis(1_800_000_000_123),
        timeout: Duration::from_millis(1500),
        expires: Some(Millis(1_800_000_900_000)),
        fence: phase == Phase::Query,
        request: Payload::from_bytes(br#"{ "pieces" : 2.50, "text": "\u0000" }"#).unwrap(),
        reply: matches!(phase, Phase::Confirm | Phase::Cancel).then(|| Payload::of(&"r").unwrap()),
    }
}

const PHASES: [Phase; 6] = [Phase::Try, Phase::Confirm, Phase::Cancel, Phase::Query, Phase::Close, Phase::Forget];

#[test]
fn a_call_of_every_phase_comes_as_it_was_sent() {
    let namespace: Namespace = "shop".parse().unwrap();
    for phase in PHASES {
        let call = call(phase);
        let sent = send(&namespace, &call).unwrap();
        assert_eq!(sent.subject, format!("tercet.shop.inventory.put_back.{phase}"));
        assert_eq!(receive(Some(&sent.headers), &sent.body).unwrap(), call);
        let without = Call { reply: None, expires: None, ..call };
        let sent = send(&namespace, &without).unwrap();
        assert_eq!(receive(Some(&sent.headers), &sent.body).unwrap(), without);
    }
}

#[test]
fn a_saga_is_one_trace_and_an_attempt_one_span() {
    let namespace: Namespace = "shop".parse().unwrap();
    let trace = |attempt| {
        let sent = send(&namespace, &Call { attempt, ..call(Phase::Try) }).unwrap();
        sent.headers.get(protocol::TRACEPARENT).unwrap().as_str().to_owned()
    };
    let (first, second) = (trace(1), trace(2));
    assert_eq!(first[..36], second[..36]);
    assert_eq!((first.len(), &first[..3], &first[52..]), (55, "00-", "-01"));
    assert_ne!(first, second);
    assert_eq!(first, trace(1));
}

#[test]
fn an_answer_of_every_kind_comes_as_it_was_sent() {
    let answers = [
        Answer::Done(Payload::of(&[1, 2]).unwrap()),
        Answer::Done(Payload::null()),
        Answer::refused("no_stock", "none\nleft"),
        Answer::retry("a moment"),
        Answer::Retry { after: Some(Duration::from_millis(250)), reason: String::new() },
        Answer::Pending(Payload::of(&"https://pay.example").unwrap()),
        Answer::Expired,
        Answer::Absent,
        Answer::Closed,
    ];
    for said in answers {
        let (headers, body) = answer(&said).unwrap();
        assert_eq!(headers.get(OUTCOME).unwrap().as_str(), said.as_str());
        assert_eq!(answered(Some(&headers), &body).unwrap(), said);
    }
}

/// B20: an empty body, one byte, no UTF-8, JSON of another shape.
#[test]
fn b20_what_is_garbled_is_no_answer() {
    let headers = |word: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(OUTCOME, word);
        headers
    };
    let said = |word: &str, body: &[u8]| answered(Some(&headers(word)), body).unwrap_err().to_string();
    insta::assert_snapshot!(
        [
            answered(None, b"{}").unwrap_err().to_string(),
            said("done", b"{"),
            said("done", b"\xff\xfe"),
            said("refused", b""),
            said("refused", br#"{"code": 1}"#),
            said("retry", b"[]"),
            said("maybe", b"{}"),
        ]
        .join("\n"),
        @"
        the header Tercet-Outcome is missing
        the body cannot be read: EOF while parsing an object at line 1 column 1
        the body cannot be read: expected value at line 1 column 1
        the body cannot be read: EOF while parsing a value at line 1 column 0
        the body cannot be read: invalid type: integer `1`, expected a string at line 1 column 10
        the body cannot be read: invalid length 0, expected struct NotNow with 2 elements at line 1 column 2
        the header Tercet-Outcome cannot be read: `maybe` is no outcome
        "
    );
}

/// B20, the other way: none of it is taken for a call.
#[test]
fn b20_what_is_garbled_is_no_call() {
    let namespace: Namespace = "shop".parse().unwrap();
    let whole = send(&namespace, &call(Phase::Confirm)).unwrap();
    for name in [protocol::SAGA, protocol::STEP, protocol::KEY, protocol::CONTRACT, protocol::PHASE, protocol::ATTEMPT]
    {
        let mut headers = HeaderMap::new();
        for (other, values) in whole.headers.iter().filter(|(other, _)| other.to_string() != name) {
            values.iter().for_each(|value| headers.append(other.clone(), value.clone()));
        }
        assert_eq!(receive(Some(&headers), &whole.body).unwrap_err(), protocol::Unreadable::Missing(name));
        headers.insert(name, "\u{fffd} ?");
        assert!(receive(Some(&headers), &whole.body).is_err() || name == protocol::KEY, "{name}");
    }
    for body in [&b""[..], b"{", b"\xff", b"[]", br#"{"reply": 1}"#] {
        assert!(receive(Some(&whole.headers), body).is_err(), "{body:?}");
    }
}
