//! Dead letters and published events at the command line, through a node and a real broker.

use crate::support::{self, Ended, Node, Place};
use insta::assert_snapshot;
use std::{thread::sleep, time::Duration};
use tercet_core::{Millis, Payload};
use tercet_nats::{
    Settings, connect,
    event::Event,
    protocol::{self, Door},
    streams::{Outgoing, Stream, Streams},
};
use tercet_servers::nats::{Nats, Setup, Version};

/// A runtime for what the test itself does at the broker.
struct Broker {
    server: Nats,
    runtime: tokio::runtime::Runtime,
}

impl Broker {
    fn start(setup: Setup, version: Version) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { server: setup.start(version).unwrap(), runtime }
    }

    fn place(&self) -> Place {
        Place::new().with("TERCET_NATS__URL", &self.server.url())
    }

    /// Stores these messages.
    fn store(&self, stream: Stream, messages: Vec<Outgoing>) {
        self.runtime.block_on(async {
            let settings = Settings::of(&self.server.url()).unwrap();
            let client = connect(&settings, "test").await.unwrap();
            let streams = Streams::new(client, &settings, "default".parse().unwrap());
            for message in messages {
                while streams.publish(stream, message.clone()).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        });
    }

    fn start_of(&self, definition: &str, key: &str) -> Outgoing {
        let body = format!(
            r#"{{"definition":"{definition}","key":"{key}","input":{{"traveller":"Ada","seats":2,"note":null}}}}"#
        );
        protocol::store(&"default".parse().unwrap(), Door::Start, body.into_bytes())
    }
}

