//! The protocol as `orchestrator/asyncapi.json` writes it down: every example is replayed against real participants and a real engine.

#![expect(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tercet::{
    Engine, Machine, Parts, engine::Settings as EngineSettings, ingress::Ingress, store::MemoryStore,
    transport::InProcess,
};
use tercet_core::{Millis, Namespace, SagaId};
use tercet_nats::{
    Settings as NatsSettings,
    async_nats::{Client, HeaderMap, Message},
    connect,
};
use tercet_participant::nats::Serving;
use tercet_servers::nats::{Nats, Version};
use tercet_shop::{
    Settings, Shop,
    channel::{Behaviour, Ends},
    clock::HandClock,
};
use tercet_workflows::registry;
use tokio_util::sync::CancellationToken;

/// When the examples' calls were made.
const ISSUED: Millis = Millis(1_700_000_000_000);

fn document() -> Value {
    serde_json::from_str(include_str!("../../orchestrator/asyncapi.json")).unwrap()
}

fn examples(document: &Value, message: &str) -> Vec<Value> {
    document["components"]["messages"][message]["examples"].as_array().unwrap().clone()
}

/// The shop, with two cups left once the first example has its two.
async fn shop(folder: &std::path::Path) -> Shop {
    let clock = Arc::new(HandClock::new(ISSUED));
    let shop = Box::pin(Shop::open(folder, Settings { clock, ..Settings::seeded(0, Duration::ZERO) })).await.unwrap();
    let ware = tercet_shop::catalog::Ware {
        sku: "cup".parse().unwrap(),
        good: "cup".to_owned(),
        price: tercet_shop::money::Money::new(500, tercet_shop::money::Currency::EUR),
        on_sale: true,
        pieces: 4,
        promotions: Vec::new(),
    };
    shop.put_on_sale(&[ware]).await.unwrap();
    let later = Behaviour::Accept { after: Duration::from_secs(3600), ends: Ends::Well, callbacks: 0 };
    shop.channel().tell("r-slow".parse().unwrap(), later);
    let euros = tercet_shop::money::Money::new(17_925, tercet_shop::money::Currency::EUR);
    shop.channel().charge(&[("pay-1".parse().unwrap(), euros)]).await.unwrap();
    shop
}

fn headers(example: &Value) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in example["headers"].as_object().into_iter().flatten() {
        headers.insert(name.as_str(), value.as_str().unwrap());
    }
    headers
}

/// An answer, in the form of an example.
fn shown(name: &Value, answer: &Message) -> Value {
    let outcome = answer.headers.as_ref().and_then(|headers| headers.get("Tercet-Outcome")).map(|value| value.as_str());
    let mut shown = json!({ "name": name, "headers": { "Tercet-Outcome": outcome } });
    if !answer.payload.is_empty() {
        shown["payload"] = serde_json::from_slice(&answer.payload).unwrap();
    }
    shown
}

async fn ask(client: &Client, subject: String, example: &Value) -> Message {
    let body = serde_json::to_vec(&example["payload"]).unwrap();
    client.request_with_headers(subject, headers(example), body.into()).await.unwrap()
}

#[tokio::test]
async fn every_example_of_a_call_is_answered_as_written_down() {
    let server = Nats::start(Version::Floor).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(folder.path()).await;
    let settings = NatsSettings::of(&server.url()).unwrap();
    let serving = Serving::of(shop.participants(), "shop".parse().unwrap()).start(settings.clone()).await.unwrap();
    let client = connect(&settings, "test").await.unwrap();
    let document = document();
    let answers = examples(&document, "answer");
    let mut said = Vec::new();
    for call in examples(&document, "call") {
        let of = |name: &str| call["headers"][name].as_str().unwrap();
        let operation = of("Tercet-Contract").split('/').next().unwrap();
        let subject = format!("tercet.shop.{operation}.{}", of("Tercet-Phase"));
        if of("Tercet-Phase") == "forget" {
            let body = serde_json::to_vec(&call["payload"]).unwrap();
            client.publish_with_headers(subject, headers(&call), body.into()).await.unwrap();
        } else {
            said.push(shown(&call["name"], &ask(&client, subject, &call).await));
        }
    }
    assert_eq!(said, answers);
    let outcomes: Vec<_> = answers.iter().map(|answer| answer["headers"]["Tercet-Outcome"].clone()).collect();
    let schema = &document["components"]["messages"]["answer"]["headers"]["properties"]["Tercet-Outcome"]["enum"];
    for outcome in schema.as_array().unwrap() {
        assert!(outcomes.contains(outcome), "{outcome} has no example");
    }
    serving.drain().await;
}

#[tokio::test]
async fn every_example_of_what_comes_in_is_acknowledged_as_written_down() {
    let server = Nats::start(Version::Current).unwrap();
    let namespace: Namespace = "shop".parse().unwrap();
    let parts = Parts {
        store: Arc::new(MemoryStore::new()),
        transport: Arc::new(InProcess::new([])),
        registry: registry().unwrap(),
        env: Arc::new(Machine::new()),
        settings: EngineSettings::of(namespace),
    };
    let engine = Engine::run(parts).await.unwrap();
    let settings = NatsSettings::of(&server.url()).unwrap();
    let stop = CancellationToken::new();
    let ingress = tokio::spawn(Ingress::new(engine.clone()).serve(settings.clone(), stop.clone()));
    let client = connect(&settings, "test").await.unwrap();
    let document = document();
    let mut said = Vec::new();
    for (message, word) in [("start", "start"), ("signal", "signal"), ("completion", "complete")] {
        for example in examples(&document, message) {
            let subject = format!("tercet.shop.{word}");
            let answer = loop {
                match client.request(subject.clone(), serde_json::to_vec(&example["payload"]).unwrap().into()).await {
                    Ok(answer) => break answer,
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await, // the way in is not open yet
                }
            };
            let mut answer = shown(&example["name"], &answer);
            if let Some(saga) = answer["payload"].get_mut("saga") {
                // Its id is new in every run; that of the example is as good.
                saga.as_str().unwrap().parse::<SagaId>().unwrap();
                *saga = json!("018bcfe5-6800-7000-8000-000000000009");
            }
            said.push(answer);
        }
    }
    assert_eq!(said, examples(&document, "acknowledgement"));
    let started = engine.find("refund_money".parse().unwrap(), "r-9".parse().unwrap()).await.unwrap();
    assert!(started.is_some(), "what was acknowledged is there");
    stop.cancel();
    ingress.await.unwrap();
    engine.shut_down().await;
}
