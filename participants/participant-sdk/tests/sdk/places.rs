//! Databases for the tests: each empty and of its own, on each kind that a participant may have.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};
use tercet_participant::{
    SeaOrm,
    sea_orm::{ConnectionTrait, DbBackend, Statement, Value},
};
use tercet_servers::{MariaDb, Postgres};

/// Where databases are made: a folder, or a server. Gone with its last handle.
#[derive(Clone)]
pub(crate) struct Place {
    kind: Arc<Kind>,
    made: Arc<AtomicU32>,
}

enum Kind {
    Folder(tempfile::TempDir),
    Postgres(Postgres),
    MariaDb(MariaDb),
}

impl Place {
    fn new(kind: Kind) -> Self {
        Self { kind: Arc::new(kind), made: Arc::default() }
    }

    pub(crate) fn folder() -> Self {
        Self::new(Kind::Folder(tempfile::tempdir().unwrap()))
    }

    pub(crate) fn postgres() -> Self {
        Self::new(Kind::Postgres(Postgres::start().unwrap()))
    }

    pub(crate) fn mariadb() -> Self {
        Self::new(Kind::MariaDb(MariaDb::start().unwrap()))
    }

    /// The URL of a new, empty database.
    pub(crate) fn url(&self) -> String {
        let name = format!("made{}", self.made.fetch_add(1, Ordering::Relaxed));
        match &*self.kind {
            Kind::Folder(folder) => format!("sqlite:{}", folder.path().join(name).display()),
            Kind::Postgres(server) => server.create(&name).unwrap(),
            Kind::MariaDb(server) => server.create(&name).unwrap(),
        }
    }

    /// A new database.
    pub(crate) async fn database(&self) -> SeaOrm {
        SeaOrm::open(&self.url()).await.unwrap()
    }
}

/// A statement whose values stand as `$1`, `$2`: MariaDB has them in the order in which they stand.
pub(crate) fn statement(backend: DbBackend, sql: &str, values: &[Value]) -> Statement {
    if backend != DbBackend::MySql {
        return Statement::from_sql_and_values(backend, sql, values.iter().cloned());
    }
    let mut parts = sql.split('$');
    let (mut text, mut bound) = (parts.next().unwrap_or_default().to_owned(), Vec::new());
    for part in parts {
        let (number, rest) = part.split_at(1);
        bound.push(values[number.parse::<usize>().unwrap() - 1].clone());
        text.push('?');
        text.push_str(rest);
    }
    Statement::from_sql_and_values(backend, text, bound)
}

/// Runs that SQL, outside of any call.
pub(crate) async fn run(database: &SeaOrm, sql: &str) {
    database.writer().execute_unprepared(sql).await.unwrap();
}
