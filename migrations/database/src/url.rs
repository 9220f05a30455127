//! A database's URL: its kind, and a text of it without the password.

use std::{fmt, path::Path, str::FromStr};

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
    /// MariaDB or MySQL.
    MySql,
}

impl Kind {
    /// Its name, for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
            Self::MySql => "MariaDB",
        }
    }
}

/// The URL of a database: `sqlite:tercet.db`, `postgres://user:password@host/database`, `mysql://…`. What it shows has no password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    kind: Kind,
    /// After `sqlite:`, the file; else the URL under the scheme that the driver takes.
    text: String,
}

/// Why a text is no database's URL. It does not repeat the text, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// It names no database that is known.
    #[error("a database's URL begins with sqlite:, postgres:// or mysql://")]
    Scheme,
    /// It names no database on the server.
    #[error(
        "the database's URL names no database: it ends with /NAME, as in postgres://user:password@host:5432/tercet"
    )]
    Database,
    /// It has a setting that the driver does not know, and would show in the log.
    #[error(
        "the database's URL has a setting after `?` that is not known; known are {}", POSTGRES_SETTINGS.join(", ")
    )]
    Setting,
    /// It cannot be taken apart.
    #[error(
        "the database's URL cannot be read: it is SCHEME://user:password@host:port/database, and special characters of the \
         password are written as %XX"
    )]
    Form,
}

const SCHEMES: [(&str, Kind, &str); 5] = [
    ("sqlite:", Kind::Sqlite, ""),
    ("postgres://", Kind::Postgres, "postgres://"),
    ("postgresql://", Kind::Postgres, "postgres://"),
    ("mysql://", Kind::MySql, "mysql://"),
    ("mariadb://", Kind::MySql, "mysql://"),
];

/// What the driver for PostgreSQL knows after `?`. Any other it writes to the log, with what may be a password.
const POSTGRES_SETTINGS: [&str; 17] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "user",
    "password",
    "application_name",
    "options",
];

fn is_known(setting: &str) -> bool {
    let name = setting.split_once('=').map_or(setting, |(name, _)| name);
    POSTGRES_SETTINGS.contains(&name) || name.starts_with("options[") || name.is_empty()
}

impl FromStr for DatabaseUrl {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let known = SCHEMES.iter().find_map(|(scheme, kind, as_)| Some((*kind, as_, text.strip_prefix(scheme)?)));
        let (kind, scheme, rest) = known.ok_or(BadUrl::Scheme)?;
        let url = Self { kind, text: format!("{scheme}{rest}") };
        if kind == Kind::Sqlite {
            return if url.file().is_some() { Ok(url) } else { Err(BadUrl::Database) };
        }
        let (place, settings) = rest.split_once('?').unwrap_or((rest, ""));
        let (server, database) = place.rsplit_once('/').ok_or(BadUrl::Database)?;
        let port = server.rsplit_once('@').map_or(server, |(_, host)| host).rsplit_once(':');
        let bad_port = port.is_some_and(|(_, port)| !port.ends_with(']') && port.parse::<u16>().is_err());
        match () {
            () if server.is_empty() || server.contains(['/', ' ']) || bad_port => Err(BadUrl::Form),
            () if database.is_empty() => Err(BadUrl::Database),
            () if kind == Kind::Postgres && !settings.split('&').all(is_known) => Err(BadUrl::Setting),
            () => Ok(url),
        }
    }
}

impl DatabaseUrl {
    /// Which database.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The file of an SQLite database.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        let path = self.text.strip_prefix("//").unwrap_or(&self.text);
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        (self.kind == Kind::Sqlite && !path.is_empty()).then(|| Path::new(path))
    }

    /// All of it, for the driver alone.
    pub(crate) fn reveal(&self) -> &str {
        &self.text
    }
}

/// Without password and settings.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = self.file() {
            return write!(f, "sqlite:{}", file.display());
        }
        let (scheme, rest) = self.text.split_once("://").unwrap_or(("", &self.text));
        let place = rest.split_once('?').map_or(rest, |(place, _)| place);
        let (who, place) = place.rsplit_once('@').unwrap_or(("", place));
        let user = who.split_once(':').map_or(who, |(user, _)| user);
        write!(f, "{scheme}://{user}{}{place}", if user.is_empty() { "" } else { "@" })
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> String {
        text.parse::<DatabaseUrl>()
            .map_or_else(|bad| format!("{bad:?}"), |url| format!("{url} ({})", url.kind().name()))
    }

    #[test]
    fn what_it_shows_has_no_password() {
        let texts = [
            "sqlite:tercet.db",
            "sqlite:///var/lib/tercet.db?mode=rwc",
            "postgres://me:s3cr3t@db.example:5432/tercet?sslmode=require&password=s3cr3t",
            "postgresql://me:s3c@r/3t@[::1]:5432/tercet",
            "mariadb://me:s3cr3t@db/tercet",
            "mysql://db/tercet",
            "sqlite:",
            "me:s3cr3t@db/tercet",
            "postgres://me:s3cr3t@db",
            "postgres://me:s3cr3t@db/",
            "postgres://me:s3cr3t@db:port/tercet",
            "mysql:///tercet",
            "postgres://me@db/tercet?sslmode=require&sslpassword=s3cr3t",
        ];
        let shown: Vec<String> = texts.map(check).into();
        assert!(!shown.concat().contains("s3c"));
        insta::assert_snapshot!(shown.join("\n"), @"
        sqlite:tercet.db (SQLite)
        sqlite:/var/lib/tercet.db (SQLite)
        postgres://me@db.example:5432/tercet (PostgreSQL)
        Form
        mysql://me@db/tercet (MariaDB)
        mysql://db/tercet (MariaDB)
        Database
        Scheme
        Database
        Database
        Form
        Form
        Setting
        ");
        let debug = format!("{:?}", texts[2].parse::<DatabaseUrl>());
        assert!(!debug.contains("s3cr3t"), "{debug}");
    }
}
