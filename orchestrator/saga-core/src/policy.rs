//! Policies of a step and a saga: how long, how often, and what happens when it is not enough.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How often a call without a definite answer is made again, and after how long.
///
/// Waits grow by doubling from `first` to `cap`; the jitter is drawn by the shell and enters [`Retry::delay`] as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Before the second attempt.
    #[serde(with = "as_millis")]
    pub first: Duration,
    /// At most between two attempts.
    #[serde(with = "as_millis")]
    pub cap: Duration,
    /// Attempts in all; `None` goes on for ever. A confirm, a cancel and a step after the decision go on for ever whatever it says.
    pub attempts: Option<u32>,
}

impl Retry {
    /// Doubling from `first` to `cap`, for ever.
    #[must_use]
    pub const fn backoff(first: Duration, cap: Duration) -> Self {
        Self { first, cap, attempts: None }
    }

    /// The same, but at most so many attempts in all.
    #[must_use]
    pub const fn attempts(self, attempts: u32) -> Self {
        Self { attempts: Some(attempts), ..self }
    }

    /// How long to wait after attempt number `made` (from 1). `jitter` of 0 takes half of the wait, 65,535 all of it ("equal
    /// jitter", as in Amazon's architecture notes on backoff), so that the cap is never passed.
    ///
    /// ```
    /// use tercet_core::Retry;
    /// use std::time::Duration;
    /// let retry = Retry::backoff(Duration::from_millis(100), Duration::from_secs(1));
    /// assert_eq!(retry.delay(1, u16::MAX), Duration::from_millis(100));
    /// assert_eq!(retry.delay(3, 0), Duration::from_millis(200));
    /// assert_eq!(retry.delay(30, u16::MAX), Duration::from_secs(1));
    /// ```
    #[must_use]
    pub fn delay(&self, made: u32, jitter: u16) -> Duration {
        let doubled = self.first.saturating_mul(1 << made.saturating_sub(1).min(20)).min(self.cap);
        let half = doubled / 2;
        half + (doubled - half).mul_f64(f64::from(jitter) / f64::from(u16::MAX))
    }

    /// So many attempts were made: is that all there are to be?
    #[must_use]
    pub fn is_exhausted(&self, made: u32) -> bool {
        self.attempts.is_some_and(|limit| made >= limit)
    }
}

/// What happens when a step is refused for good before the decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnRefused {
    /// The saga aborts.
    Abort,
    /// The step parks in front of a person: for money that is not ours to keep.
    Park,
}

/// What happens when a step has been asked or queried as often as its policy says, without a definite answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExhausted {
    /// The saga aborts; what may have arrived is cancelled. A pivot aborts only if nothing of it can have been done.
    Abort,
    /// The step parks in front of a person.
    Park,
}

/// The policy of one step. Every field has a default by kind; the DSL's methods change one each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// How long one attempt waits for its answer.
    #[serde(with = "as_millis")]
    pub timeout: Duration,
    /// Attempts and waits of the try or execute.
    pub retry: Retry,
    /// Between two queries of an unknown outcome, and how long a `pending` is left alone before it is asked after.
    #[serde(with = "as_millis")]
    pub query_every: Duration,
    /// Queries in all, before the step is closed or parks.
    pub query_limit: u32,
    /// What a definite refusal does before the decision.
    pub on_refused: OnRefused,
    /// What exhaustion does.
    pub on_exhausted: OnExhausted,
    /// From so many attempts of one phase on, the step is flagged for attention.
    pub attention_after: u32,
}

impl Policy {
    /// What a step has unless it says otherwise.
    pub const DEFAULT: Self = Self {
        timeout: Duration::from_secs(10),
        retry: Retry { first: Duration::from_millis(200), cap: Duration::from_secs(60), attempts: Some(12) },
        query_every: Duration::from_secs(60),
        query_limit: 30,
        on_refused: OnRefused::Abort,
        on_exhausted: OnExhausted::Abort,
        attention_after: 8,
    };

    /// A pivot's or external's: "insufficient balance" and the like last for hours, and what is unknown goes to a person.
    pub const PIVOT: Self = Self {
        retry: Retry { first: Duration::from_secs(1), cap: Duration::from_secs(300), attempts: Some(300) },
        on_exhausted: OnExhausted::Park,
        ..Self::DEFAULT
    };
}

/// A margin for the clocks of others: so long after an effect's expiry *absent* begins to be final.
pub const EXPIRY_MARGIN: Duration = Duration::from_secs(120);

/// The longest wait, sleep or deadline that a definition may name: ten years.
pub const WAIT_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// So many seconds.
#[must_use]
pub const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// So many minutes.
#[must_use]
pub const fn minutes(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}

/// So many hours.
#[must_use]
pub const fn hours(n: u64) -> Duration {
    minutes(n * 60)
}

/// So many days of 24 hours.
#[must_use]
pub const fn days(n: u64) -> Duration {
    hours(n * 24)
}

/// Durations as whole milliseconds in JSON.
pub(crate) mod as_millis {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::time::Duration;

    pub(crate) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}
