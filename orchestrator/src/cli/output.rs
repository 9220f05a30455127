//! What commands print: tables for people, JSON for programs.

use super::Failure;
use comfy_table::{Table, presets};
use serde::Serialize;

/// How a command answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// For people; may change.
    #[default]
    Table,
    /// One JSON value.
    Json,
    /// One JSON value a line.
    Jsonl,
}

/// What `-o` takes. The drawings are for commands that draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Form {
    /// For people
    Table,
    /// One JSON value
    Json,
    /// One JSON value a line
    Jsonl,
    /// A drawing for Markdown (graphs only)
    Mermaid,
    /// A drawing for Graphviz (graphs only)
    Dot,
    /// A drawing for terminals (graphs only)
    Tree,
}

impl Form {
    /// What a command that draws nothing makes of it.
    pub(super) fn plain(self) -> Result<Output, Failure> {
        match self {
            Self::Table => Ok(Output::Table),
            Self::Json => Ok(Output::Json),
            Self::Jsonl => Ok(Output::Jsonl),
            Self::Mermaid | Self::Dot | Self::Tree => {
                Err(Failure::usage("this command draws no graph: use -o table, json or jsonl"))
            }
        }
    }
}

/// Prints a line. A reader that has gone away (`head`, say) is no failure.
pub(super) fn line(text: impl std::fmt::Display) {
    use std::io::Write;
    drop(writeln!(anstream::stdout(), "{text}"));
}

/// Prints `rows` as a table (`none` when there are none), or each as JSON.
pub(super) fn rows<T: Serialize, const N: usize>(
    output: Output, rows: &[T], none: &str, head: [&str; N], cells: impl Fn(&T) -> [String; N],
) -> Result<(), Failure> {
    match output {
        Output::Table if rows.is_empty() => line(none),
        Output::Table => line(table(head, rows.iter().map(cells))),
        Output::Json => line(serde_json::to_string(rows)?),
        Output::Jsonl => {
            for row in rows {
                line(serde_json::to_string(row)?);
            }
        }
    }
    Ok(())
}

/// A table without lines, one row a line however wide: a terminal folds it, `grep` reads it.
pub(super) fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(head.map(str::to_uppercase));
    table.add_rows(rows);
    let lines = table.to_string();
    lines.lines().map(|line| line.trim()).collect::<Vec<_>>().join("\n")
}

/// The part of `text` that fits a table's cell.
pub(super) fn brief(text: &str, characters: usize) -> String {
    if text.chars().count() <= characters {
        return text.to_owned();
    }
    text.chars().take(characters - 1).chain(['…']).collect()
}
