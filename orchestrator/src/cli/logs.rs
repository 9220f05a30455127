//! The log of a process: to the error stream, as text or JSON. Libraries log; only the command line decides where to.

use crate::{config::Log, store};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Begins to log. A second call changes nothing.
pub(super) fn begin(log: &Log) {
    // What the store's libraries say of every statement is heard only when it is asked for by name.
    let filter = EnvFilter::new(format!("{},{}", store::QUIET, log.filter));
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let log_to = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    let begun = if log.json { log_to.json().try_init() } else { log_to.try_init() };
    if begun.is_err() {
        tracing::debug!("the process logs already");
    }
}
