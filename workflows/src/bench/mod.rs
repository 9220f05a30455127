//! `tercet bench`: how fast sagas go, and what waiting costs, each beside the store's own limit, measured in the same run.
//!
//! Everything is durable: SQLite with `synchronous=FULL`, or a database on a server; participants that answer at once, in this process or
//! in another over NATS. What is measured is the orchestrator. Each line of the chain is one concurrency: so many sagas are under way, the next starts when one ends.

mod chain;
mod command;
mod place;
mod process;
mod remote;
mod timers;

pub use command::{Bench, bench};
pub use place::Place;

use chain::{INPUT_BYTES, Link, STEPS, Tally, Worker, chain, noise};
use hdrhistogram::Histogram;
use remote::Remote;
use serde::Serialize;
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};
use tercet::{
    Engine, EngineError, Machine, Parts, Registry, Settings, Until,
    store::{Filter, Store, limit},
    transport::{InProcess, Transport},
};
use tercet_core::{DefinitionName, Life, Namespace, Payload, SagaKey};
use tercet_participant::nats::Settings as Nats;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Sagas under way at once, one line for each.
    pub concurrency: Vec<usize>,
    /// How long each line runs.
    pub time: Duration,
    /// The way to a participant in a process of its own; without it, it is in this one.
    pub nats: Option<Nats>,
}

/// One line of the benchmark.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Sagas under way at once.
    pub concurrency: usize,
    /// Sagas ended a second.
    pub sagas_per_s: f64,
    /// Steps executed or compensated a second.
    pub steps_per_s: f64,
    /// From a saga's start to its end, in milliseconds.
    pub latency_ms: Latency,
    /// Journal rows of one saga, on average.
    pub rows_per_saga: f64,
    /// Journal rows written a second.
    pub journal_rows_per_s: f64,
    /// Journal rows of the same size that the store takes a second, in batches of 256, without an engine.
    pub store_limit_rows_per_s: f64,
    /// The one by the other.
    pub ratio_to_limit: f64,
    /// Calls a second that as many callers get answered over NATS without an engine, where the participant is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nats_calls_per_s: Option<f64>,
    /// The store's median commit of one row, in milliseconds.
    pub commit_ms: f64,
    /// Processor time of this process for one step, in microseconds.
    pub cpu_us_per_step: f64,
    /// Resident memory at the end, in megabytes.
    pub rss_mb: f64,
    /// Bytes of the database's file for one saga; 0 for a server's database.
    pub bytes_per_saga: f64,
    /// What does not add up: nothing.
    pub violations: Vec<String>,
}