/// Runs a command until it says what it is to say.
fn until(node: &Node, place: &Place, arguments: &[&str], says: impl Fn(&Ended) -> bool) -> Ended {
    loop {
        let ended = node.run(place, arguments);
        if says(&ended) {
            return ended;
        }
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn dead_letters_are_listed_shown_sent_again_and_dropped() {
    let broker = Broker::start(Setup::default().jetstream(), Version::Floor);
    let place = broker.place();
    let node = place.node(&["dev", "--log", "error"]);
    let none = until(&node, &place, &["dead-letter", "list"], |ended| ended.code == 0);
    assert_snapshot!(none, @"
    exit 0
    there is no dead letter
    ");
    broker.store(Stream::In, vec![broker.start_of("unheard_of", "k-1")]);
    let two = until(&node, &place, &["dead-letter", "ls"], |ended| ended.out.contains("k-1"));
    let broken = protocol::store(&"default".parse().unwrap(), Door::Signal, b"\xff{".to_vec());
    broker.store(Stream::In, vec![broken]);
    assert!(two.out.lines().count() == 2, "{two}");
    let two = until(&node, &place, &["dead-letter", "list"], |ended| ended.out.contains("signal"));
    assert_snapshot!(two, @"
    exit 0
    NUMBER  KIND    ABOUT           CODE                REASON                                                                            SINCE
    1       start   unheard_of/k-1  unknown_definition  no definition `unheard_of` is known here; known are: quick 1, stuck 1, trip 1, …  <time>
    2       signal  ?               bad_body            the body cannot be read: expected value at line 1 column 1                        <time>
    ");
    assert_snapshot!(node.run(&place, &["dead-letter", "list", "--limit", "1"]), @"
    exit 0
    NUMBER  KIND   ABOUT           CODE                REASON                                                                            SINCE
    1       start  unheard_of/k-1  unknown_definition  no definition `unheard_of` is known here; known are: quick 1, stuck 1, trip 1, …  <time>
    more: --after after-1
    ");
    assert_snapshot!(node.run(&place, &["dead-letter", "list", "--limit", "1", "--after", "after-1", "-o", "jsonl"]), @r#"
    exit 0
    {"number":2,"kind":"signal","code":"bad_body","reason":"the body cannot be read: expected value at line 1 column 1","came":"<time>","at":"<time>","body":null,"unreadable":"�{"}
    "#);
    assert_snapshot!(node.run(&place, &["dead-letter", "show", "1"]), @r#"
    exit 0
    dead letter 1: a start of unheard_of/k-1
    code     unknown_definition
    reason   no definition `unheard_of` is known here; known are: quick 1, stuck 1, trip 1, trip 2, visit 1
    came     <time>
    aside    <time>
    body     {"definition":"unheard_of","key":"k-1","input":{"traveller":"Ada","seats":2,"note":null}}
    "#);
    assert_snapshot!(node.run(&place, &["dead-letter", "show", "2", "-o", "json"]), @r#"
    exit 0
    {"number":2,"kind":"signal","code":"bad_body","reason":"the body cannot be read: expected value at line 1 column 1","came":"<time>","at":"<time>","body":null,"unreadable":"�{"}
    "#);
    assert_snapshot!(node.run(&place, &["dead-letter", "show", "7"]), @"
    exit 3
    error: there is no dead letter 7; it was sent again or dropped, or its stream was made anew; the list shows those that are there
    ");
    assert_snapshot!(node.run(&place, &["dead-letter", "resend"]), @"
    exit 2
    error: the following required arguments were not provided:
      <NUMBER|--all>

    Usage: toy dead-letter resend --server <URL> <NUMBER|--all>

    For more information, try '--help'.
    ");
    are_sent_again_and_dropped(&node, &place);

    // A stream that somebody has deleted is named.
    broker.runtime.block_on(async {
        let client = connect(&Settings::of(&broker.server.url()).unwrap(), "test").await.unwrap();
        client.request("$JS.API.STREAM.DELETE.TERCET_default_DEAD", "".into()).await.unwrap();
    });
    let gone = node.run(&place, &["dead-letter", "list"]);
    assert_snapshot!(gone, @"
    exit 3
    error: failed to find the stream TERCET_default_DEAD at <address>: a node with `nats.url` makes it; start one, or look at its log
    ");
}

/// A signal whose saga is not there: how many wait, and for how long, is to be seen at every node.
#[test]
fn what_waits_in_the_stream_is_counted() {
    let broker = Broker::start(Setup::default().jetstream(), Version::Floor);
    let told = r#"{"id":"s","definition":"visit","key":"v","signal":"visits.approval/1","payload":{"by":"Ada"}}"#;
    let namespace = "default".parse().unwrap();
    broker.store(Stream::In, vec![protocol::store(&namespace, Door::Signal, told.as_bytes().to_vec())]);
    let place = broker.place();
    let node = place.node(&["dev", "--log", "error"]);
    support::until("it is counted", || {
        let (_, shown) = support::asked(&node.server, "GET /metrics");
        shown.contains("\ntercet_stored_messages 1\n") && shown.contains("\ntercet_stored_oldest_seconds ")
    });
}

fn are_sent_again_and_dropped(node: &Node, place: &Place) {
    // What is in its way is still there: it comes back, under another number.
    assert_snapshot!(node.run(place, &["dead-letter", "resend", "1"]), @"
    exit 0
    dead letter 1 is sent again
    ");
    until(node, place, &["dead-letter", "show", "3"], |ended| ended.code == 0);
    assert_snapshot!(node.run(place, &["dead-letter", "resend", "1"]), @"
    exit 3
    error: there is no dead letter 1; it was sent again or dropped, or its stream was made anew; the list shows those that are there
    ");
    assert_snapshot!(node.run(place, &["dead-letter", "drop", "2", "-o", "json"]), @r#"
    exit 0
    {"number":2,"became":"dropped"}
    "#);
    assert_snapshot!(node.run(place, &["dead-letter", "drop", "--all"]), @"
    exit 0
    dead letter 3 is dropped
    ");
    assert_snapshot!(node.run(place, &["dead-letter", "list", "-o", "json"]), @r#"
    exit 0
    {"letters":[],"next":null}
    "#);
}

#[test]
fn what_is_in_the_way_of_streams_is_one_line_and_the_node_runs_on() {
    let place = Place::new();
    let node = place.node(&["dev", "--log", "error"]);
    assert_snapshot!(node.run(&place, &["dead-letter", "list"]), @"
    exit 3
    error: this node uses no NATS, and so no streams; set `nats.url`, as in TERCET_NATS__URL=nats://<address>
    ");
    assert_snapshot!(node.run(&place, &["events", "replay"]), @"
    exit 3
    error: this node uses no NATS, and so no streams; set `nats.url`, as in TERCET_NATS__URL=nats://<address>
    ");

    // Without JetStream, and with a password that is not the right one.
    let without = Broker::start(Setup::default(), Version::Floor);
    let place = without.place();
    let node = place.node(&["dev", "--log", "error"]);
    let said = until(&node, &place, &["dead-letter", "list"], |ended| ended.err.contains("JetStream"));
    assert_snapshot!(said, @"
    exit 5
    error: failed to use JetStream at <address>: nats-server runs without it, or this account may not use it; start it with `-js`, or with `jetstream` in its configuration; sagas go on; try again once it is there
    ");
    let closed = Broker::start(Setup::default().jetstream().user("tercet", "right horse"), Version::Current);
    let url = closed.server.url().replace("nats://", "nats://tercet:s3cr3t@");
    let place = Place::new().with("TERCET_NATS__URL", &url);
    let mut node = place.node(&["dev"]);
    let said = node.run(&place, &["events", "replay"]);
    assert_snapshot!(said, @"
    exit 5
    error: failed to log in to NATS at <address>: it refuses this user and password; check `nats.*` in the settings; sagas go on; try again once it is there
    ");
    let input = r#"{"traveller": "Ada", "seats": 2}"#;
    let started = node.run(&place, &["saga", "start", "quick", "--key", "k", "--input", input, "--wait", "end"]);
    assert_eq!(started.code, 0, "{started}");
    let (_, log) = node.end();
    assert!(log.contains("it refuses this user and password") && !log.contains("s3cr3t"), "{log}");
}

/// An event that happened so long ago.
fn event(version: i64, ago: Duration) -> Event {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Event {
        id: format!("o-7@{version}"),
        source: "orders".to_owned(),
        subject: if version == 2 { "o-8" } else { "o-7" }.to_owned(),
        version,
        kind: "order.paid".to_owned(),
        at: Millis(i64::try_from((now - ago).as_millis()).unwrap()),
        data: Payload::of(&version).unwrap(),
    }
}

#[test]
fn published_events_are_replayed_from_the_stream_since_a_moment() {
    for version in Version::ALL {
        let mut broker = Broker::start(Setup::default().jetstream(), version);
        let place = broker.place();
        let node = place.node(&["dev", "--log", "error"]);
        let missing = until(&node, &place, &["events", "replay"], |ended| ended.code == 3);
        assert!(missing.err.starts_with("error: failed to find the stream TERCET_default_EVENTS at "), "{missing}");

        let hour = Duration::from_secs(3600);
        let send = |event: Event| event.send(&"default".parse().unwrap());
        let stray = Outgoing { id: Some("stray".to_owned()), headers: Default::default(), ..send(event(9, hour)) };
        broker.store(
            Stream::Events,
            vec![send(event(1, hour * 2)), stray, send(event(2, hour)), send(event(3, Duration::ZERO))],
        );
        let ids = |arguments: &[&str]| {
            let ended = node.run(&place, &[&["events", "replay", "-o", "jsonl"], arguments].concat());
            assert_eq!(ended.code, 0, "{ended}");
            let id = |line: &str| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_str().unwrap().to_owned()
            };
            ended.out.lines().map(id).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(ids(&[]), "o-7@1 o-7@2 o-7@3");
        assert_eq!(ids(&["--since", "90m"]), "o-7@2 o-7@3");
        assert_eq!(ids(&["--since", "1m", "--subject", "o-7"]), "o-7@3");
        assert_eq!(ids(&["--since", "2999-01-01T00:00:00Z"]), "");
        assert_eq!(ids(&["--subject", "o-8"]), "o-7@2");

        // Made anew: where the page before ended is nowhere now.
        let first = node.run(&place, &["events", "replay", "-o", "json"]);
        assert!(first.out.contains(r#""source":"orders""#), "{first}");
        let cursor = "after-1700000000000000000-3";
        let stale = node.run(&place, &["events", "replay", "--after", cursor]);
        assert_eq!((stale.code, stale.err.contains("the stream was made anew since")), (4, true), "{stale}");
        broker.server.wipe().unwrap();
        broker.server.start_again().unwrap();
        let again = until(&node, &place, &["events", "replay"], |ended| ended.code == 3);
        assert!(again.err.contains("TERCET_default_EVENTS"), "{again}");
    }
}
