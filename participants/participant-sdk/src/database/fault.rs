//! A database's failure, and whether beginning the transaction again is likely to help.

use sea_orm::{DbErr, RuntimeErr};

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

/// SQLSTATEs and codes of the databases for *begin the transaction again*: serialization failure and deadlock (40001, 40P01;
/// MySQL's 1213 is 40001 too), record changed (1020), lock wait timeout (1205), and SQLite's busy (5), locked (6) and their kin.
const CONFLICTS: [&str; 11] = ["40001", "40P01", "1213", "1020", "1205", "5", "6", "261", "262", "517", "773"];

impl From<DbErr> for Fault {
    fn from(error: DbErr) -> Self {
        let text = error.to_string();
        if code_of(&error).is_some_and(|code| CONFLICTS.contains(&&*code)) {
            Self::Conflict(text)
        } else {
            Self::Failed(text)
        }
    }
}

/// SQLite's extended codes carry the plain one in their low byte; MySQL's SQLSTATE says too little, but its text begins with the
/// number.
fn code_of(error: &DbErr) -> Option<String> {
    let (DbErr::Conn(RuntimeErr::SqlxError(inner))
    | DbErr::Exec(RuntimeErr::SqlxError(inner))
    | DbErr::Query(RuntimeErr::SqlxError(inner))) = error
    else {
        return None;
    };
    let inner = inner.as_database_error()?;
    let code = inner.code()?.into_owned();
    match &*code {
        "HY000" => inner.to_string().split(' ').next().map(str::to_owned),
        _ => Some(code),
    }
}

impl Fault {
    /// Beginning the transaction again is likely to help.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict(_))
    }
}
