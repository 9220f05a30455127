//! Tcc and compensable whose effect lies with a third party: intent first, calls outside of transactions, and a cancel that
//! always runs, since a call that is still on its way may land after it.

use super::{
    Desk, Operate, codec,
    guard::{self, Broken, Panicked},
    hold::said,
};
use crate::{
    barrier::{
        Hold, Row,
        hold::{HoldState, Outcome as Kept, Plan, Sort},
    },
    database::{Boxed, Database, RowKey, Tx},
    handlers::{Remote, Undone},
    outcome::{Handed, Otherwise, Outcome, Voided},
};
use std::marker::PhantomData;
use tercet_core::{Answer, Call, Kind, Operation, Payload, Phase, StepKind, canary::broken};

struct RemoteOf<O>(PhantomData<fn() -> O>);

pub(super) fn remote<S, D, O>() -> Box<dyn Operate<S, D>>
where
    S: Remote<O, D>,
    D: Database,
    O: Operation<Kind: Undone>,
{
    Box::new(RemoteOf::<O>(PhantomData))
}

impl<S, D, O> Operate<S, D> for RemoteOf<O>
where
    S: Remote<O, D>,
    D: Database,
    O: Operation<Kind: Undone>,
{
    fn kind(&self) -> StepKind {
        O::Kind::KIND
    }

    fn answer<'a>(&'a self, desk: &'a Desk<S, D>, call: &'a Call) -> Boxed<'a, Answer> {
        Box::pin(async move {
            let answered = match guard::restarting(|| intend::<S, D, O>(desk, call)).await {
                Ok(Begun::Said(answer)) => Ok(answer),
                Ok(Begun::Go(row)) => Ok(go::<S, D, O>(desk, call, row).await),
                Err(broken) => Err(broken),
            };
            answered.unwrap_or_else(|broken| guard::after_failure(O::Kind::KIND, call, &broken))
        })
    }
}

enum Begun {
    Said(Answer),
    Go(Hold),
}

/// Commits the intent of a try, or that a cancel has begun, before any call leaves.
async fn intend<S, D, O>(desk: &Desk<S, D>, call: &Call) -> Result<Begun, Broken>
where
    S: Remote<O, D>,
    D: Database,
    O: Operation<Kind: Undone>,
{
    let sort = Sort { compensable: O::Kind::KIND == StepKind::Compensable, remote: true };
    let (now, key) = (desk.now(), RowKey::of(call));
    let tx = guard::begin(&desk.database).await?;
    let row = match tx.enter(&key).await? {
        None => None,
        Some(Row::Hold(row)) => Some(row),
        Some(row) => return Ok(Begun::Said(said(tx, guard::wrong_sort(&row)).await)),
    };
    let mut row = match Hold::plan(row.as_ref(), call.phase, sort, now) {
        Plan::Say(answer) => return Ok(Begun::Said(said(tx, answer).await)),
        Plan::Move(row, answer) => {
            guard::keep(tx, &key, &Row::Hold(row)).await?;
            return Ok(Begun::Said(answer));
        }
        Plan::Run => row.unwrap_or_else(|| Hold::begun(sort, now)),
    };
    if let (Phase::Try, Err(Otherwise::Refused(refusal))) = (call.phase, codec::request::<O::Request>(call)) {
        let (row, answer) = row.after(Phase::Try, Kept::Refused(refusal), now);
        if let Some(row) = row {
            guard::keep(tx, &key, &Row::Hold(row)).await?;
        }
        return Ok(Begun::Said(answer));
    }
    if broken("call_before_intent") && call.phase == Phase::Try {
        guard::undo(tx).await;
        return Ok(Begun::Go(row));
    }
    row.barred |= call.phase == Phase::Cancel;
    guard::keep(tx, &key, &Row::Hold(row.clone())).await?;
    Ok(Begun::Go(row))
}

