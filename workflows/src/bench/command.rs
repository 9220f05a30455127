//! `tercet bench`, as it is called.

use super::{
    BenchError, Line, Nats, Options, Place, Said, remote, run,
    timers::{self, Progress},
};
use clap::{Parser, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};
use tercet::cli::{Context, Exit, Failure, Output};
use tercet_core::Namespace;

/// Between two moves of a spinner.
const TICK: Duration = Duration::from_millis(120);

/// Measure this machine, beside the store's own limit
#[derive(Parser, Debug)]
#[command(name = "bench")]
pub struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Eight compensable steps in a row, in this process, everything durable; one in ten is refused at the seventh and undone
    Chain(Chain),
    /// The chain's participant, for `chain --nats`, which starts it
    #[command(hide = true)]
    Participant(Participant),
    /// Very many sagas that wait, each on a timer of its own, all due in the same second
    Timers(Timers),
}

#[derive(clap::Args, Debug)]
struct Participant {
    #[arg(long)]
    namespace: Namespace,
}

#[derive(clap::Args, Debug)]
struct Timers {
    /// Where the journal is
    #[arg(long, value_enum, default_value_t = Store::Sqlite)]
    store: Store,
    /// Sagas that wait
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    waiting: u64,
    /// Seconds from the first start until all are due; by default as long as starting them may take
    #[arg(long, value_parser = clap::value_parser!(u64).range(5..=86_400))]
    due_in: Option<u64>,
    /// A folder on the disk to be measured; what is written there is deleted again
    #[arg(long, default_value = ".")]
    folder: PathBuf,
}

