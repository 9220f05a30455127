//! `/v1/sagas/{id}/…`, written: what people and participants tell a saga. Each is an event of the engine's, or a no.

use super::{
    App,
    fields::{Body, Parameters, Segment, missing},
    problem::Problem,
    schema, terms,
    view::{ActedView, SignalView, StepView, offered},
};
use crate::{Snapshot, Until, nearest::hint, store::SagaRow};
use axum::{Json, extract::State};
use serde_json::Value;
use tercet_core::{Action, Answer, Graph, Payload, Phase, SignalId, Signalled, StepInstance, StepKind};

/// The longest name and reason that are kept, in bytes.
const BY_BYTES_MAX: usize = 255;
const REASON_BYTES_MAX: usize = 1_000;

type Acted = Result<Json<ActedView>, Problem>;

pub(super) async fn signal(State(app): State<App>, Segment(id): Segment, parameters: Parameters, body: Body) -> Acted {
    parameters.end()?;
    let body = body.only(&["signal", "id", "payload"])?;
    let name: String = body.required("signal")?;
    let signal_id: SignalId = body.name("id")?.ok_or_else(|| {
        missing("id").hint("give the signal an id of its own, the same in every re-send: its verdict is kept under it")
    })?;
    let payload = body.payload("payload").ok_or_else(|| missing("payload"))?;
    let row = app.saga(&id).await?;
    if let Some(graph) = running(&app, &row) {
        check_signal(graph, &name, &payload)?;
    }
    let signalled = Signalled { id: signal_id.clone(), name, payload, from: None };
    let snapshot = app.engine.signal(row.id, signalled).await?;
    let signal = SignalView::of(&snapshot.state, &signal_id);
    Ok(Json(ActedView { signal, ..ActedView::new(&snapshot.state) }))
}

fn running<'a>(app: &'a App, row: &SagaRow) -> Option<&'a Graph> {
    app.engine.registry().get(&row.definition, row.version).map(|graph| &**graph)
}

fn check_signal(graph: &Graph, name: &str, payload: &Payload) -> Result<(), Problem> {
    let waits = || graph.nodes().iter().filter(|node| node.kind() == StepKind::Wait);
    let Some(node) = waits().find(|node| node.contract() == Some(name)) else {
        let problem =
            Problem::unprocessable("unknown_signal", format!("`{}` waits for no signal `{name}`", graph.name()));
        let known: Vec<_> = waits().filter_map(|node| node.contract()).collect();
        return Err(problem.at("signal").hint(hint(name, known)));
    };
    let description = graph.describe();
    match description.step(node.name().as_str()) {
        Some(step) => check_shape(&step.reply_schema, payload, "payload"),
        None => Ok(()),
    }
}

fn check_shape(of: &Value, payload: &Payload, name: &str) -> Result<(), Problem> {
    let value: Value = payload.parse().map_err(|error| Problem::bad_request("bad_json", error.to_string()))?;
    schema::check(of, &value, name)
}

/// Who and why: both are kept for ever.
fn signed(body: &Body) -> Result<(String, String), Problem> {
    let by: Option<String> = body.optional("by")?;
    let by = by.unwrap_or_else(|| "api".to_owned());
    let reason: String = body.required("reason")?;
    for (field, text, most) in [("by", &by, BY_BYTES_MAX), ("reason", &reason, REASON_BYTES_MAX)] {
        if text.trim().is_empty() {
            return Err(Problem::bad_request("bad_field", format!("`{field}` is empty")).at(field));
        }
        if text.len() > most || text.chars().any(char::is_control) {
            let detail = format!("`{field}` has at most {most} bytes, all of characters that can be printed");
            return Err(Problem::bad_request("bad_field", detail).at(field));
        }
    }
    Ok((by, reason))
}

pub(super) async fn cancel(State(app): State<App>, Segment(id): Segment, parameters: Parameters, body: Body) -> Acted {
    parameters.end()?;
    let body = body.only(&["by", "reason"])?;
    let (by, reason) = signed(&body)?;
    let row = app.saga(&id).await?;
    let snapshot = app.engine.cancel(row.id, by, reason).await?;
    Ok(Json(ActedView::new(&snapshot.state)))
}

pub(super) async fn retry(State(app): State<App>, Segment(id): Segment, parameters: Parameters, body: Body) -> Acted {
    parameters.end()?;
    let body = body.only(&["step", "by", "reason"])?;
    let step = step(&body)?;
    let (by, reason) = signed(&body)?;
    let row = app.saga(&id).await?;
    operate(&app, &row, step, Action::RetryNow, by, reason).await
}

pub(super) async fn resolve(State(app): State<App>, Segment(id): Segment, parameters: Parameters, body: Body) -> Acted {
    parameters.end()?;
    let body = body.only(&["step", "action", "value", "force", "by", "reason"])?;
    let step = step(&body)?;
    let action = action(&body)?;
    let (by, reason) = signed(&body)?;
    let row = app.saga(&id).await?;
    if let Action::MarkDone { value, .. } = &action {
        check_reply(&app, &row, &step, value, "value")?;
    }
    operate(&app, &row, step, action, by, reason).await
}

