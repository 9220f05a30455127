//! Retriables, which are done once, and reads, which do nothing.

use super::{
    Desk, Operate, codec,
    guard::{self, Broken},
    hold::{said, settle},
};
use crate::{
    barrier::{Row, Task},
    database::{Access, Boxed, Database, RowKey, Tx},
    handlers::{Read, Retriable},
    outcome::Otherwise,
};
use std::marker::PhantomData;
use tercet_core::{Answer, Call, Operation, Payload, Phase, StepKind, kind};

struct RetriableOf<O>(PhantomData<fn() -> O>);
struct ReadOf<O>(PhantomData<fn() -> O>);

pub(super) fn retriable<S, D, O>() -> Box<dyn Operate<S, D>>
where
    S: Retriable<O, D>,
    D: Database,
    O: Operation<Kind = kind::Retriable>,
{
    Box::new(RetriableOf::<O>(PhantomData))
}

pub(super) fn read<S, D, O>() -> Box<dyn Operate<S, D>>
where
    S: Read<O, D>,
    D: Database,
    O: Operation<Kind = kind::Read>,
{
    Box::new(ReadOf::<O>(PhantomData))
}

fn only_executes(call: &Call) -> Option<Answer> {
    (call.phase != Phase::Try).then(|| Answer::retry(format!("{} has no {}", call.contract, call.phase)))
}

impl<S, D, O> Operate<S, D> for RetriableOf<O>
where
    S: Retriable<O, D>,
    D: Database,
    O: Operation<Kind = kind::Retriable>,
{
    fn kind(&self) -> StepKind {
        StepKind::Retriable
    }

    fn answer<'a>(&'a self, desk: &'a Desk<S, D>, call: &'a Call) -> Boxed<'a, Answer> {
        Box::pin(async move {
            if let Some(no) = only_executes(call) {
                return no;
            }
            let answered = guard::restarting(|| execute_once::<S, D, O>(desk, call)).await;
            answered.unwrap_or_else(|broken| guard::after_failure(StepKind::Retriable, call, &broken))
        })
    }
}

async fn execute_once<S, D, O>(desk: &Desk<S, D>, call: &Call) -> Result<Answer, Broken>
where
    S: Retriable<O, D>,
    D: Database,
    O: Operation<Kind = kind::Retriable>,
{
    let (now, key) = (desk.now(), RowKey::of(call));
    let tx = guard::begin(&desk.database).await?;
    let row = match tx.enter(&key).await? {
        None => None,
        Some(Row::Task(row)) => Some(row),
        Some(row) => return Ok(said(tx, guard::wrong_sort(&row)).await),
    };
    if let Some(answer) = Task::stored(row.as_ref(), call.attempt) {
        return Ok(said(tx, answer).await);
    }
    let inner = tx.nested().await?;
    let work = async {
        let request = codec::request(call)?;
        codec::written(&desk.state.execute(&inner, call, request).await?)
    };
    let outcome = guard::handled(call, work).await;
    match settle(inner, outcome).await? {
        Err(answer) => Ok(said(tx, answer).await),
        Ok(outcome) => {
            let row = Task::after(call.attempt, outcome, now);
            let answer = row.answer.clone();
            guard::keep(tx, &key, &Row::Task(row)).await?;
            Ok(answer)
        }
    }
}

impl<S, D, O> Operate<S, D> for ReadOf<O>
where
    S: Read<O, D>,
    D: Database,
    O: Operation<Kind = kind::Read>,
{
    fn kind(&self) -> StepKind {
        StepKind::Read
    }

    fn answer<'a>(&'a self, desk: &'a Desk<S, D>, call: &'a Call) -> Boxed<'a, Answer> {
        Box::pin(async move {
            if let Some(no) = only_executes(call) {
                return no;
            }
            let answered = guard::restarting(|| read_once::<S, D, O>(desk, call)).await;
            answered.unwrap_or_else(|broken| guard::after_failure(StepKind::Read, call, &broken))
        })
    }
}

async fn read_once<S, D, O>(desk: &Desk<S, D>, call: &Call) -> Result<Answer, Broken>
where
    S: Read<O, D>,
    D: Database,
    O: Operation<Kind = kind::Read>,
{
    let tx = desk.database.begin(Access::Read).await?;
    let work = async {
        let request = codec::request(call)?;
        codec::written(&desk.state.read(&tx, call, request).await?)
    };
    let outcome: Result<Payload, Otherwise> = guard::handled(call, work).await;
    guard::undo(tx).await;
    Ok(match outcome {
        Ok(reply) => Answer::Done(reply),
        Err(Otherwise::Refused(refusal)) => Answer::Refused(refusal),
        Err(Otherwise::Retry { after, reason }) => Answer::Retry { after, reason },
        Err(Otherwise::Pending(_)) => Answer::retry("a read has nothing to report later"),
        Err(Otherwise::Fault(fault)) => return Err(fault.into()),
    })
}
