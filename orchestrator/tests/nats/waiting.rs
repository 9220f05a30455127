//! What waits: a signal for a saga that never comes, and a way in for a broker that comes back empty. Each is said once.

use super::{
    client,
    ingress::{Node, letters, message, send, start, streams, toy, until, waiting},
};
use serde_json::json;
use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
    time::Duration,
};
use tercet::{
    ingress::{DeadLetters, Waits},
    store::MemoryStore,
};
use tercet_nats::{protocol::Door, streams::Outgoing};
use tercet_servers::nats::{Setup, Version};
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

/// What the way in warns of.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Said {
    /// Listens on this thread, which all of a test's tasks run on.
    fn listen() -> (Self, tracing::subscriber::DefaultGuard) {
        let said = Self::default();
        let filter = EnvFilter::new("tercet::ingress=warn");
        let subscriber = tracing_subscriber::fmt().with_writer(said.clone()).with_env_filter(filter);
        let guard = tracing::subscriber::set_default(subscriber.without_time().with_ansi(false).finish());
        (said, guard)
    }

    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| line.trim().to_owned()).collect()
    }
}

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Said {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

fn told(key: &str) -> Outgoing {
    let payload = json!({ "by": "Ada" });
    let signal = "visits.approval/1";
    message(
        Door::Signal,
        &json!({ "id": "s-1", "definition": "visit", "key": key, "signal": signal, "payload": payload }),
    )
}

#[tokio::test]
async fn a_signal_whose_saga_never_comes_is_said_once_and_laid_aside_in_the_end() {
    for version in Version::ALL {
        let (said, _listening) = Said::listen();
        let server = Setup::default().jetstream().start(version).unwrap();
        let streams = streams(&server).await;
        let dead = DeadLetters::new(streams.clone());
        let mut node = Node::start(Arc::new(MemoryStore::new()), toy::registry().unwrap()).await;
        let millis = Duration::from_millis;
        let waits = Waits { first: millis(10), most: millis(200), long: millis(50), for_saga: Duration::from_secs(2) };
        node.listen_for(&server, waits);
        send(&streams, told("never")).await;
        until(|| async { dead.page(0, 9).await.is_ok_and(|page| page.len() == 1) }).await;
        until(|| async { waiting(&streams).await == 0 }).await;
        let letter = letters(&dead).await.remove(0);
        assert_eq!(
            (letter.door, letter.code.as_str(), &letter.body),
            (Some(Door::Signal), "no_saga", &told("never").body)
        );
        insta::allow_duplicates! {
            insta::assert_snapshot!(letter.reason, @"no saga `visit` is known under the key `never`, and none was started within 2 s");
            insta::assert_snapshot!(said.lines().join("\n"), @r#"
            WARN tercet::ingress::stored: a message waits for long; it is tried again message.number=1 message.times=4 why="no saga `visit` is known under the key `never`"
            ERROR tercet::ingress::stored: a message can never succeed and was laid aside dead_letter=1 code="no_saga" why="no saga `visit` is known under the key `never`, and none was started within 2 s"
            "#);
        }
        // Its saga comes at last: the letter is sent again, and told.
        send(&streams, start("visit", "never")).await;
        until(|| async { node.saga("visit", "never").await.is_some() }).await;
        assert_eq!(dead.resend(letter.number).await, Ok(true));
        let visit = node.saga("visit", "never").await.unwrap();
        node.engine.wait(visit, tercet::Until::End).await.unwrap();
        node.end().await;
    }
}

/// The broker is away for longer than its heartbeats may be missed for, and comes back with nothing.
#[tokio::test]
async fn the_way_in_is_open_at_once_when_a_broker_is_back_and_says_once_what_was_lost() {
    let (said, _listening) = Said::listen();
    let mut server = Setup::default().jetstream().start(Version::Current).unwrap();
    let streams = streams(&server).await;
    let mut node = Node::start(Arc::new(MemoryStore::new()), toy::registry().unwrap()).await;
    node.listen(&server);
    send(&streams, start("quick", "before")).await;
    until(|| async { node.saga("quick", "before").await.is_some() }).await;
    // Away and back, with all that it had: nothing is said.
    server.kill();
    server.start_again().unwrap();
    send(&streams, start("quick", "kept")).await;
    until(|| async { node.saga("quick", "kept").await.is_some() }).await;
    assert_eq!(said.lines(), Vec::<String>::new());

    server.wipe().unwrap();
    tokio::time::sleep(Duration::from_secs(7)).await; // more than two heartbeats
    server.start_again().unwrap();
    send(&streams, start("quick", "after")).await;
    until(|| async { node.saga("quick", "after").await.is_some() }).await;
    insta::assert_snapshot!(said.lines().join("\n"), @"WARN tercet::ingress::stored: the stream of what comes in was lost, with what no node had taken, and is made anew");

    // Somebody deletes what the nodes share.
    let admin = client(&server).await;
    admin.request("$JS.API.CONSUMER.DELETE.TERCET_shop_IN.nodes", "".into()).await.unwrap();
    send(&streams, start("quick", "behind")).await;
    until(|| async { node.saga("quick", "behind").await.is_some() }).await;
    insta::assert_snapshot!(said.lines().join("\n").replace(&server.url().replace("nats://", ""), "HERE"), @"
    WARN tercet::ingress::stored: the stream of what comes in was lost, with what no node had taken, and is made anew
    WARN tercet::ingress::stored: failed to go on with the stream TERCET_shop_IN at HERE: it, or its consumer, was deleted; it is tried again
    ");
    node.end().await;
}
