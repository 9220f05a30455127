//! A script: how the channel and the buyers behave to whom, in a file for the process that has the channel.

use super::{Behaviours, Charges};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// How the channel behaves, as JSON: each reference that it is told of, and a rule for all others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// To refunds.
    pub refunds: Behaviours,
    /// To charges, and what the buyers do.
    pub charges: Charges,
}

/// Why a script cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// The file.
    #[error("failed to read the channel's script {}: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// What is in it.
    #[error("failed to understand the channel's script {}: {source}", .path.display())]
    Json {
        /// Which.
        path: PathBuf,
        /// What is wrong, and where.
        source: serde_json::Error,
    },
}

impl Script {
    /// The script in that file.
    ///
    /// # Errors
    /// When it cannot be read, or is no script.
    pub fn read(path: &Path) -> Result<Self, ScriptError> {
        let text = std::fs::read(path).map_err(|source| ScriptError::File { path: path.to_owned(), source })?;
        serde_json::from_slice(&text).map_err(|source| ScriptError::Json { path: path.to_owned(), source })
    }

    /// Writes it to that file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), ScriptError> {
        let text = serde_json::to_vec(self).map_err(|source| ScriptError::Json { path: path.to_owned(), source })?;
        std::fs::write(path, text).map_err(|source| ScriptError::File { path: path.to_owned(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::Script;
    use crate::channel::{Behaviour, Behaviours, Buyer, Charges, Charging, Ends};
    use std::time::Duration;

    #[test]
    fn a_script_is_read_as_it_was_written() {
        let pace = Duration::from_secs(30);
        let mut script = Script { refunds: Behaviours::seeded(7, pace), charges: Charges::seeded(7, pace) };
        let ends = Behaviour::Accept { after: pace, ends: Ends::Badly, callbacks: 2 };
        script.refunds.tell("refund-1".parse().unwrap(), ends);
        script.charges.tell("pay-1".parse().unwrap(), Charging::new(Buyer::Waits));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("script.json");
        script.write(&path).unwrap();
        assert_eq!(Script::read(&path).unwrap(), script);

        std::fs::write(&path, "{}").unwrap();
        let said = Script::read(&path).unwrap_err().to_string();
        assert!(said.contains("script.json: missing field `refunds`"), "{said}");
        let said = Script::read(&path.with_extension("none")).unwrap_err().to_string();
        assert!(said.starts_with("failed to read the channel's script"), "{said}");
    }
}
