//! What a database's errors mean: one table for each kind, one answer for all.

use sea_orm::{DbErr, RuntimeErr, SqlxError};

/// What an error means to who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Another transaction was in the way: a deadlock, a serialization failure, a lock that did not come. Begin the whole
    /// transaction again.
    InTheWay,
    /// A row with that key is there already.
    Taken,
    /// The database cannot be reached, is shutting down, is full, lets nobody in: try again later.
    Away,
    /// It holds what it cannot.
    Damaged,
    /// A table or a column is missing.
    Schema,
    /// It refuses this statement for its content: the same again would be refused again.
    Refused,
    /// What it answered is not of the type that was asked for.
    Unreadable,
}

/// A database's own number for an error. Without its driver none comes.
enum Code {
    Sqlite(u32),
    #[cfg(feature = "postgres")]
    Postgres(String),
    #[cfg(feature = "mysql")]
    MySql(u16),
}

/// What `error` means.
#[must_use]
pub fn meaning(error: &DbErr) -> Meaning {
    match (code(error), error) {
        (Some(Code::Sqlite(code)), _) => of_sqlite(code, &error.to_string()),
        #[cfg(feature = "postgres")]
        (Some(Code::Postgres(code)), _) => of_postgres(&code),
        #[cfg(feature = "mysql")]
        (Some(Code::MySql(code)), _) => of_mysql(code),
        (None, DbErr::Type(_) | DbErr::TryIntoErr { .. }) => Meaning::Unreadable,
        (None, DbErr::Query(RuntimeErr::SqlxError(inner)) | DbErr::Exec(RuntimeErr::SqlxError(inner))) => {
            of_driver(inner)
        }
        (None, _) => Meaning::Away,
    }
}

/// After this error of a commit nothing of its transaction counts, for certain; after any other only a look tells.
#[must_use]
pub fn is_undone(error: &DbErr) -> bool {
    match code(error) {
        // Not begun; or without room, where a commit is taken back whose last page finds none.
        Some(Code::Sqlite(code)) => matches!(code & 0xff, sqlite::BUSY | sqlite::FULL),
        #[cfg(feature = "postgres")]
        // A class of its own: *transaction rollback*, but for *statement completion unknown*. And what a deferred constraint refuses.
        Some(Code::Postgres(code)) => code != "40003" && (code.starts_with("40") || code.starts_with("23")),
        #[cfg(feature = "mysql")]
        Some(Code::MySql(_)) => meaning(error) == Meaning::InTheWay,
        // Nothing was sent.
        None => matches!(error, DbErr::ConnectionAcquire(_)),
    }
}

fn of_driver(error: &SqlxError) -> Meaning {
    match error {
        SqlxError::ColumnDecode { .. }
        | SqlxError::ColumnIndexOutOfBounds { .. }
        | SqlxError::ColumnNotFound(_)
        | SqlxError::Decode(_)
        | SqlxError::TypeNotFound { .. } => Meaning::Unreadable,
        SqlxError::Encode(_) | SqlxError::InvalidArgument(_) => Meaning::Refused,
        _ => Meaning::Away,
    }
}

fn code(error: &DbErr) -> Option<Code> {
    let (DbErr::Conn(RuntimeErr::SqlxError(inner))
    | DbErr::Exec(RuntimeErr::SqlxError(inner))
    | DbErr::Query(RuntimeErr::SqlxError(inner))) = error
    else {
        return None;
    };
    let SqlxError::Database(inner) = &**inner else { return None };
    #[cfg(feature = "mysql")]
    if let Some(inner) = inner.try_downcast_ref::<sea_orm::SqlxMySqlError>() {
        return Some(Code::MySql(inner.number()));
    }
    #[cfg(feature = "postgres")]
    if let Some(inner) = inner.try_downcast_ref::<sea_orm::SqlxPostgresError>() {
        return Some(Code::Postgres(inner.code().to_owned()));
    }
    inner.code()?.parse().ok().map(Code::Sqlite)
}

/// SQLite's primary result codes, the low byte of what it answers (sqlite.org/rescode.html), and two extended ones.
mod sqlite {
    pub(super) const ERROR: u32 = 1;
    pub(super) const BUSY: u32 = 5;
    pub(super) const LOCKED: u32 = 6;
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

fn of_sqlite(code: u32, text: &str) -> Meaning {
    match (code, code & 0xff) {
        (sqlite::CONSTRAINT_PRIMARY_KEY | sqlite::CONSTRAINT_UNIQUE, _) => Meaning::Taken,
        (_, sqlite::BUSY | sqlite::LOCKED) => Meaning::InTheWay,
        (_, sqlite::CORRUPT | sqlite::NOT_A_DATABASE) => Meaning::Damaged,
        (_, sqlite::ERROR) if text.contains("no such table") || text.contains("no such column") => Meaning::Schema,
        (_, sqlite::ERROR | sqlite::TOO_BIG | sqlite::CONSTRAINT | sqlite::MISMATCH | sqlite::RANGE) => {
            Meaning::Refused
        }
        _ => Meaning::Away,
    }
}

/// SQLSTATEs (postgresql.org/docs/current/errcodes-appendix.html).
#[cfg(feature = "postgres")]
fn of_postgres(code: &str) -> Meaning {
    match (code, code.get(..2).unwrap_or_default()) {
        // Serialization failure, deadlock, lock not available.
        ("40001" | "40P01" | "55P03", _) => Meaning::InTheWay,
        ("23505", _) => Meaning::Taken,
        // No such table, column, schema.
        ("42P01" | "42703" | "3F000", _) => Meaning::Schema,
        ("XX001" | "XX002", _) => Meaning::Damaged,
        // Read only after a change of the primary; killed while idle; cancelled; recovering.
        ("25006" | "25P03" | "57014", _) => Meaning::Away,
        // Connection, who asks, no such database, too few resources, intervention, the system.
        (_, "08" | "28" | "3D" | "53" | "57" | "58") => Meaning::Away,
        _ => Meaning::Refused,
    }
}

/// Error numbers, MariaDB's and MySQL's (mariadb.com/kb/en/mariadb-error-code-reference).
#[cfg(feature = "mysql")]
fn of_mysql(code: u16) -> Meaning {
    match code {
        // Record has changed since the snapshot (MariaDB), lock wait timeout, deadlock.
        1020 | 1205 | 1213 => Meaning::InTheWay,
        1022 | 1062 | 1169 | 1586 => Meaning::Taken,
        // No such column, table, table in the engine.
        1054 | 1146 | 1932 => Meaning::Schema,
        1034 | 1194 | 1195 | 1712 => Meaning::Damaged,
        // Disk full, too many connections, out of memory, who asks, no such database.
        1021 | 1040 | 1041 | 1044 | 1045 | 1049 => Meaning::Away,
        // Shutting down, killed, a table that is full, a host that is blocked, a network that broke.
        1053 | 1077..=1080 | 1114 | 1129 | 1130 | 1152 | 1158..=1161 | 1184 => Meaning::Away,
        // Limits of a user and of prepared statements, read only after a change of the primary, cancelled, killed, statement time (MariaDB).
        1203 | 1226 | 1461 | 1290 | 1317 | 1637 | 1836 | 1927 | 1969 => Meaning::Away,
        _ => Meaning::Refused,
    }
}
