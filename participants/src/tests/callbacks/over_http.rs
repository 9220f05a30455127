//! The whole way: a channel signs and posts, a real server on a free port verifies, keeps and answers.

use super::*;
use crate::{
    Settings, Shop,
    callbacks::{BODY_BYTES_MAX, Callbacks, Sender},
    channel::{Acknowledging, Behaviour, CallbackSink, Cashier, ChargeOrder, ChargeSink, Charging, How},
    clock::{Clock, HandClock},
    tests::bench,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tercet_participant::{
    database::Boxed,
    outbox::{Acknowledged, Completion, Ingress, Start, Told},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Keeps what it is given, each once, unless its disk is full.
#[derive(Default)]
struct Disk {
    kept: Mutex<Vec<Report>>,
    full: AtomicBool,
}

impl Disk {
    fn keep(&self, report: Report) -> bool {
        let full = self.full.load(Ordering::SeqCst);
        let mut kept = self.kept.lock().unwrap();
        if !full && !kept.contains(&report) {
            kept.push(report);
        }
        !full
    }
}

impl ChargeSink for Disk {
    fn charged(&self, callback: ChargeCallback) -> Acknowledging<'_> {
        Box::pin(async move { self.keep(Report::Charge(callback)) })
    }
}

impl CallbackSink for Disk {
    fn receive(&self, callback: Callback) -> Acknowledging<'_> {
        Box::pin(async move { self.keep(Report::Refund(callback)) })
    }
}

struct World {
    disk: Arc<Disk>,
    clock: Arc<HandClock>,
    address: String,
    counted: PrometheusHandle,
}

/// A server for every scheme, on a free port.
async fn world() -> World {
    let (disk, clock) = (Arc::new(Disk::default()), Arc::new(HandClock::new(AT)));
    let recorder = PrometheusBuilder::new().build_recorder();
    let counted = recorder.handle();
    let callbacks = metrics::with_local_recorder(&recorder, || {
        let callbacks = Callbacks::new(disk.clone(), disk.clone(), clock.clone());
        schemes().into_iter().fold(callbacks, |all, (name, scheme, _)| all.channel(name, scheme))
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, callbacks.router()).await });
    World { disk, clock, address, counted }
}

impl World {
    fn sender(&self, name: &str, signer: Signer, clock: Arc<dyn Clock>) -> Sender {
        Sender::new(format!("http://{}/callbacks/{name}", self.address), signer, clock)
    }

    fn kept(&self) -> usize {
        self.disk.kept.lock().unwrap().len()
    }

    fn count(&self, channel: &str, verdict: &str) -> u64 {
        let line = format!("tercet_shop_callbacks_total{{channel=\"{channel}\",verdict=\"{verdict}\"}} ");
        let text = self.counted.render();
        text.lines().find_map(|it| it.strip_prefix(&line)).map_or(0, |count| count.parse().unwrap())
    }

    /// What a server answers to these bytes, but for the date.
    async fn raw(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.lines().filter(|line| !line.starts_with("date: ")).collect::<Vec<_>>().join("\n")
    }
}

fn post(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n");
    [head.as_bytes(), body].concat()
}

#[tokio::test]
async fn a_report_is_kept_and_acknowledged_and_its_copies_are_acknowledged() {
    for (name, _, signer) in schemes() {
        let world = world().await;
        let sender = world.sender(name, signer, world.clock.clone());
        for report in [paid("order-1"), paid("order-1"), refunded(), refunded()] {
            assert!(sender.send(&report).await.unwrap(), "{name}");
        }
        assert_eq!((world.kept(), world.count(name, "kept")), (2, 4), "{name}");
    }
}

