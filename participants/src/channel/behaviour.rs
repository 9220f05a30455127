//! How the channel behaves to one reference: told, or drawn from a seed, so that a run can be repeated.

use crate::ids::RefundId;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, time::Duration};

/// How what was taken on ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ends {
    /// The money moves.
    Well,
    /// It fails for good.
    Badly,
}

/// How the channel behaves to the requests under one reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Behaviour {
    /// Moves the money and says so.
    Succeed,
    /// Fails for good and says so.
    Refuse,
    /// Takes it on, decides later, and reports so many times: once, twice, never.
    Accept {
        /// When it decides.
        after: Duration,
        /// How.
        ends: Ends,
        /// How often it reports.
        callbacks: u8,
    },
    /// Moves the money; the answer is lost.
    TimeOutDone,
    /// So many requests are lost on their way; the next one succeeds.
    TimeOutNotDone {
        /// How many.
        lost: u32,
    },
    /// Moves the money at once and answers late.
    AnswerLate {
        /// How late.
        after: Duration,
    },
    /// The request lingers on its way and its answer is lost. Until it lands no query finds it, and a second one is rejected
    /// as being in progress; then the money moves all the same.
    LandLate {
        /// When it lands.
        after: Duration,
    },
    /// Rejects so many requests, as the merchant's balance at the channel is too small just now; the next one succeeds.
    InsufficientBalance {
        /// How many.
        times: u32,
    },
    /// Rejects so many requests, as it is under maintenance; the next one succeeds.
    Maintenance {
        /// How many.
        times: u32,
    },
}

impl Behaviour {
    /// Its name, as in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeed => "succeed",
            Self::Refuse => "refuse",
            Self::Accept { ends: Ends::Badly, .. } => "accept_then_fail",
            Self::Accept { callbacks: 0, .. } => "accept_and_keep_silent",
            Self::Accept { callbacks: 1, .. } => "accept_and_report",
            Self::Accept { .. } => "accept_and_report_twice",
            Self::TimeOutDone => "time_out_done",
            Self::TimeOutNotDone { .. } => "time_out_not_done",
            Self::AnswerLate { .. } => "answer_late",
            Self::LandLate { .. } => "land_late",
            Self::InsufficientBalance { .. } => "insufficient_balance",
            Self::Maintenance { .. } => "maintenance",
        }
    }

    /// Every behaviour once, its waits multiples of `pace`.
    #[must_use]
    pub fn all(pace: Duration) -> Vec<Self> {
        let accept = |after, ends, callbacks| Self::Accept { after: pace * after, ends, callbacks };
        vec![
            Self::Succeed,
            Self::Refuse,
            accept(2, Ends::Well, 1),
            accept(3, Ends::Well, 2),
            accept(2, Ends::Well, 0),
            accept(2, Ends::Badly, 1),
            Self::TimeOutDone,
            Self::TimeOutNotDone { lost: 1 },
            Self::AnswerLate { after: pace * 2 },
            Self::LandLate { after: pace * 4 },
            Self::InsufficientBalance { times: 2 },
            Self::Maintenance { times: 1 },
        ]
    }
}

/// Which behaviour a reference gets: the one it was told, else the rule's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "K: Ord + Deserialize<'de>, B: Deserialize<'de>"))]
pub struct Drawn<K, B> {
    #[serde(default = "BTreeMap::new")]
    told: BTreeMap<K, B>,
    rule: Rule<B>,
}

/// How the channel behaves to refunds.
pub type Behaviours = Drawn<RefundId, Behaviour>;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Rule<B> {
    Always(B),
    Seeded { seed: u64, usual: B, from: Vec<B> },
}

impl Behaviours {
    /// Half of the references find a channel that just works; the others one of [`Behaviour::all`], by seed and reference.
    #[must_use]
    pub fn seeded(seed: u64, pace: Duration) -> Self {
        Self::seeded_from(seed, Behaviour::Succeed, Behaviour::all(pace))
    }
}

impl<K: Ord + fmt::Display, B: Copy> Drawn<K, B> {
    /// The same for every reference.
    #[must_use]
    pub fn always(behaviour: B) -> Self {
        Self { told: BTreeMap::new(), rule: Rule::Always(behaviour) }
    }

    /// Half of the references meet the usual; the others one of `from`, by seed and reference.
    #[must_use]
    pub fn seeded_from(seed: u64, usual: B, from: Vec<B>) -> Self {
        Self { told: BTreeMap::new(), rule: Rule::Seeded { seed, usual, from } }
    }

    /// This behaviour for one reference, whatever the rule says.
    pub fn tell(&mut self, reference: K, behaviour: B) {
        self.told.insert(reference, behaviour);
    }

    /// The behaviour that `reference` gets: always the same.
    #[must_use]
    pub fn of(&self, reference: &K) -> B {
        match (self.told.get(reference), &self.rule) {
            (Some(&told), _) => told,
            (None, Rule::Always(behaviour)) => *behaviour,
            (None, Rule::Seeded { seed, usual, from }) => draw(*seed, &reference.to_string(), *usual, from),
        }
    }
}

fn draw<B: Copy>(seed: u64, reference: &str, usual: B, from: &[B]) -> B {
    let number = mixed(seed, reference.as_bytes());
    let index = usize::try_from((number >> 1) % from.len().max(1) as u64).unwrap_or(0);
    if number & 1 == 0 { usual } else { from.get(index).copied().unwrap_or(usual) }
}

/// FNV-1a over seed and text, then splitmix64's finaliser: a number that looks random and is the same everywhere.
fn mixed(seed: u64, text: &[u8]) -> u64 {
    let fnv = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let hash = seed.to_le_bytes().iter().chain(text).fold(0xcbf2_9ce4_8422_2325, fnv);
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}
