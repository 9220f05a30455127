//! Connecting: once, with what is wrong in one line; or until it succeeds.

use crate::settings::{Login, Settings};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event};
use futures_util::StreamExt;
use std::{
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

/// How long one attempt may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Between attempts: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How often a silent server is asked whether it is there; after two questions without an answer it is not.
const PING_EVERY: Duration = Duration::from_secs(10);

/// The oldest server that Tercet runs with.
const FLOOR: (i64, i64, i64) = (2, 9, 0);

/// Why there is no connection. No text of it has a password, token or seed in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Nobody listens there, or the network is in the way.
    #[error("failed to reach NATS at {servers}: {why}; start nats-server there, or set `nats.url`")]
    Unreachable {
        /// The servers.
        servers: String,
        /// What the system says.
        why: String,
    },
    /// The server does not let this client in.
    #[error("failed to log in to NATS at {servers}: it refuses {login}; check `nats.*` in the settings")]
    Refused {
        /// The servers.
        servers: String,
        /// What was shown there, in words.
        login: &'static str,
    },
    /// A certificate or a key.
    #[error("failed to seal the connection to NATS at {servers}: {why}; check `nats.tls_*` in the settings")]
    Tls {
        /// The servers.
        servers: String,
        /// What is wrong.
        why: String,
    },
    /// A file that the settings name.
    #[error("failed to read {}: {why}; it is named in `nats.*` of the settings", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// An nkey's seed that is none.
    #[error("failed to log in to NATS at {servers}: `nats.nkey` is not an nkey's seed: it begins with `SU`")]
    Seed {
        /// The servers.
        servers: String,
    },
    /// The server is older than what is tested.
    #[error("failed to use NATS at {servers}: its version is {version}, and 2.9 is the oldest that Tercet runs with")]
    Old {
        /// The servers.
        servers: String,
        /// What it says it is.
        version: String,
    },
}

impl ConnectError {
    /// It may go away by itself: a server that is still to come up, or is told about this client in a moment.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Refused { .. })
    }
}

impl Login {
    fn in_words(&self) -> &'static str {
        match self {
            Self::Anonymous => "clients that show nothing",
            Self::User { .. } => "this user and password",
            Self::Token(_) => "this token",
            Self::Nkey(_) => "this nkey",
            Self::Credentials(_) => "these credentials",
        }
    }
}

/// Connects once. `name` is what the server calls this client. A connection that breaks later is made again by itself, with its
/// subscriptions, however long that takes.
///
/// # Errors
/// What is wrong, in one line.
pub async fn connect(settings: &Settings, name: &str) -> Result<Client, ConnectError> {
    let servers = settings.shown();
    let options = options(settings, name).await?;
    let client = options.connect(settings.servers.clone()).await.map_err(|error| failure(settings, &error))?;
    if !client.is_server_compatible(FLOOR.0, FLOOR.1, FLOOR.2) {
        return Err(ConnectError::Old { servers, version: client.server_info().version });
    }
    Ok(client)
}

/// Waits until the server has done all that this client asked of it so far, subscriptions above all: `flush` only sees it off. `false`
/// when the server does not answer in time.
pub async fn settled(client: &Client) -> bool {
    let inbox = client.new_inbox();
    let there_and_back = async {
        let mut back = client.subscribe(inbox.clone()).await.ok()?;
        client.publish(inbox, Default::default()).await.ok()?;
        back.next().await
    };
    tokio::time::timeout(CONNECT_MAX, there_and_back).await.is_ok_and(|back| back.is_some())
}

async fn options(settings: &Settings, name: &str) -> Result<ConnectOptions, ConnectError> {
    let options = ConnectOptions::new()
        .name(name)
        .connection_timeout(CONNECT_MAX)
        .ping_interval(PING_EVERY)
        .reconnect_delay_callback(pause)
        .event_callback(|event| async move { told(&event) });
    let options = match settings.login() {
        Login::Anonymous => options,
        Login::User { name, password } => options.user_and_password(name, password),
        Login::Token(token) => options.token(token),
        Login::Nkey(seed) if seed.starts_with("SU") => options.nkey(seed),
        Login::Nkey(_) => return Err(ConnectError::Seed { servers: settings.shown() }),
        Login::Credentials(path) => {
            options.credentials_file(readable(&path).await?).await.map_err(unreadable(&path))?
        }
    };
    let options = match &settings.tls.authorities {
        Some(path) => options.add_root_certificates(readable(path).await?),
        None => options,
    };
    Ok(match &settings.tls.certificate {
        Some((certificate, key)) => options.add_client_certificate(readable(certificate).await?, readable(key).await?),
        None => options,
    })
}

async fn readable(path: &Path) -> Result<PathBuf, ConnectError> {
    tokio::fs::read(path).await.map_err(unreadable(path))?;
    Ok(path.to_owned())
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> ConnectError {
    move |error| ConnectError::File { path: path.to_owned(), why: error.kind().to_string() }
}

fn failure(settings: &Settings, error: &async_nats::ConnectError) -> ConnectError {
    let servers = settings.shown();
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation => {
            ConnectError::Refused { servers, login: settings.login().in_words() }
        }
        ConnectErrorKind::Authentication => ConnectError::Seed { servers },
        ConnectErrorKind::Tls => ConnectError::Tls { servers, why: cause(error) },
        // The first bytes of a server that wants TLS, or none, are no error of TLS to the one who reads them.
        _ => ConnectError::Unreachable { servers, why: cause(error) },
    }
}

/// The innermost error: what the system or the other side says.
fn cause(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

fn pause(attempts: usize) -> Duration {
    let doubled = PAUSE.0.saturating_mul(1 << attempts.saturating_sub(1).min(10));
    if attempts == 0 { Duration::ZERO } else { doubled.min(PAUSE.1) }
}

fn told(event: &Event) {
    match event {
        Event::Connected => tracing::info!("connected to NATS"),
        Event::Disconnected => tracing::warn!("the connection to NATS is lost; it is made again"),
        Event::ServerError(error) => tracing::warn!(%error, "the NATS server says that something is wrong"),
        Event::SlowConsumer(_) => tracing::warn!("messages came faster than they are taken in; some were dropped"),
        Event::ClientError(error) => tracing::warn!(%error, "failed to reach NATS; it is tried again"),
        event => tracing::debug!(%event, "NATS"),
    }
}

/// Connects until it succeeds, and says so once each time that the reason why it does not is another.
#[derive(Debug)]
pub struct Patience<'a> {
    settings: &'a Settings,
    name: &'a str,
    attempts: usize,
    last: Option<ConnectError>,
}

impl<'a> Patience<'a> {
    /// Nothing was tried yet.
    #[must_use]
    pub fn new(settings: &'a Settings, name: &'a str) -> Self {
        Self { settings, name, attempts: 0, last: None }
    }

    /// Tries once more, after a pause that grows.
    ///
    /// # Errors
    /// Why it failed this time.
    pub async fn try_again(&mut self) -> Result<Client, ConnectError> {
        tokio::time::sleep(pause(self.attempts)).await;
        self.attempts += 1;
        let connected = connect(self.settings, self.name).await;
        if let Err(error) = &connected
            && self.last.as_ref() != Some(error)
        {
            tracing::warn!("{error}; it is tried again");
            self.last = Some(error.clone());
        }
        connected
    }

    /// Tries until it succeeds; `failed` hears each error.
    pub async fn connect(mut self, mut failed: impl FnMut(&ConnectError)) -> Client {
        loop {
            match self.try_again().await {
                Ok(client) => return client,
                Err(error) => failed(&error),
            }
        }
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}