/// Makes the calls, and commits what came of them.
async fn go<S, D, O>(desk: &Desk<S, D>, call: &Call, row: Hold) -> Answer
where
    S: Remote<O, D>,
    D: Database,
    O: Operation<Kind: Undone>,
{
    match call.phase {
        Phase::Confirm => {
            let confirmed = guard::handled(call, confirm::<S, D, O>(&desk.state, call, &row)).await;
            finish::<S, D, O>(desk, call, confirmed.map(|()| Payload::null())).await
        }
        Phase::Cancel => {
            let voided = guard::handled(call, void::<S, D, O>(&desk.state, call, codec::tried(call, &row))).await;
            finish::<S, D, O>(desk, call, voided.map(|()| Payload::null())).await
        }
        _ => match make::<S, D, O>(&desk.state, call).await {
            Handed::Done(reply) => finish::<S, D, O>(desk, call, Ok(codec::told(&reply))).await,
            Handed::Refused(refusal) => finish::<S, D, O>(desk, call, Err(Otherwise::Refused(refusal))).await,
            Handed::Pending(note) => finish::<S, D, O>(desk, call, Err(Otherwise::Pending(note))).await,
            Handed::NotSent { after, reason } => Answer::Retry { after, reason },
            Handed::Unknown { reason } => {
                tracing::warn!(%reason, "it is not known whether a remote effect was made; it is asked again under its key");
                guard::unknown(O::Kind::KIND, Phase::Try)
            }
        },
    }
}

async fn make<S, D, O>(state: &S, call: &Call) -> Handed<O::Reply>
where
    S: Remote<O, D>,
    D: Database,
    O: Operation<Kind: Undone>,
{
    let request = match codec::request(call) {
        Ok(request) => request,
        Err(error) => return Handed::not_sent(error.to_string()),
    };
    guard::caught(state.make(call, request)).await.unwrap_or_else(|Panicked(text)| {
        tracing::error!(panic = %text, "a handler panicked while it called a third party");
        Handed::unknown(text)
    })
}

async fn confirm<S, D, O>(state: &S, call: &Call, row: &Hold) -> Outcome<()>
where
    S: Remote<O, D>,
    D: Database,
    O: Operation<Kind: Undone>,
{
    state.confirm(call, codec::request(call)?, codec::must_be_tried(call, row)?).await
}

/// Voids what stands under the key. When nothing stands there, a call that is on its way may still land: so the effect is made,
/// once more under the same key, and that is voided.
async fn void<S, D, O>(state: &S, call: &Call, reply: Result<Option<O::Reply>, Otherwise>) -> Outcome<()>
where
    S: Remote<O, D>,
    D: Database,
    O: Operation<Kind: Undone>,
{
    if state.void(call, codec::request(call)?, reply?).await? != Voided::Nothing || broken("void_of_nothing_is_done") {
        return Ok(());
    }
    match make::<S, D, O>(state, call).await {
        Handed::Done(made) => match state.void(call, codec::request(call)?, Some(made)).await? {
            Voided::Done | Voided::KeyRefused => Ok(()),
            Voided::Nothing => crate::retry("what was made under the key to be voided was not found there"),
        },
        Handed::Refused(_) => Ok(()),
        Handed::Pending(_) => crate::retry("the third party has not said yet whether there is something to void"),
        Handed::NotSent { after, reason } => Err(Otherwise::Retry { after, reason }),
        Handed::Unknown { reason } => crate::retry(reason),
    }
}

async fn finish<S, D, O>(desk: &Desk<S, D>, call: &Call, outcome: Outcome<Payload>) -> Answer
where
    S: Remote<O, D>,
    D: Database,
    O: Operation<Kind: Undone>,
{
    let kept = match outcome {
        Ok(reply) => Kept::Done(reply),
        Err(Otherwise::Refused(refusal)) => Kept::Refused(refusal),
        Err(Otherwise::Pending(note)) => Kept::Pending(note),
        Err(Otherwise::Retry { after, reason }) => return Answer::Retry { after, reason },
        Err(Otherwise::Fault(fault)) => return Answer::retry(fault.to_string()),
    };
    match guard::restarting(|| finish_once::<S, D, O>(desk, call, &kept)).await {
        Ok(Finished::Said(answer)) => answer,
        Ok(Finished::TooLate) => void_late::<S, D, O>(&desk.state, call, &kept).await,
        Err(broken) => {
            tracing::error!(?broken, "what a third party did could not be recorded; it is asked again under its key");
            guard::unknown(O::Kind::KIND, call.phase)
        }
    }
}