#[tokio::test]
async fn what_was_not_kept_is_not_acknowledged_so_that_it_comes_again() {
    for (name, _, signer) in schemes() {
        let world = world().await;
        let sender = world.sender(name, signer, world.clock.clone());
        world.disk.full.store(true, Ordering::SeqCst);
        assert!(!sender.charged(charge()).await, "{name}");
        assert_eq!((world.kept(), world.count(name, "not_kept")), (0, 1), "{name}");
        world.disk.full.store(false, Ordering::SeqCst);
        assert!(sender.charged(charge()).await, "{name}");
        assert_eq!((world.kept(), world.count(name, "kept")), (1, 1), "{name}");
    }
}

fn charge() -> ChargeCallback {
    match paid("order-1") {
        Report::Charge(charge) => charge,
        Report::Refund(_) => unreachable!("a paid order is a charge"),
    }
}

#[tokio::test]
async fn a_forgery_is_turned_away_and_leaves_nothing() {
    let wrong = [
        Signer::Stamped(SharedKey::new(b"a secret of somebody else").unwrap()),
        Signer::WeChat { serial: SERIAL.to_owned(), key: key_two() },
        Signer::Alipay { app: APP.to_owned(), key: key_two() },
    ];
    for ((name, ..), signer) in schemes().into_iter().zip(wrong) {
        let world = world().await;
        let sender = world.sender(name, signer, world.clock.clone());
        assert!(!sender.send(&paid("order-1")).await.unwrap(), "{name}");
        assert_eq!((world.kept(), world.count(name, "forged")), (0, 1), "{name}");
    }
}

#[tokio::test]
async fn a_callback_that_was_recorded_and_is_played_again_later_is_turned_away() {
    for (name, _, signer) in schemes().into_iter().take(2) {
        let world = world().await;
        let recorded = world.sender(name, signer, Arc::new(HandClock::new(AT)));
        assert!(recorded.send(&paid("order-1")).await.unwrap());
        world.clock.advance(Duration::from_secs(301));
        assert!(!recorded.send(&paid("order-1")).await.unwrap());
        assert_eq!((world.count(name, "kept"), world.count(name, "forged")), (1, 1), "{name}");
    }
}

#[tokio::test]
async fn a_channel_hears_why_in_its_own_form_and_nothing_of_the_secret() {
    let world = world().await;
    let mut said = String::new();
    let signed = stamped_body(b"not json");
    for (what, request) in [
        ("no signature", post("/callbacks/stamped", "", b"{}")),
        ("two signatures", post("/callbacks/stamped", "tercet-signature: t=1\r\nTercet-Signature: t=2\r\n", b"{}")),
        ("another signature", post("/callbacks/stamped", "tercet-signature: t=1700000000,v1=00\r\n", b"{}")),
        ("not understood", post("/callbacks/stamped", &signed, b"not json")),
        ("an unsigned form", post("/callbacks/alipay", "", b"app_id=app-7")),
        ("another channel", post("/callbacks/paypal", "", b"{}")),
        ("too large", post("/callbacks/stamped", "", &vec![b' '; BODY_BYTES_MAX + 1])),
    ] {
        let answer = world.raw(&request).await;
        let (status, body) = (answer.lines().next().unwrap(), answer.lines().last().unwrap());
        said.push_str(&format!("{what}: {status}: {body}\n"));
        assert!(!answer.contains("secret of the channel"));
    }
    insta::assert_snapshot!(said, @r#"
    no signature: HTTP/1.1 401 Unauthorized: {"code":"FAIL","message":"`tercet-signature` is missing"}
    two signatures: HTTP/1.1 401 Unauthorized: {"code":"FAIL","message":"`tercet-signature` is there more than once"}
    another signature: HTTP/1.1 401 Unauthorized: {"code":"FAIL","message":"the signature does not fit"}
    not understood: HTTP/1.1 422 Unprocessable Entity: {"code":"FAIL","message":"`body` cannot be read"}
    an unsigned form: HTTP/1.1 401 Unauthorized: failure
    another channel: HTTP/1.1 404 Not Found: content-length: 0
    too large: HTTP/1.1 413 Payload Too Large: Failed to buffer the request body: length limit exceeded
    "#);
    assert_eq!(world.kept(), 0);
    assert_eq!((world.count("stamped", "forged"), world.count("stamped", "unreadable")), (3, 1));
}

fn stamped_body(body: &[u8]) -> String {
    let headers = crate::callbacks::stamp(&shared(), body, AT);
    headers.iter().map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap())).collect()
}

