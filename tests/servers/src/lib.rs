//! Real servers for tests: each in a temporary folder, on a free port, and gone when its guard is dropped.
//!
//! `tests/servers/install` brings what they need. A server that is not installed is an error that says so, never a test that is
//! left out.
//!
//! ```no_run
//! use tercet_servers::nats::{Nats, Version};
//!
//! # fn main() -> Result<(), tercet_servers::ServerError> {
//! let mut server = Nats::start(Version::Floor)?;
//! println!("{}", server.url());
//! server.kill();
//! server.start_again()?; // on the same port
//! # Ok(())
//! # }
//! ```

pub mod mariadb;
pub mod nats;
mod port;
pub mod postgres;
mod process;
mod program;
mod proxy;
mod template;

pub use mariadb::MariaDb;
pub use port::Port;
pub use postgres::Postgres;
pub use process::Process;
pub use program::{find, folder};
pub use proxy::Proxy;

use std::{fmt, io, path::PathBuf};

/// Why a server does not run.
#[derive(thiserror::Error)]
pub enum ServerError {
    /// It is not installed.
    #[error("failed to find {program}: run tests/servers/install, which installs it or says what to install")]
    Missing {
        /// What was looked for.
        program: String,
    },
    /// Its folder, or its program.
    #[error("failed to use {}: {source}", .path.display())]
    Path {
        /// Which.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// It has ended, or did not answer in time.
    #[error("failed to start {server}: {why}; its log:\n{log}")]
    NotUp {
        /// Which.
        server: String,
        /// What happened.
        why: String,
        /// The end of what it said.
        log: String,
    },
}

/// As text: `unwrap` in a test shows this.
impl fmt::Debug for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl ServerError {
    /// An error about that path.
    pub fn path(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Path { path, source }
    }
}
