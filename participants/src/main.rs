//! `tercet-shop`: the shop's participants as services over NATS, all of them or some, each on a database of its own.

use clap::Parser;
use std::{
    io::{self, IsTerminal},
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::Pin,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};
use tercet_core::Namespace;
use tercet_participant::{
    SeaOrm,
    nats::{EventRelay, NatsIngress, Serving, Texts},
};
use tercet_shop::{
    PARTICIPANTS, Settings, Shop,
    channel::{Behaviour, Behaviours, Buyer, Charges, Charging, Script, ScriptError},
    clock::{HurriedClock, Pace},
};
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

/// How long the gateway waits after the channel asked for patience.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two looks at what is due at the channel, and at what waits in the outboxes.
const ROUND_EVERY: Duration = Duration::from_millis(500);

/// Whoever has something to say to Tercet by itself, and the channel behind them.
const SPEAKERS: [&str; 2] = ["gateway", "payments"];

/// Run the shop's participants as services over NATS
#[derive(Parser)]
#[command(name = "tercet-shop", version)]
struct Arguments {
    /// NATS servers, as in nats://127.0.0.1:4222, with commas between them
    #[arg(long, value_name = "URL", env = "TERCET_NATS__URL", hide_env_values = true)]
    nats: String,
    /// Who one is there: a credentials file
    #[arg(long, value_name = "FILE", env = "TERCET_NATS__CREDENTIALS")]
    nats_credentials: Option<String>,
    /// Who one is there: an nkey's seed
    #[arg(long, value_name = "SEED", env = "TERCET_NATS__NKEY", hide_env_values = true)]
    nats_nkey: Option<String>,
    /// Who one is there: a token
    #[arg(long, value_name = "TOKEN", env = "TERCET_NATS__TOKEN", hide_env_values = true)]
    nats_token: Option<String>,
    /// Who one is there: a user
    #[arg(long, value_name = "NAME", env = "TERCET_NATS__USER")]
    nats_user: Option<String>,
    /// The user's password
    #[arg(long, value_name = "PASSWORD", env = "TERCET_NATS__PASSWORD", hide_env_values = true)]
    nats_password: Option<String>,
    /// The authorities that vouch for the servers: a PEM file
    #[arg(long, value_name = "FILE", env = "TERCET_NATS__TLS_CA")]
    nats_tls_ca: Option<String>,
    /// This client's certificate: a PEM file
    #[arg(long, value_name = "FILE", env = "TERCET_NATS__TLS_CERT")]
    nats_tls_cert: Option<String>,
    /// The certificate's key: a PEM file
    #[arg(long, value_name = "FILE", env = "TERCET_NATS__TLS_KEY")]
    nats_tls_key: Option<String>,
    /// How many servers of a cluster keep the stream of events: 1, 3 or 5
    #[arg(long, value_name = "NUMBER", env = "TERCET_NATS__REPLICAS")]
    nats_replicas: Option<String>,
    /// Whose sagas they take part in
    #[arg(long, value_name = "NAME", env = "TERCET_NAMESPACE", default_value = "default")]
    namespace: Namespace,
    /// Their databases; {participant} stands for each one's name
    #[arg(
        long,
        value_name = "URL",
        env = "DATABASE_URL",
        hide_env_values = true,
        default_value = "sqlite:shop/{participant}.db"
    )]
    database: String,
    /// Run these alone, with commas between them
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
    /// Serve the payment channel's callbacks there, as in 127.0.0.1:7008, where gateway or payments run: POST /callbacks/house
    #[arg(long, value_name = "ADDRESS", env = "TERCET_PARTICIPANTS__LISTEN")]
    listen: Option<SocketAddr>,
    /// Draw the channel's misbehaviour from this number, instead of a channel that does what it is asked
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// How the channel behaves to whom: a JSON file
    #[arg(long, value_name = "FILE", conflicts_with = "seed")]
    script: Option<PathBuf>,
    /// Run on a clock that is so many times as fast as the machine's, as the nodes do: minutes pass in seconds
    #[arg(long, value_name = "NUMBER", env = "TERCET_CLOCK__TIMES", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    times: u32,
    /// What to log, as in info or warn,tercet_participant=debug
    #[arg(long, value_name = "LEVELS", default_value = "info")]
    log: String,
}

/// Why it ends: a text that says what to do, and whether it was called wrongly.
struct Failure(String, u8);

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string(), 1)
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::builder().parse_lossy(&arguments.log);
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // On a terminal it is for NO_COLOR to say.
    if io::stderr().is_terminal() {
        log.init();
    } else {
        log.with_ansi(false).init();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(run(arguments)),
        Err(error) => Err(error.into()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(text, code)) => {
            eprintln!("error: {text}");
            ExitCode::from(code)
        }
    }
}

impl Arguments {
    fn texts(&self) -> Texts {
        Texts {
            url: self.nats.clone(),
            credentials: self.nats_credentials.clone(),
            nkey: self.nats_nkey.clone(),
            token: self.nats_token.clone(),
            user: self.nats_user.clone(),
            password: self.nats_password.clone(),
            tls_ca: self.nats_tls_ca.clone(),
            tls_cert: self.nats_tls_cert.clone(),
            tls_key: self.nats_tls_key.clone(),
            replicas: self.nats_replicas.clone(),
        }
    }

