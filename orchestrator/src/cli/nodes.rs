//! `node …`: who shares the database.

use super::{
    Failure,
    client::Client,
    output::{Output, rows},
};
use crate::api::nodes::{NodeView, Nodes};
use clap::Subcommand;
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the nodes that share a database, and how much each owns
    #[command(visible_alias = "ls")]
    List,
}

pub(super) async fn run(command: Command, client: &Client, output: Output) -> Result<ExitCode, Failure> {
    let Command::List = command;
    let Nodes { nodes } = client.get(&["nodes"], &[]).await?.read()?;
    let head = ["node", "where", "shards", "guests", "lease until", "definitions"];
    rows(output, &nodes, "no node is there", head, cells)?;
    Ok(ExitCode::SUCCESS)
}

fn cells(one: &NodeView) -> [String; 6] {
    let here = if one.here { " (this one)" } else { "" };
    let lease = one.lease.clone().unwrap_or_else(|| "for ever: it is alone".to_owned());
    let late = if one.late { " (over)" } else { "" };
    [
        one.node.clone(),
        format!("{}{here}", one.label),
        one.shards.to_string(),
        one.guests.to_string(),
        format!("{lease}{late}"),
        one.definitions.len().to_string(),
    ]
}
