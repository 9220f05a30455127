//! Where a benchmark's journal is: in files, or in a database on a server.

use super::BenchError;
use std::{path::Path, str::FromStr, sync::Arc};
use tercet::store::{BadUrl, DatabaseKind, DatabaseUrl, ServerStore, SqliteStore, Store};

/// Where the journal is. What it shows of a URL has no password.
#[derive(Clone, Debug)]
pub enum Place {
    /// In SQLite files.
    Sqlite,
    /// In that database, which several lines share.
    Server(DatabaseUrl),
}

impl FromStr for Place {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        if text == "sqlite" {
            return Ok(Self::Sqlite);
        }
        let url: DatabaseUrl = text.parse()?;
        if url.kind() == DatabaseKind::Sqlite { Err(BadUrl::Scheme) } else { Ok(Self::Server(url)) }
    }
}

impl Place {
    /// A store: on SQLite in that file.
    pub(super) async fn open(&self, file: &Path) -> Result<Arc<dyn Store>, BenchError> {
        Ok(match self {
            Self::Sqlite => Arc::new(SqliteStore::create(file).await?),
            Self::Server(url) => Arc::new(ServerStore::create(url).await?),
        })
    }
}
