//! Streams of real servers: storing, reading, deleting, and what is said when they cannot be used.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;
use tercet_core::{Millis, Payload};
use tercet_nats::{
    Settings,
    async_nats::HeaderMap,
    connect,
    event::Event,
    streams::{Begin, Outgoing, Stored, Stream, StreamError, Streams},
};
use tercet_servers::nats::{Nats, Setup, Version};

async fn streams(server: &Nats) -> Streams {
    let settings = Settings::of(&server.url()).unwrap();
    Streams::new(connect(&settings, "test").await.unwrap(), &settings, "shop".parse().unwrap())
}

fn message(id: &str) -> Outgoing {
    let mut headers = HeaderMap::new();
    headers.insert("Own", "kept");
    Outgoing {
        subject: "tercet.shop.dead.start".to_owned(),
        id: Some(id.to_owned()),
        headers,
        body: id.as_bytes().to_vec(),
    }
}

async fn numbers(streams: &Streams, begin: Begin, limit: usize) -> Vec<u64> {
    let page = streams.page(Stream::Dead, begin, limit).await.unwrap();
    page.into_iter().map(|kept| kept.number).collect()
}

#[tokio::test]
async fn what_is_stored_is_read_page_by_page_and_deleted_one_by_one() {
    for version in Version::ALL {
        let server = Setup::default().jetstream().start(version).unwrap();
        let streams = streams(&server).await;
        // The stream is made by the first message.
        assert_eq!(streams.publish(Stream::Dead, message("a")).await, Ok(Stored { number: 1, before: false }));
        assert_eq!(streams.publish(Stream::Dead, message("a")).await, Ok(Stored { number: 1, before: true }));
        let all = streams.publish_all(Stream::Dead, ["b", "c", "d", "e"].map(message).into()).await;
        let all: Vec<_> = all.into_iter().map(|stored| stored.unwrap().number).collect();
        assert_eq!(all, [2, 3, 4, 5]);

        assert_eq!(numbers(&streams, Begin::Number(0), 3).await, [1, 2, 3]);
        assert_eq!(numbers(&streams, Begin::Number(4), 3).await, [4, 5]);
        assert_eq!(numbers(&streams, Begin::Number(6), 3).await, Vec::<u64>::new());
        let third = streams.message(Stream::Dead, 3).await.unwrap().unwrap();
        assert_eq!((third.subject.as_str(), third.body.as_slice()), ("tercet.shop.dead.start", b"c".as_slice()));
        assert_eq!(third.headers.get("Own").unwrap().as_str(), "kept");
        let same = streams.page(Stream::Dead, Begin::Number(3), 1).await.unwrap();
        assert_eq!((same[0].at, &same[0].headers), (third.at, &third.headers), "{version:?}");
        let from_its_moment = numbers(&streams, Begin::Time(third.at), 9).await;
        assert!(from_its_moment.ends_with(&[3, 4, 5]), "{from_its_moment:?}");
        assert_eq!(numbers(&streams, Begin::Time(third.at.plus(Duration::from_secs(60))), 9).await, Vec::<u64>::new());

        assert_eq!(streams.delete(Stream::Dead, 3).await, Ok(true));
        assert_eq!(streams.delete(Stream::Dead, 3).await, Ok(false), "{version:?}");
        assert!(streams.message(Stream::Dead, 3).await.unwrap().is_none());
        assert!(streams.message(Stream::Dead, 99).await.unwrap().is_none());
        assert_eq!(numbers(&streams, Begin::Number(0), 9).await, [1, 2, 4, 5]);
    }
}

