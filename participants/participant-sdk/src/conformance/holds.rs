//! The cases of tcc and compensable.

use super::{Calls, Case, Subject, Violation};
use crate::barrier::RETENTION;
use std::future::Future;
use tercet_core::Millis;

/// What a tcc or compensable is tested with.
#[derive(Clone, Debug)]
pub struct Holding {
    accepted: Calls,
    refused: Option<Calls>,
    confirms: bool,
}

impl Holding {
    /// A tcc: a fresh participant accepts `accepted`'s request once.
    #[must_use]
    pub fn tcc(accepted: Calls) -> Self {
        Self { accepted, refused: None, confirms: true }
    }

    /// A compensable: a fresh participant accepts `accepted`'s request once.
    #[must_use]
    pub fn compensable(accepted: Calls) -> Self {
        Self { accepted, refused: None, confirms: false }
    }

    /// A fresh participant refuses `refused`'s request.
    #[must_use]
    pub fn refusing(mut self, refused: Calls) -> Self {
        self.refused = Some(refused);
        self
    }
}

/// Plays every case of a tcc or compensable, each on a fresh participant.
///
/// # Errors
/// The first case that did not hold.
pub async fn holding<F: Future<Output = Subject>>(fresh: impl Fn() -> F, with: &Holding) -> Result<(), Violation> {
    let calls = &with.accepted;
    duplicate(&Case::begin("duplicate", &fresh).await, calls).await?;
    expired_try(&Case::begin("expired try", &fresh).await, calls).await?;
    empty_cancel(&Case::begin("empty cancel, then a late try", &fresh).await, calls).await?;
    cancel_twice(&Case::begin("cancel twice, then a late try", &fresh).await, calls).await?;
    eight_cancels(&Case::begin("cancel eight times at once", &fresh).await, calls).await?;
    eight_empty_cancels(&Case::begin("cancel eight times at once, without a try", &fresh).await, calls).await?;
    try_and_cancel(&Case::begin("try and cancel at once", &fresh).await, calls).await?;
    eight_tries(&Case::begin("try eight times at once", &fresh).await, calls).await?;
    if let Some(refused) = &with.refused {
        late_try_after_refusal(&Case::begin("late try after refusal", &fresh).await, refused).await?;
        cancel_after_refusal(&Case::begin("cancel after refusal", &fresh).await, refused).await?;
    }
    if with.confirms {
        confirm_twice(&Case::begin("confirm twice", &fresh).await, calls).await?;
        confirm_without_try(&Case::begin("confirm without try", &fresh).await, calls).await?;
        confirm_after_cancel(&Case::begin("confirm after cancel", &fresh).await, calls).await?;
    }
    Ok(())
}

async fn duplicate(case: &Case, calls: &Calls) -> Result<(), Violation> {
    let first = case.expect(calls.execute(), "done").await?;
    case.is_touched("after a try").await?;
    case.repeat(calls.execute(), &first).await?;
    case.repeat(calls.clone().attempt(2).execute(), &first).await
}

async fn expired_try(case: &Case, calls: &Calls) -> Result<(), Violation> {
    let half = i64::try_from(RETENTION.as_millis() / 2).unwrap_or(i64::MAX);
    let old = calls.clone().issued(Millis(calls.made().0 - half - 1));
    case.expect(old.execute(), "expired").await?;
    case.is_untouched("after an expired try").await?;
    case.expect(calls.execute(), "done").await?;
    case.expect(old.cancel(), "done").await?;
    case.is_untouched("after a cancel, which never expires").await
}

async fn empty_cancel(case: &Case, calls: &Calls) -> Result<(), Violation> {
    let first = case.expect(calls.cancel(), "done").await?;
    case.is_untouched("after an empty cancel").await?;
    case.repeat(calls.cancel(), &first).await?;
    case.expect(calls.execute(), "refused").await?;
    case.is_untouched("after a late try").await?;
    case.repeat(calls.cancel(), &first).await
}

