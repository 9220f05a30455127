//! `/v1/sagas`, read: a page, one, its history, its graph.

use super::{
    App,
    definitions::known,
    drawing::{Drawing, Format},
    fields::{Parameters, Segment},
    problem::Problem,
    view::{self, History, SagaDetail, SagaPage},
};
use crate::store::{Filter, SagaRow, SagaStatus};
use axum::{Json, extract::State};
use tercet_core::{DefinitionName, Description, Graph, Millis, SagaId};

/// Sagas in a page, unless it is said otherwise, and at most.
const PAGE: u32 = 50;
const PAGE_MAX: u32 = 500;

/// What a cursor begins with, so that it is not taken for an id.
const CURSOR: &str = "after-";

pub(super) async fn list(State(app): State<App>, parameters: Parameters) -> Result<Json<SagaPage>, Problem> {
    let status = |text: &str| SagaStatus::ALL.into_iter().find(|status| view::status(*status) == text);
    let form = "one of `trying`, `confirming`, `cancelling`, `confirmed`, `cancelled`";
    let moment = |at: Millis| SagaId::first_at(u64::try_from(at.0).unwrap_or(0));
    let started_before = parameters.moment("started_before")?.map(moment);
    let filter = Filter {
        namespace: Some(app.engine.settings().namespace.clone()),
        from: parameters.moment("started_from")?.map(moment),
        definition: parameters.name("definition")?,
        status: parameters.value("status", form, status)?,
        parked: parameters.flag("parked")?,
        attention: parameters.flag("attention")?,
        key: parameters.name("key")?,
    };
    let form = format!("a number from 1 to {PAGE_MAX}");
    let limit = parameters.value("limit", &form, |text| text.parse().ok().filter(|n| (1..=PAGE_MAX).contains(n)))?;
    let limit = limit.unwrap_or(PAGE);
    let cursor = |text: &str| text.strip_prefix(CURSOR)?.parse::<SagaId>().ok();
    let cursor = parameters.value("cursor", "the `next` of the page before", cursor)?;
    parameters.end()?;
    let before = cursor.into_iter().chain(started_before).min();
    let definition = filter.definition.clone();
    // One more than the page holds: only then is there a next one.
    let mut rows = app.engine.store().list(filter, before, limit + 1).await?;
    if let (Some(name), true) = (definition, rows.is_empty()) {
        is_known(&app, &name).await?;
    }
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| more).map(|last| format!("{CURSOR}{}", last.id));
    Ok(Json(SagaPage { sagas: rows.into_iter().map(Into::into).collect(), next }))
}

/// Refuses the name of a definition that does not run here and of which there is no saga either: an empty page would hide a slip.
async fn is_known(app: &App, name: &DefinitionName) -> Result<(), Problem> {
    let Err(problem) = known(app.engine.registry(), name.as_str(), None) else { return Ok(()) };
    let namespace = Some(app.engine.settings().namespace.clone());
    let any = Filter { namespace, definition: Some(name.clone()), ..Filter::default() };
    if app.engine.store().list(any, None, 1).await?.is_empty() { Err(problem) } else { Ok(()) }
}

pub(super) async fn one(
    State(app): State<App>, Segment(id): Segment, parameters: Parameters,
) -> Result<Json<SagaDetail>, Problem> {
    parameters.end()?;
    let row = app.saga(&id).await?;
    let timers = app.engine.store().timers_of(vec![row.id]).await?;
    let shown = app.engine.show(row.id).await?;
    Ok(Json(SagaDetail::new(shown, running(&app, &row), &timers)))
}

/// The saga's definition, if it runs here.
fn running<'a>(app: &'a App, row: &SagaRow) -> Option<&'a Graph> {
    app.engine.registry().get(&row.definition, row.version).map(|graph| &**graph)
}

pub(super) async fn history(
    State(app): State<App>, Segment(id): Segment, parameters: Parameters,
) -> Result<Json<History>, Problem> {
    parameters.end()?;
    let row = app.saga(&id).await?;
    let audit = app.engine.store().audit(row.id).await?;
    Ok(Json(History::new(app.engine.show(row.id).await?, audit)))
}

pub(super) async fn graph(
    State(app): State<App>, Segment(id): Segment, parameters: Parameters,
) -> Result<Drawing, Problem> {
    let format = Format::of(&parameters)?;
    parameters.end()?;
    let row = app.saga(&id).await?;
    let description = described(&app, &row).await?;
    Ok(Drawing::of(format, &description, app.engine.show(row.id).await?.state.as_ref()))
}

/// The saga's definition as it was registered, also when its code is gone.
async fn described(app: &App, row: &SagaRow) -> Result<Description, Problem> {
    if let Some(graph) = running(app, row) {
        return Ok(graph.describe());
    }
    let registered = app.engine.store().definition(row.definition.clone(), row.version).await?;
    registered.and_then(|registered| serde_json::from_str(&registered.description).ok()).ok_or_else(|| {
        let (name, version) = (&row.definition, row.version);
        Problem::not_found("unknown_definition", format!("`{name}` version {version} was never registered here"))
    })
}
