//! What stands between handlers and the runner: panics are caught, transactions begin again, failures become honest answers.

use crate::{
    barrier::Row,
    database::{Database, Fault, Tx},
    outcome::Otherwise,
};
use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    task::Poll,
};
use tercet_core::{Answer, Call, PANICKED, Phase, StepKind};

/// How often a transaction that another was in the way of begins again before the asker is told *not now*.
const TURNS: u32 = 8;

/// How often a transaction whose commit failed begins again, to find out whether it was committed.
const COMMITS: u32 = 3;

/// A handler panicked; what it said.
#[derive(Debug)]
pub(crate) struct Panicked(pub(crate) String);

/// Runs `work`; a panic in it ends it, and nothing else.
pub(crate) async fn caught<T>(work: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut work = pin!(work);
    std::future::poll_fn(move |cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::as_mut(&mut work).poll(cx)));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
            Err(panic) => Poll::Ready(Err(Panicked(said(&*panic)))),
        }
    })
    .await
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a text".to_owned())
}

/// Runs a handler; a panic in it is *not now*.
pub(super) async fn handled<T>(call: &Call, work: impl Future<Output = Result<T, Otherwise>>) -> Result<T, Otherwise> {
    caught(work).await.unwrap_or_else(|Panicked(text)| {
        tracing::error!(contract = %call.contract, phase = %call.phase, panic = %text, "a handler panicked");
        Err(Otherwise::Retry { after: None, reason: format!("{PANICKED}: {text}") })
    })
}

/// A transaction failed: before its commit, so that nothing was written, or in it, so that nobody knows.
#[derive(Debug)]
pub(super) enum Broken {
    /// Nothing was written.
    Before(Fault),
    /// It may have been written.
    InCommit(Fault),
}

impl From<Fault> for Broken {
    fn from(fault: Fault) -> Self {
        Self::Before(fault)
    }
}

/// Commits; a failure that is no conflict leaves it open whether it was committed.
pub(super) async fn commit<X: Tx>(tx: X) -> Result<(), Broken> {
    tx.commit().await.map_err(|fault| if fault.is_conflict() { Broken::Before(fault) } else { Broken::InCommit(fault) })
}

/// Writes the row and commits.
pub(super) async fn keep<X: Tx>(tx: X, key: &crate::database::RowKey, row: &Row) -> Result<(), Broken> {
    tx.put(key, row).await?;
    commit(tx).await
}

/// Runs a transaction, from its beginning, until it ends one way or the other. After a commit that failed the next turn finds in
/// the barrier's row whether it was committed after all.
pub(super) async fn restarting<T, F>(mut once: impl FnMut() -> F) -> Result<T, Broken>
where
    F: Future<Output = Result<T, Broken>>,
{
    let (mut turns, mut commits) = (0, 0);
    let mut in_doubt = None;
    loop {
        match once().await {
            Ok(value) => return Ok(value),
            Err(Broken::Before(fault)) if fault.is_conflict() && turns < TURNS => turns += 1,
            Err(Broken::InCommit(fault)) if commits < COMMITS => {
                commits += 1;
                in_doubt = Some(fault);
            }
            Err(Broken::Before(fault)) => return Err(in_doubt.map_or(Broken::Before(fault), Broken::InCommit)),
            Err(broken) => return Err(broken),
        }
    }
}

/// The answer to a call whose transaction could not be brought to an end.
pub(super) fn after_failure(kind: StepKind, call: &Call, broken: &Broken) -> Answer {
    match broken {
        Broken::Before(fault) => {
            tracing::warn!(%fault, "a transaction failed; nothing was written");
            if call.phase == Phase::Query { unknown(kind, call.phase) } else { Answer::retry(fault.to_string()) }
        }
        Broken::InCommit(fault) => {
            tracing::warn!(%fault, "a commit failed, and it is not known whether it was written");
            unknown(kind, call.phase)
        }
    }
}

/// What says *nobody knows* to a call of that phase, so that it is asked, or queried, again.
pub(super) fn unknown(kind: StepKind, phase: Phase) -> Answer {
    match phase {
        Phase::Try if kind.is_irreversible() => Answer::Pending(tercet_core::Payload::null()),
        Phase::Query => Answer::Pending(tercet_core::Payload::null()),
        Phase::Try => Answer::Expired,
        Phase::Confirm | Phase::Cancel | Phase::Close | Phase::Forget => {
            Answer::retry("it is not known whether it was done; ask again")
        }
    }
}

/// Rolls back; that this fails, too, changes nothing: what is not committed does not count.
pub(super) async fn undo<X: Tx>(tx: X) {
    if let Err(fault) = tx.rollback().await {
        tracing::debug!(%fault, "a rollback failed");
    }
}

/// Opens a transaction that writes.
pub(super) async fn begin<D: Database>(database: &D) -> Result<D::Tx, Broken> {
    Ok(database.begin(crate::database::Access::Write).await?)
}

/// The row belongs to an operation of another sort: the step was asked under two contracts, which no orchestrator does.
pub(super) fn wrong_sort(row: &Row) -> Answer {
    Answer::retry(format!("this step's barrier row is of another sort of operation, and {}", row.state()))
}