    fn settings(&self) -> Result<Settings, ScriptError> {
        let mut settings = Settings::seeded(self.seed.unwrap_or_default(), PATIENCE);
        if self.times > 1 {
            settings.clock = Arc::new(HurriedClock(Pace::of(self.times)));
        }
        if self.seed.is_some() {
            return Ok(settings);
        }
        let Script { refunds, charges } = match &self.script {
            Some(path) => Script::read(path)?,
            None => Script {
                refunds: Behaviours::always(Behaviour::Succeed),
                charges: Charges::always(Charging::new(Buyer::Pays { after: PATIENCE })),
            },
        };
        Ok(Settings { behaviours: refunds, charges, ..settings })
    }
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    let nats = arguments.texts().read().map_err(|error| Failure(error.to_string(), 2))?;
    make_folder(&arguments.database)?;
    known(&arguments.only)?;
    let settings = arguments.settings()?;
    let shop = Shop::open_of(&arguments.database, &arguments.only, settings);
    let shop = Arc::new(Box::pin(shop).await?);
    let participants = shop.participants();
    let names: Vec<String> = participants.iter().map(|participant| participant.name().to_owned()).collect();
    let door = door(&shop, arguments.listen).await?;
    let serving = Serving::of(participants, arguments.namespace.clone()).start(nats.clone()).await?;
    tracing::info!(participants = names.join(", "), namespace = %arguments.namespace, "serving");
    let speaks = names.iter().any(|name| SPEAKERS.contains(&name.as_str()));
    let events = shop.event_relay(nats.clone(), arguments.namespace.clone());
    let rounds = async {
        if speaks {
            speak(&shop, NatsIngress::new(nats, arguments.namespace)).await;
        }
        std::future::pending::<()>().await;
    };
    let answering = async {
        match door {
            Some(door) => door.await,
            None => std::future::pending().await,
        }
    };
    let telling = async {
        match events {
            Some(events) => tell(&events).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = rounds => {}
        () = telling => {}
        ended = answering => return Err(Failure(format!("the door for callbacks has ended by itself: {ended:?}"), 1)),
        () = told_to_end() => {}
    }
    tracing::info!("ending: calls that are there are answered, and no more are taken in");
    tokio::select! {
        () = serving.drain() => Ok(()),
        () = told_to_end() => Err(Failure("ended at once: calls under way are asked again".to_owned(), 1)),
    }
}

/// Takes callbacks for as long as the process runs.
type Answering = Pin<Box<dyn Future<Output = io::Result<()>>>>;

/// What answers the channel's callbacks, if somebody is to.
async fn door(shop: &Shop, listen: Option<SocketAddr>) -> Result<Option<Answering>, Failure> {
    let Some(address) = listen else { return Ok(None) };
    let failed = |error: io::Error| {
        Failure(format!("failed to listen at {address}: {error}; choose another address with --listen"), 1)
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let routes = shop.callbacks(address)?;
    tracing::info!(%address, "callbacks are taken");
    Ok(Some(Box::pin(async move { axum::serve(listener, routes).await })))
}

fn known(only: &[String]) -> Result<(), Failure> {
    match only.iter().find(|name| !PARTICIPANTS.contains(&name.as_str())) {
        Some(unknown) => {
            let all = PARTICIPANTS.join(", ");
            Err(Failure(format!("`{unknown}` is no participant of the shop: there are {all}"), 2))
        }
        None => Ok(()),
    }
}

/// A folder for SQLite files is made as they are.
fn make_folder(database: &str) -> Result<(), Failure> {
    let file = database.strip_prefix("sqlite:").map(|rest| rest.trim_start_matches("//"));
    let Some(folder) = file.and_then(|file| Path::new(file).parent()) else { return Ok(()) };
    std::fs::create_dir_all(folder)
        .map_err(|error| Failure(format!("failed to make the folder {}: {error}", folder.display()), 1))
}

/// What the channel reports reaches the participants, and what these have to say leaves their outboxes, round after round.
async fn speak(shop: &Shop, ingress: NatsIngress) {
    let relay = shop.relay(Arc::new(ingress));
    loop {
        if let Err(error) = shop.turn(&relay).await {
            tracing::warn!(%error, "failed to carry what the shop has to say; it is tried again");
        }
        tokio::select! {
            () = tokio::time::sleep(ROUND_EVERY) => {}
            () = shop.kept() => {}
        }
    }
}

/// What has happened to orders reaches the stream of published events, round after round.
async fn tell(events: &EventRelay<SeaOrm>) {
    loop {
        if let Err(error) = events.sweep().await {
            tracing::warn!(%error, "failed to read what is published of orders; it is tried again");
        }
        tokio::time::sleep(ROUND_EVERY).await;
    }
}

async fn told_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let told = |kind| async move {
        match signal(kind) {
            Ok(mut signals) => drop(signals.recv().await),
            Err(error) => {
                tracing::warn!(%error, "failed to listen for a signal");
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = told(SignalKind::interrupt()) => {}
        () = told(SignalKind::terminate()) => {}
    }
}
