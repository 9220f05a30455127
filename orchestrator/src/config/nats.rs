//! How NATS is reached: `nats.url`, and what is shown there.

use super::{ConfigError, Reading};
use tercet_nats::{Settings, Texts};

impl Reading {
    /// Nothing without `nats.url`, or when something is wrong, which is then among the errors.
    pub(super) fn nats(&mut self) -> Option<Settings> {
        let others = self.found.iter().find(|(key, _)| key.starts_with("nats.") && **key != "nats.url");
        let others = others.map(|(_, found)| found.at.clone());
        let url = self.read("nats.url", |text| tercet_nats::urls(text).ok().map(|_| text.to_owned()));
        let Some(url) = url else {
            if let (Some(at), false) = (others, self.found.contains_key("nats.url")) {
                self.errors.push(ConfigError::Nats { at, why: "`nats.url` is missing".to_owned() });
            }
            return None;
        };
        let replicas = self.read("nats.replicas", |text| ["1", "3", "5"].contains(&text).then(|| text.to_owned()));
        let mut text = |key: &'static str| self.read(key, |text| (!text.is_empty()).then(|| text.to_owned()));
        let texts = Texts {
            url,
            credentials: text("nats.credentials"),
            nkey: text("nats.nkey"),
            token: text("nats.token"),
            user: text("nats.user"),
            password: text("nats.password"),
            tls_ca: text("nats.tls_ca"),
            tls_cert: text("nats.tls_cert"),
            tls_key: text("nats.tls_key"),
            replicas,
        };
        match texts.read() {
            Ok(settings) => Some(settings),
            Err(error) => {
                let at = self.found.get("nats.url").map_or_else(String::new, |found| found.at.clone());
                self.errors.push(ConfigError::Nats { at, why: error.to_string() });
                None
            }
        }
    }
}
