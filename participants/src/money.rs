//! Money as integer minor units with a currency: exact sums, splits whose parts always add up, and text for people.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use std::{borrow::Cow, fmt, str::FromStr};

/// An amount in the smallest unit of a currency that is known from elsewhere: a column beside the row's currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Minor(pub i64);

impl Minor {
    /// The sum.
    ///
    /// # Errors
    /// When it does not fit 64 bits.
    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        self.0.checked_add(other.0).map(Self).ok_or(MoneyError::Overflow)
    }

    /// The difference; below zero when `other` is the larger one.
    ///
    /// # Errors
    /// When it does not fit 64 bits.
    pub fn minus(self, other: Self) -> Result<Self, MoneyError> {
        self.0.checked_sub(other.0).map(Self).ok_or(MoneyError::Overflow)
    }

    /// So many times this amount.
    ///
    /// # Errors
    /// When it does not fit 64 bits.
    pub fn times(self, count: i64) -> Result<Self, MoneyError> {
        self.0.checked_mul(count).map(Self).ok_or(MoneyError::Overflow)
    }

    /// The sum of `amounts`.
    ///
    /// # Errors
    /// When it does not fit 64 bits.
    pub fn sum(amounts: impl IntoIterator<Item = Self>) -> Result<Self, MoneyError> {
        amounts.into_iter().try_fold(Self(0), Self::plus)
    }

    /// Splits this amount in proportion to `weights` by largest remainder: the parts add up to the whole, always, and equal
    /// weights differ by one unit at most (the earlier ones get it). A negative amount is split like its opposite.
    ///
    /// # Errors
    /// When there is nothing to split by: no weight, or all of them zero.
    pub fn split(self, weights: &[u64]) -> Result<Vec<Self>, MoneyError> {
        let total: u128 = weights.iter().copied().map(u128::from).sum();
        if total == 0 {
            return Err(MoneyError::NoWeights);
        }
        let whole = u128::from(self.0.unsigned_abs());
        let shares: Vec<(u128, u128)> =
            weights.iter().map(|&weight| scaled(whole, u128::from(weight), total)).collect();
        let given: u128 = shares.iter().map(|(share, _)| share).sum();
        let mut order: Vec<usize> = (0..shares.len()).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(shares[i].1));
        let mut parts: Vec<u128> = shares.into_iter().map(|(share, _)| share).collect();
        let left = usize::try_from(whole - given).map_err(|_| MoneyError::Overflow)?;
        for &i in order.iter().take(left) {
            parts[i] += 1;
        }
        parts.into_iter().map(|part| signed(part, self.0 < 0)).collect()
    }
}

/// `amount * weight / total` as quotient and remainder. Both factors are below 2^64, so the product fits.
fn scaled(amount: u128, weight: u128, total: u128) -> (u128, u128) {
    let product = amount * weight;
    (product / total, product % total)
}

fn signed(part: u128, negative: bool) -> Result<Minor, MoneyError> {
    let part = i128::try_from(part).map_err(|_| MoneyError::Overflow)?;
    i64::try_from(if negative { -part } else { part }).map(Minor).map_err(|_| MoneyError::Overflow)
}

/// What of `total` belongs to `part` of `whole`, rounded down; all of it when the part is the whole.
///
/// Parts that are given as the difference of two such shares (what belongs to everything so far, less what was given) add up
/// to `total` exactly once everything is there, in whatever order they come.
///
/// # Errors
/// When `part` is not within `0..=whole`, or `whole` is zero.
pub fn share(total: i64, part: Minor, whole: Minor) -> Result<i64, MoneyError> {
    if whole.0 <= 0 || part.0 < 0 || part > whole {
        return Err(MoneyError::NotAPart { part, whole });
    }
    let share = i128::from(total) * i128::from(part.0) / i128::from(whole.0);
    i64::try_from(share).map_err(|_| MoneyError::Overflow)
}

/// An ISO 4217 code: three capitals.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    /// The euro: two decimals.
    pub const EUR: Self = Self(*b"EUR");
    /// The yen: none.
    pub const JPY: Self = Self(*b"JPY");
    /// The Kuwaiti dinar: three.
    pub const KWD: Self = Self(*b"KWD");

    /// How many decimals a minor unit stands for, by ISO 4217.
    #[must_use]
    pub const fn decimals(self) -> u32 {
        match &self.0 {
            b"BIF" | b"CLP" | b"DJF" | b"GNF" | b"ISK" | b"JPY" | b"KMF" | b"KRW" | b"PYG" | b"RWF" | b"UGX"
            | b"UYI" | b"VND" | b"VUV" | b"XAF" | b"XOF" | b"XPF" => 0,
            b"BHD" | b"IQD" | b"JOD" | b"KWD" | b"LYD" | b"OMR" | b"TND" => 3,
            b"CLF" | b"UYW" => 4,
            _ => 2,
        }
    }

    /// The code as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("???")
    }
}

