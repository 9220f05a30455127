//! The way in by streams, against real servers: committed before it is done, once however often it comes, and what can never succeed is
//! laid aside.

use super::{client, settings, shop};
use serde_json::json;
use std::{future::Future, sync::Arc, time::Duration};
use tercet::{
    Engine, Machine, Parts, Registry, Settings as EngineSettings, Until,
    ingress::{DeadLetter, DeadLetters, Ingress, Waits},
    store::{MemoryStore, SqliteStore, Store},
    transport::InProcess,
};
use tercet_core::{Payload, SagaId, state::Life};
use tercet_nats::{
    async_nats::{HeaderMap, HeaderValue},
    protocol::{self, Door},
    streams::{Outgoing, Stream, Streams},
};
use tercet_servers::nats::{Nats, Setup, Version};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

#[path = "../toy/mod.rs"]
pub(super) mod toy;

/// A node, as far as messages reach it.
pub(super) struct Node {
    pub(super) engine: Engine,
    stop: CancellationToken,
    ways_in: Vec<JoinHandle<()>>,
}

impl Node {
    pub(super) async fn start(store: Arc<dyn Store>, registry: Registry) -> Self {
        let parts = Parts {
            store,
            transport: Arc::new(InProcess::new(toy::participants())),
            registry,
            env: Arc::new(Machine::new()),
            settings: EngineSettings::of(shop()),
        };
        let engine = Engine::run(parts).await.unwrap();
        Self { engine, stop: CancellationToken::new(), ways_in: Vec::new() }
    }

    pub(super) fn listen(&mut self, server: &Nats) {
        self.listen_for(server, Waits::default());
    }

    pub(super) fn listen_for(&mut self, server: &Nats, waits: Waits) {
        let ingress = Ingress::new(self.engine.clone()).waits(waits);
        self.ways_in.push(tokio::spawn(ingress.serve(settings(server), self.stop.clone())));
    }

    pub(super) async fn saga(&self, definition: &str, key: &str) -> Option<SagaId> {
        let found = self.engine.find(definition.parse().unwrap(), key.parse().unwrap()).await.unwrap();
        found.map(|row| row.id)
    }

    async fn sagas(&self) -> u64 {
        self.engine.counts().await.unwrap().iter().map(|count| count.sagas).sum()
    }

    pub(super) async fn end(self) {
        self.stop.cancel();
        for way_in in self.ways_in {
            way_in.await.unwrap();
        }
        self.engine.shut_down().await;
    }
}

pub(super) async fn streams(server: &Nats) -> Streams {
    Streams::new(client(server).await, &settings(server), shop())
}

