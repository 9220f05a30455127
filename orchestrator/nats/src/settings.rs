//! Where the servers are, who one is there, and how the connection is sealed.

use async_nats::ServerAddr;
use percent_encoding::percent_decode_str;
use std::{fmt, path::PathBuf};

/// How to reach a NATS cluster.
#[derive(Clone, Default)]
pub struct Settings {
    /// Servers, any of which is as good as the others.
    pub servers: Vec<ServerAddr>,
    /// Who one is there.
    pub login: Login,
    /// How the connection is sealed.
    pub tls: Tls,
    /// How many servers of a cluster keep each stream that is made: 1, 3 or 5; 1 unless it is said. What of a stream is on one server
    /// alone is gone with that server's disk.
    pub replicas: Option<u8>,
}

/// URLs may hold passwords.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Settings");
        shown.field("servers", &self.shown()).field("login", &self.login()).field("tls", &self.tls);
        shown.field("replicas", &self.replicas).finish()
    }
}

/// Who one is at a server. What is secret in it is never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Login {
    /// Nobody in particular, or whom the URL names.
    #[default]
    Anonymous,
    /// A user with a password.
    User {
        /// The name.
        name: String,
        /// The password.
        password: String,
    },
    /// Whoever shows this token.
    Token(String),
    /// The owner of an nkey, by its seed.
    Nkey(String),
    /// The user in a credentials file: a JWT and an nkey's seed.
    Credentials(PathBuf),
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::User { name, .. } => f.debug_struct("User").field("name", name).finish_non_exhaustive(),
            Self::Token(_) => f.write_str("Token([secret])"),
            Self::Nkey(_) => f.write_str("Nkey([secret])"),
            Self::Credentials(path) => f.debug_tuple("Credentials").field(path).finish(),
        }
    }
}

/// How a connection is sealed. A URL that begins with `tls://` asks for it; files are PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The authorities that servers are vouched for by, beside the system's.
    pub authorities: Option<PathBuf>,
    /// This client's own certificate and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// What is no list of servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a list of NATS servers: it reads like `nats://host:4222`, or several of these with commas between them")]
pub struct UrlError;

/// The servers in a text like `nats://one:4222,nats://two:4222`. A user and a password may stand in them, and are not shown.
///
/// # Errors
/// When it is not such a text; the error does not repeat it, since a password may stand in it.
pub fn urls(text: &str) -> Result<Vec<ServerAddr>, UrlError> {
    let server = |one: &str| {
        let known = ["nats://", "tls://"].iter().any(|scheme| one.starts_with(scheme)) || !one.contains("://");
        let server: ServerAddr = one.parse().map_err(|_| UrlError)?;
        (known && !one.is_empty() && !server.host().is_empty()).then_some(server).ok_or(UrlError)
    };
    text.split(',').map(str::trim).map(server).collect()
}

/// Settings as texts, as they come out of files, flags and the environment.
#[derive(Clone, Default)]
pub struct Texts {
    /// The servers.
    pub url: String,
    /// A credentials file.
    pub credentials: Option<String>,
    /// An nkey's seed.
    pub nkey: Option<String>,
    /// A token.
    pub token: Option<String>,
    /// A user.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<String>,
    /// A file of authorities.
    pub tls_ca: Option<String>,
    /// A file with this client's certificate.
    pub tls_cert: Option<String>,
    /// A file with its key.
    pub tls_key: Option<String>,
    /// How many servers keep a stream.
    pub replicas: Option<String>,
}

/// What does not go together. No text of it repeats a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextsError {
    /// The servers.
    #[error("`nats.url` is {0}")]
    Url(#[from] UrlError),
    /// More than one way to log in.
    #[error("of `nats.credentials`, `nats.nkey`, `nats.token` and `nats.user` only one can be set")]
    Logins,
    /// A user without a password, or the other way round.
    #[error("`nats.user` and `nats.password` go together: set both, or neither")]
    User,
    /// A certificate without its key, or the other way round.
    #[error("`nats.tls_cert` and `nats.tls_key` go together: set both, or neither")]
    Certificate,
    /// A number of servers that no stream can be kept by.
    #[error("`nats.replicas` must be 1, 3 or 5")]
    Replicas,
}

impl Texts {
    /// What they say.
    ///
    /// # Errors
    /// What does not go together.
    pub fn read(self) -> Result<Settings, TextsError> {
        let user = match (self.user, self.password) {
            (Some(name), Some(password)) => Some(Login::User { name, password }),
            (None, None) => None,
            _ => return Err(TextsError::User),
        };
        let certificate = match (self.tls_cert, self.tls_key) {
            (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
            (None, None) => None,
            _ => return Err(TextsError::Certificate),
        };
        let logins = [
            user,
            self.token.map(Login::Token),
            self.nkey.map(Login::Nkey),
            self.credentials.map(|path| Login::Credentials(path.into())),
        ];
        let mut logins = logins.into_iter().flatten();
        let login = logins.next().unwrap_or_default();
        if logins.next().is_some() {
            return Err(TextsError::Logins);
        }
        let replicas = match self.replicas.as_deref().map(str::parse) {
            None => None,
            Some(Ok(replicas @ (1 | 3 | 5))) => Some(replicas),
            Some(_) => return Err(TextsError::Replicas),
        };
        let tls = Tls { authorities: self.tls_ca.map(PathBuf::from), certificate };
        Ok(Settings { servers: urls(&self.url)?, login, tls, replicas })
    }
}

impl Settings {
    /// Those servers, with nothing to show there.
    ///
    /// # Errors
    /// See [`urls`].
    pub fn of(text: &str) -> Result<Self, UrlError> {
        Ok(Self { servers: urls(text)?, ..Self::default() })
    }

    /// Who one is: as it is set, or as the first URL that names somebody says. A name alone is a token.
    pub(crate) fn login(&self) -> Login {
        if self.login != Login::Anonymous {
            return self.login.clone();
        }
        let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let named = self.servers.iter().find_map(|server| Some((server.username()?, server.password())));
        match named {
            Some((name, Some(password))) => Login::User { name: plain(name), password: plain(password) },
            Some((token, None)) => Login::Token(plain(token)),
            None => Login::Anonymous,
        }
    }

    /// The servers as they may be shown: host and port, and no user.
    #[must_use]
    pub fn shown(&self) -> String {
        let each = self.servers.iter().map(|server| format!("{}:{}", server.host(), server.port()));
        each.collect::<Vec<_>>().join(", ")
    }
}
