//! `definition …`: what this command itself holds, without any node.

use super::{
    Failure,
    failure::Exit,
    output::{self, Form, Output, line, table},
};
use crate::{
    Registry,
    api::{
        definitions::{known, views},
        drawing::{Drawing, Format, Note, notes},
        schema::shape,
    },
};
use clap::{Args, Subcommand};
use std::process::ExitCode;
use tercet_core::definition::{Description, Reads, StepDescription};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the definitions
    List,
    /// Show a definition's steps
    Show(Named),
    /// Draw a definition: -o tree, mermaid or dot
    Graph(Named),
    /// Look for what is allowed and yet worth a thought
    Lint(Every),
}

#[derive(Debug, Args)]
pub(super) struct Named {
    /// The definition
    name: String,
    /// Its version, if not the newest
    #[arg(long)]
    version: Option<u32>,
}

#[derive(Debug, Args)]
pub(super) struct Every {
    /// The definition; all of them without one
    name: Option<String>,
    /// Its version, if not the newest
    #[arg(long, requires = "name")]
    version: Option<u32>,
    /// End with exit code 1 when there is anything
    #[arg(long)]
    deny: bool,
}

pub(super) fn run(command: Command, registry: &Registry, form: Form) -> Result<ExitCode, Failure> {
    match command {
        Command::List => {
            let head = ["name", "version", "steps", "fingerprint"];
            output::rows(form.plain()?, &views(registry), "there is no definition", head, |view| {
                let short = view.fingerprint.chars().take(12).collect();
                [view.name.to_string(), view.version.to_string(), view.steps.to_string(), short]
            })?;
        }
        Command::Show(Named { name, version }) => {
            let description = known(registry, &name, version)?.describe();
            match form.plain()? {
                Output::Table => show(&description),
                Output::Json | Output::Jsonl => line(serde_json::to_string(&description)?),
            }
        }
        Command::Graph(Named { name, version }) => {
            let description = known(registry, &name, version)?.describe();
            let format = match form {
                Form::Mermaid => Format::Mermaid,
                Form::Dot => Format::Dot,
                Form::Tree | Form::Table => Format::Tree,
                Form::Json | Form::Jsonl => {
                    line(serde_json::to_string(&description)?);
                    return Ok(ExitCode::SUCCESS);
                }
            };
            line(Drawing::of(format, &description, None).0.trim_end());
        }
        Command::Lint(every) => return lint(&every, registry, form.plain()?),
    }
    Ok(ExitCode::SUCCESS)
}

fn show(description: &Description) {
    let Description { name, version, deadline_ms, .. } = description;
    let deadline = deadline_ms.map_or(String::new(), |ms| {
        format!(", to be decided within {}", humantime::format_duration(std::time::Duration::from_millis(ms)))
    });
    line(format!("{name} version {version}{deadline}"));
    line(format!("fingerprint {}", description.fingerprint()));
    line(format!("starts with {}\n", shape(&description.input_schema)));
    let row = |step: &StepDescription| {
        let asks = step.contract.clone().or_else(|| step.saga.as_ref().map(|(saga, _)| saga.to_string()));
        let part = format!("{:?}", step.part).to_lowercase();
        let within = step.within.as_ref().map(ToString::to_string);
        let reads = step.reads.iter().map(reads).collect::<Vec<_>>().join(", ");
        [
            step.name.to_string(),
            step.kind.to_string(),
            part,
            asks.unwrap_or_default(),
            within.unwrap_or_default(),
            reads,
        ]
    };
    line(table(["step", "kind", "part", "asks", "within", "reads"], description.steps.iter().map(row)));
}

fn reads(read: &Reads) -> String {
    match read {
        Reads::Input => "input".to_owned(),
        Reads::Result(step) => step.to_string(),
        Reads::IfDone(step) => format!("{step} if done"),
        Reads::Item(step) => format!("an item of {step}"),
    }
}

fn lint(every: &Every, registry: &Registry, output: Output) -> Result<ExitCode, Failure> {
    let graphs = match &every.name {
        Some(name) => vec![known(registry, name, every.version)?.clone()],
        None => registry.iter().cloned().collect(),
    };
    let all: Vec<Note> = graphs.iter().flat_map(|graph| notes(graph)).collect();
    let head = ["definition", "step", "finding", "what", "what to do"];
    let names: Vec<_> = graphs.iter().map(|graph| format!("{} {}", graph.name(), graph.version())).collect();
    let none = format!(
        "nothing to say: {} {} as they should be",
        names.join(", "),
        if names.len() == 1 { "is" } else { "are" }
    );
    output::rows(output, &all, &none, head, |note| {
        [
            note.definition.clone(),
            note.step.clone().unwrap_or_default(),
            note.code.clone(),
            note.message.clone(),
            note.help.clone(),
        ]
    })?;
    Ok(if every.deny && !all.is_empty() { Exit::Other.into() } else { ExitCode::SUCCESS })
}
