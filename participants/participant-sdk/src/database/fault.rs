//! A database's failure, and whether beginning the transaction again is likely to help.

use sea_orm::DbErr;
use tercet_database::{Meaning, meaning};

/// A database failed; nothing of the transaction counts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Another transaction was in the way: a deadlock, a serialization failure, a busy database. Begin again.
    #[error("another transaction was in the way: {0}")]
    Conflict(String),
    /// Anything else.
    #[error("the database failed: {0}")]
    Failed(String),
}

impl From<DbErr> for Fault {
    fn from(error: DbErr) -> Self {
        let text = error.to_string();
        match meaning(&error) {
            Meaning::InTheWay => Self::Conflict(text),
            _ => Self::Failed(text),
        }
    }
}

impl Fault {
    /// Beginning the transaction again is likely to help.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict(_))
    }
}
