//! Refunds with their participants in a process of their own, over NATS: the participants are killed, the broker is killed and comes
//! back empty, and every refund ends, once.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::Arc,
    time::Duration,
};
use tercet::{
    Engine, Environment, Machine, Parts, Until,
    engine::Settings as EngineSettings,
    env::Task,
    ingress::Ingress,
    store::{SagaStatus, SqliteStore},
    transport::Nats as Transport,
};
use tercet_core::{Millis, Namespace, Payload};
use tercet_participant::{
    Database, SeaOrm,
    database::{Access, Tx},
};
use tercet_servers::{
    Port,
    nats::{Nats, Setup, Version},
};
use tercet_shop::{
    Sale, Settings, Shop,
    channel::{Behaviour, Behaviours, Buyer, Charges, Charging, Ends, Script},
    money::{Currency, Minor, Money},
    orders::{self, Goods, OrderState, Part, SeedLine, SeedOrder},
    shares::OnSpent,
};
use tercet_workflows::{refund::RefundRequest, registry};
use tokio_util::sync::CancellationToken;

const REFUNDS: u32 = 200;

/// How much faster than the machine's clock the engine's runs: timeouts of seconds, queries after minutes.
const TIMES: u32 = 10;

/// The machine, in a hurry.
struct Hurried {
    machine: Machine,
    began: Millis,
}

impl Environment for Hurried {
    fn now(&self) -> Millis {
        self.began.plus(self.machine.now().since(self.began) * TIMES)
    }

    fn random(&self) -> u64 {
        self.machine.random()
    }

    fn sleep_until(&self, at: Millis) -> Task {
        self.machine.sleep_until(self.began.plus(at.since(self.began) / TIMES))
    }

    fn spawn(&self, task: Task) {
        self.machine.spawn(task);
    }
}

/// `tercet-shop` beside `tercet`: both are built by whoever builds the workspace.
fn shop_program() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_tercet")).with_file_name("tercet-shop");
    assert!(program.is_file(), "{} is not built: run `cargo build -p tercet-shop` first", program.display());
    program
}

struct Process(Child);

impl Process {
    fn start(folder: &Path, server: &Nats) -> Self {
        Self(Self::command(folder, server).args(["--log", "warn"]).spawn().unwrap())
    }

