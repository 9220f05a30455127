//! What a running node shows of its shop: events with `tercet events tail`, counts at `/metrics`, and callbacks that come over HTTP.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a process that does not say what is asked is a failed test")]

use serde::Serialize;
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};
use tercet_core::Millis;
use tercet_shop::{
    Sale, Settings, Shop,
    callbacks::{Sender, SharedKey, Signer},
    catalog::Ware,
    channel::{ChargeCallback, ChargeOutcome, ChargeSink, How},
    clock::{HandClock, SystemClock},
    lines::Line,
    money::{Currency, Money},
    orders::{OrderState, SeedLine, SeedOrder},
};
use tercet_workflows::{
    create_order::{OrderRequest, PAY_WITHIN_MS},
    payment::PaymentRequest,
};

/// When the shop made its first sales: some years ago.
const BEGAN: Millis = Millis(1_700_000_000_000);

/// What a cup costs.
const PRICE: Money = Money::new(1_000, Currency::EUR);

/// How a command ends that waited for a saga.
const CONFIRMED: i32 = 0;
const CANCELLED: i32 = 7;

fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

/// A node that runs until it is dropped.
struct Node<'a> {
    folder: &'a Path,
    process: Child,
    server: String,
    /// Where the participants listen.
    participants: String,
}

impl Drop for Node<'_> {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn tercet(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tercet"));
    command.current_dir(folder).env_clear().stdin(Stdio::null());
    command
}

impl<'a> Node<'a> {
    /// A node on the databases in `folder`, its API and its participants on free ports.
    fn start(folder: &'a Path) -> Self {
        let mut command = tercet(folder);
        command.args(["dev", "--listen", "127.0.0.1:0"]).env("TERCET_LOG__FORMAT", "json");
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let participants = loop {
            let line: Value = serde_json::from_str(&log.next().unwrap().unwrap()).unwrap();
            if line["fields"]["message"] == "the participants listen" {
                break line["fields"]["address"].as_str().unwrap().to_owned();
            }
        };
        // Else the pipe fills, and the node stands.
        std::thread::spawn(move || log.map_while(Result::ok).for_each(|line| eprintln!("{line}")));
        let mut said = BufReader::new(process.stdout.take().unwrap()).lines();
        let server = loop {
            let line = said.next().unwrap().unwrap();
            if let Some(url) = line.split_whitespace().find(|word| word.starts_with("http://")) {
                break url.to_owned();
            }
        };
        Self { folder, process, server, participants }
    }

    /// What a command in another terminal says, and its exit code.
    fn asked(&self, arguments: &[&str]) -> (String, Option<i32>) {
        let mut command = tercet(self.folder);
        let said = command.args(arguments).args(["--server", &self.server]).stderr(Stdio::inherit()).output().unwrap();
        (String::from_utf8(said.stdout).unwrap(), said.status.code())
    }

    fn says(&self, arguments: &[&str]) -> String {
        let (text, code) = self.asked(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {text}");
        text
    }

    /// Starts a saga, or finds the one under that key, and waits for it; its id.
    fn saga(&self, definition: &str, key: &str, input: &impl Serialize, wait: &str, ends: i32) -> String {
        let input = json(input);
        let start = ["saga", "start", definition, "--key", key, "--input", &input];
        let (text, code) = self.asked(&[&start[..], &["--wait", wait, "--limit", "5min", "-o", "json"]].concat());
        assert_eq!(code, Some(ends), "{text}");
        let started: Value = serde_json::from_str(&text).unwrap();
        started["id"].as_str().unwrap().to_owned()
    }

    /// The events that were published about a subject, or all, as `id type state`.
    fn events(&self, arguments: &[&str]) -> Vec<String> {
        let said = self.says(&[&["events", "tail", "-o", "jsonl"], arguments].concat());
        let events = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let word = |value: &Value| value.as_str().unwrap().to_owned();
        events.map(|e| [&e["id"], &e["type"], &e["data"]["state"]].map(word).join(" ")).collect()
    }

    fn metrics(&self) -> Metrics {
        let address = self.server.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        Metrics(answer)
    }
}

/// The text of `/metrics`.
struct Metrics(String);

impl Metrics {
    fn of(&self, name: &str) -> u64 {
        let value = self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name} in\n{}", self.0)).parse().unwrap()
    }
}

