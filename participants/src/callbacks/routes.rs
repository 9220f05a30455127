//! `POST /callbacks/{channel}`: verified, kept, answered, in this order.

use super::{Forged, NotTaken, Report, Scheme};
use crate::{
    channel::{CallbackSink, ChargeSink},
    clock::Clock,
};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequest, Path, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use metrics::{Counter, counter};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// The largest body that is read.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// How long a body may take.
const BODY_MAX: Duration = Duration::from_secs(10);

/// The channels whose callbacks are taken, and where they go.
pub struct Callbacks {
    channels: BTreeMap<String, Channel>,
    charges: Arc<dyn ChargeSink>,
    refunds: Arc<dyn CallbackSink>,
    clock: Arc<dyn Clock>,
}

/// What was done with a callback: the label `verdict` of `tercet_shop_callbacks_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is durable, as it was before if this is a copy.
    Kept,
    /// It could not be kept: the channel is to send it again.
    NotKept,
    /// It is not the channel's.
    Forged,
    /// It is the channel's, and is not understood.
    Unreadable,
}

impl Verdict {
    /// Every verdict, in the order in which a channel's counters stand.
    pub const ALL: [Self; 4] = [Self::Kept, Self::NotKept, Self::Forged, Self::Unreadable];

    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::NotKept => "not_kept",
            Self::Forged => "forged",
            Self::Unreadable => "unreadable",
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::Kept => StatusCode::NO_CONTENT,
            Self::NotKept => StatusCode::SERVICE_UNAVAILABLE,
            Self::Forged => StatusCode::UNAUTHORIZED,
            Self::Unreadable => StatusCode::UNPROCESSABLE_ENTITY,
        }
    }
}

/// A channel, with a counter for each verdict.
struct Channel {
    scheme: Scheme,
    counted: [Counter; Verdict::ALL.len()],
}

impl Callbacks {
    /// Callbacks of no channel yet: reports of charges and of refunds go to these, and the time is read from that clock.
    #[must_use]
    pub fn new(charges: Arc<dyn ChargeSink>, refunds: Arc<dyn CallbackSink>, clock: Arc<dyn Clock>) -> Self {
        Self { channels: BTreeMap::new(), charges, refunds, clock }
    }

    /// Takes callbacks of that channel, too, if they are signed by that scheme.
    #[must_use]
    pub fn channel(mut self, name: &str, scheme: Scheme) -> Self {
        let counted = Verdict::ALL.map(|verdict| {
            counter!("tercet_shop_callbacks_total", "channel" => name.to_owned(), "verdict" => verdict.as_str())
        });
        self.channels.insert(name.to_owned(), Channel { scheme, counted });
        self
    }

    /// The routes.
    pub fn router(self) -> Router {
        Router::new()
            .route("/callbacks/{channel}", post(receive))
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .with_state(Arc::new(self))
    }

    async fn keep(&self, report: Report) -> Verdict {
        let kept = match report {
            Report::Charge(charge) => self.charges.charged(charge).await,
            Report::Refund(refund) => self.refunds.receive(refund).await,
        };
        if kept { Verdict::Kept } else { Verdict::NotKept }
    }
}

impl std::fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&String> = self.channels.keys().collect();
        f.debug_struct("Callbacks").field("channels", &names).finish_non_exhaustive()
    }
}

async fn receive(State(this): State<Arc<Callbacks>>, Path(name): Path<String>, request: Request) -> Response {
    let Some(channel) = this.channels.get(&name) else { return StatusCode::NOT_FOUND.into_response() };
    let headers = request.headers().clone();
    let body = match tokio::time::timeout(BODY_MAX, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => body,
        Ok(Err(rejection)) => return rejection.into_response(),
        Err(_) => return StatusCode::REQUEST_TIMEOUT.into_response(),
    };
    let (verdict, why) = match channel.scheme.open(&headers, &body, this.clock.now()) {
        Ok(report) => (this.keep(report).await, None),
        Err(not_taken) => (refused(&name, not_taken), Some(not_taken)),
    };
    tracing::debug!(channel = name, verdict = verdict.as_str(), "a callback came");
    channel.counted[verdict as usize].increment(1);
    answer(&channel.scheme, verdict, why)
}

fn refused(channel: &str, not_taken: NotTaken) -> Verdict {
    match not_taken {
        NotTaken::Forged(why) => {
            tracing::warn!(channel, %why, "a callback that is not the channel's was refused");
            Verdict::Forged
        }
        NotTaken::Unreadable(why) => {
            tracing::error!(channel, %why, "a callback of the channel is not understood: it will come again");
            Verdict::Unreadable
        }
    }
}

/// The answer as the channel expects it.
fn answer(scheme: &Scheme, verdict: Verdict, why: Option<NotTaken>) -> Response {
    let status = verdict.status();
    if matches!(scheme, Scheme::Alipay(_)) {
        return if verdict == Verdict::Kept { "success".into_response() } else { (status, "failure").into_response() };
    }
    if verdict == Verdict::Kept {
        return status.into_response();
    }
    let message = match why {
        // What exactly does not fit helps only who tries to make it fit.
        Some(NotTaken::Forged(Forged::Signature | Forged::UnknownKey)) => "the signature does not fit".to_owned(),
        Some(why) => why.to_string(),
        None => "it was not kept: send it again".to_owned(),
    };
    (status, Json(serde_json::json!({ "code": "FAIL", "message": message }))).into_response()
}
