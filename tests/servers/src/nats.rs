//! nats-server, in the oldest version that Tercet runs with and in a current one.

use crate::{Port, Process, ServerError, find, folder};
use std::{
    fmt::Write,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// Which nats-server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// The oldest that Tercet runs with: 2.9, Debian's.
    Floor,
    /// A current one: 2.15.
    Current,
}

impl Version {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Floor, Self::Current];

    fn program(self) -> Result<PathBuf, ServerError> {
        match self {
            Self::Floor => find(&["nats-server"]),
            Self::Current => {
                let program = folder().join("venv/bin/nats-server");
                find(&[&program.to_string_lossy()])
            }
        }
    }
}

/// How a server is to be.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    jetstream: bool,
    lines: String,
}

impl Setup {
    /// With JetStream, its store in the server's folder.
    #[must_use]
    pub fn jetstream(mut self) -> Self {
        self.jetstream = true;
        self
    }

    /// With these lines in its configuration: `authorization { token: abc }`, say.
    #[must_use]
    pub fn lines(mut self, lines: &str) -> Self {
        let _ = writeln!(self.lines, "{lines}");
        self
    }

    /// Only for that user.
    #[must_use]
    pub fn user(self, user: &str, password: &str) -> Self {
        self.lines(&format!("authorization {{ user: \"{user}\", password: \"{password}\" }}"))
    }

    /// Only for who shows this token.
    #[must_use]
    pub fn token(self, token: &str) -> Self {
        self.lines(&format!("authorization {{ token: \"{token}\" }}"))
    }

    /// Only for the owner of this nkey, named by its public half.
    #[must_use]
    pub fn nkey(self, public: &str) -> Self {
        self.lines(&format!("authorization {{ users: [ {{ nkey: {public} }} ] }}"))
    }

    /// With messages of so many bytes at most.
    #[must_use]
    pub fn payload_max(self, bytes: usize) -> Self {
        self.lines(&format!("max_payload: {bytes}"))
    }

    /// Starts it.
    ///
    /// # Errors
    /// When it is not installed, or does not come up.
    pub fn start(self, version: Version) -> Result<Nats, ServerError> {
        let folder = TempDir::new().map_err(ServerError::path(std::env::temp_dir()))?;
        let port = Port::claim()?;
        let mut text = format!("listen: \"127.0.0.1:{}\"\n{}", port.number(), self.lines);
        if self.jetstream {
            let _ = writeln!(text, "jetstream {{ store_dir: \"{}\" }}", store(folder.path()).display());
        }
        let config = folder.path().join("nats.conf");
        std::fs::write(&config, text).map_err(ServerError::path(&config))?;
        let mut server = Nats { version, folder, port, process: None };
        server.start_again()?;
        Ok(server)
    }
}

fn store(folder: &Path) -> PathBuf {
    folder.join("store")
}

/// A nats-server.
#[derive(Debug)]
pub struct Nats {
    version: Version,
    folder: TempDir,
    port: Port,
    process: Option<Process>,
}

impl Nats {
    /// A server as it is without any settings.
    ///
    /// # Errors
    /// When it is not installed, or does not come up.
    pub fn start(version: Version) -> Result<Self, ServerError> {
        Setup::default().start(version)
    }

    /// Its address, for clients.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port.number())
    }

    /// Its folder: a place for keys and certificates, too.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The process, while it runs.
    #[must_use]
    pub fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }

    /// Kills it, as `kill -9` does. What it has stored stays.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// Asks it to end, and waits. What it has stored stays.
    pub fn end(&mut self) {
        if let Some(process) = self.process.take() {
            process.end();
        }
    }

    /// Kills it and deletes what it has stored.
    ///
    /// # Errors
    /// When the store cannot be deleted.
    pub fn wipe(&mut self) -> Result<(), ServerError> {
        self.kill();
        let store = store(self.folder.path());
        if store.exists() {
            std::fs::remove_dir_all(&store).map_err(ServerError::path(&store))?;
        }
        Ok(())
    }

    /// Starts it on its port after it was killed, or has ended; nothing while it runs.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start_again(&mut self) -> Result<(), ServerError> {
        if self.process.is_some() {
            return Ok(());
        }
        let mut command = Command::new(self.version.program()?);
        command.arg("-c").arg(self.folder.path().join("nats.conf"));
        let mut process = Process::start("nats-server", &mut command, &self.folder.path().join("log"))?;
        process.wait_until(|| self.port.answers())?;
        self.process = Some(process);
        Ok(())
    }
}