async fn cancel_twice(case: &Case, calls: &Calls) -> Result<(), Violation> {
    case.expect(calls.execute(), "done").await?;
    let first = case.expect(calls.cancel(), "done").await?;
    case.is_untouched("after a cancel").await?;
    case.repeat(calls.cancel(), &first).await?;
    case.expect(calls.execute(), "refused").await?;
    case.is_untouched("after a late try").await
}

async fn eight_cancels(case: &Case, calls: &Calls) -> Result<(), Violation> {
    case.expect(calls.execute(), "done").await?;
    let answers = case.subject.call_together((0..8).map(|_| calls.cancel())).await;
    case.all_same(&answers, "done")?;
    case.is_untouched("after eight cancels").await
}

async fn eight_empty_cancels(case: &Case, calls: &Calls) -> Result<(), Violation> {
    let answers = case.subject.call_together((0..8).map(|_| calls.cancel())).await;
    case.all_same(&answers, "done")?;
    case.is_untouched("after eight empty cancels").await?;
    case.expect(calls.execute(), "refused").await?;
    case.is_untouched("after a late try").await
}

async fn try_and_cancel(case: &Case, calls: &Calls) -> Result<(), Violation> {
    for saga in 1..=16 {
        let calls = calls.clone().saga(saga);
        let both = [calls.execute(), calls.cancel()];
        let both: Vec<_> = if saga % 2 == 0 { both.into() } else { both.into_iter().rev().collect() };
        let answers = case.subject.call_together(both).await;
        if !answers.iter().any(|answer| answer.as_str() == "done") {
            return case.fail(format!("the cancel must be done: {answers:?}"));
        }
        case.is_untouched("after a try and a cancel at once").await?;
        case.expect(calls.execute(), "refused").await?;
        case.is_untouched("after a late try").await?;
    }
    Ok(())
}

async fn eight_tries(case: &Case, calls: &Calls) -> Result<(), Violation> {
    let answers = case.subject.call_together((0..8).map(|_| calls.execute())).await;
    case.all_same(&answers, "done")?;
    case.expect(calls.cancel(), "done").await?;
    case.is_untouched("after one cancel of eight tries at once").await
}

async fn late_try_after_refusal(case: &Case, refused: &Calls) -> Result<(), Violation> {
    let first = case.expect(refused.execute(), "refused").await?;
    case.is_untouched("after a refused try").await?;
    case.repeat(refused.execute(), &first).await?;
    case.repeat(refused.clone().attempt(2).execute(), &first).await
}

async fn cancel_after_refusal(case: &Case, refused: &Calls) -> Result<(), Violation> {
    case.expect(refused.execute(), "refused").await?;
    let first = case.expect(refused.cancel(), "done").await?;
    case.is_untouched("after the cancel of a refused try").await?;
    case.repeat(refused.cancel(), &first).await?;
    case.expect(refused.execute(), "refused").await?;
    case.is_untouched("after a late try").await
}

async fn confirm_twice(case: &Case, calls: &Calls) -> Result<(), Violation> {
    let tried = case.expect(calls.execute(), "done").await?;
    let first = case.expect(calls.confirm(), "done").await?;
    case.is_touched("after a confirm").await?;
    case.repeat(calls.confirm(), &first).await?;
    case.repeat(calls.execute(), &tried).await?;
    let refused = case.expect(calls.cancel(), "refused").await?;
    case.repeat(calls.cancel(), &refused).await
}

async fn confirm_without_try(case: &Case, calls: &Calls) -> Result<(), Violation> {
    let first = case.expect(calls.confirm(), "refused").await?;
    case.is_untouched("after a confirm without a try").await?;
    case.repeat(calls.confirm(), &first).await
}

async fn confirm_after_cancel(case: &Case, calls: &Calls) -> Result<(), Violation> {
    case.expect(calls.execute(), "done").await?;
    case.expect(calls.cancel(), "done").await?;
    case.expect(calls.confirm(), "refused").await?;
    case.is_untouched("after a confirm that came after the cancel").await
}
