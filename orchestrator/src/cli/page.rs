//! A saga on paper: where it stands, why it waits, what can be done and by which command.

use super::{
    Failure,
    client::{Answer, Client},
    output::{Output, brief, line, table},
};
use crate::api::view::{ActedView, EntryView, History, SagaDetail, StartedView, StepView};
use std::time::SystemTime;
use tercet_core::Choice;

/// The longest value on a page, in characters; `-o json` has all of it.
const VALUE_MAX: usize = 200;

pub(super) fn started(view: &StartedView, waited: Option<&str>) {
    let how = if view.new { "started" } else { "was started before, with the same input" };
    line(format!("{} `{}` {how}: {}", view.definition, view.key, view.id));
    if let Some(status) = &view.status {
        line(format!("it is {status}"));
    }
    if let (false, Some(waited)) = (view.reached, waited) {
        let what = match waited {
            "end" => "its end".to_owned(),
            "tried" => "every try".to_owned(),
            step => format!("step `{step}`"),
        };
        let on = if view.parked.is_empty() { "it goes on" } else { "a person decides how it goes on: see `saga show`" };
        line(format!("{what} is not there yet; {on}"));
    }
    if let Some(step) = view.step.as_ref().filter(|step| step.pending.is_none()) {
        line(format!("`{}` is {}{}", step.step, step.status, outcome(step)));
    }
    let told = view.step.as_ref().map(|step| &step.step);
    for (step, why) in view.parked.iter().filter(|(step, _)| Some(step) != told) {
        line(format!("`{step}` waits for a person: {why}"));
    }
    for (step, note) in &view.pending {
        line(format!("`{step}` is pending: {}", brief(note.as_str(), VALUE_MAX)));
    }
    if let Some(output) = &view.output {
        line(format!("output: {}", brief(output.as_str(), VALUE_MAX)));
    }
    if let Some(why) = &view.aborted {
        let verb = if view.status.as_deref() == Some("cancelled") { "it was undone" } else { "it is being undone" };
        line(format!("{verb}: {why}"));
    }
}

fn outcome(step: &StepView) -> String {
    match (&step.reply, &step.refusal) {
        (_, Some(refusal)) => format!(": {refusal}"),
        (None, None) if step.parked.is_some() => {
            step.parked.as_ref().map_or(String::new(), |why| format!(", and parked: {why}"))
        }
        (Some(reply), None) => format!(": {}", brief(reply.as_str(), VALUE_MAX)),
        (None, None) => String::new(),
    }
}

pub(super) fn acted(view: &ActedView) {
    line(format!("saga {} is {}", view.id, view.says));
    if let Some(signal) = &view.signal {
        let verdict = match signal.verdict {
            Some(verdict) if verdict.is_too_late() => "it came too late",
            Some(_) => "it was accepted",
            None => "no verdict yet: send it again under the same id to hear it",
        };
        line(format!("`{}` ({}) is in its journal; {verdict}", signal.signal, signal.id));
    }
    if let Some(step) = &view.step {
        line(format!("`{}` is {}{}", step.step, step.status, outcome(step)));
    }
}

pub(super) fn saga(detail: &SagaDetail, tree: Option<&str>, client: &Client) {
    let saga = &detail.saga;
    line(format!("{} {}  {}", saga.definition, saga.version, saga.id));
    line(format!("key       {}", saga.key));
    line(format!("state     {}", detail.says));
    line(format!("started   {}", saga.started));
    line(format!("changed   {}", saga.updated));
    if let Some((parent, step)) = &saga.parent {
        line(format!("parent    {parent}, its step `{step}`"));
    }
    match &detail.next_wake {
        Some(wakes) => line(format!("wakes     {}", from_now(wakes))),
        None if !detail.waits.is_empty() => line("wakes     by no timer"),
        None => {}
    }
    if let Some(why) = &detail.unreadable {
        line(format!("journal   cannot be read: {why}"));
    }
    for (name, value) in [("input", &detail.input), ("output", &saga.output)] {
        if let Some(value) = value {
            line(format!("{name:<9} {}", brief(value.as_str(), VALUE_MAX)));
        }
    }
    waits(detail);
    offers(detail, client);
    let flagged: Vec<_> = detail.steps.iter().filter_map(|step| Some((step, step.attention.as_ref()?))).collect();
    section("attention", flagged.iter().map(|(step, why)| format!("`{}`: {why}", step.step)));
    if let Some(tree) = tree {
        line("");
        line(tree.trim_end());
    }
}

