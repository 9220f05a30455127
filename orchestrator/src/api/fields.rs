//! What a caller sends, field by field: each asked for by name, and none left over.

use super::{json, problem::Problem, terms};
use crate::nearest::hint;
use axum::{
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{StatusCode, header, request::Parts},
};
use serde::de::DeserializeOwned;
use std::{
    cell::RefCell,
    collections::BTreeMap,
    str::FromStr,
    time::{Duration, UNIX_EPOCH},
};
use tercet_core::{BadName, Millis, Payload};

/// The longest body, in bytes.
pub(super) const BODY_BYTES_MAX: usize = 1 << 20;

/// How long a body may take to come.
const BODY_WAIT_MAX: Duration = Duration::from_secs(30);

/// A JSON object's fields.
pub(super) struct Body(BTreeMap<String, Payload>);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            let detail = if kind.is_empty() {
                "the body's type is not said".to_owned()
            } else {
                format!("the body is `{kind}`")
            };
            let problem = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", detail);
            return Err(problem.at("content-type").hint("send JSON, with `content-type: application/json`"));
        }
        let said: Option<usize> =
            request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if said.is_some_and(|length| length > BODY_BYTES_MAX) {
            return Err(too_large());
        }
        // What is not said beforehand is counted, and given up at the limit.
        let reading = axum::body::to_bytes(request.into_body(), BODY_BYTES_MAX);
        let read = tokio::time::timeout(BODY_WAIT_MAX, reading).await.map_err(|_| {
            let detail = format!("the body did not come within {} seconds", BODY_WAIT_MAX.as_secs());
            Problem::new(StatusCode::REQUEST_TIMEOUT, "slow_body", detail)
        })?;
        let bytes = read.map_err(|error| {
            let mut cause: Option<&dyn std::error::Error> = Some(&error);
            while let Some(at) = cause {
                if at.to_string().contains("length limit") {
                    return too_large();
                }
                cause = at.source();
            }
            Problem::bad_request("broken_body", "the body broke off")
        })?;
        Self::read(&bytes)
    }
}

fn too_large() -> Problem {
    let detail = format!("the body is larger than {BODY_BYTES_MAX} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
}

impl Body {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Problem> {
        let text = json::check(bytes)?;
        let fields = serde_json::from_str(text)
            .map_err(|_| Problem::bad_request("bad_json", "the body is not a JSON object").hint("send `{…}`"))?;
        Ok(Self(fields))
    }

    /// Refuses a body with any other field: to be asked first, since a field that is misspelt would look like one that is missing.
    pub(super) fn only(self, known: &[&'static str]) -> Result<Self, Problem> {
        match self.0.keys().find(|field| !known.contains(&field.as_str())) {
            Some(field) => Err(unknown("field", field, known)),
            None => Ok(self),
        }
    }

    /// A field that may be missing, or `null`.
    pub(super) fn optional<T: DeserializeOwned>(&self, name: &'static str) -> Result<Option<T>, Problem> {
        match self.payload(name) {
            Some(value) if value.as_str() != "null" => value.parse().map(Some).map_err(|error| {
                let why = terms::in_json(&error.to_string());
                Problem::bad_request("bad_field", format!("`{name}` cannot be read: {why}")).at(name)
            }),
            _ => Ok(None),
        }
    }

    pub(super) fn required<T: DeserializeOwned>(&self, name: &'static str) -> Result<T, Problem> {
        self.optional(name)?.ok_or_else(|| missing(name))
    }

    /// A field as it stands, `null` included.
    pub(super) fn payload(&self, name: &str) -> Option<Payload> {
        self.0.get(name).cloned()
    }

    /// A text that is a name, key or id.
    pub(super) fn name<T: FromStr<Err = BadName>>(&self, name: &'static str) -> Result<Option<T>, Problem> {
        let text: Option<String> = self.optional(name)?;
        text.map(|text| text.parse().map_err(|error| Problem::bad_name(name, &error))).transpose()
    }
}

pub(super) fn missing(name: &str) -> Problem {
    Problem::bad_request("missing_field", format!("`{name}` is missing")).at(name)
}

fn unknown(what: &str, name: &str, asked: &[&'static str]) -> Problem {
    let problem = Problem::bad_request(&format!("unknown_{what}"), format!("there is no {what} `{name}` here"));
    problem.at(name).hint(hint(name, asked.iter().copied()))
}

/// What stands in a path for an id or a name.
pub(super) struct Segment(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = Path::<String>::from_request_parts(parts, state).await;
        read.map(|Path(text)| Self(text)).map_err(|error| Problem::bad_request("bad_path", error.to_string()))
    }
}

/// A query's parameters.
pub(super) struct Parameters {
    all: Vec<(String, String)>,
    asked: RefCell<Vec<&'static str>>,
}

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let Query(all) = read.map_err(|error| Problem::bad_request("bad_query", error.to_string()))?;
        let names: Vec<_> = all.iter().map(|(name, _)| name).collect();
        if let Some(twice) =
            names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)).map(|(_, name)| *name)
        {
            return Err(Problem::bad_request("duplicate_parameter", format!("`{twice}` is given twice")).at(twice));
        }
        Ok(Self { all, asked: RefCell::default() })
    }
}

impl Parameters {
    pub(super) fn text(&self, name: &'static str) -> Option<&str> {
        self.asked.borrow_mut().push(name);
        self.all.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// A name, key or id.
    pub(super) fn name<T: FromStr<Err = BadName>>(&self, name: &'static str) -> Result<Option<T>, Problem> {
        self.text(name).map(|text| text.parse().map_err(|error| Problem::bad_name(name, &error))).transpose()
    }

    /// A value of another form, which `form` puts in words.
    pub(super) fn value<T>(
        &self, name: &'static str, form: &str, parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let bad = || Problem::bad_request("bad_parameter", format!("`{name}` must be {form}")).at(name);
        parse(text).map(Some).ok_or_else(bad)
    }

    pub(super) fn flag(&self, name: &'static str) -> Result<Option<bool>, Problem> {
        self.value(name, "`true` or `false`", |text| text.parse().ok())
    }

    /// A moment, as the API writes it.
    pub(super) fn moment(&self, name: &'static str) -> Result<Option<Millis>, Problem> {
        self.value(name, "a moment, as in `2026-11-25T06:53:48Z`", |text| {
            let since = humantime::parse_rfc3339_weak(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
            i64::try_from(since.as_millis()).ok().map(Millis)
        })
    }

    /// A time, no longer than `most`.
    pub(super) fn time(&self, name: &'static str, most: Duration) -> Result<Option<Duration>, Problem> {
        let form = format!("a time of at most {}, with its unit, as in `10s`", humantime::format_duration(most));
        self.value(name, &form, |text| humantime::parse_duration(text).ok().filter(|time| *time <= most))
    }

    /// To be called when every parameter was asked for: what nobody asked for is refused.
    pub(super) fn end(self) -> Result<(), Problem> {
        let asked = self.asked.into_inner();
        match self.all.iter().find(|(name, _)| !asked.contains(&name.as_str())) {
            Some((name, _)) => Err(unknown("parameter", name, &asked)),
            None => Ok(()),
        }
    }
}
