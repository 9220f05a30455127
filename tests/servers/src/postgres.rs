//! PostgreSQL, of the version that is installed: Debian's 15 or newer.

use crate::{Port, Process, ServerError, find, template};
use std::{
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// The user that owns the server and its databases, and who it is by.
const USER: &str = "tercet";
const PASSWORD: &str = "sea-salt";

/// The database that is there from the start.
const DATABASE: &str = "tercet";

/// Where Debian keeps what is not for everybody's `PATH`.
const DEBIAN: &str = "/usr/lib/postgresql";

/// A PostgreSQL server.
#[derive(Debug)]
pub struct Postgres {
    // Before its folder, so that it has ended when that is removed.
    process: Option<Process>,
    folder: TempDir,
    port: Port,
    durable: bool,
}

impl Postgres {
    /// A server with one empty database. It writes to disk whenever it likes: what it acknowledged survives its own end, however
    /// abrupt, but not the machine's.
    ///
    /// # Errors
    /// When it is not installed, or does not come up.
    pub fn start() -> Result<Self, ServerError> {
        Self::begin(false)
    }

    /// As [`start`](Self::start), but each commit is on disk before it is told: for measurements.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_durable() -> Result<Self, ServerError> {
        Self::begin(true)
    }

    fn begin(durable: bool) -> Result<Self, ServerError> {
        let folder = TempDir::new().map_err(ServerError::path(std::env::temp_dir()))?;
        template::copy("postgres", &folder.path().join("data"), make)?;
        own(folder.path())?;
        let mut server = Self { process: None, folder, port: Port::claim()?, durable };
        server.start_again()?;
        Ok(server)
    }

    /// The URL of the database that is there from the start.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of(DATABASE)
    }

    /// The URL of the database of that name, there or not.
    #[must_use]
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{database}", self.port.number())
    }

    /// The port that it listens at: for a proxy in front of it.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Makes an empty database, and says its URL.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn create(&self, database: &str) -> Result<String, ServerError> {
        let mut create = Command::new(program("createdb")?);
        create.env("PGPASSWORD", PASSWORD).args(["-h", "127.0.0.1", "-U", USER, "-p", &self.port().to_string()]);
        template::run(create.arg(database))?;
        Ok(self.url_of(database))
    }

    /// Ends it at once, as a crash does: what was under way is lost, and its next start recovers.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.signal("QUIT");
            process.end();
        }
    }

    /// Ends it in order: connections are closed, what was under way is rolled back.
    pub fn end(&mut self) {
        if let Some(process) = self.process.take() {
            process.signal("INT");
            process.end();
        }
    }

    /// Stops every process of it (SIGSTOP): it is there, and answers nothing.
    pub fn pause(&self) {
        self.signal_all("STOP");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal_all("CONT");
    }

    fn signal_all(&self, signal: &str) {
        let Some(process) = &self.process else { return };
        let id = process.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        process.signal(signal);
        // One that has ended meanwhile needs no signal.
        let _ = Command::new("kill").arg(format!("-{signal}")).args(children.split_whitespace()).output();
    }

    /// Starts it on its port after it was killed, or has ended; nothing while it runs.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start_again(&mut self) -> Result<(), ServerError> {
        if self.process.is_some() {
            return Ok(());
        }
        let data = self.folder.path().join("data");
        let mut command = unprivileged(&program("postgres")?);
        command.arg("-D").arg(&data).args(["-p", &self.port.number().to_string()]);
        let durable = if self.durable { "on" } else { "off" };
        for setting in [
            &format!("fsync={durable}"),
            &format!("full_page_writes={durable}"),
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "shared_buffers=32MB",
            "max_connections=200",
        ] {
            command.args(["-c", setting]);
        }
        let mut process = Process::start("postgres", &mut command, &self.folder.path().join("log"))?;
        let (id, status) = (process.id().to_string(), data.join("postmaster.pid"));
        process.wait_until(|| {
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            let mut lines = text.lines();
            lines.next() == Some(&id) && lines.nth(6).is_some_and(|line| line.trim() == "ready")
        })?;
        self.process = Some(process);
        Ok(())
    }
}

/// The program, where Debian has it in its newest version, or in `PATH`.
fn program(name: &str) -> Result<PathBuf, ServerError> {
    let versions = std::fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let newest = versions.map(|version| version.path().join("bin").join(name)).filter(|path| path.is_file()).max();
    newest.map_or_else(|| find(&[name]), Ok)
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| std::os::unix::fs::MetadataExt::uid(&process) == 0)
}

/// Who the server runs as when root starts it, which it refuses to run as.
fn stand_in() -> &'static str {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    if users.lines().any(|line| line.starts_with("postgres:")) { "postgres" } else { "nobody" }
}

fn unprivileged(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={}", stand_in())).args(["--regid=nogroup", "--clear-groups", "--"]).arg(program);
    command
}

/// Gives the folder itself to who the server runs as.
fn own(folder: &Path) -> Result<(), ServerError> {
    if is_root() { template::run(Command::new("chown").arg(stand_in()).arg(folder)) } else { Ok(()) }
}

/// The first files: the user, and one database.
fn make(data: &Path) -> Result<(), ServerError> {
    std::fs::create_dir(data).map_err(ServerError::path(data))?;
    own(data)?;
    let secret = data.with_extension("password");
    std::fs::write(&secret, PASSWORD).map_err(ServerError::path(&secret))?;
    let mut init = unprivileged(&program("initdb")?);
    init.args(["-U", USER, "-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync", "-D"]).arg(data);
    template::run(init.arg("--pwfile").arg(&secret))?;
    let mut single = unprivileged(&program("postgres")?);
    single.args(["--single", "-F", "-D"]).arg(data).arg("postgres");
    template::feed(&mut single, &format!("CREATE DATABASE {DATABASE}\n"))
}
