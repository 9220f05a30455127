//! Write a Tercet participant: the barrier that makes each phase take effect at most once, and what goes with it.

pub mod barrier;
mod clock;
pub mod database;
mod handlers;
pub mod outbox;
mod outcome;

pub use clock::{Clock, SystemClock};
pub use database::{Database, Fault, Memory, SeaOrm, Transaction};
pub use handlers::{Compensable, External, Pivot, Read, Remote, Retriable, Tcc};
pub use outbox::{Outbox, Ticket};
pub use outcome::{Closing, Found, Handed, Otherwise, Outcome, Settled, Voided, pending, retry, retry_after};
pub use sea_orm;
pub use tercet_core::{Call, Operation, Refusal, kind, refuse};
