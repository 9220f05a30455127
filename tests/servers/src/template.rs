//! A database's first files, made once on a machine and copied for each test: making them takes seconds, a copy takes none.

use crate::ServerError;
use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Runs `command` to its end; its output is the error's text when it fails.
pub(crate) fn run(command: &mut Command) -> Result<(), ServerError> {
    feed(command, "")
}

/// As [`run`], with that as its input.
pub(crate) fn feed(command: &mut Command, input: &str) -> Result<(), ServerError> {
    let program = PathBuf::from(command.get_program());
    let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = started.map_err(ServerError::path(&program))?;
    let fed = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(input.as_bytes()));
    let done = fed.and_then(|()| child.wait_with_output()).map_err(ServerError::path(&program))?;
    if done.status.success() {
        return Ok(());
    }
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    let why = format!("{} ended with {}", program.display(), done.status);
    Err(ServerError::NotUp { server: program.display().to_string(), why, log: said })
}

/// Copies the files called `name` to `to`; `make` makes them in the folder that it is given, where there are none yet.
///
/// They lie in the system's folder for temporary files, which other users may enter: PostgreSQL will not run as root.
pub(crate) fn copy(
    name: &str, to: &Path, make: impl FnOnce(&Path) -> Result<(), ServerError>,
) -> Result<(), ServerError> {
    let folder = std::env::temp_dir().join("tercet-test-templates");
    std::fs::create_dir_all(&folder).map_err(ServerError::path(&folder))?;
    let made = folder.join(name);
    let lock_path = folder.join(format!("{name}.lock"));
    let lock = File::create(&lock_path).map_err(ServerError::path(&lock_path))?;
    lock.lock().map_err(ServerError::path(&lock_path))?;
    if !made.exists() {
        let half = folder.join(format!("{name}.half"));
        match std::fs::remove_dir_all(&half) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(ServerError::path(half)(error)),
            _ => make(&half)?,
        }
        std::fs::rename(&half, &made).map_err(ServerError::path(&made))?;
    }
    drop(lock);
    run(Command::new("cp").args(["-a", "--reflink=auto"]).arg(&made).arg(to))
}
