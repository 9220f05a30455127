//! Outboxes of participants emptied into a node over NATS: what is acknowledged is journaled, what can never succeed is set aside, and
//! all else waits where it is. And services that have no outbox, and a broker's stream instead.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};
use tercet::{
    Engine, Machine, Parts, engine::Settings as EngineSettings, ingress::Ingress, store::SqliteStore,
    transport::InProcess,
};
use tercet_core::{Namespace, Payload, SagaKey};
use tercet_nats::{Settings, async_nats::Client, connect};
use tercet_participant::{
    Database, Outbox, SeaOrm,
    database::{Access, Tx},
    nats::{NatsIngress, Publisher},
    outbox::{Relay, Start, Swept},
};
use tercet_servers::nats::{Nats, Setup, Version};
use tercet_shop::{
    money::{Currency, Money},
    orders::Paid,
};
use tercet_workflows::{refund_money::MoneyRequest, registry};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A node that takes in what comes over NATS.
struct Node {
    engine: Engine,
    stop: CancellationToken,
    ingress: JoinHandle<()>,
}

impl Node {
    async fn start(folder: &Path, nats: &Settings) -> Self {
        let parts = Parts {
            store: Arc::new(SqliteStore::create(&folder.join("tercet.db")).await.unwrap()),
            transport: Arc::new(InProcess::new([])),
            registry: registry().unwrap(),
            env: Arc::new(Machine::new()),
            settings: EngineSettings::of(shop()),
        };
        let engine = Engine::run(parts).await.unwrap();
        let stop = CancellationToken::new();
        let ingress = tokio::spawn(Ingress::new(engine.clone()).serve(nats.clone(), stop.clone()));
        Self { engine, stop, ingress }
    }

    async fn end(self) {
        self.stop.cancel();
        self.ingress.await.unwrap();
        self.engine.shut_down().await;
    }
}

fn shop() -> Namespace {
    "shop".parse().unwrap()
}

fn request(key: &str) -> MoneyRequest {
    MoneyRequest {
        id: key.parse().unwrap(),
        received: None,
        payment: "pay-1".parse().unwrap(),
        user: "mia".parse().unwrap(),
        amount: Money::new(100, Currency::EUR),
        reason: "paid twice".to_owned(),
    }
}

