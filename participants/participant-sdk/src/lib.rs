//! Write a Tercet participant: the barrier that makes each phase take effect at most once, and what goes with it.
//!
//! A participant implements the handlers of its operations on a type of its own; [`Service`] does the rest: it decodes a call,
//! lets the [barrier] decide what it means, runs the handler inside the transaction that moves the barrier's row, and answers.
//! Whatever is lost, doubled, late or out of order, each phase takes effect at most once, an undo that comes first is
//! remembered, and every repetition is given the first answer, byte for byte.
//!
//! | contract's kind | implement | what the SDK sees to |
//! |---|---|---|
//! | tcc | [`Tcc`], or [`Remote`] when the effect is a third party's | try, confirm and cancel in any order |
//! | compensable | [`Compensable`], or [`Remote`] | the same without confirm |
//! | pivot | [`Pivot`] | at most one call for each attempt; unknown is never taken for no |
//! | external | [`External`] | the same, without close |
//! | retriable | [`Retriable`] | done once |
//! | read | [`Read`] | nothing is written |
//!
//! A whole participant, with a table of its own:
//!
//! ```
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//! use tercet_core::Participant;
//! use tercet_participant::{Call, Clock, Operation, Outcome, SeaOrm, Service, SystemClock, Tcc, Transaction, conformance::Calls, kind, refuse};
//! use tercet_participant::sea_orm::{ConnectionTrait, DbBackend, Statement};
//!
//! // The contract; often in a crate of its own.
//! #[derive(Serialize, Deserialize, JsonSchema)]
//! pub struct Lines { pub item: u32, pub pieces: i64 }
//! #[derive(Serialize, Deserialize, JsonSchema)]
//! pub struct Reservation { pub pieces: i64 }
//!
//! pub struct Reserve;
//! impl Operation for Reserve {
//!     const NAME: &'static str = "inventory.reserve/1";
//!     type Kind = kind::Tcc;
//!     type Request = Lines;
//!     type Reply = Reservation;
//! }
//!
//! // The participant. Third parties' clients and settings are its fields.
//! pub struct Inventory;
//!
//! async fn change(tx: &Transaction, sql: &str, lines: &Lines) -> Outcome<u64> {
//!     let values = [lines.pieces.into(), lines.item.into()];
//!     Ok(tx.execute_raw(Statement::from_sql_and_values(DbBackend::Sqlite, sql, values)).await?.rows_affected())
//! }
//!
//! impl Tcc<Reserve> for Inventory {
//!     async fn try_(&self, tx: &Transaction, _: &Call, lines: Lines) -> Outcome<Reservation> {
//!         let reserve = "UPDATE stock SET available = available - $1, held = held + $1 WHERE item = $2 AND available >= $1";
//!         match change(tx, reserve, &lines).await? {
//!             1 => Ok(Reservation { pieces: lines.pieces }),
//!             _ => refuse("no_stock", "there are fewer pieces than asked for")?,
//!         }
//!     }
//!
//!     async fn confirm(&self, tx: &Transaction, _: &Call, lines: Lines, _: Reservation) -> Outcome<()> {
//!         change(tx, "UPDATE stock SET held = held - $1 WHERE item = $2", &lines).await?;
//!         Ok(())
//!     }
//!
//!     async fn cancel(&self, tx: &Transaction, _: &Call, lines: Lines, _: Option<Reservation>) -> Outcome<()> {
//!         change(tx, "UPDATE stock SET available = available + $1, held = held - $1 WHERE item = $2", &lines).await?;
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let database = SeaOrm::sqlite_in_memory().await?; // `SeaOrm::sqlite(path)` for a file
//! database.writer().execute_unprepared("CREATE TABLE stock (item INTEGER PRIMARY KEY, available INTEGER, held INTEGER)").await?;
//! database.writer().execute_unprepared("INSERT INTO stock VALUES (7, 3, 0)").await?;
//! let inventory = Service::builder("inventory", database, Inventory).tcc::<Reserve>().build()?;
//!
//! // What an orchestrator would ask.
//! let call = Calls::of::<Reserve>(&Lines { item: 7, pieces: 2 })?.issued(SystemClock.now()).execute();
//! let first = inventory.call(call.clone()).await;
//! assert_eq!(first.as_str(), "done");
//! assert_eq!(inventory.call(call).await, first); // a doubled message reserves nothing
//! # Ok(())
//! # }
//! ```
//!
//! # Honest answers
//!
//! - A handler that panics, or whose database fails, is rolled back and answered *retry*: nothing happened.
//! - A commit whose outcome stays in doubt is *unknown*: a try is answered `expired`, an execute of a pivot or external
//!   `pending`, so that it is asked, or queried, again. The same goes for a remote call that timed out.
//! - A refused confirm or cancel is rolled back and not remembered: it parks the step, and may succeed once it is mended.
//! - A reply above the limit is replaced by `{"error":"reply_too_large","bytes":…,"limit":…}`; what was done is still *done*, and
//!   confirm and cancel get the whole reply from the barrier's row.
//! - *Absent* in answer to a query that fences vouches that no attempt which was handed on is unanswered.
//!
//! The tests of a participant call the [`conformance`] kit. Simulations run the same runner and barrier on [`Memory`].
//!
//! # What is not here
//!
//! No transport of its own but NATS (feature `nats`): a [`Service`] is a [`tercet_core::Participant`], whatever carries its calls. No clock but [`Clock`], which
//! dates rows; what is safe never leans on it. No timer: a participant never lets a try lapse by itself.

pub mod barrier;
mod clock;
pub mod conformance;
pub mod database;
mod handlers;
#[cfg(feature = "nats")]
pub mod nats;
pub mod outbox;
mod outcome;
mod service;

pub use clock::{Clock, SystemClock};
pub use database::{Database, Fault, Memory, SeaOrm, Transaction};
pub use handlers::{Compensable, External, Pivot, Read, Remote, Retriable, Tcc, Undone};
pub use outbox::{Outbox, Ticket};
pub use outcome::{Closing, Found, Handed, Otherwise, Outcome, Settled, Voided, pending, retry, retry_after};
pub use sea_orm;
pub use service::{BuildError, Builder, Service};
pub use tercet_core::{Call, Operation, Refusal, kind, refuse};
