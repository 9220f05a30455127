//! How the channel and the buyer behave to one charge: how the request is met, what the buyer does, how it is reported.

use super::Drawn;
use crate::ids::PaymentId;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How a request to take money is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Met {
    /// It is taken on, and the channel says so.
    Taken,
    /// It fails for good, and the channel says so.
    Refused,
    /// It is taken on; the answer is lost.
    LostDone,
    /// So many requests are lost on their way; the next one is taken on.
    LostNotDone {
        /// How many.
        lost: u32,
    },
    /// It is taken on at once and answered late.
    AnswerLate {
        /// How late.
        after: Duration,
    },
    /// The request lingers on its way and its answer is lost. Until it lands no query finds it; then it is taken on all the same.
    LandLate {
        /// When it lands.
        after: Duration,
    },
    /// So many requests are rejected, as the channel is under maintenance; the next one is taken on.
    Maintenance {
        /// How many.
        times: u32,
    },
}

/// What the buyer does with a pay link. A direct debit is paid at once, unless the buyer's bank declines it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Buyer {
    /// Nothing, until [`Channel::buyer_pays`](super::Channel::buyer_pays).
    Waits,
    /// Pays after that long, if the link is good then.
    Pays {
        /// From when the charge was taken on.
        after: Duration,
    },
    /// Is declined after that long, for good.
    Declines {
        /// From when the charge was taken on.
        after: Duration,
    },
}

/// How the channel and the buyer behave to one charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charging {
    /// How the request is met.
    pub request: Met,
    /// What the buyer does.
    pub buyer: Buyer,
    /// How often the outcome is reported: once, twice, never.
    pub callbacks: u8,
    /// How long after it.
    pub report_after: Duration,
    /// The channel takes money also for a charge that it said had failed, or was closed: its word was not final.
    pub lax: bool,
}

/// How the channel behaves to charges.
pub type Charges = Drawn<PaymentId, Charging>;

impl Charging {
    /// Taken on, reported at once and once.
    #[must_use]
    pub const fn new(buyer: Buyer) -> Self {
        Self { request: Met::Taken, buyer, callbacks: 1, report_after: Duration::ZERO, lax: false }
    }

    /// The buyer pays after that long.
    #[must_use]
    pub const fn paid(after: Duration) -> Self {
        Self::new(Buyer::Pays { after })
    }

    /// The request is met so.
    #[must_use]
    pub const fn met(self, request: Met) -> Self {
        Self { request, ..self }
    }

    /// The outcome is reported so often, and so long after it.
    #[must_use]
    pub const fn reported(self, callbacks: u8, report_after: Duration) -> Self {
        Self { callbacks, report_after, ..self }
    }

    /// What the channel says is final is not.
    #[must_use]
    pub const fn lax(self) -> Self {
        Self { lax: true, ..self }
    }

    /// Every way in which a charge may go, once, its waits multiples of `pace`.
    #[must_use]
    pub fn all(pace: Duration) -> Vec<Self> {
        let paid = Self::paid(pace);
        vec![
            paid,
            paid.reported(2, Duration::ZERO),
            paid.reported(0, Duration::ZERO),
            paid.reported(1, pace * 4),
            Self::new(Buyer::Waits),
            Self::new(Buyer::Declines { after: pace }),
            paid.met(Met::Refused),
            paid.met(Met::LostDone),
            paid.met(Met::LostNotDone { lost: 1 }),
            paid.met(Met::AnswerLate { after: pace }),
            paid.met(Met::LandLate { after: pace * 2 }),
            paid.met(Met::Maintenance { times: 2 }),
        ]
    }
}

impl Charges {
    /// Half of the charges are paid within `pace` and reported; the others go one of the ways of [`Charging::all`].
    #[must_use]
    pub fn seeded(seed: u64, pace: Duration) -> Self {
        Self::seeded_from(seed, Charging::paid(pace), Charging::all(pace))
    }
}
