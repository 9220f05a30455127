//! `/v1/participants`: the participants that are there now over NATS, as they say themselves.

use super::{App, fields::Parameters, problem::Problem, view};
use crate::transport::{Discovered, Operation};
use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long answers are waited for, unless it is said otherwise, and at most.
const PATIENCE: Duration = Duration::from_millis(500);
const PATIENCE_MAX: Duration = Duration::from_secs(10);

/// The participants that answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Participants {
    /// Their instances, by name.
    pub participants: Vec<InstanceView>,
}

/// A running instance of a participant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InstanceView {
    /// The participant's name.
    pub participant: String,
    /// The instance's own id.
    pub instance: String,
    /// The version of its program.
    pub version: String,
    /// Since when it runs, where it says so.
    pub started: Option<String>,
    /// What it offers, and what became of its calls there.
    pub operations: Vec<Operation>,
}

impl From<Discovered> for InstanceView {
    fn from(found: Discovered) -> Self {
        let Discovered { participant, instance, version, started, operations } = found;
        Self { participant, instance, version, started: started.map(view::moment), operations }
    }
}

pub(super) async fn list(State(app): State<App>, parameters: Parameters) -> Result<Json<Participants>, Problem> {
    let form = "a time of 10 s at most, with its unit, as in `500ms`";
    let time = |text: &str| humantime::parse_duration(text).ok().filter(|time| *time <= PATIENCE_MAX);
    let patience = parameters.value("within", form, time)?.unwrap_or(PATIENCE);
    parameters.end()?;
    let Some(nats) = &app.nats else {
        let problem = Problem::not_found("no_nats", "this node asks no participants over NATS");
        return Err(problem.hint("its participants are in its own process; set `nats.url` to ask others"));
    };
    let found = nats.participants(patience).await.map_err(|why| {
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", why);
        problem.hint("sagas wait until NATS is there; try again")
    })?;
    Ok(Json(Participants { participants: found.into_iter().map(Into::into).collect() }))
}
