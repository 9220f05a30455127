//! `tercet bench`, as it is called.

use super::{Line, Options, run};
use clap::{Parser, Subcommand, ValueEnum};
use std::{path::PathBuf, process::ExitCode, time::Duration};
use tercet::cli::{Context, Failure, Output};

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
}

#[derive(clap::Args, Debug)]
struct Chain {
    /// Where the journal is
    #[arg(long, value_enum, default_value_t = Store::Sqlite)]
    store: Store,
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
    let What::Chain(Chain { store: Store::Sqlite, concurrency, seconds, folder }) = bench.what;
    let folder = folder.join(format!("tercet-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let concurrency = concurrency.into_iter().map(|n| n as usize).collect();
    let options = Options { concurrency, time: Duration::from_secs(seconds) };
    let mut adds_up = true;
    if context.output == Output::Table {
        println!("{HEAD}");
    }
    let done = run(&folder, &options, |line| {
        adds_up &= line.violations.is_empty();
        print(&line, context.output);
    })
    .await;
    std::fs::remove_dir_all(&folder)?;
    done?;
    Ok(if adds_up { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
            if line.violations.is_empty() { String::new() } else { format!("  WRONG: {:?}", line.violations) },
        ),
        Output::Json | Output::Jsonl => match serde_json::to_string(line) {
            Ok(text) => println!("{text}"),
            Err(error) => eprintln!("failed to print a line: {error}"),
        },
    }
}
