//! `tercet bench timers`: very many sagas that wait, each on a timer of its own, all due in the same second.
//!
//! Each holds something and waits for a signal that never comes, as an unpaid order does. While they wait, memory and processor time
//! are read; when they are due, each must undo its hold, once, and none early; a saga that is started meanwhile must not notice.

use super::{BenchError, Latency, Rows, bug, process, round, store_limit};
use hdrhistogram::Histogram;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};
use tercet::{
    Engine, Machine, Parts, Registry, Settings, Until,
    store::{SagaStatus, SqliteStore},
    transport::InProcess,
};
use tercet_core::{
    Answer, Answering, Call, ContractName, Definition, DefinitionName, Operation, Participant, Payload, Phase, Saga,
    SagaKey, Signal, kind,
};

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    /// Sagas that wait.
    pub(super) waiting: u64,
    /// From the first start to the second in which all are due; by default as long as arming them may take.
    pub(super) due_in: Option<Duration>,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Line {
    /// Sagas that waited.
    pub(super) waiting: u64,
    /// Sagas brought to their wait a second, each with a hold, a timer row and all of it durable.
    pub(super) arm_per_s: f64,
    /// Sagas whose hold was undone a second, from the due time to the last of them.
    pub(super) fire_per_s: f64,
    /// From the due time to the undo of a saga's hold, in milliseconds.
    pub(super) lateness_ms: Latency,
    /// Undone before the due time: none.
    pub(super) early: u64,
    /// Resident memory while all of them wait, in megabytes.
    pub(super) rss_mb: f64,
    /// Processor time while all of them wait, as a share of one core, in percent.
    pub(super) idle_cpu_percent: f64,
    /// How long a saga's first step took that was started while all the others were due, in milliseconds; the longest of several.
    pub(super) started_meanwhile_ms: f64,
    /// Bytes of the database for one saga that waits, its timer included.
    pub(super) bytes_per_timer: f64,
    /// Journal rows that the store takes a second, in batches of 256, without an engine.
    pub(super) store_limit_rows_per_s: f64,
    /// What does not add up: nothing.
    pub(super) violations: Vec<String>,
}

/// Sagas a second that the slowest machine meant here arms.
const ARMED_PER_S_AT_LEAST: u64 = 2_500;

/// Spare time before they are due, in which memory and processor time are read.
const SPARE: Duration = Duration::from_secs(15);

/// How long all of them may take to end.
const PATIENCE: Duration = Duration::from_secs(300);

/// Callers that start sagas.
const CALLERS: u64 = 256;

/// Sagas started while the others are due, one after the other.
const MEANWHILE: u64 = 20;

/// Journal rows for the store's limit: about what the entries of these sagas take, and as many as two for each.
const ROW_BYTES: u64 = 250;
const ROWS_EACH: u64 = 2;

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Unpaid {
    number: u64,
    due_ms: i64,
}

/// What a hold answers: how long it is still to be held.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Held {
    left_ms: u64,
}

struct Hold;

