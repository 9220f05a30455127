//! The shop's ids: newtypes over text, checked where they come in, so that none can be taken for another.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use std::{borrow::Cow, fmt};

/// The longest id, in bytes: what a unique index takes on every database.
pub const ID_BYTES_MAX: usize = 120;

/// An id that is empty, too long, or holds a control character.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id of {what} has 1 to {ID_BYTES_MAX} bytes that can be printed, this one has {bytes}")]
pub struct BadId {
    what: &'static str,
    bytes: usize,
}

macro_rules! ids { ($($(#[$doc:meta])+ $name:ident $what:literal;)+) => { $(
    $(#[$doc])+
    #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
    #[serde(transparent)]
    pub struct $name(String);

    impl $name {
        /// The id as text.
        #[must_use]
        pub fn as_str(&self) -> &str {
            &self.0
        }

        /// An id that came back from the participant's own database.
        pub(crate) fn stored(text: impl Into<String>) -> Self {
            Self(text.into())
        }
    }

    impl std::str::FromStr for $name {
        type Err = BadId;

        fn from_str(text: &str) -> Result<Self, BadId> {
            let fits = !text.is_empty() && text.len() <= ID_BYTES_MAX && !text.chars().any(char::is_control);
            if fits { Ok(Self(text.to_owned())) } else { Err(BadId { what: $what, bytes: text.len() }) }
        }
    }

    impl fmt::Display for $name {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.pad(&self.0)
        }
    }

    impl fmt::Debug for $name {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            fmt::Debug::fmt(&self.0, f)
        }
    }

    impl<'de> Deserialize<'de> for $name {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            Cow::<'de, str>::deserialize(from)?.parse().map_err(serde::de::Error::custom)
        }
    }
)+ } }

ids! {
    /// An order.
    OrderId "an order";
    /// A buyer.
    UserId "a user";
    /// What is sold: a variant of a good.
    Sku "a variant";
    /// A payment of an order; at the channel, the reference of its charge.
    PaymentId "a payment";
    /// One request to give money back. The idempotency key of its effect, for ever.
    RefundId "a refund";
    /// An after-sales claim.
    ClaimId "a claim";
    /// A client's own key of what it submits: the same in every retry.
    ClientKey "a client's key";
    /// A coupon or a red packet.
    VoucherId "a voucher";
}
