//! Secrets: text that is compared and sent, and never shown.

use sha2::{Digest, Sha256};
use std::fmt;

/// A text that no log, error or page ever shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// `text`, hidden from now on.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text: for the one place that sends it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Is `text` this one? Digests are compared, so the time it takes says nothing about the text.
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        Sha256::digest(text) == Sha256::digest(self.0.as_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}
