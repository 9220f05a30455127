//! What must add up in a participant's own database, at each of its commits.

use sea_orm::DbErr;
use std::collections::BTreeMap;

/// A participant's equation that does not hold, or could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Two figures that must be the same.
    #[error("{equation}: {left} is not {right}")]
    Unequal {
        /// Which equation, in words.
        equation: String,
        /// Its left side.
        left: i64,
        /// Its right side.
        right: i64,
    },
    /// A figure that must not be below zero.
    #[error("{figure} is {value}, below zero")]
    Negative {
        /// Which figure, in words.
        figure: String,
        /// What it is.
        value: i64,
    },
    /// The database could not be read.
    #[error("failed to read the figures: {0}")]
    Unreadable(String),
}

impl From<DbErr> for Violation {
    fn from(error: DbErr) -> Self {
        Self::Unreadable(error.to_string())
    }
}

pub(crate) fn must_equal(equation: impl Into<String>, left: i64, right: i64) -> Result<(), Violation> {
    if left == right { Ok(()) } else { Err(Violation::Unequal { equation: equation.into(), left, right }) }
}

pub(crate) fn must_not_be_negative(figure: impl Into<String>, value: i64) -> Result<(), Violation> {
    if value >= 0 { Ok(()) } else { Err(Violation::Negative { figure: figure.into(), value }) }
}

/// The sum of the figures under each key.
pub(crate) fn sums(figures: impl IntoIterator<Item = (String, i64)>) -> BTreeMap<String, i64> {
    figures.into_iter().fold(BTreeMap::new(), |mut sums, (key, figure)| {
        *sums.entry(key).or_default() += figure;
        sums
    })
}
