//! The channel's side: reports, signed and posted, until they are acknowledged.

use super::{
    Report, alipay,
    keys::{BadKey, PrivateKey, SharedKey},
    stamped, wechat,
};
use crate::{
    channel::{Acknowledging, Callback, CallbackSink, ChargeCallback, ChargeSink},
    clock::Clock,
};
use axum::http::HeaderMap;
use reqwest::{Client, StatusCode};
use ring::rand::{SecureRandom, SystemRandom};
use std::{sync::Arc, time::Duration};
use tercet_core::Millis;

/// How long an acknowledgement may take; then the report is made again.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// How a channel signs what it reports.
#[derive(Clone, Debug)]
pub enum Signer {
    /// HMAC with a timestamp.
    Stamped(SharedKey),
    /// As WeChat Pay v3 does it.
    WeChat {
        /// The key's serial number.
        serial: String,
        /// The key.
        key: PrivateKey,
    },
    /// As Alipay does it.
    Alipay {
        /// The merchant's application.
        app: String,
        /// The key.
        key: PrivateKey,
    },
}

/// A report as it goes out.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The headers that sign it, if it is not the body that does.
    pub headers: HeaderMap,
    /// What the body is.
    pub content_type: &'static str,
    /// The bytes that are signed.
    pub body: Vec<u8>,
}

/// Why a report cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// It cannot be signed.
    #[error(transparent)]
    Key(#[from] BadKey),
    /// Channels of that kind report nothing of that sort.
    #[error("a channel of this kind does not report that")]
    NotReported,
    /// It cannot be posted, or nobody answered.
    #[error("failed to post the report: {0}")]
    Post(String),
}

impl Signer {
    /// The report as the channel sends it at `now`.
    ///
    /// # Errors
    /// When channels of that kind do not report that, or the system gives no random numbers.
    pub fn sign(&self, report: &Report, now: Millis) -> Result<Signed, SendError> {
        const JSON: &str = "application/json";
        let json = || report.to_json().ok_or(SendError::NotReported);
        Ok(match self {
            Self::Stamped(key) => {
                let body = json()?;
                Signed { headers: stamped::sign(key, &body, now), content_type: JSON, body }
            }
            Self::WeChat { serial, key } => {
                let body = json()?;
                let headers = wechat::sign(serial, key, &body, &nonce()?, now)?;
                Signed { headers, content_type: JSON, body }
            }
            Self::Alipay { app, key } => {
                let form = alipay::fields(app, report).ok_or(SendError::NotReported)?;
                let body = alipay::sign(key, form)?;
                let content_type = "application/x-www-form-urlencoded;charset=utf-8";
                Signed { headers: HeaderMap::new(), content_type, body }
            }
        })
    }

    /// Whether that answer acknowledges a report.
    fn is_acknowledged(&self, status: StatusCode, body: &str) -> bool {
        match self {
            Self::Alipay { .. } => status == StatusCode::OK && body == "success",
            _ => status == StatusCode::OK || status == StatusCode::NO_CONTENT,
        }
    }
}

/// A nonce: 32 hexadecimal digits that nobody can guess.
pub(crate) fn nonce() -> Result<String, BadKey> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| BadKey::Random)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Posts a channel's reports to one address. What is not acknowledged the channel reports again.
#[derive(Clone)]
pub struct Sender {
    client: Client,
    url: String,
    signer: Signer,
    clock: Arc<dyn Clock>,
}

impl Sender {
    /// Posts to `url`, signed by `signer` at the time that `clock` shows.
    #[must_use]
    pub fn new(url: impl Into<String>, signer: Signer, clock: Arc<dyn Clock>) -> Self {
        Self { client: Client::new(), url: url.into(), signer, clock }
    }

    /// Sends one report; whether it was acknowledged.
    ///
    /// # Errors
    /// When it cannot be signed or posted, or nobody answered: it may have been kept.
    pub async fn send(&self, report: &Report) -> Result<bool, SendError> {
        let Signed { headers, content_type, body } = self.signer.sign(report, self.clock.now())?;
        let request = self.client.post(&self.url).timeout(ANSWER_MAX).headers(headers);
        let failed = |error: reqwest::Error| SendError::Post(error.without_url().to_string());
        let response = request.header("content-type", content_type).body(body).send().await.map_err(failed)?;
        let status = response.status();
        let text = response.text().await.map_err(failed)?;
        Ok(self.signer.is_acknowledged(status, &text))
    }

    fn report(&self, report: Report) -> Acknowledging<'_> {
        Box::pin(async move {
            match self.send(&report).await {
                Ok(acknowledged) => acknowledged,
                Err(error) => {
                    tracing::warn!(%error, "a callback was not delivered; the channel makes it again");
                    false
                }
            }
        })
    }
}

impl CallbackSink for Sender {
    fn receive(&self, callback: Callback) -> Acknowledging<'_> {
        self.report(Report::Refund(callback))
    }
}

impl ChargeSink for Sender {
    fn charged(&self, callback: ChargeCallback) -> Acknowledging<'_> {
        self.report(Report::Charge(callback))
    }
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender").field("url", &self.url).finish_non_exhaustive()
    }
}