/// A broker that comes back empty: the next message makes the stream again, which is another one.
#[tokio::test]
async fn a_wiped_stream_is_made_again_and_is_another() {
    for version in Version::ALL {
        let mut server = Setup::default().jetstream().start(version).unwrap();
        let streams = streams(&server).await;
        streams.publish(Stream::Dead, message("a")).await.unwrap();
        let first = streams.find(Stream::Dead).await.unwrap();
        server.wipe().unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await; // what is sent before the end is noticed waits for its answer
        let lost = loop {
            match streams.publish(Stream::Dead, message("a")).await {
                Err(error) => break error,
                Ok(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        assert!(matches!(lost, StreamError::Unreachable { .. }), "{lost}");
        server.start_again().unwrap();
        let missing = loop {
            match streams.find(Stream::Dead).await {
                Err(StreamError::Unreachable { .. } | StreamError::Disabled { .. }) => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                other => break other.unwrap_err(),
            }
        };
        let (said, here) = (missing.to_string(), server.url().replace("nats://", ""));
        assert_eq!(
            said.replace(&here, "HERE"),
            "failed to find the stream TERCET_shop_DEAD at HERE: a node with `nats.url` makes it; start one, or look at its log"
        );
        assert_eq!(streams.publish(Stream::Dead, message("a")).await, Ok(Stored { number: 1, before: false }));
        assert_ne!(streams.find(Stream::Dead).await.unwrap(), first);
    }
}

#[tokio::test]
async fn a_server_without_jetstream_is_named_and_what_is_too_large_is_caught() {
    for version in Version::ALL {
        let server = Nats::start(version).unwrap();
        let said = streams(&server).await.publish(Stream::In, message("a")).await.unwrap_err();
        assert!(said.may_pass());
        let said = said.to_string();
        assert!(said.contains("nats-server runs without it") && said.contains("start it with `-js`"), "{said}");

        let server = Setup::default().jetstream().payload_max(4096).start(version).unwrap();
        let large = Outgoing { body: vec![b'x'; 5000], ..message("large") };
        let said = streams(&server).await.publish(Stream::Dead, large).await.unwrap_err();
        assert!(!said.may_pass());
        assert!(said.to_string().contains("4096"), "{said}");
    }
}

/// A user that may not use JetStream hears nothing: that, too, is one line, with what to look at.
#[tokio::test]
async fn a_user_who_may_not_use_jetstream_is_told_where_to_look() {
    let users = r#"authorization { users: [ { user: "tercet", password: "right horse", permissions: { publish: "tercet.>", subscribe: "_INBOX.>" } } ] }"#;
    let server = Setup::default().jetstream().lines(users).start(Version::Floor).unwrap();
    let login = tercet_nats::Login::User { name: "tercet".to_owned(), password: "right horse".to_owned() };
    let settings = Settings { login, ..Settings::of(&server.url()).unwrap() };
    let streams = Streams::new(connect(&settings, "test").await.unwrap(), &settings, "shop".parse().unwrap());
    let said = streams.ensure(Stream::In).await.unwrap_err().to_string();
    assert!(
        said.contains("may not send to `$JS.API.>`") && !said.contains("horse") && said.lines().count() == 1,
        "{said}"
    );
}

/// Whatever an event says, it comes back from the broker as it was, and its subject is one.
#[tokio::test]
async fn an_event_comes_back_as_it_was() {
    let server = Setup::default().jetstream().start(Version::Floor).unwrap();
    let streams = streams(&server).await;
    let event = Event {
        id: "order 7%\u{e9}@3".to_owned(),
        source: "orders".to_owned(),
        subject: "order \"7\"%\u{e9}\r\n".to_owned(),
        version: 3,
        kind: "order.paid".to_owned(),
        at: Millis(1_700_000_000_123),
        data: Payload::of(&"paid").unwrap(),
    };
    let kinds = ["order.paid", "paid", "a..b", ".", "", "a b", "a>*", "\u{e9}"];
    let events = kinds.map(|kind| Event { kind: kind.to_owned(), id: kind.to_owned(), ..event.clone() });
    let sent: Vec<_> = events.iter().chain([&event]).map(|event| event.send(streams.namespace())).collect();
    let subjects: Vec<_> =
        sent.iter().map(|sent| sent.subject.strip_prefix("tercet.shop.out.events.").unwrap()).collect();
    insta::assert_snapshot!(subjects.join("\n"), @r"
    orders.order.paid
    orders.paid
    orders.a.%.b
    orders.%.%
    orders.%
    orders.a%20b
    orders.a%3E%2A
    orders.%C3%A9
    orders.order.paid
    ");
    let last = sent.last().unwrap();
    let headers = last.headers.iter().map(|(name, values)| format!("{name}: {}", values[0]));
    let mut headers: Vec<_> = headers.chain([format!("Nats-Msg-Id: {}", last.id.as_ref().unwrap())]).collect();
    headers.sort_unstable();
    insta::assert_snapshot!(headers.join("\n"), @r"
    Nats-Msg-Id: /tercet/shop/orders/order%207%25%C3%A9@3
    ce-datacontenttype: application/json
    ce-id: order%207%25%C3%A9@3
    ce-source: /tercet/shop/orders
    ce-specversion: 1.0
    ce-subject: order%20%227%22%25%C3%A9%0D%0A
    ce-time: 2023-11-14T22:13:20.123Z
    ce-type: order.paid
    ce-version: 3
    ");
    streams.ensure(Stream::Events).await.unwrap();
    for stored in streams.publish_all(Stream::Events, sent.clone()).await {
        assert!(!stored.unwrap().before);
    }
    let page = streams.page(Stream::Events, Begin::Number(1), 99).await.unwrap();
    let back: Vec<_> = page.iter().map(|kept| Event::receive(&kept.headers, &kept.body).unwrap()).collect();
    assert_eq!(back, events.into_iter().chain([event]).collect::<Vec<_>>());
}
