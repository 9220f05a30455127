//! A server's process: waited for until it answers, its log kept, and killed with whoever started it.

use crate::ServerError;
use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// How long a server may take to answer, or to end once it is told to.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How much of a log an error shows.
const LOG_LINES: usize = 30;

/// A running server; killed when this is dropped, and also when the test's own process is killed.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    watchman: Child,
    log: PathBuf,
}

impl Process {
    /// Runs `command`; what it says is added to the file `log`.
    ///
    /// # Errors
    /// When the program cannot be run, or the log cannot be written.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self, ServerError> {
        let file = File::options().create(true).append(true).open(log).map_err(ServerError::path(log))?;
        let again = file.try_clone().map_err(ServerError::path(log))?;
        let program = PathBuf::from(command.get_program());
        let started = command.stdin(Stdio::null()).stdout(file).stderr(again).spawn();
        let child = started.map_err(ServerError::path(&program))?;
        // Its input ends with this process, however that ends.
        let watch = format!("cat >/dev/null; kill -9 {}", child.id());
        let watchman = Command::new("sh").args(["-c", &watch]).stdin(Stdio::piped()).stderr(Stdio::null()).spawn();
        let watchman = watchman.map_err(ServerError::path("sh"))?;
        Ok(Self { name: name.to_owned(), child, watchman, log: log.to_owned() })
    }

    /// Waits until `is_ready`.
    ///
    /// # Errors
    /// When the process ends before, or half a minute has passed; with the end of its log.
    pub fn wait_until(&mut self, mut is_ready: impl FnMut() -> bool) -> Result<(), ServerError> {
        let since = Instant::now();
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(self.not_up(format!("it ended with {status}")));
            }
            if is_ready() {
                return Ok(());
            }
            if since.elapsed() > PATIENCE {
                return Err(self.not_up(format!("it did not answer within {} s", PATIENCE.as_secs())));
            }
            sleep(LOOK_EVERY);
        }
    }

    fn not_up(&self, why: String) -> ServerError {
        ServerError::NotUp { server: self.name.clone(), why, log: tail(&self.log) }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has: also by itself.
    #[must_use]
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// The end of what it has said.
    #[must_use]
    pub fn said(&self) -> String {
        tail(&self.log)
    }

    /// Sends it a signal by name: `STOP`, say.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status();
        debug_assert!(sent.is_ok_and(|status| status.success()), "{} did not take the signal {name}", self.name);
    }

    /// Kills it, as `kill -9` does.
    pub fn kill(mut self) {
        self.put_down();
    }

    /// Asks it to end (SIGTERM) and waits; kills it if it will not.
    pub fn end(mut self) {
        self.signal("TERM");
        let since = Instant::now();
        while since.elapsed() < PATIENCE && matches!(self.child.try_wait(), Ok(None)) {
            sleep(LOOK_EVERY);
        }
        self.put_down();
    }

    fn put_down(&mut self) {
        // The watchman first: after the server's end its number may be another process's.
        for child in [&mut self.watchman, &mut self.child] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.put_down();
    }
}

fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}
