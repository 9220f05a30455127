//! The shop's own channel reports over HTTP, too, wherever the shop is hosted: signed by a key that this process alone has.

use super::{BadKey, Callbacks, Scheme, Sender, SharedKey, Signer};
use crate::Shop;
use axum::Router;
use std::{net::SocketAddr, sync::Arc};

/// The name by which the shop's own channel reports.
const HOUSE: &str = "house";

impl Shop {
    /// The routes for callbacks, to be served at `address`: from now on the shop's own channel posts its reports there, where they
    /// went to the participants directly before. Calling it again changes nothing of that.
    ///
    /// # Errors
    /// When the system gives no random numbers to make a key of.
    pub fn callbacks(&self, address: SocketAddr) -> Result<Router, BadKey> {
        let key = SharedKey::random()?;
        let (payments, gateway) = (Arc::new(self.payments().clone()), Arc::new(self.gateway().clone()));
        let callbacks = Callbacks::new(payments, gateway, self.clock.clone());
        let url = format!("http://{address}/callbacks/{HOUSE}");
        let sender = Sender::new(url, Signer::Stamped(key.clone()), self.clock.clone());
        drop(self.reports_to.set(sender));
        Ok(callbacks.channel(HOUSE, Scheme::Stamped(vec![key])).router())
    }
}
