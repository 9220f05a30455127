//! The traits a participant implements on its own type, one for each kind of operation; the SDK does the rest.

use crate::{
    database::{Database, SeaOrm},
    outcome::{Closing, Found, Handed, Outcome, Settled, Voided},
};
use std::future::Future;
use tercet_core::{Call, Kind, Operation, kind};

/// Try, confirm, cancel on the participant's own database.
///
/// Every handler runs inside the transaction that moves the barrier's row: its writes and the answer are committed together or
/// not at all, and each phase takes effect at most once, in whatever order and however often it is asked. A handler may be run
/// again after its transaction was rolled back, so it must do nothing but write through `tx`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not implement `Tcc<{O}>`",
    note = "the operation's contract must have `type Kind = kind::Tcc`, and the implementation must be for this service's database"
)]
pub trait Tcc<O: Operation<Kind = kind::Tcc>, D: Database = SeaOrm>: Send + Sync + 'static {
    /// Reserves. A refusal rolls back what was written and is remembered.
    fn try_(&self, tx: &D::Tx, cx: &Call, request: O::Request) -> impl Future<Output = Outcome<O::Reply>> + Send;

    /// Makes the reservation final. It must succeed: a refusal parks the step in front of a person.
    fn confirm(
        &self, tx: &D::Tx, cx: &Call, request: O::Request, reply: O::Reply,
    ) -> impl Future<Output = Outcome<()>> + Send;

    /// Releases. Called only when the try took effect; `reply` is absent only while the try is pending.
    fn cancel(
        &self, tx: &D::Tx, cx: &Call, request: O::Request, reply: Option<O::Reply>,
    ) -> impl Future<Output = Outcome<()>> + Send;
}

/// Execute and compensate on the participant's own database; the rules of [`Tcc`] hold.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not implement `Compensable<{O}>`",
    note = "the operation's contract must have `type Kind = kind::Compensable`, and the implementation must be for this service's database"
)]
pub trait Compensable<O: Operation<Kind = kind::Compensable>, D: Database = SeaOrm>: Send + Sync + 'static {
    /// Does it, visibly. A refusal rolls back what was written and is remembered.
    fn execute(&self, tx: &D::Tx, cx: &Call, request: O::Request) -> impl Future<Output = Outcome<O::Reply>> + Send;

    /// Takes it back. Called only when the execute took effect; `reply` is absent only while the execute is pending.
    fn compensate(
        &self, tx: &D::Tx, cx: &Call, request: O::Request, reply: Option<O::Reply>,
    ) -> impl Future<Output = Outcome<()>> + Send;
}

/// The kinds of operation that are undone when a saga aborts: tcc and compensable.
pub trait Undone: Kind {}
impl Undone for kind::Tcc {}
impl Undone for kind::Compensable {}

/// A tcc or compensable whose effect lies with a third party: a waybill, a booking.
///
/// The barrier's `intent` is committed before the first call leaves, so a cancel always finds it and always runs. The calls are
/// made outside of any transaction, always under `cx.key`, and may be made more than once: the third party must take a
/// repeated key for the same effect, and give the same answer again.
pub trait Remote<O: Operation<Kind: Undone>, D: Database = SeaOrm>: Send + Sync + 'static {
    /// Makes the effect at the third party under `cx.key`. A cancel that found nothing to void asks it, too.
    fn make(&self, cx: &Call, request: O::Request) -> impl Future<Output = Handed<O::Reply>> + Send;

    /// Makes it final; for a compensable it is never asked.
    fn confirm(&self, cx: &Call, request: O::Request, reply: O::Reply) -> impl Future<Output = Outcome<()>> + Send;

    /// Voids what stands under `cx.key`, and says honestly when there was nothing.
    fn void(
        &self, cx: &Call, request: O::Request, reply: Option<O::Reply>,
    ) -> impl Future<Output = Outcome<Voided>> + Send;

    /// Books the change in the participant's own database, in the transaction that moves the barrier's row; `cx.phase` says which
    /// change it is: `Try` after the effect was made, `Confirm` after it was made final, `Cancel` after it was voided.
    fn record(
        &self, tx: &D::Tx, cx: &Call, request: O::Request, reply: Option<O::Reply>,
    ) -> impl Future<Output = Outcome<()>> + Send {
        let _ = (tx, cx, request, reply);
        async { Ok(()) }
    }
}

