//! Pools, errors and locks against real servers.

#![expect(clippy::unwrap_used, reason = "tests")]

mod alone;
mod cancelled;
mod errors;
mod urls;

use sea_orm::DatabaseConnection;
use std::time::Duration;
use tercet_database::{Pool, connect};

/// A pool of so many connections.
pub(crate) async fn pool(url: &str, connections: u32) -> DatabaseConnection {
    connect(&url.parse().unwrap(), Pool { connections, wait: Duration::from_secs(5) }).await.unwrap()
}
