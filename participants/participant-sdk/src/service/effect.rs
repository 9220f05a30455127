//! Pivots and externals: intent committed, then the call outside of any transaction, then what was learnt committed.

use super::{
    Desk, Operate, codec,
    guard::{self, Broken, Panicked},
    hold::said,
};
use crate::{
    barrier::{
        Effect, Row,
        effect::{Close, Execute, Learnt, Query},
    },
    database::{Boxed, Database, RowKey, Tx},
    handlers::{External, Pivot},
    outcome::{Closing, Found, Handed, Otherwise, Outcome, Settled},
};
use std::marker::PhantomData;
use tercet_core::{Answer, Call, Millis, Operation, Payload, Phase, StepKind, kind};

/// The handlers of an effect, its types erased.
trait Party<S, D: Database>: Send + Sync + 'static {
    const KIND: StepKind;
    const CLOSES: bool;
    fn prepare<'a>(state: &'a S, tx: &'a D::Tx, call: &'a Call) -> Boxed<'a, Outcome<()>>;
    fn execute<'a>(state: &'a S, call: &'a Call) -> Boxed<'a, Handed<Payload>>;
    fn query<'a>(state: &'a S, call: &'a Call) -> Boxed<'a, Found<Payload>>;
    fn close<'a>(state: &'a S, call: &'a Call) -> Boxed<'a, Closing<Payload>>;
    fn record<'a>(state: &'a S, tx: &'a D::Tx, call: &'a Call, settled: Settled<Payload>) -> Boxed<'a, Outcome<()>>;
}

struct PivotOf<O>(PhantomData<fn() -> O>);
struct ExternalOf<O>(PhantomData<fn() -> O>);
struct AtThirdParty<P>(PhantomData<fn() -> P>);

pub(super) fn pivot<S, D, O>() -> Box<dyn Operate<S, D>>
where
    S: Pivot<O, D>,
    D: Database,
    O: Operation<Kind = kind::Pivot>,
{
    Box::new(AtThirdParty::<PivotOf<O>>(PhantomData))
}

pub(super) fn external<S, D, O>() -> Box<dyn Operate<S, D>>
where
    S: External<O, D>,
    D: Database,
    O: Operation<Kind = kind::External>,
{
    Box::new(AtThirdParty::<ExternalOf<O>>(PhantomData))
}

/// The two kinds differ in their trait's name and in whether they close.
macro_rules! party {
    ($of:ident, $handler:ident, $kind:ident, $closes:expr, |$state:ident, $call:ident, $request:ident| $close:expr) => {
        impl<S, D, O> Party<S, D> for $of<O>
        where
            S: $handler<O, D>,
            D: Database,
            O: Operation<Kind = kind::$kind>,
        {
            const KIND: StepKind = StepKind::$kind;
            const CLOSES: bool = $closes;

            fn prepare<'a>(state: &'a S, tx: &'a D::Tx, call: &'a Call) -> Boxed<'a, Outcome<()>> {
                Box::pin(async move { state.prepare(tx, call, codec::request(call)?).await })
            }

            fn execute<'a>(state: &'a S, call: &'a Call) -> Boxed<'a, Handed<Payload>> {
                Box::pin(async move {
                    match codec::request(call) {
                        Ok(request) => state.execute(call, request).await.map(|reply| codec::told(&reply)),
                        Err(error) => Handed::not_sent(error.to_string()),
                    }
                })
            }

            fn query<'a>(state: &'a S, call: &'a Call) -> Boxed<'a, Found<Payload>> {
                Box::pin(async move {
                    match codec::request(call) {
                        Ok(request) => state.query(call, request).await.map(|reply| codec::told(&reply)),
                        Err(error) => Found::unknown(error.to_string()),
                    }
                })
            }

            fn close<'a>($state: &'a S, $call: &'a Call) -> Boxed<'a, Closing<Payload>> {
                Box::pin(async move {
                    let _ = $state;
                    match codec::request::<O::Request>($call) {
                        Ok($request) => $close,
                        Err(error) => Closing::unknown(error.to_string()),
                    }
                })
            }

            fn record<'a>(
                state: &'a S, tx: &'a D::Tx, call: &'a Call, settled: Settled<Payload>,
            ) -> Boxed<'a, Outcome<()>> {
                Box::pin(async move {
                    let unreadable =
                        |error: serde_json::Error| Otherwise::Retry { after: None, reason: error.to_string() };
                    let settled = settled.try_map(|reply| reply.parse()).map_err(unreadable)?;
                    state.record(tx, call, codec::request(call)?, settled).await
                })
            }
        }
    };
}

party!(PivotOf, Pivot, Pivot, O::CLOSES, |state, call, request| {
    state.close(call, request).await.map(|reply| codec::told(&reply))
});
party!(ExternalOf, External, External, false, |state, call, request| {
    let _: O::Request = request;
    Closing::unknown("an external is not closed")
});

