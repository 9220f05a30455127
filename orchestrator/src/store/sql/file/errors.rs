//! What the database's errors mean to the store's caller.

use crate::store::StoreError;
use sea_orm::{DbErr, RuntimeErr, SqlxError};

/// SQLite's primary result codes, the low byte of what it answers (sqlite.org/rescode.html).
mod code {
    pub(super) const ERROR: u32 = 1;
    pub(super) const BUSY: u32 = 5;
    pub(super) const CORRUPT: u32 = 11;
    pub(super) const FULL: u32 = 13;
    pub(super) const TOO_BIG: u32 = 18;
    pub(super) const CONSTRAINT: u32 = 19;
    pub(super) const MISMATCH: u32 = 20;
    pub(super) const RANGE: u32 = 25;
    pub(super) const NOT_A_DATABASE: u32 = 26;
    pub(super) const CONSTRAINT_PRIMARY_KEY: u32 = 1555;
    pub(super) const CONSTRAINT_UNIQUE: u32 = 2067;
}

/// The code of an error that came from SQLite itself.
fn code_of(error: &DbErr) -> Option<u32> {
    let (DbErr::Conn(RuntimeErr::SqlxError(e))
    | DbErr::Exec(RuntimeErr::SqlxError(e))
    | DbErr::Query(RuntimeErr::SqlxError(e))) = error
    else {
        return None;
    };
    match &**e {
        SqlxError::Database(e) => e.code()?.parse().ok(),
        _ => None,
    }
}

/// A row with that key is there already.
pub(super) fn is_taken(error: &DbErr) -> bool {
    matches!(code_of(error), Some(code::CONSTRAINT_PRIMARY_KEY | code::CONSTRAINT_UNIQUE))
}

/// An error of anything but a commit: nothing was written.
#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
pub(super) fn failed(error: DbErr) -> StoreError {
    let text = error.to_string();
    match (&error, code_of(&error).map(|code| code & 0xff)) {
        (_, Some(code::CORRUPT | code::NOT_A_DATABASE)) => StoreError::Corrupt(text),
        (_, Some(code::ERROR)) if text.contains("no such table") || text.contains("no such column") => {
            StoreError::Schema(format!("the database lacks a part of its schema ({text}): run `tercet migrate`"))
        }
        (_, Some(code::ERROR | code::TOO_BIG | code::CONSTRAINT | code::MISMATCH | code::RANGE)) => {
            StoreError::Refused(text)
        }
        (DbErr::Type(_) | DbErr::TryIntoErr { .. }, _) => StoreError::Corrupt(text),
        _ => StoreError::Unavailable(text),
    }
}

/// There is no room: what was being written is rolled back, also where that happened in a commit, whose last page is what counts.
pub(super) fn is_full(error: &DbErr) -> bool {
    code_of(error).is_some_and(|code| code & 0xff == code::FULL)
}

/// A busy commit was not begun, nor was one that found no connection; after any other failure (of the last write to the log, or its fsync) only a look tells.
#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
pub(super) fn failed_to_commit(error: DbErr) -> StoreError {
    match (&error, code_of(&error).map(|code| code & 0xff)) {
        (_, Some(code::BUSY)) | (DbErr::ConnectionAcquire(_), _) => StoreError::Unavailable(error.to_string()),
        _ => StoreError::Ambiguous(error.to_string()),
    }
}
