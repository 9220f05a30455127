//! A connection that is made when it is first needed.

use std::sync::{Mutex, PoisonError};
use tercet_nats::{
    ConnectError, Settings,
    async_nats::{Client, connection::State},
    connect,
};
use tokio::sync::OnceCell;

/// A connection to be.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) settings: Settings,
    name: &'static str,
    client: OnceCell<Client>,
    said: Mutex<Option<String>>,
}

impl Link {
    /// `name` is what the servers call this client.
    pub(super) fn new(settings: Settings, name: &'static str) -> Self {
        Self { settings, name, client: OnceCell::new(), said: Mutex::default() }
    }

    /// The client, connected at this moment.
    pub(super) async fn up(&self) -> Result<&Client, ConnectError> {
        let client = self.client.get_or_try_init(|| connect(&self.settings, self.name)).await?;
        match client.connection_state() {
            State::Connected => Ok(client),
            _ => Err(ConnectError::Unreachable {
                servers: self.settings.shown(),
                why: "the connection is lost, and is made again".to_owned(),
            }),
        }
    }

    /// Says what is in the way, once as long as it is the same; nothing is.
    pub(super) fn say(&self, why: Option<String>) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = why.as_ref().filter(|why| said.as_ref() != Some(why)) {
            tracing::warn!("{why}; it is tried again");
        }
        *said = why;
    }
}