/// Refuses what the step could never have replied, and says so in the terms of JSON.
fn check_reply(app: &App, row: &SagaRow, step: &StepInstance, reply: &Payload, name: &str) -> Result<(), Problem> {
    let Some(graph) = running(app, row) else { return Ok(()) };
    let Some(node) = graph.node(step) else { return Ok(()) };
    if let Some(described) = graph.describe().step(node.name().as_str()) {
        check_shape(&described.reply_schema, reply, name)?;
    }
    node.check_reply(reply).map_err(|why| {
        let detail = format!("the {name} does not fit `{step}`: {}", terms::in_json(&why));
        Problem::unprocessable("bad_value", detail).at(name)
    })
}

fn step(body: &Body) -> Result<StepInstance, Problem> {
    body.name("step")?.ok_or_else(|| missing("step"))
}

fn action(body: &Body) -> Result<Action, Problem> {
    const ACTIONS: [&str; 4] = ["mark_done", "mark_not_done", "query_now", "close"];
    let action: String = body.required("action")?;
    let value = body.payload("value");
    let force: bool = body.optional("force")?.unwrap_or_default();
    if value.is_some() && action != "mark_done" {
        return Err(Problem::bad_request("bad_field", "`value` goes with `mark_done` alone").at("value"));
    }
    if force && !matches!(action.as_str(), "mark_done" | "mark_not_done") {
        return Err(Problem::bad_request("bad_field", "`force` goes with `mark_done` and `mark_not_done`").at("force"));
    }
    match action.as_str() {
        "mark_done" => {
            let value =
                value.ok_or_else(|| missing("value").hint("give what the step would have replied, or `null`"))?;
            Ok(Action::MarkDone { value, force })
        }
        "mark_not_done" => Ok(Action::MarkNotDone { force }),
        "query_now" => Ok(Action::QueryNow),
        "close" => Ok(Action::Close),
        other => {
            let problem = Problem::bad_request("unknown_action", format!("`{other}` is no action")).at("action");
            Err(problem.hint(hint(other, ACTIONS)))
        }
    }
}

async fn operate(app: &App, row: &SagaRow, step: StepInstance, action: Action, by: String, reason: String) -> Acted {
    let now = app.engine.wait(row.id, Until::Now).await?;
    has_step(&now, &step)?;
    let snapshot = app.engine.operate(row.id, step.clone(), action, by, reason).await?;
    Ok(Json(acted(app, row, &snapshot, &step)))
}

fn has_step(snapshot: &Snapshot, step: &StepInstance) -> Result<(), Problem> {
    if snapshot.state.step(step).is_some() {
        return Ok(());
    }
    let detail = format!("saga {} has no step `{step}` yet", snapshot.state.saga());
    let known: Vec<_> = snapshot.state.steps.keys().map(StepInstance::as_str).collect();
    Err(Problem::not_found("unknown_step", detail).at("step").hint(hint(step.as_str(), known)))
}

fn acted(app: &App, row: &SagaRow, snapshot: &Snapshot, step: &StepInstance) -> ActedView {
    let state = &snapshot.state;
    let view = |at| StepView::new(step, at, offered(running(app, row), state, step));
    ActedView { step: state.step(step).map(view), ..ActedView::new(state) }
}

/// A participant's report about a phase that it answered `pending`.
pub(super) async fn complete(
    State(app): State<App>, Segment(id): Segment, parameters: Parameters, body: Body,
) -> Acted {
    parameters.end()?;
    let body = body.only(&["step", "phase", "outcome", "reply", "code", "message"])?;
    let step = step(&body)?;
    let phase: Phase = body.optional("phase")?.unwrap_or(Phase::Try);
    let answer = answer(&body)?;
    let row = app.saga(&id).await?;
    let now = app.engine.wait(row.id, Until::Now).await?;
    has_step(&now, &step)?;
    if let (Answer::Done(reply), Phase::Try) = (&answer, phase) {
        check_reply(&app, &row, &step, reply, "reply")?;
    }
    let snapshot = app.engine.complete(row.id, step.clone(), phase, answer).await?;
    Ok(Json(acted(&app, &row, &snapshot, &step)))
}

/// The two answers that can be reported later, in the wire's words.
fn answer(body: &Body) -> Result<Answer, Problem> {
    let outcome: String = body.required("outcome")?;
    let reply = body.payload("reply");
    let (code, message): (Option<String>, Option<String>) = (body.optional("code")?, body.optional("message")?);
    match outcome.as_str() {
        "done" => Ok(Answer::Done(reply.unwrap_or_else(Payload::null))),
        "refused" => {
            let code = code.ok_or_else(|| missing("code"))?;
            Ok(Answer::refused(code, message.unwrap_or_default()))
        }
        other => {
            let problem = Problem::bad_request("bad_field", format!("`{other}` is no outcome to report")).at("outcome");
            Err(problem.hint(hint(other, ["done", "refused"])))
        }
    }
}