/// A shop where `tercet dev` finds it, with cups on sale and two orders.
async fn a_shop(folder: &Path) {
    let participants = folder.join("tercet-participants");
    std::fs::create_dir(&participants).unwrap();
    let clock = Arc::new(HandClock::new(BEGAN));
    let settings = Settings { clock, ..Settings::seeded(0, Duration::from_secs(1)) };
    let shop = Shop::open(&participants, settings).await.unwrap();
    shop.seed(&[sale("o-1"), sale("o-2")]).await.unwrap();
    let cups = Ware {
        sku: id("cup"),
        good: "cups".to_owned(),
        price: PRICE,
        on_sale: true,
        pieces: 10,
        promotions: Vec::new(),
    };
    shop.put_on_sale(&[cups]).await.unwrap();
}

fn sale(order: &str) -> Sale {
    Sale {
        order: SeedOrder {
            id: id(order),
            user: id("mia"),
            payment: id(&format!("pay-{order}")),
            lines: vec![SeedLine { sku: id("cup"), quantity: 1, price: PRICE.minor }],
            paid: PRICE,
            coupon: None,
            points_spent: 0,
            red_packet: None,
            state: OrderState::Paid,
            after_sales_until: None,
        },
        coupon_value: Money::new(500, Currency::EUR),
        points_granted: 10,
        coupon_granted: None,
        red_packet_value: Money::new(300, Currency::EUR),
    }
}

fn order(key: &str, pay_within_ms: u64) -> OrderRequest {
    OrderRequest {
        key: id(key),
        user: id(&format!("buyer-{key}")),
        address: "1 Quay Street".to_owned(),
        invoice_title: None,
        lines: vec![Line { sku: id("cup"), quantity: 1 }],
        coupon: None,
        points: 0,
        shown: PRICE,
        pay_within_ms,
    }
}

#[tokio::test]
async fn events_counts_and_callbacks_of_a_running_node() {
    let folder = tempfile::tempdir().unwrap();
    a_shop(folder.path()).await;
    let node = Node::start(folder.path());
    tails(&node);

    let metrics = node.metrics();
    for found in ["overdue", "no_saga", "ended", "unreadable"] {
        assert_eq!(metrics.of(&format!("tercet_shop_sweep_total{{found=\"{found}\"}}")), 0);
    }
    assert_eq!(metrics.of("tercet_sagas_started_total{definition=\"create_order\"}"), 0);
    assert_eq!(metrics.of("tercet_shop_callbacks_total{channel=\"house\",verdict=\"kept\"}"), 0);

    is_forged(&node).await;
    is_paid(&node);
    is_abandoned(&node);
}

/// Somebody who does not have the channel's key reports that money has come.
async fn is_forged(node: &Node<'_>) {
    let url = format!("http://{}/callbacks/house", node.participants);
    let forger = Sender::new(url, Signer::Stamped(SharedKey::random().unwrap()), Arc::new(SystemClock));
    let report = ChargeCallback {
        reference: id("pay-9"),
        order: id("o-9"),
        transaction: "charge-pay-9".to_owned(),
        amount: PRICE,
        outcome: ChargeOutcome::Paid,
        at: BEGAN,
    };
    assert!(!forger.charged(report).await);
    let metrics = node.metrics();
    assert_eq!(metrics.of("tercet_shop_callbacks_total{channel=\"house\",verdict=\"forged\"}"), 1);
    assert_eq!(metrics.of("tercet_shop_callbacks_total{channel=\"house\",verdict=\"kept\"}"), 0);
}

