//! The third party: what a payment channel can be asked and what it says. [`Channel`] is one, with a ledger of its own.

mod behaviour;
mod cashier;
mod charge;
mod charge_rows;
mod charging;
mod figures;
mod program;
mod rows;
mod script;

pub use behaviour::{Behaviour, Behaviours, Drawn, Ends};
pub use cashier::Paying;
pub use charge::{Cashier, ChargeCallback, ChargeOrder, ChargeOutcome, ChargeSink, How};
pub use charging::{Buyer, Charges, Charging, Met};
pub use figures::{AccountLedger, ChannelLedger};
pub use program::{Channel, ChannelError, Settings};
pub use script::{Script, ScriptError};

use crate::{
    ids::{PaymentId, RefundId},
    money::Money,
};
use serde::{Deserialize, Serialize};
use std::{future::Future, pin::Pin};
use tercet_core::Millis;

/// A request to give money back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundOrder {
    /// The merchant's reference, and what the channel knows the refund by: the same in every attempt.
    pub reference: RefundId,
    /// The reference of the charge it comes from.
    pub charge: PaymentId,
    /// How much.
    pub amount: Money,
}

/// What the channel says. Only [`Said::Succeeded`], [`Said::Failed`] and [`Said::Closed`] are final.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// The money has moved.
    Succeeded {
        /// The channel's own id of it.
        transaction: String,
        /// How much.
        amount: Money,
        /// When.
        at: Millis,
    },
    /// Taken on; the outcome comes later.
    Processing {
        /// The channel's own id of it.
        transaction: String,
    },
    /// Taken on; the buyer is to pay, or does not.
    Open {
        /// Where.
        link: String,
    },
    /// It failed and stays so: no request under this reference will move money.
    Failed {
        /// The channel's code.
        code: String,
        /// The channel's text.
        message: String,
    },
    /// This request was not taken. It says nothing about an earlier one under the same reference.
    Rejected {
        /// The channel's code.
        code: String,
        /// The channel's text.
        message: String,
    },
    /// The reference is unusable; nothing moved under it.
    Closed,
    /// No such reference. A request that is still on its way may yet arrive.
    NotFound,
}

/// No answer: the connection broke, or it took too long. The request may have arrived, or arrive still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the channel did not answer")]
pub struct Silence;

/// An answer of the channel to come.
pub type Asking<'a> = Pin<Box<dyn Future<Output = Result<Said, Silence>> + Send + 'a>>;

/// The channel as the gateway reaches it: in this process, or over a connection.
pub trait ThirdParty: Send + Sync + 'static {
    /// Gives money back, once per reference: a repeated request is answered with what became of the first.
    fn refund(&self, order: RefundOrder) -> Asking<'_>;
    /// What became of a reference.
    fn query<'a>(&'a self, reference: &'a RefundId) -> Asking<'a>;
    /// Makes a reference unusable, if it is known and the money has not moved.
    fn close<'a>(&'a self, reference: &'a RefundId) -> Asking<'a>;
}

/// What the channel reports by itself, once, twice or never.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Callback {
    /// The merchant's reference.
    pub reference: RefundId,
    /// The channel's own id of the refund; the same when it reports again.
    pub transaction: String,
    /// What became of it.
    pub said: Said,
}

/// An acknowledgement to come: false when the callback could not be kept, so that it is made again.
pub type Acknowledging<'a> = Pin<Box<dyn Future<Output = bool> + Send + 'a>>;

/// Where callbacks go.
pub trait CallbackSink: Send + Sync + 'static {
    /// Keeps one; true once it is durable.
    fn receive(&self, callback: Callback) -> Acknowledging<'_>;
}
