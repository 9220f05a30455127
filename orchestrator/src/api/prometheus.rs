//! `/metrics`: what this process counts, as Prometheus reads it. What is so at the moment is looked up when it is asked for.

use super::{App, problem::Problem};
use crate::engine::Breaker;
use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use metrics::gauge;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::{sync::OnceLock, time::Duration};

/// Upper bounds of times, in seconds: from a commit to a timer that is very late.
const SECONDS: [f64; 14] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0];

/// Upper bounds of a batch's rows.
const ROWS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0, 16_384.0];

/// How often what was recorded is counted, should nobody ask: else it would gather.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Has this process counted, for `/metrics`. Call it before the engine runs: what was made before it counts nothing. A program
/// that has a recorder of its own keeps it, and `/metrics` says so. Calling it again changes nothing.
pub fn record_metrics() {
    RECORDER.get_or_init(|| {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
            .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_rows".to_owned()), &ROWS));
        let recorder = match builder {
            Ok(builder) => builder.build_recorder(),
            Err(error) => {
                tracing::error!(%error, "failed to set up metrics");
                return None;
            }
        };
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).ok().map(|()| handle)
    });
}

fn recorder() -> Option<&'static PrometheusHandle> {
    RECORDER.get().and_then(Option::as_ref)
}

/// Counts what was recorded, for ever.
pub(super) async fn upkeep() {
    loop {
        tokio::time::sleep(UPKEEP_EVERY).await;
        if let Some(recorder) = recorder() {
            recorder.run_upkeep();
        }
    }
}

pub(super) async fn show(State(app): State<App>) -> Result<Response, Problem> {
    let Some(recorder) = recorder() else {
        return Err(Problem::not_found("no_metrics", "this process records its metrics elsewhere, or none"));
    };
    let (participants, sagas) = (app.engine.participants().await?, app.engine.sagas_in_memory().await?);
    gauge!("tercet_sagas_in_memory").set(count(sagas));
    for participant in participants {
        let open = match participant.breaker {
            Breaker::Closed => 0.0,
            Breaker::HalfOpen { .. } => 1.0,
            Breaker::Open { .. } => 2.0,
        };
        gauge!("tercet_breaker", "participant" => participant.name.clone()).set(open);
        gauge!("tercet_calls_out", "participant" => participant.name.clone()).set(count(participant.out));
        gauge!("tercet_calls_waiting", "participant" => participant.name).set(count(participant.waiting));
    }
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((kind, recorder.render()).into_response())
}

fn count(number: usize) -> f64 {
    u32::try_from(number).unwrap_or(u32::MAX).into()
}
