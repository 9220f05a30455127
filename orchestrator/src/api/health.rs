//! `/livez`, `/readyz`: for whoever starts, stops and routes to this process. They need no token.

use super::{App, problem::Problem};
use crate::Health;
use axum::{Json, extract::State, http::StatusCode};
use serde_json::{Value, json};

/// The process answers.
pub(super) async fn live() -> Json<Value> {
    Json(json!({"live": true}))
}

/// It takes sagas. That no participant can be reached is said, and makes no difference: a start is durable all the same.
pub(super) async fn ready(State(app): State<App>) -> Result<Json<Value>, Problem> {
    match app.engine.health() {
        Health::Ready if !app.stop.is_cancelled() => Ok(Json(is_ready(&app))),
        Health::Ready => Err(not_ready("stopped", "it is being shut down")),
        Health::Unavailable(why) => Err(not_ready("unavailable", &why)),
        Health::Stopped(why) => Err(not_ready("stopped", &why)),
    }
}

fn is_ready(app: &App) -> Value {
    #[cfg(feature = "nats")]
    if let Some(nats) = &app.nats {
        let connected = nats.connected();
        return json!({"ready": true, "nats": {"connected": connected.is_ok(), "why": connected.err()}});
    }
    let _ = app;
    json!({"ready": true})
}

fn not_ready(code: &str, why: &str) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, why)
}
