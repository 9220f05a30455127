//! The HTTP API over an engine: one file per resource, problems (RFC 9457) for every no, nothing that an engine does not decide.
//!
//! Absent on purpose: a database transaction in a handler, and a request that is read leniently.

mod actions;
mod counts;
#[cfg(feature = "nats")]
pub mod dead_letters;
pub(crate) mod definitions;
pub(crate) mod drawing;
pub mod events;
mod fields;
mod guard;
mod health;
mod json;
pub mod nodes;
#[cfg(feature = "nats")]
pub mod participants;
pub mod problem;
mod prometheus;
mod sagas;
pub(crate) mod schema;
mod serving;
mod starts;
#[cfg(feature = "nats")]
mod streams;
mod terms;
pub mod view;
mod words;

/// Routes that a program serves beside the API.
pub use axum::Router as Routes;
pub use prometheus::record_metrics;

use crate::{Engine, EngineError, published::EventSource, secret::Secret, store::SagaRow};
use axum::{
    Router, middleware,
    routing::{get, post},
};
use guard::Guard;
use problem::Problem;
use std::{io, net::SocketAddr, sync::Arc};
use tercet_core::SagaId;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// An API that listens.
pub struct Listening {
    listener: TcpListener,
    address: SocketAddr,
    events: Option<Arc<dyn EventSource>>,
    #[cfg(feature = "nats")]
    nats: Option<crate::transport::Nats>,
}

impl Listening {
    /// Listens, so that a port in use is known before anything else is begun.
    ///
    /// # Errors
    /// When the address cannot be listened at.
    pub async fn at(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self {
            listener,
            address,
            events: None,
            #[cfg(feature = "nats")]
            nats: None,
        })
    }

    /// Where: with the port that was given when none was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Shows the events that are read there.
    #[must_use]
    pub fn events(self, source: Option<Arc<dyn EventSource>>) -> Self {
        Self { events: source, ..self }
    }

    /// Shows the participants that are there over that.
    #[cfg(feature = "nats")]
    #[must_use]
    pub fn nats(self, nats: Option<crate::transport::Nats>) -> Self {
        Self { nats, ..self }
    }

    /// Serves routes of the program's own until `stop`, with the API's time limits and without its guard.
    pub async fn serve_routes(self, routes: Routes, stop: CancellationToken) {
        serving::serve(self.listener, routes, stop).await;
    }

    /// Serves `engine` until `stop`, then ends what is under way, for five seconds at most. With a token every request must show
    /// it; on a loopback address only requests from this machine's own pages and programs are taken.
    pub async fn serve(self, engine: Engine, token: Option<Secret>, stop: CancellationToken) {
        let guard = Guard { token, loopback: self.address.ip().is_loopback() };
        let app = App {
            engine,
            stop: stop.clone(),
            events: self.events,
            #[cfg(feature = "nats")]
            nats: self.nats,
        };
        tokio::select! {
            () = serving::serve(self.listener, router(app, guard), stop) => {}
            () = prometheus::upkeep() => {}
        }
    }
}

impl std::fmt::Debug for Listening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listening").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What handlers share.
#[derive(Clone)]
struct App {
    engine: Engine,
    stop: CancellationToken,
    events: Option<Arc<dyn EventSource>>,
    #[cfg(feature = "nats")]
    nats: Option<crate::transport::Nats>,
}

impl App {
    /// The saga of that id, if it is one of this namespace: to others it is as if it were not there.
    async fn saga(&self, id: &str) -> Result<SagaRow, Problem> {
        let saga: SagaId = id.parse().map_err(|error| Problem::bad_name("id", &error))?;
        let row = self.engine.store().saga(saga).await?;
        let own = row.filter(|row| row.namespace == self.engine.settings().namespace);
        own.ok_or_else(|| EngineError::UnknownSaga { saga }.into())
    }
}

fn router(app: App, guard: Guard) -> Router {
    let v1 = Router::new()
        .route("/v1/sagas", get(sagas::list).post(starts::start))
        .route("/v1/sagas/{id}", get(sagas::one))
        .route("/v1/sagas/{id}/history", get(sagas::history))
        .route("/v1/sagas/{id}/graph", get(sagas::graph))
        .route("/v1/sagas/{id}/signal", post(actions::signal))
        .route("/v1/sagas/{id}/cancel", post(actions::cancel))
        .route("/v1/sagas/{id}/retry", post(actions::retry))
        .route("/v1/sagas/{id}/resolve", post(actions::resolve))
        .route("/v1/sagas/{id}/complete", post(actions::complete))
        .route("/v1/definitions", get(definitions::list))
        .route("/v1/definitions/{name}", get(definitions::one))
        .route("/v1/definitions/{name}/graph", get(definitions::graph))
        .route("/v1/definitions/{name}/lint", get(definitions::lint))
        .route("/v1/counts", get(counts::counts))
        .route("/v1/nodes", get(nodes::list))
        .route("/v1/events", get(events::list))
        .route("/metrics", get(prometheus::show));
    #[cfg(feature = "nats")]
    let v1 = v1
        .route("/v1/participants", get(participants::list))
        .route("/v1/events/replay", get(events::replay))
        .route("/v1/dead-letters", get(dead_letters::list))
        .route("/v1/dead-letters/{number}", get(dead_letters::one).delete(dead_letters::discard))
        .route("/v1/dead-letters/{number}/resend", post(dead_letters::resend));
    let v1 = v1
        .fallback(unknown_route)
        .method_not_allowed_fallback(unknown_method)
        .layer(middleware::from_fn_with_state(Arc::new(guard), guard::check));
    let health = Router::new().route("/livez", get(health::live)).route("/readyz", get(health::ready));
    v1.merge(health).with_state(app)
}

async fn unknown_route(uri: axum::http::Uri) -> Problem {
    let problem = Problem::not_found("unknown_route", format!("there is nothing at {}", uri.path()));
    problem.hint("the API is under /v1, as in /v1/sagas")
}

async fn unknown_method(method: axum::http::Method, uri: axum::http::Uri) -> Problem {
    let status = axum::http::StatusCode::METHOD_NOT_ALLOWED;
    Problem::new(status, "unknown_method", format!("{} does not take {method}", uri.path()))
        .hint("the response's `allow` header lists the methods it takes")
}
