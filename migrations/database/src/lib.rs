//! How Tercet's packages reach a database: its URL, pools of connections that lose nothing, what errors mean, and one process at
//! a time where it must be one.
//!
//! PostgreSQL and MariaDB/MySQL are reached here; an SQLite file is opened by its owner, who alone knows how it is used.

mod alone;
mod connect;
mod exact;
pub mod lengths;
mod meaning;
mod url;

pub use alone::{Alone, AloneError, alone};
pub use connect::{ConnectError, Pool, connect};
pub use exact::Exact;
pub use meaning::{Meaning, is_undone, meaning};
pub use url::{BadUrl, DatabaseUrl, Kind};
