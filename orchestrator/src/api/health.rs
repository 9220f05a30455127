//! `/livez`, `/readyz`: for whoever starts, stops and routes to this process. They need no token.

use super::{App, problem::Problem};
use crate::Health;
use axum::{Json, extract::State, http::StatusCode};
use serde_json::{Value, json};

/// The process answers.
pub(super) async fn live() -> Json<Value> {
    Json(json!({"live": true}))
}

/// It takes sagas.
pub(super) async fn ready(State(app): State<App>) -> Result<Json<Value>, Problem> {
    match app.engine.health() {
        Health::Ready if !app.stop.is_cancelled() => Ok(Json(json!({"ready": true}))),
        Health::Ready => Err(not_ready("stopped", "it is being shut down")),
        Health::Unavailable(why) => Err(not_ready("unavailable", &why)),
        Health::Stopped(why) => Err(not_ready("stopped", &why)),
    }
}

fn not_ready(code: &str, why: &str) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, why)
}
