//! Tcc and compensable on the participant's own database: plan, handler, row and answer in one transaction.

use super::{
    Desk, Operate, codec,
    guard::{self, Broken},
};
use crate::{
    barrier::{
        Hold, Row,
        hold::{Outcome, Plan, Sort},
    },
    database::{Boxed, Database, RowKey, Tx},
    handlers::{Compensable, Tcc},
    outcome::Otherwise,
};
use std::marker::PhantomData;
use tercet_core::{Answer, Call, Operation, Payload, Phase, StepKind, kind};

/// The handlers of an operation, by phase.
trait Phases<S, D: Database>: Send + Sync + 'static {
    const KIND: StepKind;
    fn run<'a>(state: &'a S, tx: &'a D::Tx, call: &'a Call, row: &'a Hold) -> Boxed<'a, Result<Payload, Otherwise>>;
}

struct TccOf<O>(PhantomData<fn() -> O>);
struct CompensableOf<O>(PhantomData<fn() -> O>);
struct Local<P>(PhantomData<fn() -> P>);

pub(super) fn tcc<S, D, O>() -> Box<dyn Operate<S, D>>
where
    S: Tcc<O, D>,
    D: Database,
    O: Operation<Kind = kind::Tcc>,
{
    Box::new(Local::<TccOf<O>>(PhantomData))
}

pub(super) fn compensable<S, D, O>() -> Box<dyn Operate<S, D>>
where
    S: Compensable<O, D>,
    D: Database,
    O: Operation<Kind = kind::Compensable>,
{
    Box::new(Local::<CompensableOf<O>>(PhantomData))
}

impl<S, D, O> Phases<S, D> for TccOf<O>
where
    S: Tcc<O, D>,
    D: Database,
    O: Operation<Kind = kind::Tcc>,
{
    const KIND: StepKind = StepKind::Tcc;

    fn run<'a>(state: &'a S, tx: &'a D::Tx, call: &'a Call, row: &'a Hold) -> Boxed<'a, Result<Payload, Otherwise>> {
        Box::pin(async move {
            let request = codec::request(call)?;
            match call.phase {
                Phase::Confirm => {
                    let reply = codec::must_be_tried(call, row)?;
                    state.confirm(tx, call, request, reply).await.map(|()| Payload::null())
                }
                Phase::Cancel => {
                    let reply = codec::tried(call, row)?;
                    state.cancel(tx, call, request, reply).await.map(|()| Payload::null())
                }
                _ => codec::written(&state.try_(tx, call, request).await?),
            }
        })
    }
}

impl<S, D, O> Phases<S, D> for CompensableOf<O>
where
    S: Compensable<O, D>,
    D: Database,
    O: Operation<Kind = kind::Compensable>,
{
    const KIND: StepKind = StepKind::Compensable;

    fn run<'a>(state: &'a S, tx: &'a D::Tx, call: &'a Call, row: &'a Hold) -> Boxed<'a, Result<Payload, Otherwise>> {
        Box::pin(async move {
            let request = codec::request(call)?;
            match call.phase {
                Phase::Cancel => {
                    let reply = codec::tried(call, row)?;
                    state.compensate(tx, call, request, reply).await.map(|()| Payload::null())
                }
                _ => codec::written(&state.execute(tx, call, request).await?),
            }
        })
    }
}

impl<S, D, P> Operate<S, D> for Local<P>
where
    S: Send + Sync + 'static,
    D: Database,
    P: Phases<S, D>,
{
    fn kind(&self) -> StepKind {
        P::KIND
    }

    fn answer<'a>(&'a self, desk: &'a Desk<S, D>, call: &'a Call) -> Boxed<'a, Answer> {
        Box::pin(async move {
            let answered = guard::restarting(|| once::<S, D, P>(desk, call)).await;
            answered.unwrap_or_else(|broken| guard::after_failure(P::KIND, call, &broken))
        })
    }
}

async fn once<S, D, P>(desk: &Desk<S, D>, call: &Call) -> Result<Answer, Broken>
where
    S: Send + Sync + 'static,
    D: Database,
    P: Phases<S, D>,
{
    let sort = Sort { compensable: P::KIND == StepKind::Compensable, remote: false };
    let (now, key) = (desk.now(), RowKey::of(call));
    let tx = guard::begin(&desk.database).await?;
    let row = match tx.enter(&key).await? {
        None => None,
        Some(Row::Hold(row)) => Some(row),
        Some(row) => return Ok(said(tx, guard::wrong_sort(&row)).await),
    };
    let row = match Hold::plan(row.as_ref(), call.phase, sort, now) {
        Plan::Say(answer) => return Ok(said(tx, answer).await),
        Plan::Move(row, answer) => {
            guard::keep(tx, &key, &Row::Hold(row)).await?;
            return Ok(answer);
        }
        Plan::Run => row.unwrap_or_else(|| Hold::begun(sort, now)),
    };
    let inner = tx.nested().await?;
    let outcome = guard::handled(call, P::run(&desk.state, &inner, call, &row)).await;
    let outcome = match settle(inner, outcome).await? {
        Ok(outcome) => outcome,
        Err(answer) => return Ok(said(tx, answer).await),
    };
    match row.after(call.phase, outcome, now) {
        (Some(row), answer) => {
            guard::keep(tx, &key, &Row::Hold(row)).await?;
            Ok(answer)
        }
        (None, answer) => Ok(said(tx, answer).await),
    }
}

/// Says so, and leaves everything as it was.
pub(super) async fn said<X: Tx>(tx: X, answer: Answer) -> Answer {
    guard::undo(tx).await;
    answer
}

/// Keeps what a handler wrote, or takes it back, as its outcome asks; `Err`: nothing of the whole transaction is to be kept.
pub(super) async fn settle<X: Tx>(
    inner: X, outcome: Result<Payload, Otherwise>,
) -> Result<Result<Outcome, Answer>, Broken> {
    let outcome = match outcome {
        Ok(reply) => Outcome::Done(reply),
        Err(Otherwise::Pending(note)) => Outcome::Pending(note),
        Err(Otherwise::Refused(refusal)) => Outcome::Refused(refusal),
        Err(Otherwise::Retry { after, reason }) => {
            guard::undo(inner).await;
            return Ok(Err(Answer::Retry { after, reason }));
        }
        Err(Otherwise::Fault(fault)) => {
            guard::undo(inner).await;
            return Err(fault.into());
        }
    };
    if matches!(outcome, Outcome::Refused(_)) {
        inner.rollback().await?;
    } else {
        inner.commit().await?;
    }
    Ok(Ok(outcome))
}