impl<S, D, P> Operate<S, D> for AtThirdParty<P>
where
    S: Send + Sync + 'static,
    D: Database,
    P: Party<S, D>,
{
    fn kind(&self) -> StepKind {
        P::KIND
    }

    fn answer<'a>(&'a self, desk: &'a Desk<S, D>, call: &'a Call) -> Boxed<'a, Answer> {
        Box::pin(async move {
            let answered = match call.phase {
                Phase::Try => execute::<S, D, P>(desk, call).await,
                Phase::Query => query::<S, D, P>(desk, call).await,
                Phase::Close => close::<S, D, P>(desk, call).await,
                Phase::Confirm | Phase::Cancel | Phase::Forget => {
                    Ok(Answer::retry(format!("a {} has no {}", P::KIND, call.phase)))
                }
            };
            answered.unwrap_or_else(|broken| guard::after_failure(P::KIND, call, &broken))
        })
    }
}

/// Opens a transaction and finds the row; `Err` with what to say when it is of another sort.
async fn entered<S, D: Database>(
    desk: &Desk<S, D>, key: &RowKey,
) -> Result<Result<(D::Tx, Option<Effect>), Answer>, Broken> {
    let tx = guard::begin(&desk.database).await?;
    match tx.enter(key).await? {
        None => Ok(Ok((tx, None))),
        Some(Row::Effect(row)) => Ok(Ok((tx, Some(row)))),
        Some(row) => Ok(Err(said(tx, guard::wrong_sort(&row)).await)),
    }
}

async fn execute<S, D, P>(desk: &Desk<S, D>, call: &Call) -> Result<Answer, Broken>
where
    S: Send + Sync + 'static,
    D: Database,
    P: Party<S, D>,
{
    if let Some(answer) = guard::restarting(|| intend::<S, D, P>(desk, call)).await? {
        return Ok(answer);
    }
    let handed = guard::caught(P::execute(&desk.state, call)).await.unwrap_or_else(|Panicked(text)| {
        tracing::error!(panic = %text, "a handler panicked while it called a third party");
        Handed::unknown(text)
    });
    if let Handed::Unknown { reason } = &handed {
        tracing::warn!(%reason, "it is not known what became of an attempt");
    }
    Ok(learn::<S, D, P>(desk, call, &Word::Executed(handed)).await)
}

/// Commits the intent of one attempt; `None`: it is to be handed on, now and never again.
async fn intend<S, D, P>(desk: &Desk<S, D>, call: &Call) -> Result<Option<Answer>, Broken>
where
    S: Send + Sync + 'static,
    D: Database,
    P: Party<S, D>,
{
    let (now, key) = (desk.now(), RowKey::of(call));
    let (tx, row) = match entered(desk, &key).await? {
        Ok(entered) => entered,
        Err(answer) => return Ok(Some(answer)),
    };
    let intent = match Effect::plan_execute(row.as_ref(), call, now) {
        Execute::Say(answer) => return Ok(Some(said(tx, answer).await)),
        Execute::HandOn(intent) => intent,
    };
    let inner = tx.nested().await?;
    match guard::handled(call, P::prepare(&desk.state, &inner, call)).await {
        Ok(()) => {
            inner.commit().await?;
            guard::keep(tx, &key, &Row::Effect(intent)).await?;
            Ok(None)
        }
        Err(Otherwise::Refused(refusal)) => {
            inner.rollback().await?;
            let (row, answer) = Effect::not_prepared(row.as_ref(), call.attempt, refusal, now);
            guard::keep(tx, &key, &Row::Effect(row)).await?;
            Ok(Some(answer))
        }
        Err(Otherwise::Retry { after, reason }) => {
            guard::undo(inner).await;
            Ok(Some(said(tx, Answer::Retry { after, reason }).await))
        }
        Err(Otherwise::Pending(_)) => {
            guard::undo(inner).await;
            Ok(Some(said(tx, Answer::retry("a preparation has nothing to report later")).await))
        }
        Err(Otherwise::Fault(fault)) => {
            guard::undo(inner).await;
            Err(fault.into())
        }
    }
}

async fn query<S, D, P>(desk: &Desk<S, D>, call: &Call) -> Result<Answer, Broken>
where
    S: Send + Sync + 'static,
    D: Database,
    P: Party<S, D>,
{
    if let Some(answer) = guard::restarting(|| fence_once(desk, call)).await? {
        return Ok(answer);
    }
    let found = guard::caught(P::query(&desk.state, call)).await;
    let found = found.unwrap_or_else(|Panicked(text)| {
        tracing::error!(panic = %text, "a handler panicked while it queried a third party");
        Found::unknown(text)
    });
    Ok(learn::<S, D, P>(desk, call, &Word::Found(found)).await)
}

