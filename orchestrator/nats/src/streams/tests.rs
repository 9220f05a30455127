//! What servers of either version make of what they are asked for.

use super::{Stream, StreamError, Streams, compare::difference};
use crate::{Settings, connect};
use serde_json::{Value, json};
use std::time::Duration;
use tercet_servers::nats::{Nats, Setup, Version};

async fn streams(server: &Nats) -> Streams {
    let settings = Settings::of(&server.url()).unwrap();
    Streams::new(connect(&settings, "test").await.unwrap(), &settings, "shop".parse().unwrap())
}

/// The trap of nats-server 2.9: it leaves out what it does not know, and says that all is well.
#[tokio::test]
async fn what_an_old_server_leaves_out_in_silence_is_refused() {
    let newer = [("compression", json!("s2")), ("metadata", json!({ "made-for": "tercet" }))];
    for version in Version::ALL {
        let server = Setup::default().jetstream().start(version).unwrap();
        let streams = streams(&server).await;
        for (option, value) in &newer {
            let mut wanted = Stream::In.wanted(streams.namespace(), 1);
            wanted[option] = value.clone();
            let made = streams.make(Stream::In, &wanted).await;
            match version {
                Version::Current => assert!(made.is_ok(), "{made:?}"),
                Version::Floor => {
                    let said = made.unwrap_err().to_string().replace(&streams.servers, "HERE");
                    assert_eq!(
                        said,
                        format!(
                            "failed to use the stream TERCET_shop_IN at HERE (nats-server 2.9.10): its `{option}` is not set, and \
                             must be {value}; this nats-server cannot do it: use a newer one, and delete the stream"
                        )
                    );
                }
            }
            streams.context.delete_stream("TERCET_shop_IN").await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_filter_that_an_old_server_leaves_out_is_refused() {
    for version in Version::ALL {
        let server = Setup::default().jetstream().start(version).unwrap();
        let streams = streams(&server).await;
        streams.ensure(Stream::Events).await.unwrap();
        let two = ["tercet.shop.out.events.a.>", "tercet.shop.out.events.b.>"];
        let wanted = json!({ "durable_name": "both", "ack_policy": "explicit", "filter_subjects": two });
        let made = streams.consume(Stream::Events, "both", &wanted).await;
        match version {
            Version::Current => assert!(made.is_ok(), "{made:?}"),
            Version::Floor => {
                let said = made.unwrap_err().to_string();
                assert!(said.contains("its `filter_subjects` is not set, and must be ["), "{said}");
            }
        }
    }
}

/// All that Tercet itself asks for is there on the oldest server, and none of it is a bucket of keys and values.
#[tokio::test]
async fn what_tercet_needs_is_there_on_the_oldest_server() {
    for version in Version::ALL {
        let server = Setup::default().jetstream().start(version).unwrap();
        let streams = streams(&server).await;
        for stream in Stream::ALL {
            let made = streams.ensure(stream).await.unwrap();
            assert_eq!(streams.ensure(stream).await.unwrap(), made, "the same stream");
        }
        for _ in 0..2 {
            streams.coming(1).await.unwrap();
        }
        let answer: Value = streams.context.request("STREAM.NAMES", &json!({})).await.unwrap();
        let mut names: Vec<_> =
            answer["streams"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        names.sort_unstable();
        assert_eq!(names, ["TERCET_shop_DEAD", "TERCET_shop_EVENTS", "TERCET_shop_IN"], "{version:?}");
    }
}

/// A stream that somebody has made otherwise: what matters is checked, the rest is theirs.
#[tokio::test]
async fn a_stream_that_is_made_otherwise_is_named_with_what_is_wrong() {
    let server = Setup::default().jetstream().start(Version::Floor).unwrap();
    let streams = streams(&server).await;
    let mut own = Stream::Events.wanted(streams.namespace(), 1);
    own["max_age"] = 3_600_000_000_000_u64.into();
    own["max_bytes"] = 1_000_000.into();
    streams.make(Stream::Events, &own).await.unwrap();
    assert_eq!(streams.ensure(Stream::Events).await.unwrap().kept, Some(Duration::from_secs(3600)));

    let mut wrong = Stream::In.wanted(streams.namespace(), 1);
    wrong["retention"] = "limits".into();
    streams.make(Stream::In, &wrong).await.unwrap();
    let said = streams.ensure(Stream::In).await.unwrap_err();
    assert!(matches!(said, StreamError::Differs { .. }));
    let said = said.to_string();
    assert!(said.contains("its `retention` is \"limits\", and must be \"workqueue\"; edit it, or delete it"), "{said}");
}

/// A server on its own keeps no stream twice, and says so.
#[tokio::test]
async fn replicas_that_a_server_cannot_make_are_refused() {
    for version in Version::ALL {
        let server = Setup::default().jetstream().start(version).unwrap();
        let settings = Settings { replicas: Some(3), ..Settings::of(&server.url()).unwrap() };
        let client = connect(&settings, "test").await.unwrap();
        let three = Streams::new(client, &settings, "shop".parse().unwrap());
        let said = three.ensure(Stream::In).await.unwrap_err().to_string();
        assert!(said.contains("TERCET_shop_IN") && said.contains("replicas > 1 not supported"), "{said}");
        // How often one that is there is kept is its administrator's.
        streams(&server).await.ensure(Stream::In).await.unwrap();
        three.ensure(Stream::In).await.unwrap();
    }
}

#[test]
fn an_option_differs_when_it_is_not_what_was_asked_for() {
    let said = |wanted: Value, found: Value| difference(&wanted, &found).map(|difference| difference.to_string());
    assert_eq!(said(json!({ "a": 1 }), json!({ "a": 1, "more": 2 })), None);
    assert_eq!(said(json!({ "a": ["x", "y"] }), json!({ "a": ["y", "x"] })), None);
    assert_eq!(said(json!({ "a": { "mine": "1" } }), json!({ "a": { "mine": "1", "_nats": "2" } })), None);
    assert_eq!(said(json!({ "a": -1 }), json!({ "a": 1000 })).unwrap(), "its `a` is 1000, and must be -1");
    assert_eq!(
        said(json!({ "a": ["x"] }), json!({ "a": ["x", "y"] })).unwrap(),
        r#"its `a` is ["x","y"], and must be ["x"]"#
    );
    assert_eq!(said(json!({ "a": false }), json!({})).unwrap(), "its `a` is not set, and must be false");
}
