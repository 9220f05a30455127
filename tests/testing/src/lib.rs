//! Run a saga of your own through every world in which one thing goes wrong, and see as a timeline what came of it.
//!
//! A clean run shows every call that the saga makes, every write of its journal, every timer. Then it is run again and again, each
//! time in a world of its own, with an engine of its own and participants opened anew, and in each world one thing goes wrong:
//!
//! | kind of world | what goes wrong |
//! |---|---|
//! | refused | a step says no; a confirm or a cancel that must not be refused is, once |
//! | doubled, repeated | a call arrives twice at once; again when it is answered; every call again long after the end |
//! | lost call, lost reply, late call, late reply | what the names say; the engine asks again |
//! | not now, no responder | the participant is not ready; nobody is there |
//! | crash at a call, crash at a write | `kill -9` before a call arrives or is answered; before a journal write, or after it |
//! | cancelled | somebody cancels the saga, at every moment |
//! | overtaken | somebody cancels it while a try is on its way, and the step's cancel arrives first |
//! | timer | a timer is due just before, or just after, an answer or a hook that it races with |
//!
//! All but the refusals also befall a saga that is undone: the kit refuses the step that is done last, or the author arranges a *no*
//! of a third party with [`Worlds::course`]. In every world the saga must end, or park where the author allows it; its journal must
//! fold to its stored state; each phase must answer a copy as it answered the first. Where the fault is one that retries mend it must
//! end as without it, with the same [figures](Worlds::figures). Then the author's own [clean slate](Worlds::clean_slate) is looked at.
//!
//! ```
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//! use std::sync::Arc;
//! use tercet::Registry;
//! use tercet_core::{Definition, Participant, Saga};
//! use tercet_participant::{Call, Operation, Outcome, SeaOrm, Service, Tcc, Transaction, kind};
//! use tercet_participant::sea_orm::{ConnectionTrait, DbBackend, Statement};
//! use tercet_testing::{End, Place};
//!
//! // The contract, the participant, the saga: what is under test.
//! #[derive(Serialize, Deserialize, JsonSchema)]
//! struct Stay { guest: String }
//!
//! struct Book;
//! impl Operation for Book {
//!     const NAME: &'static str = "hotel.book/1";
//!     type Kind = kind::Tcc;
//!     type Request = Stay;
//!     type Reply = ();
//! }
//!
//! struct Hotel;
//!
//! async fn change(tx: &Transaction, held: i64, sold: i64) -> Outcome<()> {
//!     let sql = "UPDATE rooms SET held = held + $1, sold = sold + $2";
//!     tx.execute_raw(Statement::from_sql_and_values(DbBackend::Sqlite, sql, [held.into(), sold.into()])).await?;
//!     Ok(())
//! }
//!
//! impl Tcc<Book> for Hotel {
//!     async fn try_(&self, tx: &Transaction, _: &Call, _: Stay) -> Outcome<()> {
//!         change(tx, 1, 0).await
//!     }
//!     async fn confirm(&self, tx: &Transaction, _: &Call, _: Stay, (): ()) -> Outcome<()> {
//!         change(tx, -1, 1).await
//!     }
//!     async fn cancel(&self, tx: &Transaction, _: &Call, _: Stay, _: Option<()>) -> Outcome<()> {
//!         change(tx, -1, 0).await
//!     }
//! }
//!
//! fn stay() -> Definition<Stay, ()> {
//!     let saga = Saga::<Stay>::new("stay", 1);
//!     let room = saga.tcc("room", Book).request(saga.input(), |stay| stay);
//!     saga.output(room, |room| room)
//! }
//!
//! // The test. What it wants to look at in the end is beside the participants.
//! struct Town { rooms: SeaOrm, hotel: Arc<dyn Participant> }
//!
//! impl tercet_testing::Participants for Town {
//!     fn all(&self) -> Vec<Arc<dyn Participant>> {
//!         vec![self.hotel.clone()]
//!     }
//! }
//!
//! async fn open(place: Place) -> Town {
//!     let rooms = SeaOrm::sqlite(&place.file("hotel.db")).await.unwrap();
//!     rooms.writer().execute_unprepared("CREATE TABLE rooms (held INTEGER, sold INTEGER)").await.unwrap();
//!     rooms.writer().execute_unprepared("INSERT INTO rooms VALUES (0, 0)").await.unwrap();
//!     let hotel = Service::builder("hotel", rooms.clone(), Hotel).tcc::<Book>().clock(place.clock()).build().unwrap();
//!     Town { rooms, hotel: Arc::new(hotel) }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! tercet_testing::worlds(Registry::new().with(stay()).unwrap())
//!     .saga("stay", &Stay { guest: "Ann".to_owned() })
//!     .participants(open)
//!     .clean_slate(|world| async move {
//!         let rooms = Statement::from_string(DbBackend::Sqlite, "SELECT held, sold FROM rooms");
//!         let row = world.participants().rooms.reader().query_one_raw(rooms).await.unwrap().unwrap();
//!         let (held, sold): (i64, i64) = row.try_get_many("", &["held".into(), "sold".into()]).unwrap();
//!         match (held, sold) {
//!             (0, sold) if sold == i64::from(world.end() == End::Confirmed) => Ok(()),
//!             (held, sold) => Err(format!("{held} rooms are held and {sold} sold")),
//!         }
//!     })
//!     .run()
//!     .await; // panics with the timeline of a world that went wrong
//! # }
//! ```
//!
//! A saga that waits is told by [`Worlds::when`]: `.when("paid", |world| async move { world.signal(&Paid { … }).await.unwrap(); })`. A
//! step that was answered *pending* is reported by [`World::complete`], from a hook as well. What participants put into their
//! outboxes is carried by a [pump](Worlds::pump) that calls [`World::sweep`].
//!
//! When a world goes wrong, the panic's text holds its timeline and its label; with `TERCET_WORLD='…'` set to the label the test runs
//! that world alone. When all is well the run prints how many worlds of each kind there were; none of a kind that applies is a failure.
//!
//! Time is virtual: it stands while anything is under way and jumps to what is due next, so that waits of days cost nothing. A
//! [`World`] can also be driven by hand, step by step, for a test of one course of events.
//!
//! # What is not here
//!
//! No pairs of faults. No engine on two nodes. No proof that a participant's barrier is right in every order of messages: that is what
//! `tercet_participant::conformance` is for.

mod act;
mod all;
mod check;
mod drive;
mod facts;
mod hold;
mod hooks;
mod inlet;
mod journal;
mod log;
mod place;
mod plan;
mod report;
mod run;
mod time;
mod timeline;
mod wires;
mod world;
mod worlds;

pub use drive::Start;
pub use hold::{Edge, Hold};
pub use inlet::Inlet;
pub use journal::{Dies, Journal};
pub use place::{Participants, Place};
pub use plan::{End, Figures, Kind};
pub use report::Report;
pub use time::{Busy, Clock, Process, Time};
pub use wires::{Fault, Made, REFUSED, Wires};
pub use world::{Kept, Setup, World};
pub use worlds::{Definitions, Unanswered, Worlds};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The definitions among which the saga under test is: the beginning of a run.
#[must_use]
pub fn worlds(registry: tercet::Registry) -> Definitions {
    Definitions(registry)
}

/// A panic of an author's code must not hide behind a poisoned lock.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