fn section(title: &str, lines: impl Iterator<Item = String>) {
    let lines: Vec<_> = lines.collect();
    if lines.is_empty() {
        return;
    }
    line(format!("\n{title}"));
    for each in lines {
        line(format!("  {each}"));
    }
}

fn waits(detail: &SagaDetail) {
    let wait = |wait: &crate::api::view::WaitView| match &wait.wakes {
        Some(at) => format!("`{}`: {}; next at {}", wait.step, wait.why, from_now(at)),
        None => format!("`{}`: {}", wait.step, wait.why),
    };
    section("waits for", detail.waits.iter().map(wait));
}

/// Every command that is offered now: first for what waits for a person, last for the saga as a whole.
fn offers(detail: &SagaDetail, client: &Client) {
    let mut offering: Vec<_> = detail.steps.iter().filter(|step| !step.choices.is_empty()).collect();
    offering.sort_by_key(|step| step.parked.is_none());
    let id = detail.saga.id;
    let of_saga = detail.choices.iter().map(|choice| offer(client, &id.to_string(), "", *choice));
    let lines = offering.into_iter().flat_map(|step| {
        let title = format!(
            "`{}`{}",
            step.step,
            step.parked.as_ref().map_or(String::new(), |why| format!(" is parked: {why}"))
        );
        let offer = |choice: &Choice| format!("  {}", offer(client, &id.to_string(), step.step.as_str(), *choice));
        let of_step = step.choices.iter().filter(|choice| **choice != Choice::Cancel);
        std::iter::once(title).chain(of_step.map(offer)).collect::<Vec<_>>()
    });
    section("you can", lines.chain(of_saga));
}

fn offer(client: &Client, saga: &str, step: &str, choice: Choice) -> String {
    let resolve = |how: &str| client.command(&format!("saga resolve {saga} --step '{step}' {how} --reason WHY"));
    match choice {
        Choice::RetryNow => client.command(&format!("saga retry {saga} --step '{step}' --reason WHY")),
        Choice::QueryNow => resolve("--query"),
        Choice::Close => resolve("--close"),
        Choice::MarkDone => resolve("--done REPLY"),
        Choice::MarkNotDone => resolve("--not-done"),
        Choice::Cancel => client.command(&format!("saga cancel {saga} --reason WHY")),
    }
}

/// A moment, and how far away it is.
fn from_now(moment: &str) -> String {
    let Ok(at) = humantime::parse_rfc3339(moment) else { return moment.to_owned() };
    let seconds = |time: std::time::Duration| std::time::Duration::from_secs(time.as_secs());
    match at.duration_since(SystemTime::now()) {
        Ok(left) => format!("{moment} (in {})", humantime::format_duration(seconds(left))),
        Err(past) => format!("{moment} ({} ago)", humantime::format_duration(seconds(past.duration()))),
    }
}

pub(super) fn history(answer: &Answer, output: Output) -> Result<(), Failure> {
    if output == Output::Json {
        line(&answer.0);
        return Ok(());
    }
    let History { id, entries, audit, unreadable } = answer.read()?;
    if output == Output::Jsonl {
        for entry in &entries {
            line(serde_json::to_string(entry)?);
        }
        return Ok(());
    }
    if let Some(why) = unreadable {
        line(format!("the journal of saga {id} cannot be read: {why}"));
    } else if entries.is_empty() {
        line(format!("the journal of saga {id} is past its retention"));
    }
    let facts = |entry: &EntryView| -> Vec<_> {
        entry.says.iter().map(|says| [entry.seq.to_string(), entry.at.clone(), says.clone()]).collect()
    };
    if !entries.is_empty() {
        line(table(["#", "when", "what"], entries.iter().flat_map(facts)));
    }
    section(
        "by people",
        audit.iter().map(|row| format!("{}  {}: {}, because {}", row.at, row.actor, row.action, row.reason)),
    );
    Ok(())
}
