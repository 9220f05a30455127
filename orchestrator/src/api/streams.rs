//! What of the broker's streams the API shows, and what it says when they are not there.

use super::{App, problem::Problem};
use axum::http::StatusCode;
use tercet_nats::streams::{StreamError, Streams};

/// The streams of this node's namespace.
pub(super) fn of(app: &App) -> Result<Streams, Problem> {
    let Some(nats) = &app.nats else {
        let problem = Problem::not_found("no_nats", "this node uses no NATS, and so no streams");
        return Err(problem.hint("set `nats.url`, as in TERCET_NATS__URL=nats://127.0.0.1:4222"));
    };
    nats.streams().map_err(unavailable)
}

fn unavailable(why: String) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", why).hint("sagas go on; try again once it is there")
}

impl From<StreamError> for Problem {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Missing { .. } => Self::not_found("no_stream", error.to_string()),
            StreamError::TooLarge { .. } => Self::unprocessable("too_large", error.to_string()),
            _ => unavailable(error.to_string()),
        }
    }
}
