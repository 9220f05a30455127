//! What a channel reports in a callback: a charge, or a refund.

use super::Unreadable;
use crate::channel::{Callback, ChargeCallback};
use serde::{Deserialize, Serialize};

/// What became of a charge or of a refund. As JSON it is the body of all callbacks but Alipay's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// Of a charge.
    Charge(ChargeCallback),
    /// Of a refund.
    Refund(Callback),
}

impl Report {
    pub(super) fn from_json(body: &[u8]) -> Result<Self, Unreadable> {
        serde_json::from_slice(body).map_err(|_| Unreadable("body"))
    }

    pub(super) fn to_json(&self) -> Option<Vec<u8>> {
        serde_json::to_vec(self).ok()
    }
}