impl FromStr for Currency {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        match <[u8; 3]>::try_from(text.as_bytes()) {
            Ok(code) if code.iter().all(u8::is_ascii_uppercase) => Ok(Self(code)),
            _ => Err(MoneyError::Currency { text: text.chars().take(20).collect() }),
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Currency {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Currency {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Currency".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[A-Z]{3}$" })
    }
}

/// An amount of a currency: what travels.
///
/// ```
/// use tercet_shop::money::{Currency, Money};
/// let price: Money = Money::parse("89.63", Currency::EUR).unwrap();
/// assert_eq!(price.minor.0, 8963);
/// assert_eq!(price.to_string(), "89.63 EUR");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Money {
    /// Integer minor units: cents of a euro, yen, thousandths of a dinar.
    pub minor: Minor,
    /// Of what.
    pub currency: Currency,
}

impl Money {
    /// So many minor units of that currency.
    #[must_use]
    pub const fn new(minor: i64, currency: Currency) -> Self {
        Self { minor: Minor(minor), currency }
    }

    /// A decimal text, exactly: `89.63`, `-1`, `0.1`.
    ///
    /// # Errors
    /// When it is no decimal number, has more decimals than the currency, or does not fit.
    pub fn parse(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        let bad = || MoneyError::Amount { text: text.chars().take(40).collect(), currency };
        let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
        let (units, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let places = currency.decimals() as usize;
        let plain = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if units.is_empty() || !plain(units) || !plain(fraction) || fraction.len() > places {
            return Err(bad());
        }
        let minor: i64 = format!("{units}{fraction:0<places$}").parse().map_err(|_| bad())?;
        Ok(Self::new(sign * minor, currency))
    }

    /// The sum.
    ///
    /// # Errors
    /// When the currencies differ, or the sum does not fit.
    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        self.same(other)?;
        Ok(Self { minor: self.minor.plus(other.minor)?, ..self })
    }

    /// The difference; below zero when `other` is the larger one.
    ///
    /// # Errors
    /// When the currencies differ, or the difference does not fit.
    pub fn minus(self, other: Self) -> Result<Self, MoneyError> {
        self.same(other)?;
        Ok(Self { minor: self.minor.minus(other.minor)?, ..self })
    }

    fn same(self, other: Self) -> Result<(), MoneyError> {
        if self.currency == other.currency {
            Ok(())
        } else {
            Err(MoneyError::Currencies { left: self.currency, right: other.currency })
        }
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = self.currency.decimals() as usize;
        let digits = format!("{:0>width$}", self.minor.0.unsigned_abs(), width = places + 1);
        let (units, fraction) = digits.split_at(digits.len() - places);
        let sign = if self.minor.0 < 0 { "-" } else { "" };
        let dot = if places == 0 { "" } else { "." };
        write!(f, "{sign}{units}{dot}{fraction} {}", self.currency)
    }
}

/// What cannot be done with money.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// The result does not fit 64 bits.
    #[error("the amount does not fit 64 bits of minor units")]
    Overflow,
    /// Amounts of two currencies in one sum.
    #[error("{left} and {right} cannot be added up")]
    Currencies {
        /// One.
        left: Currency,
        /// The other.
        right: Currency,
    },
    /// Not three capitals.
    #[error("`{text}` is no currency: it reads like EUR")]
    Currency {
        /// What was given, shortened.
        text: String,
    },
    /// Not an amount of that currency.
    #[error("`{text}` is no amount of {currency}: a decimal number with at most {} decimals", .currency.decimals())]
    Amount {
        /// What was given, shortened.
        text: String,
        /// Of what.
        currency: Currency,
    },
    /// A split without weights.
    #[error("there is nothing to split by: every weight is zero")]
    NoWeights,
    /// A share of something that is not within its whole.
    #[error("{} is not a part of {}", .part.0, .whole.0)]
    NotAPart {
        /// The part.
        part: Minor,
        /// The whole.
        whole: Minor,
    },
}