/// Commits the fence, where one is asked for; `None`: the third party is to be asked.
async fn fence_once<S, D: Database>(desk: &Desk<S, D>, call: &Call) -> Result<Option<Answer>, Broken>
where
    S: Send + Sync + 'static,
{
    let key = RowKey::of(call);
    let (tx, row) = match entered(desk, &key).await? {
        Ok(entered) => entered,
        Err(answer) => return Ok(Some(answer)),
    };
    match Effect::plan_query(row.as_ref(), call, desk.now()) {
        Query::Say(answer) => Ok(Some(said(tx, answer).await)),
        Query::Ask(Some(fenced)) => {
            guard::keep(tx, &key, &Row::Effect(fenced)).await?;
            Ok(None)
        }
        Query::Ask(None) => {
            guard::undo(tx).await;
            Ok(None)
        }
    }
}

async fn close<S, D, P>(desk: &Desk<S, D>, call: &Call) -> Result<Answer, Broken>
where
    S: Send + Sync + 'static,
    D: Database,
    P: Party<S, D>,
{
    if let Some(answer) = guard::restarting(|| mark::<S, D, P>(desk, call)).await? {
        return Ok(answer);
    }
    let closing = guard::caught(P::close(&desk.state, call)).await;
    let closing = closing.unwrap_or_else(|Panicked(text)| {
        tracing::error!(panic = %text, "a handler panicked while it closed an effect at a third party");
        Closing::unknown(text)
    });
    Ok(learn::<S, D, P>(desk, call, &Word::Closing(closing)).await)
}

/// Commits the closing mark; `None`: the third party is to be asked.
async fn mark<S, D, P>(desk: &Desk<S, D>, call: &Call) -> Result<Option<Answer>, Broken>
where
    S: Send + Sync + 'static,
    D: Database,
    P: Party<S, D>,
{
    let key = RowKey::of(call);
    let (tx, row) = match entered(desk, &key).await? {
        Ok(entered) => entered,
        Err(answer) => return Ok(Some(answer)),
    };
    match Effect::plan_close(row.as_ref(), P::CLOSES, desk.now()) {
        Close::Say(answer) => Ok(Some(said(tx, answer).await)),
        Close::Ask(marked) => {
            guard::keep(tx, &key, &Row::Effect(marked)).await?;
            Ok(None)
        }
        Close::Closed(row) => {
            let learnt = Learnt { row: Some(row), settled: Some(Settled::Closed), answer: Answer::Closed };
            write::<S, D, P>(desk, call, tx, learnt).await.map(Some)
        }
    }
}

/// What a third party said.
enum Word {
    Executed(Handed<Payload>),
    Found(Found<Payload>),
    Closing(Closing<Payload>),
}

impl Word {
    fn learnt(&self, row: Option<Effect>, call: &Call, now: Millis) -> Learnt {
        let known = |row: Option<Effect>| row.unwrap_or_else(|| Effect::new(now));
        match self {
            Self::Executed(handed) => known(row).after_execute(call.attempt, handed.clone(), now),
            Self::Found(found) => Effect::after_query(row.as_ref(), call, found.clone(), now),
            Self::Closing(closing) => known(row).after_close(call, closing.clone(), now),
        }
    }
}

/// Commits what was learnt. What cannot be committed is not told either: it is unknown, and will be learnt again.
async fn learn<S, D, P>(desk: &Desk<S, D>, call: &Call, word: &Word) -> Answer
where
    S: Send + Sync + 'static,
    D: Database,
    P: Party<S, D>,
{
    let learnt = guard::restarting(|| learn_once::<S, D, P>(desk, call, word)).await;
    learnt.unwrap_or_else(|broken| {
        tracing::error!(?broken, "what a third party said could not be recorded");
        guard::unknown(P::KIND, call.phase)
    })
}

async fn learn_once<S, D, P>(desk: &Desk<S, D>, call: &Call, word: &Word) -> Result<Answer, Broken>
where
    S: Send + Sync + 'static,
    D: Database,
    P: Party<S, D>,
{
    match entered(desk, &RowKey::of(call)).await? {
        Ok((tx, row)) => write::<S, D, P>(desk, call, tx, word.learnt(row, call, desk.now())).await,
        Err(answer) => Ok(answer),
    }
}

async fn write<S, D, P>(desk: &Desk<S, D>, call: &Call, tx: D::Tx, learnt: Learnt) -> Result<Answer, Broken>
where
    S: Send + Sync + 'static,
    D: Database,
    P: Party<S, D>,
{
    let Some(row) = learnt.row else {
        return Ok(said(tx, learnt.answer).await);
    };
    if let Some(settled) = learnt.settled {
        let inner = tx.nested().await?;
        match guard::handled(call, P::record(&desk.state, &inner, call, settled)).await {
            Ok(()) => inner.commit().await?,
            Err(Otherwise::Fault(fault)) => {
                guard::undo(inner).await;
                return Err(fault.into());
            }
            Err(error) => {
                tracing::error!(%error, "what a third party said was not booked; it stays unknown until it is");
                guard::undo(inner).await;
                return Ok(said(tx, guard::unknown(P::KIND, call.phase)).await);
            }
        }
    }
    guard::keep(tx, &RowKey::of(call), &Row::Effect(row)).await?;
    Ok(learnt.answer)
}