pub(super) async fn until<F: Future<Output = bool>>(mut is: impl FnMut() -> F) {
    while !is().await {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(super) fn start(definition: &str, key: &str) -> Outgoing {
    let input = json!({ "traveller": "Ada", "seats": 2, "note": null });
    message(Door::Start, &json!({ "definition": definition, "key": key, "input": input }))
}

pub(super) fn message(door: Door, body: &serde_json::Value) -> Outgoing {
    protocol::store(&shop(), door, serde_json::to_vec(body).unwrap())
}

/// Sends it, however long the broker takes to come back.
pub(super) async fn send(streams: &Streams, message: Outgoing) {
    until(|| async { streams.publish(Stream::In, message.clone()).await.is_ok() }).await;
}

/// Messages of the stream that no node has taken.
pub(super) async fn waiting(streams: &Streams) -> u64 {
    streams.standing(Stream::In).await.unwrap().messages
}

async fn confirmed(node: &Node, saga: SagaId) {
    assert_eq!(node.engine.wait(saga, Until::End).await.unwrap().state.life, Life::Confirmed);
}

pub(super) async fn letters(dead: &DeadLetters) -> Vec<DeadLetter> {
    dead.page(0, 100).await.unwrap()
}

/// B23, B26: acknowledged by the broker and taken by a node, a start stays, whatever becomes of the broker; and it is one saga.
#[tokio::test]
async fn b23_starts_by_way_of_a_stream_are_one_saga_each_through_a_broker_that_loses_everything() {
    for version in Version::ALL {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::create(&folder.path().join("tercet.db")).await.unwrap());
        let mut server = Setup::default().jetstream().start(version).unwrap();
        let streams = streams(&server).await;
        // Nobody is there yet: the broker keeps them. Each comes twice under another id, so that it is not the broker who finds out.
        for number in 0..50 {
            for copy in ["one", "two"] {
                let sent = start("quick", &format!("k-{number}"));
                send(&streams, Outgoing { id: Some(format!("{copy}-{number}")), ..sent }).await;
            }
        }
        assert_eq!(waiting(&streams).await, 100);
        let mut node = Node::start(store, toy::registry().unwrap()).await;
        // Two ways in share the messages, as two nodes do.
        node.listen(&server);
        node.listen(&server);
        until(|| async { waiting(&streams).await == 0 }).await;
        assert_eq!(node.sagas().await, 50);

        server.wipe().unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await; // the end is noticed
        let here = node.engine.start(
            "quick".parse().unwrap(),
            None,
            "here".parse().unwrap(),
            Payload::of(&json!({ "traveller": "Ada", "seats": 2, "note": null })).unwrap(),
        );
        let here = here.await.unwrap().id;
        node.engine.wait(here, Until::End).await.unwrap();
        server.start_again().unwrap();
        // The same once more, and one that is new: the streams are there again.
        send(&streams, start("quick", "k-0")).await;
        send(&streams, start("quick", "new")).await;
        until(|| async { node.saga("quick", "new").await.is_some() }).await;
        until(|| async { waiting(&streams).await == 0 }).await;
        assert_eq!(node.sagas().await, 52, "{version:?}");
        for number in 0..50 {
            let saga = node.saga("quick", &format!("k-{number}")).await.unwrap();
            confirmed(&node, saga).await;
        }
        assert_eq!(letters(&DeadLetters::new(streams)).await, Vec::new());
        node.end().await;
    }
}

/// What can never succeed is laid aside with its reason, byte for byte; what comes behind it does not wait.
#[tokio::test]
async fn poison_is_laid_aside_and_holds_up_nothing() {
    let mut said = Vec::new();
    for version in Version::ALL {
        let server = Setup::default().jetstream().start(version).unwrap();
        let streams = streams(&server).await;
        let dead = DeadLetters::new(streams.clone());
        let mut node = Node::start(Arc::new(MemoryStore::new()), toy::registry().unwrap()).await;
        node.listen(&server);
        let mut bytes = protocol::store(&shop(), Door::Start, b"\xff\xfe{".to_vec());
        bytes.headers.insert("traceparent", "00-1-2-01");
        send(&streams, bytes).await;
        send(&streams, message(Door::Start, &json!({ "definition": "quick" }))).await;
        send(&streams, start("unheard_of", "k")).await;
        send(&streams, start("quick", "k")).await;
        let other = json!({ "traveller": "Bob", "seats": 2, "note": null });
        send(&streams, message(Door::Start, &json!({ "definition": "quick", "key": "k", "input": other }))).await;
        send(&streams, message(Door::Start, &json!({ "definition": "quick", "key": "bad", "input": "\u{e9}\u{fe}" })))
            .await;
        let answer = json!({ "done": null });
        let completion =
            json!({ "saga": SagaId::from_bytes([7; 16]), "step": "pay", "phase": "try", "answer": answer });
        send(&streams, message(Door::Complete, &completion)).await;
        send(&streams, start("quick", "behind")).await;
        until(|| async { waiting(&streams).await == 0 }).await;

        assert!(node.saga("quick", "k").await.is_some() && node.saga("quick", "behind").await.is_some());
        let mut letters = letters(&dead).await;
        letters.sort_by_key(|letter| (letter.door.unwrap().word(), letter.code.clone(), letter.body.len()));
        let shown = |letter: &DeadLetter| format!("{} {}: {}", letter.door.unwrap().word(), letter.code, letter.reason);
        let shown: Vec<_> = letters.iter().map(shown).collect();
        let saga = node.saga("quick", "k").await.unwrap().to_string();
        said.push(shown.join("\n").replace(&saga, "SAGA"));
        assert!(letters.iter().any(|letter| letter.body == b"\xff\xfe{"), "byte for byte");
        assert!(letters.iter().all(|letter| letter.came.is_some_and(|came| came <= letter.at)));
        let traced = letters.iter().find(|letter| letter.body == b"\xff\xfe{").unwrap().number;
        let kept = streams.message(Stream::Dead, traced).await.unwrap().unwrap();
        assert_eq!(kept.headers.get("traceparent").map(HeaderValue::as_str), Some("00-1-2-01"));
        assert_eq!(kept.subject, "tercet.shop.dead.start");
        node.end().await;
    }
    assert_eq!(said[0], said[1], "on either server");
    insta::assert_snapshot!(said[0], @r#"
    complete unknown_saga: no saga 07070707-0707-0707-0707-070707070707 is known here
    start bad_body: the body cannot be read: expected value at line 1 column 1
    start bad_body: the body cannot be read: missing field `key` at line 1 column 22
    start bad_input: the input does not fit `quick`: invalid type: string "éþ", expected struct TripRequest at line 1 column 6
    start key_taken: the key is taken by saga SAGA, which was started with another input: use a new key, or the same input
    start unknown_definition: no definition `unheard_of` is known here; known are: quick 1, stuck 1, trip 1, trip 2, visit 1
    "#);
}

/// A definition that was missing is deployed: the letter is sent again, and starts its saga.
#[tokio::test]
async fn a_dead_letter_is_sent_again_once_it_can_succeed() {
    for version in Version::ALL {
        let server = Setup::default().jetstream().start(version).unwrap();
        let streams = streams(&server).await;
        let dead = DeadLetters::new(streams.clone());
        let store = Arc::new(MemoryStore::new());
        let mut node = Node::start(store.clone(), Registry::new()).await;
        node.listen(&server);
        let mut sent = start("quick", "k");
        sent.headers.insert("Own", "kept");
        sent.headers.insert("Nats-Expected-Stream", "TERCET_shop_IN");
        send(&streams, sent).await;
        until(|| async { dead.page(0, 9).await.is_ok_and(|page| page.len() == 1) }).await;
        until(|| async { waiting(&streams).await == 0 }).await;
        // Too early: it is laid aside again, under a number of its own.
        assert_eq!(dead.resend(1).await, Ok(true));
        until(|| async { letters(&dead).await.first().is_some_and(|letter| letter.number == 2) }).await;
        node.end().await;

        let mut node = Node::start(store, toy::registry().unwrap()).await;
        node.listen(&server);
        assert_eq!(dead.resend(2).await, Ok(true));
        until(|| async { node.saga("quick", "k").await.is_some() }).await;
        assert_eq!(letters(&dead).await, Vec::new());
        assert_eq!(dead.resend(2).await, Ok(false), "{version:?}");
        assert_eq!(dead.discard(2).await, Ok(false));
        assert!(dead.one(2).await.unwrap().is_none());
        node.end().await;
    }
}

/// What cannot be taken now is not done: a signal waits for its saga, and a start for its database.
#[tokio::test]
async fn what_cannot_be_taken_now_comes_again() {
    for version in Version::ALL {
        let server = Setup::default().jetstream().start(version).unwrap();
        let streams = streams(&server).await;
        let store = MemoryStore::new();
        let mut node = Node::start(Arc::new(store.clone()), toy::registry().unwrap()).await;
        node.listen(&server);
        let told = json!({ "id": "s-1", "definition": "visit", "key": "v", "signal": "visits.approval/1", "payload": { "by": "Ada" } });
        send(&streams, message(Door::Signal, &told)).await;
        send(&streams, start("quick", "behind")).await;
        until(|| async { waiting(&streams).await == 1 }).await;
        assert!(node.saga("quick", "behind").await.is_some(), "the signal holds up nothing");

        store.faults().set_down(true);
        send(&streams, start("visit", "v")).await;
        tokio::time::sleep(Duration::from_millis(300)).await; // it comes, and cannot be written
        assert_eq!(waiting(&streams).await, 2, "nothing is done before it is committed");
        store.faults().set_down(false);
        until(|| async { waiting(&streams).await == 0 }).await;
        let visit = node.saga("visit", "v").await.unwrap();
        confirmed(&node, visit).await;
        assert_eq!(letters(&DeadLetters::new(streams)).await, Vec::new());
        node.end().await;
    }
}

/// Somebody deletes the streams, or the consumer alone, while a node takes messages in: they are there again.
#[tokio::test]
async fn streams_that_are_deleted_under_a_nodes_hands_are_made_again() {
    for version in Version::ALL {
        let server = Setup::default().jetstream().start(version).unwrap();
        let streams = streams(&server).await;
        let mut node = Node::start(Arc::new(MemoryStore::new()), toy::registry().unwrap()).await;
        node.listen(&server);
        send(&streams, start("quick", "before")).await;
        until(|| async { node.saga("quick", "before").await.is_some() }).await;
        let admin = client(&server).await;
        let deleted =
            ["CONSUMER.DELETE.TERCET_shop_IN.nodes", "STREAM.DELETE.TERCET_shop_IN", "STREAM.DELETE.TERCET_shop_DEAD"];
        for (number, what) in deleted.into_iter().enumerate() {
            let answer = admin.request(format!("$JS.API.{what}"), "".into()).await.unwrap();
            assert!(String::from_utf8_lossy(&answer.payload).contains(r#""success":true"#), "{answer:?}");
            let key = format!("after-{number}");
            send(&streams, start("quick", &key)).await;
            send(&streams, start("unheard_of", &key)).await;
            until(|| async { node.saga("quick", &key).await.is_some() }).await;
            until(|| async { waiting(&streams).await == 0 }).await;
        }
        // Those of before the stream was deleted went with it.
        assert_eq!(letters(&DeadLetters::new(streams)).await.len(), 1, "{version:?}");
        node.end().await;
    }
}

/// A broker without JetStream, or with a stream that is not as it must be: the way in by request–reply goes on, and the other opens as
/// soon as it can.
#[tokio::test]
async fn without_streams_the_way_in_by_request_and_reply_goes_on() {
    for version in Version::ALL {
        let mut server = Nats::start(version).unwrap();
        let mut node = Node::start(Arc::new(MemoryStore::new()), toy::registry().unwrap()).await;
        node.listen(&server);
        let asker = client(&server).await;
        let body = start("quick", "asked").body;
        until(|| async { asker.request("tercet.shop.start", body.clone().into()).await.is_ok() }).await;
        assert!(node.saga("quick", "asked").await.is_some());

        server.kill();
        let config = server.folder().join("nats.conf");
        let store = server.folder().join("later");
        let with = format!("{}\njetstream {{ store_dir: {:?} }}\n", std::fs::read_to_string(&config).unwrap(), store);
        std::fs::write(&config, with).unwrap();
        server.start_again().unwrap();
        let streams = streams(&server).await;
        send(&streams, start("quick", "stored")).await;
        until(|| async { node.saga("quick", "stored").await.is_some() }).await;
        node.end().await;
    }
}

/// What the sender says about a message does not reach the server twice: its own expectations are for the first time alone.
#[tokio::test]
async fn the_servers_own_headers_are_not_kept_in_a_dead_letter() {
    let server = Setup::default().jetstream().start(Version::Current).unwrap();
    let streams = streams(&server).await;
    let dead = DeadLetters::new(streams.clone());
    let mut node = Node::start(Arc::new(MemoryStore::new()), Registry::new()).await;
    node.listen(&server);
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Expected-Last-Sequence", "0");
    send(&streams, Outgoing { headers, ..start("quick", "k") }).await;
    until(|| async { dead.page(0, 9).await.is_ok_and(|page| page.len() == 1) }).await;
    assert_eq!(dead.resend(1).await, Ok(true));
    node.end().await;
}
