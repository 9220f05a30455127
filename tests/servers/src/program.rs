//! Where the servers' programs are.

use crate::ServerError;
use std::path::{Path, PathBuf};

/// Where `tests/servers/install` puts what is no package of the system's.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/test-servers")
}

/// The first of `programs`: a path, or a name to be looked for in `PATH` and where servers are, too.
///
/// # Errors
/// When none is there.
pub fn find(programs: &[&str]) -> Result<PathBuf, ServerError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    let everywhere = programs.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let mut found = everywhere.filter(|path| path.is_file());
    found.next().ok_or_else(|| ServerError::Missing { program: programs.join(" or ") })
}
