//! Graphs as text, and the linter's notes: what the API and the offline commands share.

use super::{fields::Parameters, problem::Problem};
use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use tercet_core::{Description, Graph, State};

/// How a graph is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// For Markdown.
    Mermaid,
    /// For Graphviz.
    Dot,
    /// For terminals.
    Tree,
}

impl Format {
    pub(super) fn of(parameters: &Parameters) -> Result<Self, Problem> {
        let format = parameters.value("format", "one of `mermaid`, `dot`, `tree`", |text| match text {
            "mermaid" => Some(Self::Mermaid),
            "dot" => Some(Self::Dot),
            "tree" => Some(Self::Tree),
            _ => None,
        })?;
        Ok(format.unwrap_or(Self::Tree))
    }
}

/// A graph, drawn.
pub(crate) struct Drawing(pub(crate) String);

impl Drawing {
    /// A definition's steps, with where a saga of it stands.
    pub(crate) fn of(format: Format, description: &Description, state: Option<&State>) -> Self {
        Self(match format {
            Format::Mermaid => tercet_core::graph::mermaid(description, state),
            Format::Dot => tercet_core::graph::dot(description, state),
            Format::Tree => tercet_core::graph::tree(description, state),
        })
    }
}

impl IntoResponse for Drawing {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], self.0).into_response()
    }
}

/// Something that the linter found in a definition.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Note {
    /// The definition.
    pub(crate) definition: String,
    /// The step.
    pub(crate) step: Option<String>,
    /// The finding, by its stable name.
    pub(crate) code: String,
    /// What is the matter.
    pub(crate) message: String,
    /// What to do.
    pub(crate) help: String,
}

/// What the linter says of a definition.
pub(crate) fn notes(graph: &Graph) -> Vec<Note> {
    let note = |finding: tercet_core::lint::Finding| Note {
        definition: format!("{} {}", graph.name(), graph.version()),
        step: finding.step.map(|step| step.to_string()),
        code: finding.code.to_owned(),
        message: finding.message,
        help: finding.help.to_owned(),
    };
    tercet_core::lint::lint(graph).into_iter().map(note).collect()
}