/// A buyer pays some seconds after the link is there; the channel reports it over HTTP, and the order is told.
fn is_paid(node: &Node<'_>) {
    let request = order("k-9", PAY_WITHIN_MS);
    let placed = node.saga("create_order", "k-9", &request, "tried", CONFIRMED);
    let payment = PaymentRequest {
        id: id("pay-9"),
        order: id(&placed),
        order_saga_key: id("k-9"),
        user: request.user.clone(),
        amount: PRICE,
        attempt: 1,
        how: How::PayLink,
        expires_at_ms: None,
    };
    node.saga("payment", "pay-9", &payment, "end", CONFIRMED);
    assert_eq!(node.saga("create_order", "k-9", &request, "end", CONFIRMED), placed);

    let metrics = node.metrics();
    assert_eq!(metrics.of("tercet_shop_callbacks_total{channel=\"house\",verdict=\"kept\"}"), 1);
    for definition in ["create_order", "payment"] {
        assert_eq!(metrics.of(&format!("tercet_sagas_started_total{{definition=\"{definition}\"}}")), 1);
        let ended = format!("tercet_sagas_ended_total{{definition=\"{definition}\",outcome=\"confirmed\"}}");
        assert_eq!(metrics.of(&ended), 1);
        assert!(metrics.of(&format!("tercet_steps_total{{definition=\"{definition}\",outcome=\"done\"}}")) > 1);
    }
    assert!(metrics.of("tercet_timers_armed_total") > 0, "the order has waited");
    assert_eq!(metrics.of("tercet_breaker{participant=\"payments\"}"), 0);
    let mut events = node.events(&["--subject", &placed]);
    assert_eq!(events.len(), 4, "{events:?}");
    // The payment is noted beside what the shipment brings, before it or after.
    events.retain(|event| !event.contains("order.changed"));
    let told = ["order.created pending_payment", "order.paid paid", "order.awaiting_shipment awaiting_shipment"];
    assert_eq!(events.iter().map(|event| event.split_once(' ').unwrap().1).collect::<Vec<_>>(), told);
}

/// Nobody pays, and the timer ends it.
fn is_abandoned(node: &Node<'_>) {
    let fired = node.metrics().of("tercet_timers_fired_total");
    node.saga("create_order", "k-10", &order("k-10", 1_000), "end", CANCELLED);
    let metrics = node.metrics();
    assert_eq!(metrics.of("tercet_timers_fired_total"), fired + 1);
    assert_eq!(metrics.of("tercet_sagas_ended_total{definition=\"create_order\",outcome=\"cancelled\"}"), 1);
    assert_eq!(metrics.of("tercet_steps_total{definition=\"create_order\",outcome=\"undone\"}"), 2, "order and stock");
}

/// What was published, in each form.
fn tails(node: &Node<'_>) {
    let both = ["o-1@1 order.created paid", "o-2@1 order.created paid"];
    assert_eq!(node.events(&[]), both);
    assert_eq!(node.events(&["--subject", "o-2"]), both[1..]);
    let one: Value = serde_json::from_str(&node.says(&["events", "tail", "--subject", "o-2", "-o", "json"])).unwrap();
    assert_eq!((one.as_array().unwrap().len(), &one[0]["id"]), (1, &Value::from("o-2@1")));
    let table = node.says(&["events", "tail"]);
    assert_eq!(table.lines().count(), 3, "{table}");
    assert_eq!(node.says(&["events", "tail", "--since", "1s"]), "no event fits\n");

    let mut follow = tercet(node.folder);
    follow.args(["events", "tail", "--follow", "-o", "jsonl", "--server", &node.server]).stdout(Stdio::piped());
    let mut follow = follow.spawn().unwrap();
    let followed = BufReader::new(follow.stdout.take().unwrap()).lines().take(2).count();
    follow.kill().unwrap();
    follow.wait().unwrap();
    assert_eq!(followed, 2);
    let mut no_end = tercet(node.folder);
    no_end.args(["events", "tail", "--follow", "-o", "json"]).stderr(Stdio::null());
    assert_eq!(no_end.status().unwrap().code(), Some(2));
}
