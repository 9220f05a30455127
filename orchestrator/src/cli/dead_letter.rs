//! `dead-letter …`: what came by way of a stream and can never succeed as things are.

use super::{
    Failure,
    client::{Answer, Client, Fields},
    output::{Output, brief, line, rows},
};
use crate::api::dead_letters::{LetterGone, LetterPage, LetterView};
use clap::{Args, Subcommand};
use std::{process::ExitCode, time::Duration};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List dead letters, oldest first
    #[command(visible_alias = "ls")]
    List(List),
    /// Show a dead letter: why it cannot succeed, and what it says
    Show(Show),
    /// Send dead letters again to where they came in, once what was in their way is not there any more
    Resend(Which),
    /// Drop dead letters for good
    Drop(Which),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// At most so many
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u32>,
    /// Go on behind the page that ended with this
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// Its number
    number: u64,
}

#[derive(Debug, Args)]
#[group(required = true)]
pub(super) struct Which {
    /// Their numbers
    #[arg(value_name = "NUMBER")]
    numbers: Vec<u64>,
    /// All that are there now
    #[arg(long, conflicts_with = "numbers")]
    all: bool,
}

/// The longest reason and body in a table's cell, in characters; the other forms have all of it.
const CELL_MAX: usize = 80;

/// Letters in a page where all are wanted.
const PAGE: u32 = 500;

pub(super) async fn run(command: Command, client: &Client, output: Output) -> Result<ExitCode, Failure> {
    match command {
        Command::List(wanted) => list(wanted, client, output).await?,
        Command::Show(Show { number }) => {
            let answer = client.get(&["dead-letters", &number.to_string()], &[]).await?;
            show(&answer, output)?;
        }
        Command::Resend(which) => {
            for number in numbers(which, client).await? {
                let path = ["dead-letters", &number.to_string(), "resend"];
                let answer = client.post(&path, &[], &Fields::default(), Duration::ZERO).await?;
                gone(&answer, "is sent again", output)?;
            }
        }
        Command::Drop(which) => {
            for number in numbers(which, client).await? {
                gone(&client.delete(&["dead-letters", &number.to_string()]).await?, "is dropped", output)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn page(limit: Option<u32>, after: Option<String>, client: &Client) -> Result<LetterPage, Failure> {
    let given = [("limit", limit.map(|limit| limit.to_string())), ("cursor", after)];
    let query: Vec<_> = given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    client.get(&["dead-letters"], &query).await?.read()
}

async fn list(wanted: List, client: &Client, output: Output) -> Result<(), Failure> {
    let page = page(wanted.limit, wanted.after, client).await?;
    if output == Output::Json {
        line(serde_json::to_string(&page)?);
        return Ok(());
    }
    let head = ["number", "kind", "about", "code", "reason", "since"];
    rows(output, &page.letters, "there is no dead letter", head, cells)?;
    if let (Output::Table, Some(next)) = (output, &page.next) {
        line(format!("more: --after {next}"));
    }
    Ok(())
}

fn cells(letter: &LetterView) -> [String; 6] {
    let kind = letter.kind.clone().unwrap_or_default();
    let reason = brief(&letter.reason, CELL_MAX);
    [letter.number.to_string(), kind, about(letter), letter.code.clone(), reason, letter.at.clone()]
}

/// Which saga it is about, as far as it says so.
fn about(letter: &LetterView) -> String {
    let body: serde_json::Value = letter.body.as_ref().and_then(|body| body.parse().ok()).unwrap_or_default();
    let text = |name: &str| body[name].as_str();
    match (text("definition"), text("key"), text("saga")) {
        (Some(definition), Some(key), _) => brief(&format!("{definition}/{key}"), CELL_MAX),
        (_, _, Some(saga)) => brief(saga, CELL_MAX),
        _ => "?".to_owned(),
    }
}

fn show(answer: &Answer, output: Output) -> Result<(), Failure> {
    if output != Output::Table {
        line(&answer.0);
        return Ok(());
    }
    let letter: LetterView = answer.read()?;
    line(format!("dead letter {}: a {} of {}", letter.number, letter.kind.as_deref().unwrap_or("?"), about(&letter)));
    line(format!("code     {}", letter.code));
    line(format!("reason   {}", letter.reason));
    line(format!("came     {}", letter.came.as_deref().unwrap_or("?")));
    line(format!("aside    {}", letter.at));
    match (&letter.body, &letter.unreadable) {
        (Some(body), _) => line(format!("body     {}", body.as_str())),
        (None, Some(text)) => line(format!("bytes    {}", text.escape_debug())),
        (None, None) => {}
    }
    Ok(())
}

fn gone(answer: &Answer, became: &str, output: Output) -> Result<(), Failure> {
    match output {
        Output::Table => line(format!("dead letter {} {became}", answer.read::<LetterGone>()?.number)),
        Output::Json | Output::Jsonl => line(&answer.0),
    }
    Ok(())
}

/// Those that are there now: what comes back while they are sent again is not among them.
async fn numbers(which: Which, client: &Client) -> Result<Vec<u64>, Failure> {
    if !which.all {
        return Ok(which.numbers);
    }
    let (mut numbers, mut after) = (Vec::new(), None);
    loop {
        let page = page(Some(PAGE), after, client).await?;
        numbers.extend(page.letters.iter().map(|letter| letter.number));
        after = page.next;
        if after.is_none() {
            return Ok(numbers);
        }
    }
}
