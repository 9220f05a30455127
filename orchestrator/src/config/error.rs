//! What can be wrong with settings, in words that name the place and the form, and never the value.

use super::{Key, variable};
use crate::nearest::nearest;
use std::{fmt, path::PathBuf};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// What is said about NATS does not go together.
    #[error("{at}: {why}")]
    Nats {
        /// Where it stands.
        at: String,
        /// What does not.
        why: String,
    },
    /// The file cannot be read.
    #[error("failed to read the configuration file {}: {why}; name another with --config", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The file is not TOML.
    #[error("{} is not TOML: look at {at}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line and column.
        at: String,
    },
    /// A key that nobody reads.
    #[error("`{key}` ({at}) is no setting{}", meant(.nearest.as_deref(), .known))]
    Unknown {
        /// The key's path.
        key: String,
        /// Where it stands.
        at: String,
        /// What is probably meant, as it would be written there.
        nearest: Option<String>,
        /// All settings that there are.
        known: String,
    },
    /// A value where a table belongs.
    #[error("`{key}` ({at}) holds settings and is none itself: write `{key}.<name>`, with one of the names {keys}")]
    NotATable {
        /// The key's path.
        key: String,
        /// Where it stands.
        at: String,
        /// The keys in it.
        keys: String,
    },
    /// A value that the key cannot have.
    #[error("`{key}` ({at}) must be {form}")]
    Wrong {
        /// The key's path.
        key: &'static str,
        /// Where the value stands.
        at: String,
        /// What it may be.
        form: &'static str,
    },
    /// A variable that looks like one of ours.
    #[error("the environment variable {name} sets nothing: did you mean {meant}?")]
    Prefix {
        /// Its name.
        name: String,
        /// What is meant.
        meant: String,
    },
    /// Anybody could operate sagas.
    #[error(
        "`http.listen` ({at}) is reachable from other machines, and nothing keeps strangers out: set `http.token`, best by \
         the environment variable TERCET_HTTP__TOKEN, or listen on 127.0.0.1"
    )]
    Open {
        /// Where the address stands.
        at: String,
    },
}

fn meant(nearest: Option<&str>, known: &str) -> String {
    match nearest {
        Some(nearest) => format!(": did you mean `{nearest}`?"),
        None => format!("; settings are {known}"),
    }
}

impl ConfigError {
    pub(super) fn unknown(key: String, at: String, keys: &[Key]) -> Self {
        let known: Vec<_> = keys.iter().map(|(known, ..)| *known).collect();
        let near = nearest(&key, known.iter().copied());
        let written = |known: &str| if at.starts_with("the environment") { variable(known) } else { known.to_owned() };
        Self::Unknown { nearest: near.map(written), known: known.join(", "), key, at }
    }
}

/// Everything that is wrong, one a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
