//! The shop's own channel reports over HTTP, too, wherever the shop is hosted: signed by a key that this process alone has.

use super::{BadKey, Callbacks, Scheme, Sender, SharedKey, Signer};
use crate::{
    Shop,
    channel::{Acknowledging, Callback, CallbackSink, ChargeCallback, ChargeSink},
};
use axum::Router;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

/// The name by which the shop's own channel reports.
const HOUSE: &str = "house";

/// Reports for a participant of another process: nobody here would keep them.
struct Elsewhere;

impl ChargeSink for Elsewhere {
    fn charged(&self, _: ChargeCallback) -> Acknowledging<'_> {
        Box::pin(std::future::ready(false))
    }
}

impl CallbackSink for Elsewhere {
    fn receive(&self, _: Callback) -> Acknowledging<'_> {
        Box::pin(std::future::ready(false))
    }
}

/// Where a program of this machine reaches what listens at `address`.
fn reached(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

impl Shop {
    /// The routes for callbacks, to be served at `address`: from now on the shop's own channel posts its reports there, where they
    /// went to the participants directly before. Calling it again changes nothing of that. A report for a participant that is not hosted
    /// here is answered so that the channel sends it again.
    ///
    /// # Errors
    /// When the system gives no random numbers to make a key of.
    pub fn callbacks(&self, address: SocketAddr) -> Result<Router, BadKey> {
        let key = SharedKey::random()?;
        let charges: Arc<dyn ChargeSink> = match self.hosts("payments") {
            true => Arc::new(self.payments().clone()),
            false => Arc::new(Elsewhere),
        };
        let refunds: Arc<dyn CallbackSink> = match self.hosts("gateway") {
            true => Arc::new(self.gateway().clone()),
            false => Arc::new(Elsewhere),
        };
        let callbacks = Callbacks::new(charges, refunds, self.clock.clone());
        let url = format!("http://{}/callbacks/{HOUSE}", reached(address));
        let sender = Sender::new(url, Signer::Stamped(key.clone()), self.clock.clone());
        drop(self.reports_to.set(sender));
        Ok(callbacks.channel(HOUSE, Scheme::Stamped(vec![key])).router())
    }
}
