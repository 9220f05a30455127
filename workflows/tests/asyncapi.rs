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
use tercet_nats::{
    protocol::{self, Door},
    streams::{Begin, Kept, Outgoing, Stream, Streams},
};
use tercet_participant::nats::Serving;
use tercet_servers::nats::{Nats, Setup, Version};
use tercet_shop::{
    Sale, Settings, Shop,
    channel::{Behaviour, Ends},
    clock::HandClock,
    money::{Currency, Minor, Money},
    orders::{OrderState, SeedLine, SeedOrder},
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
        price: Money::new(500, Currency::EUR),
        on_sale: true,
        pieces: 4,
        promotions: Vec::new(),
    };
    shop.put_on_sale(&[ware]).await.unwrap();
    let later = Behaviour::Accept { after: Duration::from_secs(3600), ends: Ends::Well, callbacks: 0 };
    shop.channel().tell("r-slow".parse().unwrap(), later);
    let euros = Money::new(17_925, Currency::EUR);
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

async fn node(namespace: &Namespace) -> Engine {
    let parts = Parts {
        store: Arc::new(MemoryStore::new()),
        transport: Arc::new(InProcess::new([])),
        registry: registry().unwrap(),
        env: Arc::new(Machine::new()),
        settings: EngineSettings::of(namespace.clone()),
    };
    Engine::run(parts).await.unwrap()
}

#[tokio::test]
async fn every_example_of_what_comes_in_is_acknowledged_as_written_down() {
    let server = Nats::start(Version::Current).unwrap();
    let namespace: Namespace = "shop".parse().unwrap();
    let engine = node(&namespace).await;
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

/// A message that a stream keeps, in the form of an example.
fn stored(name: &Value, kept: &Kept, shown: &[&str]) -> Value {
    let header = |name: &&str| Some(((*name).to_owned(), kept.headers.get(*name)?.as_str().into()));
    let headers: serde_json::Map<String, Value> = shown.iter().filter_map(header).collect();
    json!({ "name": name, "headers": headers, "payload": serde_json::from_slice::<Value>(&kept.body).unwrap() })
}

fn names(document: &Value, message: &str) -> Vec<String> {
    let required = document["components"]["messages"][message]["headers"]["required"].as_array().unwrap().clone();
    required.into_iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// The same examples by way of a stream: what can be taken is, what may still be is kept, and what can never be is laid aside.
#[tokio::test]
async fn every_example_of_what_is_stored_is_taken_or_laid_aside_as_written_down() {
    let server = Setup::default().jetstream().start(Version::Floor).unwrap();
    let namespace: Namespace = "shop".parse().unwrap();
    let engine = node(&namespace).await;
    let settings = NatsSettings::of(&server.url()).unwrap();
    let stop = CancellationToken::new();
    let ingress = tokio::spawn(Ingress::new(engine.clone()).serve(settings.clone(), stop.clone()));
    let streams = Streams::new(connect(&settings, "test").await.unwrap(), &settings, namespace.clone());
    let document = document();
    let (mut sent, mut subjects) = (Vec::new(), Vec::new());
    for (message, door) in [("start", Door::Start), ("signal", Door::Signal), ("completion", Door::Complete)] {
        for example in examples(&document, message) {
            let stored = protocol::store(&namespace, door, serde_json::to_vec(&example["payload"]).unwrap());
            subjects.push(stored.subject.clone());
            sent.push((example["name"].clone(), stored.clone()));
            streams.publish(Stream::In, stored).await.unwrap();
        }
    }
    for (channel, word) in [("storedStarts", "start"), ("storedSignals", "signal"), ("storedCompletions", "complete")] {
        let address = document["channels"][channel]["address"].as_str().unwrap().replace("{namespace}", "shop");
        assert!(subjects.contains(&address) && address.ends_with(word), "{address}");
    }
    let written = examples(&document, "deadLetter");
    // One waits for its saga: all the others are done.
    while streams.standing(Stream::In).await.unwrap().messages != 1 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let started = engine.find("refund_money".parse().unwrap(), "r-9".parse().unwrap()).await.unwrap();
    assert!(started.is_some(), "what can be taken is taken");
    let mut kept = streams.page(Stream::Dead, Begin::Number(0), 9).await.unwrap();
    kept.sort_by_key(|kept| sent.iter().position(|(_, sent)| sent.body == kept.body));
    let (headers, mut letters) = (names(&document, "deadLetter"), Vec::new());
    for kept in &kept {
        let (name, Outgoing { subject, .. }) = sent.iter().find(|(_, sent)| sent.body == kept.body).unwrap();
        assert_eq!(kept.subject, subject.replace(".in.", ".dead."));
        let shown: Vec<_> = headers.iter().map(String::as_str).collect();
        let mut letter = stored(name, kept, &shown);
        // When it came differs in every run; that of the example is as good.
        let came = &mut letter["headers"]["Tercet-Came"];
        came.as_str().unwrap().parse::<i64>().unwrap();
        *came = "1700000000000".into();
        letters.push(letter);
    }
    assert_eq!(letters, written);
    stop.cancel();
    ingress.await.unwrap();
    engine.shut_down().await;
}

/// An order that was paid, as the shop tells the world.
#[tokio::test]
async fn the_example_of_an_event_is_published_as_written_down() {
    let server = Setup::default().jetstream().start(Version::Current).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(folder.path()).await;
    shop.seed(&[sale()]).await.unwrap();
    let settings = NatsSettings::of(&server.url()).unwrap();
    let relay = shop.event_relay(settings.clone(), "shop".parse().unwrap()).unwrap();
    assert_eq!(relay.sweep().await.unwrap(), 1);
    let streams = Streams::new(connect(&settings, "test").await.unwrap(), &settings, "shop".parse().unwrap());
    let page = streams.page(Stream::Events, Begin::Number(0), 9).await.unwrap();
    let document = document();
    let headers = names(&document, "event");
    let shown: Vec<_> = headers.iter().map(String::as_str).collect();
    let told: Vec<_> = page.iter().map(|kept| stored(&json!("an order was created"), kept, &shown)).collect();
    assert_eq!(told, examples(&document, "event"), "{}", serde_json::to_string_pretty(&told).unwrap());
    let address = document["channels"]["events"]["address"].as_str().unwrap();
    let address =
        address.replace("{namespace}", "shop").replace("{source}", "orders").replace("{kind}", "order.created");
    assert_eq!(page[0].subject, address);
}

fn sale() -> Sale {
    let eur = |minor| Money::new(minor, Currency::EUR);
    let line = SeedLine { sku: "cup".parse().unwrap(), quantity: 2, price: Minor(1_000) };
    let order = SeedOrder {
        id: "order-7".parse().unwrap(),
        user: "mia".parse().unwrap(),
        payment: "pay-7".parse().unwrap(),
        lines: vec![line],
        paid: eur(1_000),
        coupon: None,
        points_spent: 0,
        red_packet: None,
        state: OrderState::AwaitingShipment,
        after_sales_until: None,
    };
    let nothing = eur(0);
    Sale { order, coupon_value: nothing, points_granted: 0, coupon_granted: None, red_packet_value: nothing }
}