#[tokio::test]
async fn nobody_listening_is_a_report_to_make_again() {
    let [(_, _, signer), ..] = schemes();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let url = format!("http://{address}/callbacks/stamped");
    assert!(!Sender::new(url, signer, Arc::new(HandClock::new(AT))).charged(charge()).await);
}

/// The shop's own channel, its reports over HTTP: as often as it makes them, forged by nobody, kept, and told on.
#[tokio::test]
async fn the_shops_own_channel_reports_over_http_once_that_is_served() {
    let bench = bench(Behaviour::Succeed).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let routes = bench.shop.callbacks(listener.local_addr().unwrap()).unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, routes).await });
    let channel = bench.shop.channel();
    let twice = Charging::paid(Duration::from_secs(1)).reported(2, Duration::ZERO);
    channel.tell_charge(id("pay-1"), twice);
    let charge =
        ChargeOrder { reference: id("pay-1"), order: id("o-1"), amount: eur(1_000), how: How::PayLink, expires: None };
    channel.request_charge(charge).await.unwrap();
    bench.clock.advance(Duration::from_secs(10));
    let relay = bench.shop.relay(Nobody);
    bench.shop.turn(&relay).await.unwrap();
    let payments = bench.shop.ledger().await.unwrap().payments;
    assert_eq!((payments.callbacks, payments.copies), (2, 1));
    // It goes through the server and no other way.
    server.abort();
    drop(server.await);
    channel.tell_charge(id("pay-2"), Charging::paid(Duration::from_secs(1)));
    let charge =
        ChargeOrder { reference: id("pay-2"), order: id("o-2"), amount: eur(1_000), how: How::PayLink, expires: None };
    channel.request_charge(charge).await.unwrap();
    bench.clock.advance(Duration::from_secs(10));
    bench.shop.turn(&relay).await.unwrap();
    assert_eq!(bench.shop.ledger().await.unwrap().payments.callbacks, 2);
}

/// Takes nothing.
#[derive(Clone)]
struct Nobody;

impl Ingress for Nobody {
    fn complete(&self, _: Completion) -> Boxed<'_, Acknowledged> {
        Box::pin(async { Acknowledged::Unavailable("nobody is there".to_owned()) })
    }

    fn start(&self, _: Start) -> Boxed<'_, Acknowledged> {
        Box::pin(async { Acknowledged::Unavailable("nobody is there".to_owned()) })
    }

    fn signal(&self, _: Told) -> Boxed<'_, Acknowledged> {
        Box::pin(async { Acknowledged::Unavailable("nobody is there".to_owned()) })
    }
}

/// A process that runs one of the two participants alone keeps no report for the other: the channel is told to send it again.
#[tokio::test]
async fn reports_for_a_participant_of_another_process_are_not_kept() {
    for (only, charge) in [("gateway", false), ("payments", true)] {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}/{{participant}}.db", folder.path().display());
        let settings = Settings { clock: Arc::new(HandClock::new(AT)), ..Settings::seeded(0, Duration::from_secs(1)) };
        let shop = Box::pin(Shop::open_of(&url, &[only.to_owned()], settings)).await.unwrap();
        // Wherever it listens, the channel of its own process finds it.
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let routes = shop.callbacks(listener.local_addr().unwrap()).unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let sender = shop.reports_to.get().unwrap();
        assert_eq!(sender.send(&paid("order-1")).await, Ok(charge), "{only}");
        assert_eq!(sender.send(&refunded()).await, Ok(!charge), "{only}");
    }
}
