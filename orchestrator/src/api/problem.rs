//! Problems (RFC 9457): every no of the API, each with a stable code, and text that says what would be right.

use super::{terms, words};
use crate::{EngineError, store::StoreError};
use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    ops::{Deref, DerefMut},
};
use tercet_core::{BadName, Choice, SagaId};

/// The longest text of a problem, in bytes: it may quote what it was given.
const DETAIL_BYTES_MAX: usize = 1_024;

/// Seconds after which a caller may try again what was not possible now.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Problem(Box<Details>);

/// A problem's members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// The code as a URN.
    #[serde(rename = "type")]
    pub kind: String,
    /// The code in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// Stable, for programs.
    pub code: String,
    /// What is wrong here.
    pub detail: String,
    /// The field, query parameter or header that is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What would be right, or what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The saga's state, when that is what is in the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// What the step offers instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choices: Option<Vec<Choice>>,
    /// The saga that is in the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saga: Option<SagaId>,
}

impl Deref for Problem {
    type Target = Details;

    fn deref(&self) -> &Details {
        &self.0
    }
}

impl DerefMut for Problem {
    fn deref_mut(&mut self) -> &mut Details {
        &mut self.0
    }
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        let words = code.replace('_', " ");
        let title = words.chars().take(1).flat_map(char::to_uppercase).chain(words.chars().skip(1)).collect();
        Self(Box::new(Details {
            kind: format!("urn:tercet:problem:{code}"),
            title,
            status: status.as_u16(),
            code: code.to_owned(),
            detail: shortened(detail.into()),
            field: None,
            hint: None,
            state: None,
            choices: None,
            saga: None,
        }))
    }

    pub(super) fn bad_request(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    pub(super) fn unprocessable(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
    }

    pub(super) fn not_found(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    /// A name, key or id in `field` that cannot be one.
    pub(super) fn bad_name(field: &str, error: &BadName) -> Self {
        Self::bad_request("bad_name", error.to_string()).at(field)
    }

    pub(super) fn at(mut self, field: impl Into<String>) -> Self {
        self.field = Some(shortened(field.into()));
        self
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(shortened(hint.into()));
        self
    }
}

fn shortened(mut text: String) -> String {
    if text.len() > DETAIL_BYTES_MAX {
        let end = (0..=DETAIL_BYTES_MAX - '…'.len_utf8()).rev().find(|&at| text.is_char_boundary(at));
        text.truncate(end.unwrap_or(0));
        text.push('…');
    }
    text
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Problem {}

/// An engine's no, as a problem. Never a 500 but for a bug.
impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        let status = match &error {
            EngineError::BadName(_) => StatusCode::BAD_REQUEST,
            EngineError::UnknownDefinition { .. } | EngineError::UnknownSaga { .. } => StatusCode::NOT_FOUND,
            EngineError::BadInput { .. }
            | EngineError::BadValue { .. }
            | EngineError::UnknownSignal { .. }
            | EngineError::KeyTaken { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            EngineError::TooLate { .. }
            | EngineError::NotOffered { .. }
            | EngineError::NeedsForce { .. }
            | EngineError::Quarantined { .. }
            | EngineError::Edited { .. } => StatusCode::CONFLICT,
            EngineError::Unavailable(_) | EngineError::Stopped(_) => StatusCode::SERVICE_UNAVAILABLE,
            EngineError::Bug(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let mut problem = Self::new(status, error.code(), error.to_string());
        match error {
            EngineError::KeyTaken { by } => problem.saga = Some(by),
            EngineError::TooLate { state, .. } => problem.state = Some(state.to_owned()),
            EngineError::NotOffered { step, choices } => {
                let offered: Vec<_> = choices.iter().map(|choice| format!("`{}`", words::choice(*choice))).collect();
                problem.detail = format!("step `{step}` does not offer that now");
                problem.hint = Some(match offered.is_empty() {
                    true => "it offers nothing".to_owned(),
                    false => format!("it offers: {}", offered.join(", ")),
                });
                problem.choices = Some(choices);
            }
            EngineError::BadInput { definition, why } => {
                problem.detail = shortened(format!("the input does not fit `{definition}`: {}", terms::in_json(&why)));
                problem.field = Some("input".to_owned());
            }
            EngineError::BadValue { what, why } => {
                problem.detail = shortened(format!("the value does not fit `{what}`: {}", terms::in_json(&why)));
            }
            EngineError::UnknownSignal { .. } => problem.field = Some("signal".to_owned()),
            _ => {}
        }
        problem
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        EngineError::from(error).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(problem.code = self.code, error = self.detail, "a request failed for a bug");
        }
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