impl Operation for Hold {
    const NAME: &'static str = "bench.hold/1";
    type Kind = kind::Tcc;
    type Request = Unpaid;
    type Reply = Held;
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Paid {}

impl Signal for Paid {
    const NAME: &'static str = "bench.paid/1";
}

fn unpaid() -> Definition<Unpaid, ()> {
    let saga = Saga::<Unpaid>::new("bench_timer", 1);
    let input = saga.input();
    let held = saga.tcc("hold", Hold).request(input, |order| order);
    let paid = saga.wait_for::<Paid>("paid").within_from(held, |held| Duration::from_millis(held.left_ms));
    saga.output(paid, |_| ())
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Holds and undoes, and keeps the time of each undo.
#[derive(Debug, Default)]
struct Holder {
    held: AtomicU64,
    early: AtomicU64,
    undone: Mutex<BTreeMap<u64, Undone>>,
}

#[derive(Clone, Copy, Debug)]
struct Undone {
    late_ms: i64,
    times: u32,
}

impl Holder {
    fn answer(&self, call: &Call) -> Answer {
        let Ok(order) = call.request.parse::<Unpaid>() else {
            return Answer::refused("unreadable_request", "not an order of the benchmark");
        };
        match call.phase {
            Phase::Try => {
                self.held.fetch_add(1, Ordering::Relaxed);
                let left_ms = u64::try_from(order.due_ms - now_ms()).unwrap_or(0).max(1);
                Payload::of(&Held { left_ms }).map_or(Answer::retry("no reply"), Answer::Done)
            }
            Phase::Cancel => {
                self.undo(&order);
                Answer::Done(Payload::null())
            }
            _ => Answer::refused("no_such_phase", "nothing is ever confirmed here"),
        }
    }

    fn undo(&self, order: &Unpaid) {
        let late_ms = now_ms() - order.due_ms;
        if late_ms < 0 {
            self.early.fetch_add(1, Ordering::Relaxed);
        }
        self.undone().entry(order.number).or_insert(Undone { late_ms, times: 0 }).times += 1;
    }

    fn undone(&self) -> MutexGuard<'_, BTreeMap<u64, Undone>> {
        self.undone.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Participant for Holder {
    fn name(&self) -> &str {
        "bench"
    }

    fn contracts(&self) -> Vec<ContractName> {
        Hold::NAME.parse().into_iter().collect()
    }

    fn call(&self, call: Call) -> Answering<'_> {
        Box::pin(async move { self.answer(&call) })
    }
}

/// Sagas are started, and so many of them have come so far.
#[derive(Clone, Copy, Debug)]
pub(super) enum Progress {
    /// They wait.
    Armed(u64),
    /// Their holds are undone.
    Fired(u64),
}

/// Runs it in a fresh database in `folder`, and says how far it is.
///
/// # Errors
/// When the store or the engine fails, or arming took longer than until they were due.
pub(super) async fn run(folder: &Path, options: Options, say: impl Fn(Progress) + Sync) -> Result<Line, BenchError> {
    let count = options.waiting * ROWS_EACH;
    let (limit, _) =
        store_limit(&super::Place::Sqlite, &folder.join("limit.db"), Rows { count, bytes: count * ROW_BYTES }).await?;
    let path = folder.join("timers.db");
    let (holder, engine) = open(&path).await?;
    let due_in = options.due_in.unwrap_or(Duration::from_secs(options.waiting / ARMED_PER_S_AT_LEAST) + SPARE);
    let due_ms = now_ms() + i64::try_from(due_in.as_millis()).unwrap_or(i64::MAX);
    let due = Instant::now() + due_in;

    let armed = arm(&engine, options.waiting, due_ms, &say).await?;
    let idle = idle(due).await?;
    let bytes = process::bytes_of(&path);
    tokio::time::sleep_until(due.into()).await;
    let meanwhile = tokio::spawn(meanwhile(engine.clone(), options.waiting, due_ms + 3_600_000));
    let fired = fire(&holder, options.waiting, due, &say).await?;
    let meanwhile = meanwhile.await.map_err(bug)??;

    let violations = violations(&engine, &holder, options.waiting).await?;
    engine.shut_down().await;
    Ok(Line {
        waiting: options.waiting,
        arm_per_s: round(options.waiting as f64 / armed.as_secs_f64()),
        fire_per_s: round(options.waiting as f64 / fired.as_secs_f64()),
        lateness_ms: lateness(&holder)?,
        early: holder.early.load(Ordering::Relaxed),
        rss_mb: round(idle.rss as f64 / 1e6),
        idle_cpu_percent: (idle.cpu_share * 1e4).round() / 1e2,
        started_meanwhile_ms: round(meanwhile.as_secs_f64() * 1e3),
        bytes_per_timer: round(bytes as f64 / options.waiting as f64),
        store_limit_rows_per_s: round(limit),
        violations,
    })
}

async fn open(path: &Path) -> Result<(Arc<Holder>, Engine), BenchError> {
    let holder = Arc::new(Holder::default());
    let engine = Engine::run(Parts {
        store: Arc::new(SqliteStore::create(path).await?),
        transport: Arc::new(InProcess::new([holder.clone() as Arc<dyn Participant>])),
        registry: Registry::new().with(unpaid())?,
        env: Arc::new(Machine::new()),
        settings: Settings::of("bench".parse().map_err(bug)?),
    })
    .await?;
    Ok((holder, engine))
}

async fn start(engine: &Engine, number: u64, due_ms: i64) -> Result<(), BenchError> {
    let name: DefinitionName = "bench_timer".parse().map_err(bug)?;
    let key: SagaKey = number.to_string().parse().map_err(bug)?;
    let started = engine.start(name, None, key, Payload::of(&Unpaid { number, due_ms }).map_err(bug)?).await?;
    engine.wait(started.id, Until::Tried).await?;
    Ok(())
}

/// Starts them all, each up to its wait; says how long it took.
async fn arm(
    engine: &Engine, waiting: u64, due_ms: i64, say: &(impl Fn(Progress) + Sync),
) -> Result<Duration, BenchError> {
    let (began, next) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let caller = |_| {
        let (engine, next) = (engine.clone(), next.clone());
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= waiting {
                    return Ok::<_, BenchError>(());
                }
                start(&engine, number, due_ms).await?;
            }
        })
    };
    let callers: Vec<_> = (0..CALLERS).map(caller).collect();
    for caller in callers {
        while !caller.is_finished() {
            say(Progress::Armed(next.load(Ordering::Relaxed).min(waiting)));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        caller.await.map_err(bug)??;
    }
    Ok(began.elapsed())
}

