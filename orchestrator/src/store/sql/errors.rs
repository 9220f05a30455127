//! What a database's errors mean to the store's caller.

use crate::store::StoreError;
use sea_orm::DbErr;
use tercet_database::{ConnectError, Meaning, is_undone, meaning};
use tercet_migrations::MigrateError;

/// An error of anything but a commit: nothing was written.
#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
pub(super) fn failed(error: DbErr) -> StoreError {
    let text = error.to_string();
    match meaning(&error) {
        Meaning::InTheWay | Meaning::Away => StoreError::Unavailable(text),
        Meaning::Damaged | Meaning::Unreadable => StoreError::Corrupt(text),
        Meaning::Schema => {
            StoreError::Schema(format!("the database lacks a part of its schema ({text}): run `tercet migrate`"))
        }
        Meaning::Taken | Meaning::Refused => StoreError::Refused(text),
    }
}

/// Where the database itself said that it rolled back, nothing was written; after anything else only a look tells.
#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
pub(super) fn failed_to_commit(error: DbErr) -> StoreError {
    let text = error.to_string();
    if is_undone(&error) { StoreError::Unavailable(text) } else { StoreError::Ambiguous(text) }
}

pub(super) fn schema(error: MigrateError) -> StoreError {
    match error {
        MigrateError::Database(error) => failed(error),
        MigrateError::Waited => StoreError::Unavailable(error.to_string()),
        MigrateError::Empty | MigrateError::Older { .. } | MigrateError::Newer { .. } => {
            StoreError::Schema(error.to_string())
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
pub(super) fn unreachable(error: ConnectError) -> StoreError {
    match error {
        ConnectError::Away { .. } => StoreError::Unavailable(error.to_string()),
        ConnectError::Denied { .. } | ConnectError::Missing { .. } | ConnectError::NotBuilt { .. } => {
            StoreError::Unusable(error.to_string())
        }
    }
}
