//! `tercet dev --demo`, as it is called.

use super::{Demo, DemoError, Options, Progress, Report, tables};
use clap::Args;
use std::process::ExitCode;
use tercet::cli::{Context, Exit, Failure, Output};

/// What `dev --demo` takes.
#[derive(Args, Debug)]
pub struct Flags {
    /// What the demo's sales, refunds and misfortunes are drawn from
    #[arg(long, value_name = "N", default_value_t = 7)]
    seed: u64,
    /// How many sagas
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    sagas: u32,
    /// Ends when every saga has ended or is parked, with exit code 1 when anything does not add up
    #[arg(long)]
    exit: bool,
}

/// Runs it.
///
/// # Errors
/// When the folder holds another demo, or a database or the engine fails.
pub async fn demo(flags: Flags, context: Context) -> Result<ExitCode, Failure> {
    let options = Options { seed: flags.seed, sagas: flags.sagas as usize };
    let demo = Demo::open(&context.config.data.with_extension("demo"), options).await.map_err(|error| match error {
        DemoError::Other { .. } => Failure::new(Exit::Conflict, error.to_string()),
        error => error.into(),
    })?;
    let node =
        if flags.exit { context.start_unheard(demo.hosted()).await? } else { context.start(demo.hosted()).await? };
    eprintln!(
        "{} sagas of seed {} in {}; a minute passes in a second. Kill it, run it again, watch it finish.",
        options.sagas,
        options.seed,
        demo.folder().display()
    );
    let mut progress = Progress::of(options.sagas);
    let report = demo.run(node.engine(), |sagas| progress.show(sagas)).await?;
    progress.done();
    print(&report, context.output)?;
    let adds_up = report.violations.is_empty();
    if flags.exit {
        node.stop().await;
    } else {
        if let Some(address) = node.address() {
            let there = node.server_flag();
            eprintln!(
                "The node stays up at http://{address} until Ctrl-C. Look around: `tercet saga list --parked{there}`."
            );
        }
        node.until_stopped().await?;
    }
    Ok(if adds_up { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(report: &Report, output: Output) -> Result<(), Failure> {
    match output {
        Output::Table => println!("{}", tables(report)),
        Output::Json | Output::Jsonl => println!("{}", serde_json::to_string(report)?),
    }
    Ok(())
}
