//! `/v1/events`: what hosted participants have published, in order, a page at a time; and `/v1/events/replay`: what any have published,
//! as the broker's stream has kept it.

use super::{App, fields::Parameters, problem::Problem, view};
#[cfg(feature = "nats")]
use crate::published::replay::{self, Position, ReplayError};
use crate::published::{PublishedEvent, Wanted};
use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use tercet_core::Payload;

/// Events in a page, unless it is said otherwise, and at most.
const PAGE: u32 = 100;
const PAGE_MAX: u32 = 1_000;

/// What a cursor begins with, so that it is not taken for a number to count with.
const CURSOR: &str = "after-";

/// A page of events.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EventPage {
    /// The events, oldest first.
    pub events: Vec<EventView>,
    /// Where the next page begins, also when nothing stands there yet: whoever follows asks again with it.
    pub next: Option<String>,
    /// More events stand there now.
    pub more: bool,
}

/// An event.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EventView {
    /// The same however often it is told: drop what you have seen by it.
    pub id: String,
    /// Who published it.
    pub source: String,
    /// About what.
    pub subject: String,
    /// Which of its subject's changes, from 1: of two, the one with the larger version is the later.
    pub version: i64,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: String,
    /// When.
    pub at: String,
    /// The state that it led to.
    pub data: Payload,
}

impl From<PublishedEvent> for EventView {
    fn from(event: PublishedEvent) -> Self {
        let PublishedEvent { number: _, id, source, subject, version, kind, at, data } = event;
        Self { id, source, subject, version, kind, at: view::moment(at), data }
    }
}

/// The page's size, the subject and the moment that are asked for.
fn wanted(parameters: &Parameters) -> Result<Wanted, Problem> {
    let form = format!("a number from 1 to {PAGE_MAX}");
    let limit = parameters.value("limit", &form, |text| text.parse().ok().filter(|n| (1..=PAGE_MAX).contains(n)))?;
    let subject = parameters.text("subject").map(str::to_owned);
    Ok(Wanted { subject, since: parameters.moment("since")?, after: None, limit: limit.unwrap_or(PAGE) })
}

#[cfg(feature = "nats")]
pub(super) async fn replay(State(app): State<App>, parameters: Parameters) -> Result<Json<EventPage>, Problem> {
    let wanted = wanted(&parameters)?;
    let cursor = |text: &str| {
        let (made, number) = text.strip_prefix(CURSOR)?.split_once('-')?;
        Some(Position { made: made.parse().ok()?, number: number.parse().ok()? })
    };
    let after = parameters.value("cursor", "the `next` of the page before", cursor)?;
    parameters.end()?;
    let page = replay::replay(&super::streams::of(&app)?, &wanted, after).await.map_err(|error| match error {
        ReplayError::Stream(error) => error.into(),
        ReplayError::Another => {
            let detail = "the stream was made anew since the page before: its events have other places now";
            Problem::new(StatusCode::CONFLICT, "stream_made_anew", detail).at("cursor").hint("begin anew, with `since`")
        }
    })?;
    let next = page.next.map(|Position { made, number }| format!("{CURSOR}{made}-{number}"));
    Ok(Json(EventPage { events: page.events.into_iter().map(Into::into).collect(), next, more: page.more }))
}

pub(super) async fn list(State(app): State<App>, parameters: Parameters) -> Result<Json<EventPage>, Problem> {
    let Wanted { subject, since, limit, .. } = wanted(&parameters)?;
    let cursor = |text: &str| text.strip_prefix(CURSOR)?.parse::<i64>().ok().map(|number| (number, text.to_owned()));
    let after = parameters.value("cursor", "the `next` of the page before", cursor)?;
    let (after, same) = after.unzip();
    parameters.end()?;
    let Some(source) = &app.events else {
        let problem = Problem::not_found("no_events", "nothing is hosted here that publishes events");
        return Err(
            problem.hint("ask the node that hosts the participant; what went to a broker is at /v1/events/replay")
        );
    };
    // One more than is shown says whether there are more.
    let wanted = Wanted { subject, since, after, limit: limit + 1 };
    let mut events = source.page(wanted).await.map_err(|why| {
        tracing::error!(%why, "failed to read a participant's events");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "the participant's events cannot be read now")
    })?;
    let more = events.len() > limit as usize;
    events.truncate(limit as usize);
    let next = events.last().map(|last| format!("{CURSOR}{}", last.number)).or(same);
    Ok(Json(EventPage { events: events.into_iter().map(Into::into).collect(), next, more }))
}