enum Finished {
    Said(Answer),
    /// A try came back to a row that a cancel had taken meanwhile.
    TooLate,
}

async fn finish_once<S, D, O>(desk: &Desk<S, D>, call: &Call, kept: &Kept) -> Result<Finished, Broken>
where
    S: Remote<O, D>,
    D: Database,
    O: Operation<Kind: Undone>,
{
    let (now, key) = (desk.now(), RowKey::of(call));
    let tx = guard::begin(&desk.database).await?;
    let Some(Row::Hold(row)) = tx.enter(&key).await? else {
        let lost = Answer::retry("the barrier's row went away while a call was out");
        return Ok(Finished::Said(said(tx, lost).await));
    };
    if call.phase == Phase::Try && row.barred {
        guard::undo(tx).await;
        return Ok(Finished::TooLate);
    }
    if let Some(answer) = already(&row, call.phase) {
        return Ok(Finished::Said(said(tx, answer).await));
    }
    let (moved, answer) = row.after(call.phase, kept.clone(), now);
    let Some(moved) = moved else {
        return Ok(Finished::Said(said(tx, answer).await));
    };
    if matches!(kept, Kept::Done(_)) {
        let inner = tx.nested().await?;
        match guard::handled(call, record::<S, D, O>(&desk.state, &inner, call, &moved)).await {
            Ok(()) => inner.commit().await?,
            Err(Otherwise::Fault(fault)) => {
                guard::undo(inner).await;
                return Err(fault.into());
            }
            Err(error) => {
                tracing::error!(%error, "what a third party did was not booked; it stays unknown until it is");
                guard::undo(inner).await;
                return Ok(Finished::Said(said(tx, guard::unknown(O::Kind::KIND, call.phase)).await));
            }
        }
    }
    guard::keep(tx, &key, &Row::Hold(moved)).await?;
    Ok(Finished::Said(answer))
}

/// What a copy of this call has brought home meanwhile.
fn already(row: &Hold, phase: Phase) -> Option<Answer> {
    let (moved, answer) = match phase {
        Phase::Confirm => (row.state == HoldState::Confirmed, &row.confirm_answer),
        Phase::Cancel => (row.state == HoldState::Cancelled, &row.cancel_answer),
        _ => (row.state != HoldState::Intent, &row.try_answer),
    };
    answer.clone().filter(|_| moved)
}

async fn record<S, D, O>(state: &S, tx: &D::Tx, call: &Call, row: &Hold) -> Outcome<()>
where
    S: Remote<O, D>,
    D: Database,
    O: Operation<Kind: Undone>,
{
    state.record(tx, call, codec::request(call)?, codec::tried(call, row)?).await
}

/// Voids what a try made that came back too late. The cancel has seen to the key; this is for what it cannot have seen.
async fn void_late<S, D, O>(state: &S, call: &Call, kept: &Kept) -> Answer
where
    S: Remote<O, D>,
    D: Database,
    O: Operation<Kind: Undone>,
{
    let reply = match kept {
        Kept::Refused(_) => return Answer::refused("cancelled", "this step was cancelled, and its try was refused"),
        Kept::Done(reply) => reply.parse().ok(),
        Kept::Pending(_) => None,
    };
    match guard::handled(call, void::<S, D, O>(state, call, Ok(reply))).await {
        Ok(()) => Answer::refused("cancelled", "this step was cancelled while its try was out; what that made is void"),
        Err(error) => {
            tracing::error!(%error, "what a late try made could not be voided yet; it is tried again");
            guard::unknown(O::Kind::KIND, Phase::Try)
        }
    }
}
