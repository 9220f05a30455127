//! MariaDB, of the version that is installed: Debian's 10.11 or newer.

use crate::{Port, Process, ServerError, find, template};
use std::{path::Path, process::Command};
use tempfile::TempDir;

/// The user that owns the databases, and its password.
const USER: &str = "tercet";
const PASSWORD: &str = "sea-salt";

/// The database that is there from the start.
const DATABASE: &str = "tercet";

/// A MariaDB server.
#[derive(Debug)]
pub struct MariaDb {
    // Before its folder, so that it has ended when that is removed.
    process: Option<Process>,
    folder: TempDir,
    port: Port,
    durable: bool,
    settings: Vec<String>,
}

impl MariaDb {
    /// A server with one empty database, `tercet`. It writes to disk whenever it likes: what it acknowledged survives its own
    /// end, however abrupt, but not the machine's.
    ///
    /// # Errors
    /// When it is not installed, or does not come up.
    pub fn start() -> Result<Self, ServerError> {
        Self::begin(false, &[])
    }

    /// As [`start`](Self::start), but each commit is on disk before it is told: for measurements.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_durable() -> Result<Self, ServerError> {
        Self::begin(true, &[])
    }

    /// As [`start`](Self::start), with arguments of the server's own beside those it has: `--innodb-snapshot-isolation=ON`, say.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_set(settings: &[&str]) -> Result<Self, ServerError> {
        Self::begin(false, settings)
    }

    fn begin(durable: bool, settings: &[&str]) -> Result<Self, ServerError> {
        let folder = TempDir::new().map_err(ServerError::path(std::env::temp_dir()))?;
        template::copy("mariadb", &folder.path().join("data"), make)?;
        let settings = settings.iter().map(ToString::to_string).collect();
        let mut server = Self { process: None, folder, port: Port::claim()?, durable, settings };
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
        format!("mysql://{USER}:{PASSWORD}@127.0.0.1:{}/{database}", self.port.number())
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
        let mut client = Command::new(find(&["mariadb"])?);
        client.env("MYSQL_PWD", PASSWORD).args([
            "--no-defaults",
            "-h127.0.0.1",
            "-u",
            USER,
            "-P",
            &self.port().to_string(),
        ]);
        template::run(client.args(["-e", &format!("CREATE DATABASE `{database}`")]))?;
        Ok(self.url_of(database))
    }

    /// Kills it, as `kill -9` does: what was under way is lost, and its next start recovers.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// Ends it in order: connections are closed, what was under way is rolled back.
    pub fn end(&mut self) {
        if let Some(process) = self.process.take() {
            process.end();
        }
    }

    /// Stops it (SIGSTOP): it is there, and answers nothing.
    pub fn pause(&self) {
        self.process.iter().for_each(|process| process.signal("STOP"));
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.process.iter().for_each(|process| process.signal("CONT"));
    }

    /// Starts it on its port after it was killed, or has ended; nothing while it runs.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start_again(&mut self) -> Result<(), ServerError> {
        if self.process.is_some() {
            return Ok(());
        }
        let first = self.folder.path().join("first.sql");
        std::fs::write(&first, set_up()).map_err(ServerError::path(&first))?;
        let mut command = server()?;
        command.arg(format!("--datadir={}", self.folder.path().join("data").display()));
        command.arg(format!("--init-file={}", first.display()));
        command.arg(format!("--innodb-flush-log-at-trx-commit={}", if self.durable { 1 } else { 2 }));
        command.arg(format!("--port={}", self.port.number())).args([
            "--bind-address=127.0.0.1",
            "--socket=",
            "--skip-name-resolve",
            "--innodb-buffer-pool-size=64M",
            "--max-connections=200",
        ]);
        command.args(&self.settings);
        let log = self.folder.path().join("log");
        let before = ready(&log);
        let mut process = Process::start("mariadbd", &mut command, &log)?;
        process.wait_until(|| ready(&log) > before)?;
        self.process = Some(process);
        Ok(())
    }
}

/// What it does before it lets anybody in.
fn set_up() -> String {
    format!(
        "CREATE USER IF NOT EXISTS '{USER}'@'%' IDENTIFIED BY '{PASSWORD}';\nGRANT ALL ON *.* TO '{USER}'@'%';\n\
         CREATE DATABASE IF NOT EXISTS `{DATABASE}`;\n"
    )
}

/// How often it has said that it lets everybody in.
fn ready(log: &Path) -> usize {
    let text = std::fs::read(log).unwrap_or_default();
    String::from_utf8_lossy(&text).matches("ready for connections").count()
}

/// The server, with what its first files need, too.
fn server() -> Result<Command, ServerError> {
    let mut command = Command::new(find(&["mariadbd"])?);
    command.args(["--no-defaults", "--user=root", "--innodb-log-file-size=16M", "--loose-performance-schema=OFF"]);
    Ok(command)
}

fn make(data: &Path) -> Result<(), ServerError> {
    let mut init = Command::new(find(&["mariadb-install-db"])?);
    init.args(["--no-defaults", "--user=root", "--auth-root-authentication-method=normal", "--skip-test-db"]);
    init.arg(format!("--datadir={}", data.display()));
    template::run(&mut init)?;
    // Once more, for a log of the size that it will have.
    let mut again = server()?;
    template::run(again.arg("--bootstrap").arg(format!("--datadir={}", data.display())))
}