struct Idle {
    rss: u64,
    cpu_share: f64,
}

/// What waiting costs, read over most of the time that is left.
async fn idle(due: Instant) -> Result<Idle, BenchError> {
    let left = due.saturating_duration_since(Instant::now());
    if left < Duration::from_secs(2) {
        return Err(bug("arming took until they were due: give it longer with --due-in"));
    }
    tokio::time::sleep(left / 4).await;
    let (began, cpu) = (Instant::now(), process::cpu());
    tokio::time::sleep(left / 2).await;
    let used = process::cpu().saturating_sub(cpu);
    Ok(Idle { rss: process::rss_bytes(), cpu_share: used.as_secs_f64() / began.elapsed().as_secs_f64() })
}

/// Waits until all holds are undone; says how long after the due time that was.
async fn fire(
    holder: &Holder, waiting: u64, due: Instant, say: &(impl Fn(Progress) + Sync),
) -> Result<Duration, BenchError> {
    loop {
        let undone = holder.undone().range(..waiting).count() as u64;
        say(Progress::Fired(undone));
        if undone == waiting {
            return Ok(due.elapsed());
        }
        if due.elapsed() > PATIENCE {
            return Err(bug(format!("{} of {waiting} timers have not fired in {PATIENCE:?}", waiting - undone)));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Starts sagas while the others are due; says how long the slowest of them took to its wait.
async fn meanwhile(engine: Engine, first: u64, due_ms: i64) -> Result<Duration, BenchError> {
    let mut slowest = Duration::ZERO;
    for number in first..first + MEANWHILE {
        let began = Instant::now();
        start(&engine, number, due_ms).await?;
        slowest = slowest.max(began.elapsed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(slowest)
}

fn lateness(holder: &Holder) -> Result<Latency, BenchError> {
    let mut late = Histogram::<u64>::new(3).map_err(bug)?;
    for undone in holder.undone().values() {
        late.record(u64::try_from(undone.late_ms).unwrap_or(0)).map_err(bug)?;
    }
    let at = |quantile| late.value_at_quantile(quantile) as f64;
    Ok(Latency { p50: at(0.5), p99: at(0.99), max: late.max() as f64 })
}

/// Every saga ends cancelled, and each hold was undone once.
async fn violations(engine: &Engine, holder: &Holder, waiting: u64) -> Result<Vec<String>, BenchError> {
    let mut wrong = Vec::new();
    let ended = loop {
        let counts = engine.store().counts(None).await?;
        let of = |status| counts.iter().filter(|count| count.status == status).map(|count| count.sagas).sum::<u64>();
        if of(SagaStatus::Cancelling) == 0 {
            break of(SagaStatus::Cancelled);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    if ended != waiting {
        wrong.push(format!("{ended} sagas of {waiting} ended cancelled"));
    }
    let held = holder.held.load(Ordering::Relaxed);
    if held != waiting + MEANWHILE {
        wrong.push(format!("{held} holds for {} sagas", waiting + MEANWHILE));
    }
    let twice = holder.undone().values().filter(|undone| undone.times != 1).count();
    if twice > 0 {
        wrong.push(format!("{twice} holds were undone more than once"));
    }
    let early = holder.early.load(Ordering::Relaxed);
    if early > 0 {
        wrong.push(format!("{early} holds were undone early"));
    }
    Ok(wrong)
}
