//! What ends a command without success: the text that says what to do, and the exit code, found in one place.

use crate::{EngineError, api::problem::Problem, config::ConfigErrors, store::StoreError};
use std::{error::Error, fmt, process::ExitCode};

/// Why a command did not do what it was asked.
///
/// Any error turns into one by `?`; those of Tercet know their exit code, all others are 1.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    text: String,
}

/// The command's exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Anything else.
    Other = 1,
    /// It was called wrongly, or with input that cannot be.
    Usage = 2,
    /// There is no such thing.
    NotFound = 3,
    /// The state of things is in the way.
    Conflict = 4,
    /// Nobody is there, or not now.
    Unavailable = 5,
    /// The caller may not.
    NotAllowed = 6,
    /// The saga that was waited for is cancelled, or is being undone.
    Cancelled = 7,
    /// The saga that was waited for stands in front of a person.
    Parked = 8,
    /// What was waited for did not come in time; it goes on.
    NotYet = 9,
}

/// The exit codes, as the help and the README list them.
pub(super) const EXIT_CODES: &str = "Exit codes: 0 done, 1 anything else, 2 called wrongly, 3 not found, 4 conflict, 5 unavailable, \
     6 not allowed; of `saga start --wait`: 7 cancelled, 8 parked in front of a person, 9 not there yet";

impl Failure {
    /// A failure of that kind.
    pub fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self { exit, text: text.into() }
    }

    pub(super) fn usage(text: impl Into<String>) -> Self {
        Self::new(Exit::Usage, text)
    }

    pub(super) fn unavailable(text: impl Into<String>) -> Self {
        Self::new(Exit::Unavailable, text)
    }

    /// Its exit code.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.exit
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(at) = cause {
            let more = at.to_string();
            if !text.contains(&more) {
                text = format!("{text}: {more}");
            }
            cause = at.source();
        }
        Self { exit: exit_of(&error), text }
    }
}

fn exit_of(error: &(dyn Error + 'static)) -> Exit {
    if let Some(problem) = error.downcast_ref::<Problem>() {
        return of_problem(problem);
    }
    if error.is::<ConfigErrors>() || error.is::<clap::Error>() {
        return Exit::Usage;
    }
    match (error.downcast_ref::<StoreError>(), error.downcast_ref::<EngineError>()) {
        (Some(StoreError::InUse(_)), _) => Exit::Conflict,
        (Some(StoreError::Schema(_) | StoreError::Unusable(_) | StoreError::Unavailable(_)), _) => Exit::Unavailable,
        (_, Some(EngineError::Edited { .. })) => Exit::Conflict,
        (_, Some(EngineError::Unavailable(_) | EngineError::Stopped(_))) => Exit::Unavailable,
        _ => error.source().map_or(Exit::Other, exit_of),
    }
}

fn of_problem(problem: &Problem) -> Exit {
    match (problem.status, problem.code.as_str()) {
        (409, _) | (_, "key_taken") => Exit::Conflict,
        (401 | 403, _) => Exit::NotAllowed,
        (404, _) => Exit::NotFound,
        (503, _) => Exit::Unavailable,
        (400..=499, _) => Exit::Usage,
        _ => Exit::Other,
    }
}