/// The step whose success is the decision: an effect at a third party that nobody can take back.
///
/// The SDK commits the intent, makes the call outside of any transaction, at most once for each attempt, and commits what was
/// learnt. `cx.key` is what the third party must know the effect by, the same in every call, for ever.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not implement `Pivot<{O}>`",
    note = "the operation's contract must have `type Kind = kind::Pivot`, and the implementation must be for this service's database"
)]
pub trait Pivot<O: Operation<Kind = kind::Pivot>, D: Database = SeaOrm>: Send + Sync + 'static {
    /// Runs in the transaction that commits the intent of one attempt: book it as *processing*, or refuse it before anything is
    /// sent. It may be run for several attempts of one effect.
    fn prepare(&self, tx: &D::Tx, cx: &Call, request: O::Request) -> impl Future<Output = Outcome<()>> + Send {
        let _ = (tx, cx, request);
        async { Ok(()) }
    }

    /// Hands the attempt on to the third party. It must end by itself within `cx.timeout`: a timeout is [`Handed::Unknown`].
    fn execute(&self, cx: &Call, request: O::Request) -> impl Future<Output = Handed<O::Reply>> + Send;

    /// Asks the third party what it knows under `cx.key`.
    fn query(&self, cx: &Call, request: O::Request) -> impl Future<Output = Found<O::Reply>> + Send;

    /// Asks the third party to make `cx.key` unusable. Only asked where the contract says `CLOSES`.
    fn close(&self, cx: &Call, request: O::Request) -> impl Future<Output = Closing<O::Reply>> + Send {
        let _ = (cx, request);
        async { Closing::unknown("this third party closes nothing") }
    }

    /// Books what was learnt, in the transaction that moves the barrier's row. An error commits nothing; what was learnt is then
    /// learnt again by a query.
    fn record(
        &self, tx: &D::Tx, cx: &Call, request: O::Request, settled: Settled<O::Reply>,
    ) -> impl Future<Output = Outcome<()>> + Send {
        let _ = (tx, cx, request, settled);
        async { Ok(()) }
    }
}

/// An effect at a third party after the decision, without undo: a second payment channel, say. The rules of [`Pivot`] hold.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not implement `External<{O}>`",
    note = "the operation's contract must have `type Kind = kind::External`, and the implementation must be for this service's database"
)]
pub trait External<O: Operation<Kind = kind::External>, D: Database = SeaOrm>: Send + Sync + 'static {
    /// See [`Pivot::prepare`].
    fn prepare(&self, tx: &D::Tx, cx: &Call, request: O::Request) -> impl Future<Output = Outcome<()>> + Send {
        let _ = (tx, cx, request);
        async { Ok(()) }
    }

    /// See [`Pivot::execute`].
    fn execute(&self, cx: &Call, request: O::Request) -> impl Future<Output = Handed<O::Reply>> + Send;

    /// See [`Pivot::query`].
    fn query(&self, cx: &Call, request: O::Request) -> impl Future<Output = Found<O::Reply>> + Send;

    /// See [`Pivot::record`].
    fn record(
        &self, tx: &D::Tx, cx: &Call, request: O::Request, settled: Settled<O::Reply>,
    ) -> impl Future<Output = Outcome<()>> + Send {
        let _ = (tx, cx, request, settled);
        async { Ok(()) }
    }
}

/// Execute, until it is done; after the decision. A refusal is remembered up to its attempt: a later attempt asks anew.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not implement `Retriable<{O}>`",
    note = "the operation's contract must have `type Kind = kind::Retriable`, and the implementation must be for this service's database"
)]
pub trait Retriable<O: Operation<Kind = kind::Retriable>, D: Database = SeaOrm>: Send + Sync + 'static {
    /// Does it, in the transaction that moves the barrier's row.
    fn execute(&self, tx: &D::Tx, cx: &Call, request: O::Request) -> impl Future<Output = Outcome<O::Reply>> + Send;
}

/// A question without effect. It has no barrier row, and whatever its handler writes is rolled back.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not implement `Read<{O}>`",
    note = "the operation's contract must have `type Kind = kind::Read`, and the implementation must be for this service's database"
)]
pub trait Read<O: Operation<Kind = kind::Read>, D: Database = SeaOrm>: Send + Sync + 'static {
    /// Answers.
    fn read(&self, tx: &D::Tx, cx: &Call, request: O::Request) -> impl Future<Output = Outcome<O::Reply>> + Send;
}
