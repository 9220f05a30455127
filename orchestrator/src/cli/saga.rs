//! `saga …`: start, look at and operate sagas of a running node.

use super::{
    Exit, Failure,
    client::{Answer, Client, Fields},
    output::{self, Form, Output, brief, line},
    page, progress,
};
use crate::api::view::{ActedView, SagaDetail, SagaPage, SagaView, StartedView};
use clap::{Args, Subcommand};
use std::{io::Read, process::ExitCode, time::Duration};
use tercet_core::{Choice, Payload};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Start a saga: the same key and input start one, however often
    Start(Start),
    /// List sagas, newest first
    List(List),
    /// Show a saga: where it stands, why it waits, what can be done
    Show(Named),
    /// Show what happened to a saga, fact by fact
    History(Named),
    /// Tell a saga something that it waits for
    Signal(Signal),
    /// Ask a saga to undo itself, while it has not decided
    Cancel(Cancel),
    /// Ask a step again now
    Retry(Retry),
    /// Decide about a step in a person's name
    Resolve(Resolve),
}

#[derive(Debug, Args)]
pub(super) struct Named {
    /// The saga's id, or definition/key
    saga: String,
}

#[derive(Debug, Args)]
pub(super) struct Start {
    /// The definition
    definition: String,
    /// Your own name for the saga, as in an order's number
    #[arg(long)]
    key: String,
    /// The input: JSON, @file, or - for the input stream
    #[arg(long, default_value = "null")]
    input: String,
    /// The definition's version, if not its newest
    #[arg(long)]
    version: Option<u32>,
    /// Wait until it is `tried`, at its `end` or parked on the way there, or a step is done; exit code 7 when it is cancelled, 8 when
    /// it is parked, 9 when the limit passes first
    #[arg(long, value_name = "tried|end|STEP")]
    wait: Option<String>,
    /// How long to wait at most
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    limit: Duration,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Of this definition
    #[arg(long, value_name = "NAME")]
    definition: Option<String>,
    /// In this status
    #[arg(long, visible_alias = "state", value_parser = STATUSES)]
    status: Option<String>,
    /// With a step that waits for a person
    #[arg(long)]
    parked: bool,
    /// Asking for attention
    #[arg(long)]
    attention: bool,
    /// Under this key
    #[arg(long)]
    key: Option<String>,
    /// Started at this moment or later: 2026-11-25T06:53:48Z, or how long ago, as in 2h
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    since: Option<String>,
    /// Started before this moment
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    until: Option<String>,
    /// At most so many; 50 if it is not said
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    /// Go on behind the page that ended with this
    #[arg(long, visible_alias = "cursor", value_name = "CURSOR")]
    after: Option<String>,
    /// Every page
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

const STATUSES: [&str; 5] = ["trying", "confirming", "cancelling", "confirmed", "cancelled"];

/// Sagas in a page, where every page is asked for.
const PAGE_OF_ALL: u32 = 500;

/// A moment, or how long ago it is, as the API takes it.
pub(super) fn moment(text: &str) -> Result<String, String> {
    let at = match humantime::parse_duration(text) {
        Ok(ago) => std::time::SystemTime::now().checked_sub(ago),
        Err(_) => humantime::parse_rfc3339_weak(text).ok(),
    };
    let at = at.filter(|at| *at >= std::time::UNIX_EPOCH);
    let at = at.ok_or("give a moment, as in 2026-11-25T06:53:48Z, or how long ago, as in 2h or 3 days")?;
    Ok(humantime::format_rfc3339_millis(at).to_string())
}

#[derive(Debug, Args)]
pub(super) struct Signal {
    /// The saga's id, or definition/key
    saga: String,
    /// The signal's name, as in orders.paid/1
    signal: String,
    /// The signal's own id, the same in every re-send
    #[arg(long)]
    id: String,
    /// What it carries: JSON, @file, or - for the input stream
    #[arg(long, default_value = "null")]
    payload: String,
}

/// Who and why; both are kept.
#[derive(Debug, Args)]
struct Signed {
    /// Why: it is kept in the saga's history
    #[arg(long)]
    reason: String,
    /// Who says so
    #[arg(long, env = "USER", default_value = "cli")]
    by: String,
}

impl Signed {
    fn fields(&self) -> Result<Fields, Failure> {
        Fields::default().with("by", &self.by)?.with("reason", &self.reason)
    }
}

#[derive(Debug, Args)]
pub(super) struct Cancel {
    /// The saga's id, or definition/key
    saga: String,
    #[command(flatten)]
    signed: Signed,
}

#[derive(Debug, Args)]
pub(super) struct Retry {
    /// The saga's id, or definition/key
    saga: String,
    /// The step; may be left out when only one can be retried
    #[arg(long)]
    step: Option<String>,
    #[command(flatten)]
    signed: Signed,
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("action").required(true)))]
pub(super) struct Resolve {
    /// The saga's id, or definition/key
    saga: String,
    /// The step
    #[arg(long)]
    step: String,
    /// It is done, and this is its reply: JSON, @file, or - for the input stream
    #[arg(long, group = "action", value_name = "REPLY")]
    done: Option<String>,
    /// It is not done, and never will be
    #[arg(long, group = "action")]
    not_done: bool,
    /// Ask the third party now
    #[arg(long, group = "action")]
    query: bool,
    /// Close it at the third party
    #[arg(long, group = "action")]
    close: bool,
    /// Believe --not-done without asking the third party first, or --done though the third party said no
    #[arg(long, conflicts_with_all = ["query", "close"])]
    force: bool,
    #[command(flatten)]
    signed: Signed,
}

