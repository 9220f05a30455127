//! The store in a SQL database: an SQLite file, or a database on a server. Reads, and how rows stand in the tables, are the same.

mod errors;
mod file;
mod reads;
mod rows;
mod server;
mod shards;
mod starts;

pub use file::{SqliteOptions, SqliteStore};
pub use server::ServerStore;
