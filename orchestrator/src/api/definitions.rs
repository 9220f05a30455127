//! `/v1/definitions`: what runs here, its graphs, and what the linter says of it.

use super::{
    App,
    drawing::{Drawing, Format, Note, notes},
    fields::{Parameters, Segment},
    problem::Problem,
    view::DefinitionView,
};
use crate::{Registry, nearest::nearest};
use axum::{Json, extract::State};
use std::sync::Arc;
use tercet_core::{DefinitionName, Description, Graph};

/// Every definition of a registry, as a list shows it.
pub(crate) fn views(registry: &Registry) -> Vec<DefinitionView> {
    let view = |graph: &Arc<Graph>| DefinitionView {
        name: graph.name().clone(),
        version: graph.version(),
        newest: registry.newest(graph.name()).is_some_and(|newest| newest.version() == graph.version()),
        steps: graph.nodes().len(),
        fingerprint: graph.fingerprint().to_owned(),
    };
    registry.iter().map(view).collect()
}

/// That version of a definition, or its newest.
///
/// # Errors
/// The names or versions that there are.
pub(crate) fn known<'a>(registry: &'a Registry, name: &str, version: Option<u32>) -> Result<&'a Arc<Graph>, Problem> {
    let name: DefinitionName = name.parse().map_err(|error| Problem::bad_name("definition", &error))?;
    let Some(newest) = registry.newest(&name) else {
        let mut names: Vec<_> = registry.iter().map(|graph| graph.name().as_str()).collect();
        names.dedup();
        let problem = Problem::not_found("unknown_definition", format!("no definition `{name}` is known here"));
        let known = names.join(", ");
        let hint = nearest(name.as_str(), names).map_or(String::new(), |near| format!("did you mean `{near}`? "));
        return Err(problem.at("definition").hint(format!("{hint}known are: {known}")));
    };
    let Some(version) = version else { return Ok(newest) };
    registry.get(&name, version).ok_or_else(|| {
        let versions = registry.iter().filter(|graph| *graph.name() == name).map(|graph| graph.version().to_string());
        let hint = format!("it has: {}", versions.collect::<Vec<_>>().join(", "));
        Problem::unprocessable("unknown_version", format!("`{name}` has no version {version} here"))
            .at("version")
            .hint(hint)
    })
}

fn asked<'a>(app: &'a App, name: &str, parameters: &Parameters) -> Result<&'a Arc<Graph>, Problem> {
    let version = parameters.value("version", "a whole number", |text| text.parse().ok())?;
    known(app.engine.registry(), name, version)
}

pub(super) async fn list(State(app): State<App>, parameters: Parameters) -> Result<Json<Vec<DefinitionView>>, Problem> {
    parameters.end()?;
    Ok(Json(views(app.engine.registry())))
}

pub(super) async fn one(
    State(app): State<App>, Segment(name): Segment, parameters: Parameters,
) -> Result<Json<Description>, Problem> {
    let graph = asked(&app, &name, &parameters)?;
    parameters.end()?;
    Ok(Json(graph.describe()))
}

pub(super) async fn graph(
    State(app): State<App>, Segment(name): Segment, parameters: Parameters,
) -> Result<Drawing, Problem> {
    let format = Format::of(&parameters)?;
    let graph = asked(&app, &name, &parameters)?;
    parameters.end()?;
    Ok(Drawing::of(format, &graph.describe(), None))
}

pub(super) async fn lint(
    State(app): State<App>, Segment(name): Segment, parameters: Parameters,
) -> Result<Json<Vec<Note>>, Problem> {
    let graph = asked(&app, &name, &parameters)?;
    parameters.end()?;
    Ok(Json(notes(graph)))
}
