//! What a service gives to a broker's streams: starts and signals that it has no database for, and events that it has published.

use std::time::Duration;
use tercet_core::{Millis, Namespace, Payload};
use tercet_nats::{
    connect,
    event::Event,
    streams::{Begin, Kept, Stream, Streams},
};
use tercet_participant::{
    Database, Memory, Outbox,
    database::{Access, Tx},
    nats::{EventRelay, Login, PublishError, Publisher, Settings, Stored},
    outbox::{EventVersion, Start, Subject, Told},
};
use tercet_servers::nats::{Nats, Setup, Version};

fn shop() -> Namespace {
    "shop".parse().unwrap()
}

fn settings(server: &Nats) -> Settings {
    Settings::of(&server.url()).unwrap()
}

fn start(key: &str, input: u32) -> Start {
    let input = Payload::of(&input).unwrap();
    Start { definition: "refund".parse().unwrap(), key: key.parse().unwrap(), input }
}

/// All that a stream keeps.
async fn kept(server: &Nats, stream: Stream) -> Vec<Kept> {
    let settings = settings(server);
    let streams = Streams::new(connect(&settings, "test").await.unwrap(), &settings, shop());
    streams.page(stream, Begin::Number(0), 1_000).await.unwrap()
}

/// The work that waits for a node: nothing but a node's own consumer may read it, so it is counted.
async fn waiting(server: &Nats) -> u64 {
    let settings = settings(server);
    let streams = Streams::new(connect(&settings, "test").await.unwrap(), &settings, shop());
    let mut coming = streams.coming(64).await.unwrap();
    let mut number = 0;
    while let Ok(came) = tokio::time::timeout(Duration::from_millis(300), coming.next()).await {
        came.unwrap().later(Duration::ZERO).await;
        number += 1;
        if number > 8 {
            break;
        }
    }
    number
}

