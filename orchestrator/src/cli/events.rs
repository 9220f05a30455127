//! `events …`: what participants have published: those that a node hosts, or any, as the broker's stream has kept it.

use super::{
    Failure,
    client::Client,
    output::{Output, brief, line, rows},
    saga::moment,
};
use crate::api::events::{EventPage, EventView};
use clap::{Args, Subcommand};
use std::{process::ExitCode, time::Duration};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print what hosted participants have published, oldest first
    Tail(Wanted),
    /// Print what participants have published over NATS, as the broker's stream has kept it, oldest first
    Replay(Wanted),
}

#[derive(Debug, Args)]
pub(super) struct Wanted {
    /// Go on printing what is published, until Ctrl-C
    #[arg(long, short)]
    follow: bool,
    /// About this subject: an order's id, say
    #[arg(long, value_name = "ID")]
    subject: Option<String>,
    /// From this moment on: 2026-11-25T06:53:48Z, or how long ago, as in 2h
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    since: Option<String>,
    /// Go on behind the page that ended with this
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
}

/// Between two looks, when nothing more stands there.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Events in a page.
const PAGE: u32 = 500;

/// The longest data in a table's cell, in characters; the other forms have all of it.
const DATA_MAX: usize = 80;

pub(super) async fn run(command: Command, client: &Client, output: Output) -> Result<ExitCode, Failure> {
    let (path, wanted): (&[&str], _) = match command {
        Command::Tail(wanted) => (&["events"], wanted),
        Command::Replay(wanted) => (&["events", "replay"], wanted),
    };
    if wanted.follow && output == Output::Json {
        return Err(Failure::usage("what is followed has no end, and one JSON value has: use -o jsonl"));
    }
    let mut all = Vec::new();
    let mut after = wanted.after.clone();
    loop {
        let page = page(path, &wanted, after.clone(), client).await?;
        after = page.next.or(after);
        if wanted.follow || output == Output::Jsonl {
            page.events.iter().try_for_each(|event| show(event, output))?;
        } else {
            all.extend(page.events);
        }
        match (page.more, wanted.follow) {
            (true, _) => {}
            (false, true) => tokio::time::sleep(LOOK_EVERY).await,
            (false, false) => break,
        }
    }
    if output != Output::Jsonl {
        let head = ["when", "subject", "version", "type", "data"];
        rows(output, &all, "no event fits", head, cells)?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn page(path: &[&str], wanted: &Wanted, after: Option<String>, client: &Client) -> Result<EventPage, Failure> {
    let given = [
        ("subject", wanted.subject.clone()),
        ("since", wanted.since.clone()),
        ("cursor", after),
        ("limit", Some(PAGE.to_string())),
    ];
    let query: Vec<_> = given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    client.get(path, &query).await?.read()
}

fn show(event: &EventView, output: Output) -> Result<(), Failure> {
    match output {
        Output::Table => line(cells(event).join("  ")),
        Output::Json | Output::Jsonl => line(serde_json::to_string(event)?),
    }
    Ok(())
}

fn cells(event: &EventView) -> [String; 5] {
    let data = brief(event.data.as_str(), DATA_MAX);
    [event.at.clone(), event.subject.clone(), event.version.to_string(), event.kind.clone(), data]
}
