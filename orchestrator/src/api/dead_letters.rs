//! `/v1/dead-letters`: what came by way of a stream and can never succeed as things are; sent again, or dropped.

use super::{
    App,
    fields::{Parameters, Segment},
    problem::Problem,
    streams, view,
};
use crate::ingress::{DeadLetter, DeadLetters};
use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use tercet_core::Payload;

/// Letters in a page, unless it is said otherwise, and at most.
const PAGE: usize = 100;
const PAGE_MAX: usize = 1_000;

/// What a cursor begins with, so that it is not taken for a number to count with.
const CURSOR: &str = "after-";

/// A page of dead letters.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LetterPage {
    /// The letters, oldest first.
    pub letters: Vec<LetterView>,
    /// Where the next page begins, when more stand there now.
    pub next: Option<String>,
}

/// A message that can never succeed as things are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LetterView {
    /// Its number.
    pub number: u64,
    /// What it was to do: `start`, `signal` or `complete`.
    pub kind: Option<String>,
    /// Why it cannot succeed: a code.
    pub code: String,
    /// Why it cannot succeed.
    pub reason: String,
    /// When the broker had taken it.
    pub came: Option<String>,
    /// When it was laid aside.
    pub at: String,
    /// What it says.
    pub body: Option<Payload>,
    /// What it says where that is no JSON; what is no text in it is replaced.
    pub unreadable: Option<String>,
}

impl From<DeadLetter> for LetterView {
    fn from(letter: DeadLetter) -> Self {
        let DeadLetter { number, door, code, reason, came, at, body } = letter;
        let json = Payload::from_bytes(&body).ok();
        let unreadable = json.is_none().then(|| String::from_utf8_lossy(&body).into_owned());
        let kind = door.map(|door| door.word().to_owned());
        Self { number, kind, code, reason, came: came.map(view::moment), at: view::moment(at), body: json, unreadable }
    }
}

/// A letter that is no more.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LetterGone {
    /// Its number.
    pub number: u64,
    /// What became of it: `resent` or `dropped`.
    pub became: String,
}

pub(super) async fn list(State(app): State<App>, parameters: Parameters) -> Result<Json<LetterPage>, Problem> {
    let form = format!("a number from 1 to {PAGE_MAX}");
    let limit = parameters.value("limit", &form, |text| text.parse().ok().filter(|n| (1..=PAGE_MAX).contains(n)))?;
    let cursor = |text: &str| text.strip_prefix(CURSOR)?.parse::<u64>().ok();
    let after = parameters.value("cursor", "the `next` of the page before", cursor)?;
    parameters.end()?;
    let limit = limit.unwrap_or(PAGE);
    // One more than is shown says whether there are more.
    let mut letters = DeadLetters::new(streams::of(&app)?).page(after.map_or(0, |after| after + 1), limit + 1).await?;
    let more = letters.len() > limit;
    letters.truncate(limit);
    let next = letters.last().filter(|_| more).map(|last| format!("{CURSOR}{}", last.number));
    Ok(Json(LetterPage { letters: letters.into_iter().map(Into::into).collect(), next }))
}

pub(super) async fn one(
    State(app): State<App>, Segment(number): Segment, parameters: Parameters,
) -> Result<Json<LetterView>, Problem> {
    parameters.end()?;
    let number = numbered(&number)?;
    let letter = DeadLetters::new(streams::of(&app)?).one(number).await?;
    letter.map(|letter| Json(letter.into())).ok_or_else(|| unknown(number))
}

pub(super) async fn resend(
    State(app): State<App>, Segment(number): Segment, parameters: Parameters,
) -> Result<Json<LetterGone>, Problem> {
    parameters.end()?;
    let number = numbered(&number)?;
    let is_resent = DeadLetters::new(streams::of(&app)?).resend(number).await?;
    gone(number, is_resent, "resent")
}

pub(super) async fn discard(
    State(app): State<App>, Segment(number): Segment, parameters: Parameters,
) -> Result<Json<LetterGone>, Problem> {
    parameters.end()?;
    let number = numbered(&number)?;
    let is_dropped = DeadLetters::new(streams::of(&app)?).discard(number).await?;
    gone(number, is_dropped, "dropped")
}

fn gone(number: u64, was_there: bool, became: &str) -> Result<Json<LetterGone>, Problem> {
    if !was_there {
        return Err(unknown(number));
    }
    tracing::info!(dead_letter = number, became, "a dead letter is no more");
    Ok(Json(LetterGone { number, became: became.to_owned() }))
}

fn numbered(text: &str) -> Result<u64, Problem> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| {
        Problem::bad_request("bad_number", "a dead letter has a number, from 1")
            .at("number")
            .hint("the list shows them")
    })
}

fn unknown(number: u64) -> Problem {
    let problem = Problem::not_found("unknown_dead_letter", format!("there is no dead letter {number}"));
    problem.hint("it was sent again or dropped, or its stream was made anew; the list shows those that are there")
}