#[tokio::test]
async fn an_outbox_is_emptied_into_a_node_over_nats() {
    for version in Version::ALL {
        let folder = tempfile::tempdir().unwrap();
        let mut server = Setup::default().jetstream().start(version).unwrap();
        let nats = Settings::of(&server.url()).unwrap();
        let outbox = SeaOrm::sqlite(&folder.path().join("participant.db")).await.unwrap();
        let relay = Relay::new(outbox.clone(), NatsIngress::new(nats.clone(), shop()));
        let (known, unknown) = ("refund_money".parse().unwrap(), "unheard_of".parse().unwrap());
        let key = |text: &str| text.parse::<SagaKey>().unwrap();
        let tx = outbox.begin(Access::Write).await.unwrap();
        tx.start(&known, &key("r-1"), &request("r-1")).await.unwrap();
        tx.start(&unknown, &key("r-1"), &request("r-1")).await.unwrap();
        let (payment, amount) = ("pay-1".parse().unwrap(), Money::new(100, Currency::EUR));
        let paid = Paid { payment, amount, transaction: "t-1".to_owned() };
        tx.signal(&"s-1".parse().unwrap(), &"create_order".parse().unwrap(), &key("not-yet"), &paid).await.unwrap();
        Tx::commit(tx).await.unwrap();

        // Nobody is there: everything stays.
        assert_eq!(relay.sweep().await.unwrap(), Swept { sent: 0, buried: 0, left: 3 });
        let node = Node::start(folder.path(), &nats).await;
        let mut all = Swept::default();
        while all.sent == 0 || all.buried == 0 {
            let swept = relay.sweep().await.unwrap();
            all = Swept { sent: all.sent + swept.sent, buried: all.buried + swept.buried, left: swept.left };
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(
            all,
            Swept { sent: 1, buried: 1, left: 1 },
            "one taken, one that can never be, one whose saga may still come"
        );
        assert!(node.engine.find(known.clone(), key("r-1")).await.unwrap().is_some());

        // The broker goes and comes back empty; the same message again is the same saga.
        server.wipe().unwrap();
        server.start_again().unwrap();
        let tx = outbox.begin(Access::Write).await.unwrap();
        tx.start(&known, &key("r-1"), &request("r-1")).await.unwrap();
        Tx::commit(tx).await.unwrap();
        while relay.sweep().await.unwrap().sent == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        node.end().await;
    }
}

/// B26, over NATS: one saga for a key, however many ask at once, and everybody is told its id.
#[tokio::test]
async fn b26_two_hundred_starts_under_one_key_are_one_saga() {
    let folder = tempfile::tempdir().unwrap();
    let server = Nats::start(Version::Floor).unwrap();
    let nats = Settings::of(&server.url()).unwrap();
    let node = Node::start(folder.path(), &nats).await;
    let client = connect(&nats, "test").await.unwrap();
    let body = serde_json::json!({ "definition": "refund_money", "key": "order-7", "input": request("order-7") });
    let ask = |client: Client| {
        let body = serde_json::to_vec(&body).unwrap();
        async move {
            loop {
                match client.request("tercet.shop.start", body.clone().into()).await {
                    Ok(answer) => return serde_json::from_slice::<serde_json::Value>(&answer.payload).unwrap(),
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await, // the way in is not open yet
                }
            }
        }
    };
    let asked: Vec<_> = (0..200).map(|_| tokio::spawn(ask(client.clone()))).collect();
    let mut told = BTreeSet::new();
    for answer in asked {
        told.insert(answer.await.unwrap()["saga"].as_str().unwrap().to_owned());
    }
    let row = node.engine.find("refund_money".parse().unwrap(), "order-7".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(told, BTreeSet::from([row.id.to_string()]));
    node.end().await;
}

/// A service without a database: what the broker has stored outlives the broker's death and waits for a node; sent again long after, it is
/// still one saga.
#[tokio::test]
async fn a_service_without_a_database_has_its_sagas_started() {
    for version in Version::ALL {
        let folder = tempfile::tempdir().unwrap();
        let mut server = Setup::default().jetstream().start(version).unwrap();
        let nats = Settings::of(&server.url()).unwrap();
        let publisher = Publisher::new(nats.clone(), shop());
        let start = |key: &str| Start {
            definition: "refund_money".parse().unwrap(),
            key: key.parse().unwrap(),
            input: Payload::of(&request(key)).unwrap(),
        };
        for key in ["r-1", "r-2"] {
            assert!(!publisher.start(&start(key)).await.unwrap().before);
        }
        server.kill();
        server.start_again().unwrap();
        let node = Node::start(folder.path(), &nats).await;
        let found =
            async |key: &str| node.engine.find("refund_money".parse().unwrap(), key.parse().unwrap()).await.unwrap();
        for key in ["r-1", "r-2"] {
            while found(key).await.is_none() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        let first = found("r-1").await.unwrap().id;
        // The broker has forgotten that it ever saw it.
        server.wipe().unwrap();
        server.start_again().unwrap();
        let again = async |key: &str| loop {
            match publisher.start(&start(key)).await {
                Ok(stored) => break stored,
                Err(error) if error.may_pass() => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(error) => panic!("{error}"),
            }
        };
        assert!(!again("r-1").await.before);
        again("r-3").await;
        while found("r-3").await.is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(found("r-1").await.unwrap().id, first, "{version:?}");
        let sagas: u64 = node.engine.counts().await.unwrap().iter().map(|count| count.sagas).sum();
        assert_eq!(sagas, 3);
        node.end().await;
    }
}