#[derive(clap::Args, Debug)]
struct Chain {
    /// Where the journal is: `sqlite`, a file with `synchronous=FULL`, or the URL of an empty database on a server, as in
    /// `postgres://user:password@host/database` or `mysql://…`; it gets Tercet's tables, and keeps what is written
    #[arg(long, default_value = "sqlite")]
    store: Place,
    /// Have the participant in a process of its own, called over NATS (`nats.url`), and measure how many calls that takes without an engine
    #[arg(long)]
    nats: bool,
    /// Sagas under way at once, one line for each
    #[arg(long, value_delimiter = ',', default_value = "1,64,256", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    concurrency: Vec<u32>,
    /// How long each line runs, in seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// A folder on the disk to be measured; what is written there is deleted again
    #[arg(long, default_value = ".")]
    folder: PathBuf,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum Store {
    /// A file, with `synchronous=FULL`
    Sqlite,
}

/// Runs it.
///
/// # Errors
/// When the store or the engine fails.
pub async fn bench(bench: Bench, context: Context) -> Result<ExitCode, Failure> {
    match bench.what {
        What::Chain(what) => chain(what, &context).await,
        What::Participant(Participant { namespace }) => {
            remote::serve(nats(&context)?, namespace).await?;
            Ok(ExitCode::SUCCESS)
        }
        What::Timers(what) => timers(what, context.output).await,
    }
}

/// A folder for the databases, for as long as `with` runs.
async fn in_folder<T>(parent: &Path, with: impl AsyncFnOnce(&Path) -> Result<T, BenchError>) -> Result<T, Failure> {
    let folder = parent.join(format!("tercet-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let done = Box::pin(with(&folder)).await;
    std::fs::remove_dir_all(&folder)?;
    Ok(done?)
}

/// Progress, on a terminal only.
fn bar(length: u64, template: &str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

const fn exit(adds_up: bool) -> ExitCode {
    if adds_up { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn nats(context: &Context) -> Result<Nats, Failure> {
    let no_url = || {
        Failure::new(
            Exit::Usage,
            "`--nats` needs to know where NATS is: set `nats.url`, as in TERCET_NATS__URL=nats://127.0.0.1:4222",
        )
    };
    context.config.nats.clone().ok_or_else(no_url)
}

async fn chain(what: Chain, context: &Context) -> Result<ExitCode, Failure> {
    let Chain { store, nats: over_nats, concurrency, seconds, folder } = what;
    let (output, nats) = (context.output, over_nats.then(|| nats(context)).transpose()?);
    let concurrency: Vec<_> = concurrency.into_iter().map(|n| n as usize).collect();
    let bar = bar(concurrency.len() as u64, "{spinner} {msg} {wide_bar} {pos}/{len} {elapsed}");
    bar.enable_steady_tick(TICK);
    let options = Options { concurrency, time: Duration::from_secs(seconds), nats };
    let mut adds_up = true;
    if output == Output::Table {
        println!("{HEAD}");
    }
    let say = |said| match said {
        Said::Measuring(concurrency) => bar.set_message(format!("{concurrency} sagas at once")),
        Said::Measured(line) => {
            adds_up &= line.violations.is_empty();
            bar.suspend(|| print(&line, output));
            bar.inc(1);
        }
    };
    let done = in_folder(&folder, async |folder| run(&store, folder, &options, say).await).await;
    bar.finish_and_clear();
    done?;
    Ok(exit(adds_up))
}

async fn timers(what: Timers, output: Output) -> Result<ExitCode, Failure> {
    let Timers { store: Store::Sqlite, waiting, due_in, folder } = what;
    let options = timers::Options { waiting, due_in: due_in.map(Duration::from_secs) };
    let bar = bar(waiting, "{msg:8} {wide_bar} {human_pos}/{human_len}");
    let say = |progress| {
        let (what, so_many) = match progress {
            Progress::Armed(n) => ("arming", n),
            Progress::Fired(n) => ("firing", n),
        };
        bar.set_message(what);
        bar.set_position(so_many);
    };
    let line = in_folder(&folder, async |folder| timers::run(folder, options, say).await).await;
    bar.finish_and_clear();
    let line = line?;
    match output {
        Output::Table => println!("{}", table(&line)),
        Output::Json | Output::Jsonl => print_json(&line),
    }
    Ok(exit(line.violations.is_empty()))
}

fn table(line: &timers::Line) -> String {
    let late = &line.lateness_ms;
    let rows = [
        ("waiting", line.waiting.to_string()),
        ("armed a second", line.arm_per_s.to_string()),
        ("fired a second", line.fire_per_s.to_string()),
        ("late, ms", format!("p50 {}  p99 {}  max {}", late.p50, late.p99, late.max)),
        ("early", line.early.to_string()),
        ("a saga started meanwhile, ms", line.started_meanwhile_ms.to_string()),
        ("resident while they wait, MB", line.rss_mb.to_string()),
        ("of a core while they wait, %", line.idle_cpu_percent.to_string()),
        ("bytes a saga that waits", line.bytes_per_timer.to_string()),
        ("store's limit, rows a second", line.store_limit_rows_per_s.to_string()),
        ("does not add up", if line.violations.is_empty() { "nothing".into() } else { line.violations.join("; ") }),
    ];
    rows.map(|(name, value)| format!("{name:<30}{value}")).join("\n")
}

fn print_json(line: &impl serde::Serialize) {
    match serde_json::to_string(line) {
        Ok(text) => println!("{text}"),
        Err(error) => eprintln!("failed to print a line: {error}"),
    }
}

/// What stands behind a line's figures.
fn beside(line: &Line) -> String {
    let nats = line.nats_calls_per_s.map_or_else(String::new, |calls| format!("  NATS: {calls} calls/s"));
    let wrong = if line.violations.is_empty() { String::new() } else { format!("  WRONG: {:?}", line.violations) };
    nats + &wrong
}

const HEAD: &str =
    "concurrency   sagas/s   steps/s   p50 ms   p99 ms  rows/saga   rows/s  limit rows/s  ratio  commit ms";

fn print(line: &Line, output: Output) {
    match output {
        Output::Table => println!(
            "{:>11} {:>9} {:>9} {:>8.1} {:>8.1} {:>10} {:>8} {:>13} {:>6} {:>10}{}",
            line.concurrency,
            line.sagas_per_s,
            line.steps_per_s,
            line.latency_ms.p50,
            line.latency_ms.p99,
            line.rows_per_saga,
            line.journal_rows_per_s,
            line.store_limit_rows_per_s,
            line.ratio_to_limit,
            line.commit_ms,
            beside(line),
        ),
        Output::Json | Output::Jsonl => print_json(line),
    }
}
