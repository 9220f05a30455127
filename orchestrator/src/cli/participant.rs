//! `participant …`: who is there to be asked, over NATS.

use super::{
    Failure,
    client::Client,
    output::{Output, rows},
};
use crate::api::participants::{InstanceView, Participants};
use clap::{Args, Subcommand};
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the participants that are there now: instances, versions and what they have answered
    #[command(visible_alias = "list")]
    Ls(Ls),
}

#[derive(Debug, Args)]
pub(super) struct Ls {
    /// How long to wait for their answers, as in 500ms
    #[arg(long, value_name = "TIME")]
    within: Option<String>,
}

pub(super) async fn run(command: Command, client: &Client, output: Output) -> Result<ExitCode, Failure> {
    let Command::Ls(Ls { within }) = command;
    let query: Vec<_> = within.map(|within| ("within", within)).into_iter().collect();
    let Participants { participants } = client.get(&["participants"], &query).await?.read()?;
    let head = ["participant", "instance", "version", "since", "calls", "errors", "average", "contracts"];
    rows(output, &participants, "no participant is there", head, cells)?;
    Ok(ExitCode::SUCCESS)
}

fn cells(one: &InstanceView) -> [String; 8] {
    let sum = |count: fn(&crate::transport::Operation) -> u64| one.operations.iter().map(count).sum::<u64>();
    let calls = sum(|operation| operation.calls);
    let took: u128 = one.operations.iter().map(|o| u128::from(o.calls) * u128::from(o.average_us)).sum();
    let average = took.checked_div(u128::from(calls)).unwrap_or_default();
    let contracts: Vec<_> =
        one.operations.iter().flat_map(|operation| &operation.contracts).map(String::as_str).collect();
    [
        one.participant.clone(),
        one.instance.clone(),
        one.version.clone(),
        one.started.clone().unwrap_or_else(|| "?".to_owned()),
        calls.to_string(),
        sum(|operation| operation.errors).to_string(),
        format!("{}.{} ms", average / 1000, average % 1000 / 100),
        contracts.join(" "),
    ]
}