/// No node has ever been here: the first message makes the stream, and the same message is stored once.
#[tokio::test]
async fn a_service_stores_its_starts_and_signals_once_before_any_node_has_come() {
    for version in Version::ALL {
        let mut server = Setup::default().jetstream().start(version).unwrap();
        let publisher = Publisher::new(settings(&server), shop());
        assert_eq!(publisher.start(&start("r-1", 1)).await, Ok(Stored { number: 1, before: false }));
        assert_eq!(publisher.start(&start("r-1", 1)).await, Ok(Stored { number: 1, before: true }));
        // Another input under the same key is another message: that the key is taken is for Tercet to say.
        assert_eq!(publisher.start(&start("r-1", 2)).await, Ok(Stored { number: 2, before: false }));
        let told = Told {
            id: "s-1".parse().unwrap(),
            definition: "refund".parse().unwrap(),
            key: "r-1".parse().unwrap(),
            signal: "go/1".to_owned(),
            payload: Payload::null(),
        };
        assert_eq!(publisher.signal(&told).await, Ok(Stored { number: 3, before: false }));

        server.wipe().unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await; // what is sent before the end is noticed waits for its answer
        let lost = publisher.start(&start("r-1", 1)).await.unwrap_err();
        assert!(matches!(lost, PublishError::Connect(_)) && lost.may_pass(), "{lost}");
        server.start_again().unwrap();
        let again = loop {
            match publisher.start(&start("r-1", 1)).await {
                Ok(again) => break again,
                Err(error) if error.may_pass() => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(again, Stored { number: 1, before: false }, "the stream was made again");
    }
}

#[tokio::test]
async fn what_is_in_the_way_of_a_service_is_one_line_without_a_password() {
    let server = Setup::default().jetstream().user("tercet", "right horse").start(Version::Floor).unwrap();
    let wrong = Login::User { name: "tercet".to_owned(), password: "wrong horse".to_owned() };
    let publisher = Publisher::new(Settings { login: wrong, ..settings(&server) }, shop());
    let said = publisher.start(&start("r-1", 1)).await.unwrap_err().to_string();
    assert!(said.contains("it refuses this user and password") && !said.contains("horse"), "{said}");

    let nobody = Publisher::new(Settings::of("nats://127.0.0.1:9").unwrap(), shop());
    let said = nobody.start(&start("r-1", 1)).await.unwrap_err().to_string();
    assert!(said.starts_with("failed to reach NATS at 127.0.0.1:9: "), "{said}");

    for version in Version::ALL {
        let server = Nats::start(version).unwrap();
        let said = Publisher::new(settings(&server), shop()).start(&start("r-1", 1)).await.unwrap_err();
        assert!(said.may_pass() && said.to_string().contains("nats-server runs without it"), "{said}");

        let server = Setup::default().jetstream().payload_max(2048).start(version).unwrap();
        let large = Start { input: Payload::of(&"x".repeat(4096)).unwrap(), ..start("r-1", 1) };
        let said = Publisher::new(settings(&server), shop()).start(&large).await.unwrap_err();
        assert!(!said.may_pass() && said.to_string().contains("2048"), "{said}");
        assert_eq!(waiting(&server).await, 0);
    }
}

async fn publish(database: &Memory<()>, subject: &str, version: i64, data: &str) {
    let tx = database.begin(Access::Write).await.unwrap();
    let (subject, version) = (Subject(subject.to_owned()), EventVersion(version));
    Outbox::publish(&tx, subject, version, "order.paid", &data, Millis(1_700_000_000_000)).await.unwrap();
    Tx::commit(tx).await.unwrap();
}

async fn told(server: &Nats) -> Vec<String> {
    let kept = kept(server, Stream::Events).await;
    kept.iter().map(|kept| Event::receive(&kept.headers, &kept.body).unwrap().id).collect()
}

/// Sweeps until that many were taken, however long the broker takes to come back.
async fn sweep(relay: &EventRelay<Memory<()>>, wanted: u64) {
    let mut taken = 0;
    while taken < wanted {
        taken += relay.sweep().await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(taken, wanted);
}

/// Each event once and in order, whatever becomes of the broker; one that comes back empty is given again what is still kept.
#[tokio::test]
async fn events_reach_the_stream_in_order_and_a_wiped_broker_is_given_them_again() {
    for version in Version::ALL {
        let mut server = Setup::default().jetstream().payload_max(4096).start(version).unwrap();
        let database = Memory::new(());
        let relay = EventRelay::new(database.clone(), "orders", settings(&server), shop());
        for version in 1..=300 {
            publish(&database, "o-1", version, "small").await;
        }
        sweep(&relay, 300).await;
        let all: Vec<_> = (1..=300).map(|version| format!("o-1@{version}")).collect();
        assert_eq!(told(&server).await, all);
        assert_eq!(relay.sweep().await.unwrap(), 0);

        // One that no broker takes holds up no other, and stays.
        publish(&database, "o-2", 1, &"x".repeat(5000)).await;
        publish(&database, "o-2", 2, "small").await;
        sweep(&relay, 1).await;
        assert_eq!(database.events_untaken(None, 9).await.unwrap()[0].event.id(), "o-2@1");

        server.wipe().unwrap();
        publish(&database, "o-1", 301, "small").await;
        tokio::time::sleep(Duration::from_millis(100)).await; // what is sent before the end is noticed waits for its answer
        assert_eq!(relay.sweep().await.unwrap(), 0, "nobody is there: it stays");
        server.start_again().unwrap();
        sweep(&relay, 302).await;
        let mut again = told(&server).await;
        assert_eq!(again.len(), 302);
        again.retain(|id| id.starts_with("o-1"));
        assert_eq!(again, (1..=301).map(|version| format!("o-1@{version}")).collect::<Vec<_>>());
        assert_eq!(relay.sweep().await.unwrap(), 0);

        // Another process, which remembers nothing, gives nothing twice; what was taken and not noted is known to the broker by its id.
        let other = EventRelay::new(database.clone(), "orders", settings(&server), shop());
        assert_eq!(other.sweep().await.unwrap(), 0);
        let strange = tercet_participant::outbox::StreamMade(1);
        let number = database.events(&Default::default(), 1).await.unwrap()[0].number;
        database.events_take(&[number], strange, Millis(0)).await.unwrap();
        let forgetful = EventRelay::new(database, "orders", settings(&server), shop());
        sweep(&forgetful, 1).await;
        assert_eq!(told(&server).await.len(), 302, "{version:?}");
    }
}
