//! The cases of pivot, external and retriable.

use super::{Calls, Case, Subject, Violation};
use crate::barrier::RETENTION;
use std::future::Future;
use tercet_core::Millis;

/// What a pivot, external or retriable is tested with. The third party behind it must do at once what it is asked.
#[derive(Clone, Debug)]
pub struct Executing {
    accepted: Calls,
    queries: bool,
    closes: bool,
}

impl Executing {
    /// A retriable: a fresh participant does `accepted`'s request.
    #[must_use]
    pub fn retriable(accepted: Calls) -> Self {
        Self { accepted, queries: false, closes: false }
    }

    /// A pivot or external whose third party can be asked.
    #[must_use]
    pub fn querying(accepted: Calls) -> Self {
        Self { accepted, queries: true, closes: false }
    }

    /// A pivot whose third party can be asked, and can close.
    #[must_use]
    pub fn closing(accepted: Calls) -> Self {
        Self { accepted, queries: true, closes: true }
    }
}

/// Plays every case of a pivot, external or retriable, each on a fresh participant.
///
/// # Errors
/// The first case that did not hold.
pub async fn executing<F: Future<Output = Subject>>(fresh: impl Fn() -> F, with: &Executing) -> Result<(), Violation> {
    let calls = &with.accepted;
    duplicate(&Case::begin("duplicate", &fresh).await, calls).await?;
    eight_executes(&Case::begin("execute eight times at once", &fresh).await, calls).await?;
    expired(&Case::begin("expired execute", &fresh).await, calls).await?;
    if with.queries {
        query_of_nothing(&Case::begin("query of what never arrived", &fresh).await, calls).await?;
        fence(&Case::begin("execute after a fence", &fresh).await, calls).await?;
    }
    if with.closes {
        close_first(&Case::begin("execute after a close", &fresh).await, calls).await?;
        close_too_late(&Case::begin("close after the execute", &fresh).await, calls).await?;
    }
    Ok(())
}

async fn duplicate(case: &Case, calls: &Calls) -> Result<(), Violation> {
    let first = case.expect(calls.execute(), "done").await?;
    case.is_touched("after an execute").await?;
    case.repeat(calls.execute(), &first).await?;
    case.repeat(calls.clone().attempt(2).execute(), &first).await
}

async fn eight_executes(case: &Case, calls: &Calls) -> Result<(), Violation> {
    let answers = case.subject.call_together((0..8).map(|_| calls.execute())).await;
    let odd = answers.iter().find(|answer| !matches!(answer.as_str(), "done" | "pending"));
    if let Some(odd) = odd {
        return case.fail(format!("an execute was answered {odd:?} while another was under way"));
    }
    let first = case.expect(calls.execute(), "done").await?;
    case.is_touched("after eight executes").await?;
    case.repeat(calls.execute(), &first).await
}

async fn expired(case: &Case, calls: &Calls) -> Result<(), Violation> {
    let half = i64::try_from(RETENTION.as_millis() / 2).unwrap_or(i64::MAX);
    let old = calls.clone().issued(Millis(calls.made().0 - half - 1));
    case.expect(old.execute(), "expired").await?;
    case.is_untouched("after an expired execute").await?;
    case.expect(calls.execute(), "done").await.map(|_| ())
}

async fn query_of_nothing(case: &Case, calls: &Calls) -> Result<(), Violation> {
    case.expect(calls.query(), "absent").await?;
    case.is_untouched("after a query").await?;
    let done = case.expect(calls.execute(), "done").await?;
    case.repeat(calls.query(), &done).await
}

async fn fence(case: &Case, calls: &Calls) -> Result<(), Violation> {
    case.expect(calls.fence(), "absent").await?;
    let first = case.expect(calls.execute(), "refused").await?;
    case.is_untouched("after an execute that the fence held off").await?;
    case.repeat(calls.execute(), &first).await?;
    case.expect(calls.clone().attempt(2).execute(), "done").await.map(|_| ())
}

async fn close_first(case: &Case, calls: &Calls) -> Result<(), Violation> {
    let first = case.expect(calls.close(), "closed").await?;
    case.repeat(calls.close(), &first).await?;
    case.expect(calls.execute(), "refused").await?;
    case.expect(calls.clone().attempt(2).execute(), "refused").await?;
    case.is_untouched("after executes of what was closed").await
}

async fn close_too_late(case: &Case, calls: &Calls) -> Result<(), Violation> {
    let done = case.expect(calls.execute(), "done").await?;
    case.repeat(calls.close(), &done).await
}
