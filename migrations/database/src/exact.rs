//! Texts that compare by what they are: MariaDB and MySQL take `a`, `A` and `a ` for the same key unless told otherwise.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement, sea_query::TableCreateStatement};

/// The collations that compare byte for byte, spaces at the end included: MariaDB's and MySQL's.
const COLLATIONS: [&str; 2] = ["utf8mb4_nopad_bin", "utf8mb4_0900_bin"];

/// How a database's tables are to be made so that their texts are compared byte for byte, as SQLite and PostgreSQL do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exact(Option<&'static str>);

impl Exact {
    /// Asks the database how.
    ///
    /// # Errors
    /// When it fails, or is a MySQL or MariaDB too old to compare so.
    pub async fn of(db: &impl ConnectionTrait) -> Result<Self, DbErr> {
        if db.get_database_backend() != DbBackend::MySql {
            return Ok(Self(None));
        }
        for collation in COLLATIONS {
            let ask = "SELECT 1 FROM information_schema.COLLATIONS WHERE COLLATION_NAME = ?";
            let ask = Statement::from_sql_and_values(DbBackend::MySql, ask, [collation.into()]);
            if db.query_one_raw(ask).await?.is_some() {
                return Ok(Self(Some(collation)));
            }
        }
        Err(DbErr::Custom(
            "this server cannot compare texts byte for byte: use MariaDB 10.6 or MySQL 8.0, or newer".into(),
        ))
    }

    /// Makes that table so.
    pub fn table<'t>(&self, table: &'t mut TableCreateStatement) -> &'t mut TableCreateStatement {
        match self.0 {
            Some(collation) => table.engine("InnoDB").character_set("utf8mb4").collate(collation),
            None => table,
        }
    }
}