    fn command(folder: &Path, server: &Nats) -> Command {
        let database = format!("sqlite:{}/{{participant}}.db", folder.display());
        let mut command = Command::new(shop_program());
        command.args(["--nats", &server.url(), "--namespace", "shop", "--database", &database]);
        command.env_remove("DATABASE_URL").stdin(Stdio::null());
        command
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Tells it to end, and waits.
    fn end(mut self) {
        Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status().unwrap();
        assert_eq!(self.0.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn sale(number: u32) -> Sale {
    let line = |sku: &str, quantity, price| SeedLine { sku: sku.parse().unwrap(), quantity, price: Minor(price) };
    let eur = |minor| Money::new(minor, Currency::EUR);
    let order = SeedOrder {
        id: format!("order-{number}").parse().unwrap(),
        user: format!("buyer-{number}").parse().unwrap(),
        payment: format!("pay-{number}").parse().unwrap(),
        lines: vec![line("cup", 3, 9_000), line("pot", 1, 6_000), line("tea", 2, 4_000)],
        paid: eur(17_925),
        coupon: Some(format!("spent-{number}").parse().unwrap()),
        points_spent: 75,
        red_packet: Some(format!("packet-{number}").parse().unwrap()),
        state: OrderState::AwaitingShipment,
        after_sales_until: Some(Millis(i64::MAX / 2)),
    };
    Sale {
        order,
        coupon_value: eur(1_000),
        points_granted: 179,
        coupon_granted: Some((format!("granted-{number}").parse().unwrap(), eur(500))),
        red_packet_value: eur(300),
    }
}

fn request(number: u32) -> Payload {
    let request = RefundRequest {
        id: format!("refund-{number}").parse().unwrap(),
        order: format!("order-{number}").parse().unwrap(),
        claim: format!("claim-{number}").parse().unwrap(),
        user: format!("buyer-{number}").parse().unwrap(),
        part: Part::Whole,
        goods: Goods::NotShipped,
        on_spent: OnSpent::Deduct,
        reason: "does not please".to_owned(),
    };
    Payload::of(&request).unwrap()
}

async fn open_shop(folder: &Path) -> Shop {
    let database = format!("sqlite:{}/{{participant}}.db", folder.display());
    Box::pin(Shop::open_at(&database, Settings::seeded(0, Duration::from_secs(1)))).await.unwrap()
}

async fn confirmed(engine: &Engine) -> u64 {
    let counts = engine.counts().await.unwrap();
    counts.iter().filter(|count| count.status == SagaStatus::Confirmed).map(|count| count.sagas).sum()
}

async fn until(engine: &Engine, sagas: u64) {
    while confirmed(engine).await < sagas {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// B23, B25: each refund pays once, whatever dies meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn b23_refunds_survive_killed_participants_and_a_broker_that_loses_everything() {
    refunds(Version::Current).await;
}

/// The same on the oldest nats-server.
#[tokio::test(flavor = "multi_thread")]
async fn b23_refunds_survive_on_the_oldest_broker() {
    refunds(Version::Floor).await;
}

async fn refunds(version: Version) {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Setup::default().jetstream().start(version).unwrap();
    let shop = open_shop(folder.path()).await;
    shop.seed(&(0..REFUNDS).map(sale).collect::<Vec<_>>()).await.unwrap();
    drop(shop);
    let participants = Process::start(folder.path(), &server);

    let namespace: Namespace = "shop".parse().unwrap();
    let nats = tercet_nats::Settings::of(&server.url()).unwrap();
    let machine = Machine::new();
    let transport = Transport::start(nats.clone(), namespace.clone()).await.unwrap();
    let parts = Parts {
        store: Arc::new(SqliteStore::create(&folder.path().join("tercet.db")).await.unwrap()),
        transport: Arc::new(transport.clone()),
        registry: registry().unwrap(),
        env: Arc::new(Hurried { began: machine.now(), machine }),
        settings: EngineSettings::of(namespace),
    };
    let engine = Engine::run(parts).await.unwrap();
    let stop = CancellationToken::new();
    let ingress = tokio::spawn(Ingress::new(engine.clone()).serve(nats, stop.clone()));

    let mut sagas = Vec::new();
    for number in 0..REFUNDS {
        let key = format!("refund-{number}").parse().unwrap();
        sagas.push(engine.start("refund".parse().unwrap(), None, key, request(number)).await.unwrap().id);
    }
    until(&engine, 20).await;
    participants.kill();
    tokio::time::sleep(Duration::from_millis(200)).await; // nobody is there: no responders
    let participants = Process::start(folder.path(), &server);
    until(&engine, 90).await;
    server.wipe().unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await; // nothing is there
    server.start_again().unwrap();
    for saga in sagas {
        engine.wait(saga, Until::End).await.unwrap();
    }
    assert_eq!(confirmed(&engine).await, u64::from(REFUNDS), "{version:?}");
    participants.end();
    stop.cancel();
    ingress.await.unwrap();
    engine.shut_down().await;
    transport.close().await;

    let shop = open_shop(folder.path()).await;
    assert_eq!(shop.violations().await, Vec::new());
    let ledger = shop.ledger().await.unwrap();
    assert_eq!(ledger.mismatches(), Vec::<String>::new());
    assert_eq!(ledger.holds(), 0);
    let moved = ledger.channel.accounts["EUR"].given_back;
    assert_eq!(moved, Minor(17_925 * i64::from(REFUNDS)), "each refund paid once");
    assert_eq!(ledger.notices["refunded"], u64::from(REFUNDS), "each buyer told once");
}

/// A node in a process of its own, where `nats.url` says who is asked.
struct Node {
    process: Child,
    server: String,
}

impl Node {
    fn start(folder: &Path, nats: &Nats) -> Self {
        Self::told(folder, nats, &[])
    }

    fn told(folder: &Path, nats: &Nats, settings: &[(&str, &str)]) -> Self {
        let mut command = tercet(folder);
        command.envs(settings.iter().copied());
        command.args(["dev", "--listen", "127.0.0.1:0", "--namespace", "shop", "--log", "warn", "--data", "tercet.db"]);
        command.env("TERCET_NATS__URL", nats.url()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let at = |line: String| line.split_whitespace().find(|word| word.starts_with("http://")).map(str::to_owned);
        let server = lines.map_while(Result::ok).find_map(at).unwrap();
        Self { process, server }
    }

    fn run(&self, folder: &Path, arguments: &[&str]) -> Output {
        tercet(folder).args(arguments).args(["--server", &self.server]).output().unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// The command, untouched by the settings of whoever runs the test.
fn tercet(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tercet"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TERCET_")) {
        command.env_remove(name);
    }
    command.current_dir(folder).stdin(Stdio::null());
    command
}

#[test]
fn a_node_lists_the_participants_that_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let server = Nats::start(Version::Floor).unwrap();
    let node = Node::start(folder.path(), &server);
    let nobody = node.run(folder.path(), &["participant", "ls"]);
    assert_eq!(String::from_utf8(nobody.stdout).unwrap(), "no participant is there\n");

    let (first, second) = (Process::start(folder.path(), &server), Process::start(folder.path(), &server));
    let listed = loop {
        let listed = node.run(folder.path(), &["participant", "ls", "-o", "json"]);
        let listed: Vec<serde_json::Value> = serde_json::from_slice(&listed.stdout).unwrap();
        if listed.len() == 20 {
            break listed;
        }
    };
    let of = |name: &str| listed.iter().filter(|one| one["participant"] == name).collect::<Vec<_>>();
    let inventory = of("inventory");
    assert_eq!(inventory.len(), 2, "two instances of each");
    assert_ne!(inventory[0]["instance"], inventory[1]["instance"]);
    assert_eq!(inventory[0]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(inventory[0]["operations"][1]["contracts"], serde_json::json!(["inventory.reserve/1"]));
    assert_eq!(inventory[0]["operations"][1]["calls"], 0);

    let table = String::from_utf8(node.run(folder.path(), &["participant", "ls"]).stdout).unwrap();
    let line = table.lines().find(|line| line.starts_with("push ")).unwrap();
    assert!(line.ends_with("0.0 ms   push.notify/1"), "{line}");
    first.end();
    second.end();

    let mut server = server;
    server.kill();
    let gone = loop {
        let gone = node.run(folder.path(), &["participant", "ls"]);
        if !gone.status.success() {
            break gone;
        }
    };
    assert_eq!(gone.status.code(), Some(5), "unavailable");
    let said = String::from_utf8(gone.stderr).unwrap();
    assert!(said.contains("the connection to NATS at 127.0.0.1:"), "{said}");
}

/// What happened to orders reaches the broker's stream, is read again since a moment, and comes back after the broker has lost everything.
#[tokio::test(flavor = "multi_thread")]
async fn what_happened_to_orders_is_replayed_also_after_the_broker_lost_everything() {
    for version in Version::ALL {
        let folder = tempfile::tempdir().unwrap();
        let mut server = Setup::default().jetstream().start(version).unwrap();
        let shop = open_shop(folder.path()).await;
        shop.seed(&(0..3).map(sale).collect::<Vec<_>>()).await.unwrap();
        drop(shop);
        let (participants, node) = (Process::start(folder.path(), &server), Node::start(folder.path(), &server));
        let replayed = |arguments: &[&str]| {
            let said = node.run(folder.path(), &[&["events", "replay", "-o", "jsonl"], arguments].concat());
            let text = String::from_utf8(said.stdout).unwrap();
            let id = |line: &str| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_str().unwrap().to_owned()
            };
            text.lines().map(id).collect::<Vec<_>>()
        };
        let until = |ids: &[&str]| {
            while replayed(&["--since", "1h"]) != ids {
                std::thread::sleep(Duration::from_millis(50));
            }
        };
        until(&["order-0@1", "order-1@1", "order-2@1"]);
        assert_eq!(replayed(&["--subject", "order-1"]), ["order-1@1"]);
        assert_eq!(replayed(&["--since", "2999-01-01T00:00:00Z"]), Vec::<String>::new());
        server.wipe().unwrap();
        server.start_again().unwrap();
        until(&["order-0@1", "order-1@1", "order-2@1"]);
        participants.end();
    }
}

/// What an HTTP server answers to that, status line and all.
fn http(server: &str, request: &str) -> String {
    let address = server.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{request} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The channel takes a refund on and reports its end by a callback, over HTTP; the completion goes to the node over NATS.
#[test]
fn callbacks_are_taken_where_the_participants_are_a_process_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let server = Setup::default().jetstream().start(Version::Floor).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async { open_shop(folder.path()).await.seed(&[sale(0)]).await.unwrap() });
    let after = Duration::from_millis(100);
    let script = Script {
        refunds: Behaviours::always(Behaviour::Accept { after, ends: Ends::Well, callbacks: 1 }),
        charges: Charges::always(Charging::new(Buyer::Waits)),
    };
    let (path, log) = (folder.path().join("script.json"), folder.path().join("shop.log"));
    script.write(&path).unwrap();
    let port = Port::claim().unwrap();
    let door = format!("127.0.0.1:{}", port.number());
    let mut command = Process::command(folder.path(), &server);
    command.args(["--listen", &door, "--log", "warn,tercet_shop::callbacks=debug", "--script"]).arg(path);
    // What it logs has colours, unless it is told otherwise.
    command.env("NO_COLOR", "1").stdout(Stdio::null()).stderr(File::create(&log).unwrap());
    let (participants, node) = (Process(command.spawn().unwrap()), Node::start(folder.path(), &server));
    let input = request(0);
    let arguments = ["saga", "start", "refund", "--key", "refund-0", "--input", input.as_str(), "--wait", "end"];
    let ended = node.run(folder.path(), &arguments);
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(said.contains(r#"a callback came channel="house" verdict="kept""#), "{said}");

    assert!(http(&door, "POST /callbacks/house").starts_with("HTTP/1.1 401 "), "not the channel's");
    assert!(http(&door, "POST /callbacks/other").starts_with("HTTP/1.1 404 "), "no channel of that name");
    participants.end();
}

/// A node whose participants are elsewhere looks for orders that were left behind, too: it asks for them.
#[test]
fn a_node_sweeps_where_the_participants_are_a_process_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let server = Setup::default().jetstream().start(Version::Floor).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        drop(open_shop(folder.path()).await);
        let db = SeaOrm::open(&format!("sqlite:{}/orders.db", folder.path().display())).await.unwrap();
        let tx = db.begin(Access::Write).await.unwrap();
        let orphan = SeedOrder { state: OrderState::PendingPayment, ..sale(0).order };
        orders::seed(&tx, &orphan, Machine::new().now()).await.unwrap();
        Tx::commit(tx).await.unwrap();
    });
    let participants = Process::start(folder.path(), &server);
    let settings = ["EVERY", "MARGIN", "WINDOW"].map(|key| (format!("TERCET_SWEEP__{key}"), "1s"));
    let node = Node::told(folder.path(), &server, &settings.each_ref().map(|(key, time)| (key.as_str(), *time)));
    let found = || {
        let shown = http(&node.server, "GET /metrics");
        let line = |line: &str| line.strip_prefix(r#"tercet_shop_sweep_total{found="no_saga"} "#)?.parse::<u64>().ok();
        shown.lines().find_map(line).unwrap_or_default()
    };
    while found() < 2 {
        std::thread::sleep(Duration::from_millis(50));
    }
    participants.end();
}