pub(super) async fn run(command: Command, client: &Client, form: Form) -> Result<ExitCode, Failure> {
    match command {
        Command::Start(start) => return run_start(start, client, form.plain()?).await,
        Command::List(list) => run_list(list, client, form.plain()?).await?,
        Command::Show(named) => run_show(&named.saga, client, form).await?,
        Command::History(named) => {
            let saga = client.saga(&named.saga).await?;
            let answer = client.get(&["sagas", &saga, "history"], &[]).await?;
            page::history(&answer, form.plain()?)?;
        }
        Command::Signal(signal) => {
            let body = Fields::default().with("signal", &signal.signal)?.with("id", &signal.id)?;
            let body = body.raw("payload", value(&signal.payload)?);
            act(client, &signal.saga, "signal", &body, form.plain()?).await?;
        }
        Command::Cancel(Cancel { saga, signed }) => {
            let body = signed.fields()?;
            act(client, &saga, "cancel", &body, form.plain()?).await?;
        }
        Command::Retry(retry) => run_retry(retry, client, form.plain()?).await?,
        Command::Resolve(resolve) => {
            let body = resolution(&resolve)?;
            act(client, &resolve.saga, "resolve", &body, form.plain()?).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn run_start(start: Start, client: &Client, output: Output) -> Result<ExitCode, Failure> {
    let body = Fields::default().with("definition", &start.definition)?.with("key", &start.key)?;
    let body = body.raw("input", value(&start.input)?).with("version", &start.version)?;
    let mut query = Vec::new();
    if let Some(wait) = &start.wait {
        query = vec![("wait", wait.clone()), ("limit", humantime::format_duration(start.limit).to_string())];
    }
    let wait = start.wait.as_ref().map_or(Duration::ZERO, |_| start.limit);
    let sent = client.post(&["sagas"], &query, &body, wait);
    let answer = progress::during(format!("{} `{}` is under way", start.definition, start.key), sent).await?;
    let started: StartedView = answer.read()?;
    match output {
        Output::Table => page::started(&started, start.wait.as_deref()),
        Output::Json | Output::Jsonl => line(answer.0),
    }
    Ok(start.wait.map_or(ExitCode::SUCCESS, |_| waited(&started)))
}

/// How a start ends that waited: a script must not take a cancelled saga for one that went well.
fn waited(started: &StartedView) -> ExitCode {
    match started {
        _ if !started.parked.is_empty() => Exit::Parked.into(),
        _ if started.aborted.is_some() => Exit::Cancelled.into(),
        _ if !started.reached => Exit::NotYet.into(),
        _ => ExitCode::SUCCESS,
    }
}

async fn run_list(list: List, client: &Client, output: Output) -> Result<(), Failure> {
    let mut query: Vec<(&str, String)> = Vec::new();
    let given = [
        ("definition", list.definition),
        ("status", list.status),
        ("parked", list.parked.then(|| "true".to_owned())),
        ("attention", list.attention.then(|| "true".to_owned())),
        ("key", list.key),
        ("started_from", list.since),
        ("started_before", list.until),
        ("limit", list.limit.or(list.all.then_some(PAGE_OF_ALL)).map(|limit| limit.to_string())),
    ];
    query.extend(given.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let page = if list.all {
        every_page(&query, list.after, client).await?
    } else {
        a_page(&query, list.after.as_deref(), client).await?
    };
    if output == Output::Json {
        line(serde_json::to_string(&page)?);
        return Ok(());
    }
    let flags = |saga: &SagaView| match (saga.parked, saga.attention) {
        (0, false) => String::new(),
        (0, true) => "attention".to_owned(),
        (parked, false) => format!("{parked} parked"),
        (parked, true) => format!("{parked} parked, attention"),
    };
    let none = if query.is_empty() { "there is no saga yet" } else { "no saga fits" };
    output::rows(output, &page.sagas, none, ["id", "definition", "key", "status", "waits", "started"], |saga| {
        let (definition, key) = (format!("{} {}", saga.definition, saga.version), brief(saga.key.as_str(), 40));
        [saga.id.to_string(), definition, key, saga.status.clone(), flags(saga), saga.started.clone()]
    })?;
    if let (Output::Table, Some(next)) = (output, &page.next) {
        line(format!("more: --after {next}"));
    }
    Ok(())
}

async fn a_page(query: &[(&str, String)], after: Option<&str>, client: &Client) -> Result<SagaPage, Failure> {
    let cursor = after.map(|after| ("cursor", after.to_owned()));
    let query: Vec<_> = query.iter().cloned().chain(cursor).collect();
    client.get(&["sagas"], &query).await?.read()
}

/// Every page from `after` on, as one.
async fn every_page(query: &[(&str, String)], mut after: Option<String>, client: &Client) -> Result<SagaPage, Failure> {
    let mut all = SagaPage { sagas: Vec::new(), next: None };
    loop {
        let so_far = format!("{} sagas so far", all.sagas.len());
        let page = progress::during(so_far, a_page(query, after.as_deref(), client)).await?;
        all.sagas.extend(page.sagas);
        after = page.next;
        if after.is_none() {
            return Ok(all);
        }
    }
}

async fn run_show(saga: &str, client: &Client, form: Form) -> Result<(), Failure> {
    let saga = client.saga(saga).await?;
    let drawing = match form {
        Form::Mermaid => Some("mermaid"),
        Form::Dot => Some("dot"),
        Form::Tree => Some("tree"),
        Form::Table | Form::Json | Form::Jsonl => None,
    };
    let graph = |format: &str| [("format", format.to_owned())];
    if let Some(format) = drawing {
        line(client.get(&["sagas", &saga, "graph"], &graph(format)).await?.0.trim_end());
        return Ok(());
    }
    let answer = client.get(&["sagas", &saga], &[]).await?;
    if form != Form::Table {
        line(answer.0);
        return Ok(());
    }
    let tree = client.get(&["sagas", &saga, "graph"], &graph("tree")).await;
    let tree = tree.ok().map(|Answer(tree)| tree);
    page::saga(&answer.read()?, tree.as_deref(), client);
    Ok(())
}

async fn act(client: &Client, saga: &str, action: &str, body: &Fields, output: Output) -> Result<(), Failure> {
    let saga = client.saga(saga).await?;
    let answer = client.post(&["sagas", &saga, action], &[], body, Duration::ZERO).await?;
    match output {
        Output::Table => page::acted(&answer.read::<ActedView>()?),
        Output::Json | Output::Jsonl => line(answer.0),
    }
    Ok(())
}

async fn run_retry(retry: Retry, client: &Client, output: Output) -> Result<(), Failure> {
    let saga = client.saga(&retry.saga).await?;
    let step = match retry.step {
        Some(step) => step,
        None => only_step(client, &saga).await?,
    };
    let body = retry.signed.fields()?.with("step", &step)?;
    act(client, &saga, "retry", &body, output).await
}

/// The one step that can be retried.
async fn only_step(client: &Client, saga: &str) -> Result<String, Failure> {
    let detail: SagaDetail = client.get(&["sagas", saga], &[]).await?.read()?;
    let steps = detail.steps.iter().filter(|step| step.choices.contains(&Choice::RetryNow));
    let steps: Vec<_> = steps.map(|step| step.step.to_string()).collect();
    match steps.as_slice() {
        [only] => Ok(only.clone()),
        [] => {
            let text = format!("no step of saga {saga} can be retried now: it is {}", detail.says);
            Err(Failure::new(Exit::Conflict, text))
        }
        several => {
            Err(Failure::usage(format!("several steps can be retried: name one with --step: {}", several.join(", "))))
        }
    }
}

fn resolution(resolve: &Resolve) -> Result<Fields, Failure> {
    let body = resolve.signed.fields()?.with("step", &resolve.step)?;
    match resolve {
        Resolve { done: Some(reply), force, .. } => {
            body.raw("value", value(reply)?).with("force", force)?.with("action", "mark_done")
        }
        Resolve { not_done: true, force, .. } => body.with("force", force)?.with("action", "mark_not_done"),
        Resolve { query: true, .. } => body.with("action", "query_now"),
        Resolve { .. } => body.with("action", "close"),
    }
}

/// JSON from an argument, a file (`@path`) or the input stream (`-`).
fn value(argument: &str) -> Result<Payload, Failure> {
    let (text, from) = match argument.strip_prefix('@') {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Failure::usage(format!("failed to read {path}: {error}")))?;
            (text, path)
        }
        None if argument == "-" => {
            let mut text = String::new();
            let read = std::io::stdin().read_to_string(&mut text);
            read.map_err(|error| Failure::usage(format!("failed to read the input stream: {error}")))?;
            (text, "the input stream")
        }
        None => (argument.to_owned(), "the argument"),
    };
    Payload::from_bytes(text.as_bytes()).map_err(|error| {
        Failure::usage(format!("{from} is not JSON: {error}; give JSON, @file, or - for the input stream"))
    })
}
