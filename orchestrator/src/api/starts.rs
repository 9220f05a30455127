//! `POST /v1/sagas`: a start, durable before it is answered, which may wait to see how far it comes.

use super::{
    App,
    definitions::known,
    fields::{Body, Parameters, missing},
    problem::Problem,
    schema,
    view::{StartedView, StepView, offered},
};
use crate::{Snapshot, Until, nearest::hint};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tercet_core::{DefinitionName, Graph, Payload, SagaKey, StepInstance};

const WAIT: Duration = Duration::from_secs(10);
const WAIT_MAX: Duration = Duration::from_secs(300);

static KEY: HeaderName = HeaderName::from_static("idempotency-key");

pub(super) async fn start(
    State(app): State<App>, parameters: Parameters, headers: HeaderMap, body: Body,
) -> Result<Response, Problem> {
    let body = body.only(&["definition", "version", "key", "input"])?;
    let definition: DefinitionName = body.name("definition")?.ok_or_else(|| missing("definition"))?;
    let version: Option<u32> = body.optional("version")?;
    let key = key(&headers, body.name("key")?)?;
    let input = body.payload("input").ok_or_else(|| missing("input"))?;
    let graph = known(app.engine.registry(), definition.as_str(), version)?;
    let until = parameters.text("wait").map(|text| until(text, graph)).transpose()?;
    let limit = parameters.time("limit", WAIT_MAX)?.unwrap_or(WAIT);
    parameters.end()?;
    check_input(graph, &input)?;
    let started = app.engine.start(definition.clone(), version, key.clone(), input).await?;
    let snapshot = match &until {
        Some(until) => wait(&app, started.id, until, limit).await,
        None => Waited { snapshot: None, reached: true },
    };
    let mut view = StartedView {
        id: started.id,
        definition,
        key,
        new: started.new,
        status: None,
        reached: snapshot.reached,
        step: None,
        pending: Vec::new(),
        parked: Vec::new(),
        output: None,
        aborted: None,
    };
    if let Some(snapshot) = snapshot.snapshot {
        tell(&mut view, &snapshot, graph, until.as_ref());
    }
    let status = match (view.reached, view.new) {
        (false, _) => StatusCode::ACCEPTED,
        (true, true) => StatusCode::CREATED,
        (true, false) => StatusCode::OK,
    };
    let place = HeaderValue::from_str(&format!("/v1/sagas/{}", view.id)).ok();
    let mut response = (status, Json(view)).into_response();
    response.headers_mut().extend(place.map(|place| (header::LOCATION, place)));
    Ok(response)
}

/// The key, from the header (which may quote it) or the body.
fn key(headers: &HeaderMap, in_body: Option<SagaKey>) -> Result<SagaKey, Problem> {
    let name = "idempotency-key";
    let mut given = headers.get_all(&KEY).iter();
    let (in_header, second) = (given.next(), given.next());
    if second.is_some() {
        return Err(Problem::bad_request("duplicate_header", "`Idempotency-Key` is given twice").at(name));
    }
    let in_header = in_header
        .map(|value| {
            let text = value.to_str().map_err(|_| {
                Problem::bad_request("bad_name", "`Idempotency-Key` has characters that a header cannot carry")
                    .at(name)
                    .hint("give the key as `key` in the body")
            })?;
            let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
            bare.parse::<SagaKey>().map_err(|error| Problem::bad_name(name, &error))
        })
        .transpose()?;
    match (in_header, in_body) {
        (Some(one), Some(other)) if one != other => {
            let detail = "`Idempotency-Key` and `key` in the body are different";
            Err(Problem::bad_request("two_keys", detail).at("key").hint("give one of them"))
        }
        (Some(key), _) | (None, Some(key)) => Ok(key),
        (None, None) => Err(missing("key").hint(
            "give the saga's own name on your side, an order's number say, as `key` or in the header `Idempotency-Key`: \
             the same key and input start one saga, however often they are sent",
        )),
    }
}

/// How far to wait: `tried`, `end`, or a step. Who waits for the end of a saga that parks hears so when it does: a person may take
/// longer than any limit.
fn until(text: &str, graph: &Graph) -> Result<Until, Problem> {
    match text {
        "tried" => return Ok(Until::Tried),
        "end" => return Ok(Until::Rest),
        _ => {}
    }
    let step: StepInstance = text.parse().map_err(|error| Problem::bad_name("wait", &error))?;
    if graph.node(&step).is_some() {
        return Ok(Until::Step(step));
    }
    let detail = format!("`{}` has no step `{text}` to wait for", graph.name());
    let all: Vec<_> =
        ["tried", "end"].into_iter().chain(graph.nodes().iter().map(|node| node.name().as_str())).collect();
    Err(Problem::bad_request("bad_parameter", detail).at("wait").hint(hint(text, all)))
}

fn check_input(graph: &Graph, input: &Payload) -> Result<(), Problem> {
    let value: Value = input.parse().map_err(|error| Problem::bad_request("bad_json", error.to_string()))?;
    schema::check(&graph.describe().input_schema, &value, "input")
}

struct Waited {
    snapshot: Option<Snapshot>,
    reached: bool,
}

/// Waits, but not beyond the limit or the process's end. The start is durable: whatever fails here is told as not reached yet.
async fn wait(app: &App, saga: tercet_core::SagaId, until: &Until, limit: Duration) -> Waited {
    let reached = tokio::select! {
        reached = tokio::time::timeout(limit, app.engine.wait(saga, until.clone())) => reached.ok().and_then(Result::ok),
        () = app.stop.cancelled() => None,
    };
    match reached {
        Some(snapshot) => {
            let reached = *until != Until::Rest || snapshot.state.life.is_ended();
            Waited { snapshot: Some(snapshot), reached }
        }
        None => Waited { snapshot: app.engine.wait(saga, Until::Now).await.ok(), reached: false },
    }
}

fn tell(view: &mut StartedView, snapshot: &Snapshot, graph: &Graph, until: Option<&Until>) {
    let state = &snapshot.state;
    view.status = Some(state.life.as_str().to_owned());
    view.output.clone_from(&state.output);
    view.aborted = state.abort.as_ref().map(ToString::to_string);
    let pending = |(step, at): (&StepInstance, &Arc<tercet_core::StepState>)| {
        Some((step.clone(), at.pending.as_ref()?.1.clone()))
    };
    view.pending = state.steps.iter().filter_map(pending).collect();
    view.parked = state.parked().map(|(step, why)| (step.clone(), why.to_string())).collect();
    if let Some(Until::Step(step)) = until {
        view.step = state.step(step).map(|at| StepView::new(step, at, offered(Some(graph), state, step)));
    }
}