/// Percentiles.
#[derive(Clone, Debug, Serialize)]
pub struct Latency {
    /// Half of them are at most this.
    pub p50: f64,
    /// All but one in a hundred are at most this.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

/// Why a benchmark could not be run.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The store.
    #[error("the store: {0}")]
    Store(#[from] tercet::store::StoreError),
    /// The engine.
    #[error("the engine: {0}")]
    Engine(#[from] tercet::EngineError),
    /// The definition.
    #[error("the definition: {0}")]
    Registry(#[from] tercet::RegistryError),
    /// A name, a payload, a histogram: a bug.
    #[error("{0}")]
    Bug(String),
    /// The participant in a process of its own.
    #[error("the participant: {0}")]
    Participant(String),
    /// The folder.
    #[error("the folder for the database: {0}")]
    Folder(#[from] std::io::Error),
}

fn bug(error: impl std::fmt::Display) -> BenchError {
    BenchError::Bug(error.to_string())
}

/// What a run says meanwhile.
#[derive(Debug)]
pub enum Said {
    /// So many sagas at once are measured now.
    Measuring(usize),
    /// They were measured.
    Measured(Line),
}

/// Runs the chain at each concurrency, on SQLite with a fresh database in `folder` for each, and hands out a line as soon as it is measured.
///
/// # Errors
/// When the store or the engine fails.
pub async fn run(place: &Place, folder: &Path, options: &Options, mut say: impl FnMut(Said)) -> Result<(), BenchError> {
    for &concurrency in &options.concurrency {
        say(Said::Measuring(concurrency));
        let path = folder.join(format!("chain-{concurrency}.db"));
        let measured = measure(place, &path, concurrency, options).await?;
        let limit = store_limit(place, &folder.join(format!("limit-{concurrency}.db")), measured.rows).await?;
        say(Said::Measured(measured.line(limit)));
    }
    Ok(())
}

/// What the store does without an engine, with about as many rows of the size that the engine wrote, since a store slows down as it
/// grows: rows a second in batches of 256, and the median commit of one row, in milliseconds.
async fn store_limit(place: &Place, path: &Path, rows: Rows) -> Result<(f64, f64), BenchError> {
    const BATCH: u32 = 256;
    let batches = u32::try_from(rows.count / u64::from(BATCH)).unwrap_or(u32::MAX).clamp(400, 2_000);
    let store = place.open(path).await?;
    let single = limit::measure(store.as_ref(), 1, rows.bytes_each(), 300).await?;
    let many = limit::measure(store.as_ref(), BATCH, rows.bytes_each(), batches).await?;
    store.close().await;
    Ok((many.rows_per_s, single.commit_ms_p50))
}

struct Run {
    engine: Engine,
    name: DefinitionName,
    numbers: AtomicU64,
    noise: AtomicU64,
}

async fn measure(place: &Place, path: &Path, concurrency: usize, options: &Options) -> Result<Measured, BenchError> {
    let store = place.open(path).await?;
    // A server's database is the same one for each line.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let namespace: Namespace = format!("bench-{}", now.as_millis()).parse().map_err(bug)?;
    let performer = match &options.nats {
        Some(nats) => Performer::There(Box::new(Remote::start(nats, &namespace).await?)),
        None => Performer::Here(Arc::default()),
    };
    let nats_calls_per_s = match &performer {
        Performer::There(remote) => Some(remote.calls_per_s(concurrency).await?),
        Performer::Here(_) => None,
    };
    let engine = Engine::run(Parts {
        store,
        transport: performer.transport(),
        registry: Registry::new().with(chain())?,
        env: Arc::new(Machine::new()),
        settings: Settings::of(namespace.clone()),
    })
    .await?;
    let name = "bench_chain".parse().map_err(bug)?;
    let run = Run { engine: engine.clone(), name, numbers: AtomicU64::new(0), noise: AtomicU64::new(42) };
    let (run, mut outcome) = (Arc::new(run), Outcome::new()?);
    first(&run, &mut outcome).await?;
    let began = Instant::now();
    let cpu = process::cpu();
    let until = began + options.time;
    let clients: Vec<_> = (0..concurrency).map(|_| tokio::spawn(client(run.clone(), until))).collect();
    for client in clients {
        outcome.add(&client.await.map_err(bug)??)?;
    }
    let took = began.elapsed().as_secs_f64();
    let cpu = process::cpu().saturating_sub(cpu);
    let rss = process::rss_bytes();
    engine.shut_down().await;
    let rows = count_rows(engine.store().as_ref(), namespace).await?;
    engine.store().close().await;
    let bytes = process::bytes_of(path);
    let tally = match performer {
        Performer::Here(worker) => worker.tally(),
        Performer::There(remote) => remote.end().await?,
    };
    Ok(Measured { concurrency, outcome, took, cpu, rss, bytes, rows, tally, nats_calls_per_s })
}

/// Where the participant is.
enum Performer {
    Here(Arc<Worker>),
    There(Box<Remote>),
}

impl Performer {
    fn transport(&self) -> Arc<dyn Transport> {
        match self {
            Self::Here(worker) => Arc::new(InProcess::new([chain::participant(worker)])),
            Self::There(remote) => remote.transport(),
        }
    }
}

/// How long a node may take to own something: a database whose last node died is free when that one's lease has run out.
const OWNING: Duration = Duration::from_secs(30);

/// Runs one saga before anything is measured, as soon as the node takes starts.
async fn first(run: &Run, outcome: &mut Outcome) -> Result<(), BenchError> {
    let by = Instant::now() + OWNING;
    let number = run.numbers.fetch_add(1, Ordering::Relaxed);
    loop {
        match saga(run, number, outcome).await {
            Err(BenchError::Engine(EngineError::Unavailable(_))) if Instant::now() < by => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            ended => return ended,
        }
    }
}

/// One of the callers: starts a saga, waits for its end, starts the next.
async fn client(run: Arc<Run>, until: Instant) -> Result<Outcome, BenchError> {
    let mut outcome = Outcome::new()?;
    while Instant::now() < until {
        let number = run.numbers.fetch_add(1, Ordering::Relaxed);
        saga(&run, number, &mut outcome).await?;
    }
    Ok(outcome)
}

async fn saga(run: &Run, number: u64, outcome: &mut Outcome) -> Result<(), BenchError> {
    let input = Link { number, text: noise(&run.noise, INPUT_BYTES) };
    let key: SagaKey = number.to_string().parse().map_err(bug)?;
    let began = Instant::now();
    let started = run.engine.start(run.name.clone(), None, key, Payload::of(&input).map_err(bug)?).await?;
    let ended = run.engine.wait(started.id, Until::End).await?;
    let us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    outcome.latency_us.record(us.max(1)).map_err(bug)?;
    match ended.state.life {
        Life::Confirmed => outcome.confirmed += 1,
        Life::Cancelled => outcome.cancelled += 1,
        other => outcome.violations.push(format!("saga {} ended {}", started.id, other.as_str())),
    }
    Ok(())
}

/// What the callers saw.
struct Outcome {
    latency_us: Histogram<u64>,
    confirmed: u64,
    cancelled: u64,
    violations: Vec<String>,
}

struct Measured {
    concurrency: usize,
    outcome: Outcome,
    took: f64,
    cpu: Duration,
    rss: u64,
    /// Of the database.
    bytes: u64,
    rows: Rows,
    tally: Tally,
    nats_calls_per_s: Option<f64>,
}

/// Journal rows.
#[derive(Clone, Copy, Debug, Default)]
struct Rows {
    count: u64,
    bytes: u64,
}

impl Rows {
    fn bytes_each(self) -> usize {
        usize::try_from(self.bytes.checked_div(self.count).unwrap_or(0)).unwrap_or(0)
    }
}

impl Outcome {
    fn new() -> Result<Self, BenchError> {
        let latency_us = Histogram::new_with_bounds(1, 600_000_000, 3).map_err(bug)?;
        Ok(Self { latency_us, confirmed: 0, cancelled: 0, violations: Vec::new() })
    }

    fn add(&mut self, other: &Self) -> Result<(), BenchError> {
        self.latency_us.add(&other.latency_us).map_err(bug)?;
        self.confirmed += other.confirmed;
        self.cancelled += other.cancelled;
        self.violations.extend(other.violations.iter().cloned());
        Ok(())
    }
}

impl Measured {
    /// Beside what the store does without an engine.
    fn line(self, (limit, commit_ms): (f64, f64)) -> Line {
        let Self { concurrency, outcome, took, cpu, rss, bytes, rows, tally, nats_calls_per_s } = self;
        let sagas = (outcome.confirmed + outcome.cancelled) as f64;
        let Tally { done, undone, refused, violations: wrong } = tally;
        let steps = (done + undone + refused) as f64;
        let mut violations = outcome.violations;
        violations.extend(wrong);
        if refused != outcome.cancelled {
            violations.push(format!("{refused} sagas were refused, {} cancelled", outcome.cancelled));
        }
        let at = |quantile| outcome.latency_us.value_at_quantile(quantile) as f64 / 1e3;
        let rows_per_s = rows.count as f64 / took;
        Line {
            concurrency,
            sagas_per_s: round(sagas / took),
            steps_per_s: round(steps / took),
            latency_ms: Latency { p50: at(0.5), p99: at(0.99), max: outcome.latency_us.max() as f64 / 1e3 },
            rows_per_saga: round(rows.count as f64 / sagas),
            journal_rows_per_s: round(rows_per_s),
            store_limit_rows_per_s: round(limit),
            ratio_to_limit: (rows_per_s / limit * 1e3).round() / 1e3,
            nats_calls_per_s: nats_calls_per_s.map(round),
            commit_ms: (commit_ms * 1e3).round() / 1e3,
            cpu_us_per_step: round(cpu.as_secs_f64() * 1e6 / steps),
            rss_mb: round(rss as f64 / 1e6),
            bytes_per_saga: round(bytes as f64 / sagas),
            violations,
        }
    }
}

fn round(x: f64) -> f64 {
    (x * 10.0).round() / 10.0
}

/// Journal rows in the store: each saga's entries, counted by reading them back.
async fn count_rows(store: &dyn Store, namespace: Namespace) -> Result<Rows, BenchError> {
    const PAGE: u32 = 500;
    let (mut rows, mut before) = (Rows::default(), None);
    let filter = Filter { namespace: Some(namespace), ..Filter::default() };
    loop {
        let page = store.list(filter.clone(), before, PAGE).await?;
        let ids: Vec<_> = page.iter().map(|row| row.id).collect();
        let Some(last) = ids.last().copied() else { return Ok(rows) };
        before = Some(last);
        for entry in store.journals(ids).await?.iter().flatten() {
            rows.count += 1;
            rows.bytes += entry.entry.len() as u64;
        }
    }
}

const _: () = assert!(STEPS == 8, "the figures speak of a chain of eight");
