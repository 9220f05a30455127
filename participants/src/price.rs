//! What an order costs, to the minor unit: base − promotions − coupon − points, and nobody's figure but the server's.

use crate::{
    catalog::PricedLine,
    money::{Currency, Minor, Money, MoneyError},
};
use tercet_core::Refusal;

/// What an order costs, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// The goods.
    pub base: Money,
    /// What promotions take off.
    pub promotions: Money,
    /// What the coupon takes off.
    pub coupon: Money,
    /// What the points take off.
    pub points: Money,
    /// What is left to pay: above zero.
    pub total: Money,
}

/// Prices an order.
///
/// ```
/// use tercet_shop::{catalog::PricedLine, money::{Currency, Minor, Money}, price::price};
/// let cups = PricedLine { sku: "cup".parse().unwrap(), quantity: 3, base: Minor(9_000), off: Minor(300) };
/// let price = price(&[cups], Currency::EUR, Some(Money::new(1_000, Currency::EUR)), Minor(75)).unwrap();
/// assert_eq!(price.total.to_string(), "76.25 EUR");
/// ```
///
/// # Errors
/// When nothing is left to pay, the coupon is of another currency, or a sum does not fit.
pub fn price(lines: &[PricedLine], currency: Currency, coupon: Option<Money>, points: Minor) -> Result<Price, Refusal> {
    let of = |minor| Money { minor, currency };
    let base = of(Minor::sum(lines.iter().map(|line| line.base))?);
    let promotions = of(Minor::sum(lines.iter().map(|line| line.off))?);
    let (coupon, points) = (coupon.unwrap_or(Money::new(0, currency)), of(points));
    let total = base.minus(promotions)?.minus(coupon)?.minus(points)?;
    if total.minor.0 <= 0 {
        let message = format!("{base} less {promotions}, {coupon} and {points} leave {total} to pay");
        return Err(Refusal::new("nothing_to_pay", message));
    }
    Ok(Price { base, promotions, coupon, points, total })
}

impl Price {
    /// The price, if the buyer was shown the same.
    ///
    /// # Errors
    /// A refusal that names both figures.
    pub fn agreed(self, shown: Money) -> Result<Money, Refusal> {
        if shown == self.total {
            return Ok(shown);
        }
        let Self { base, promotions, coupon, points, total } = self;
        let why = format!("{base} less {promotions} promotions, {coupon} coupon and {points} points");
        Err(Refusal::new("other_price", format!("the buyer was shown {shown}, the order costs {total}: {why}")))
    }

    /// The share of each line in what is to be paid, by largest remainder of what it costs after promotions: they add up to it.
    ///
    /// # Errors
    /// When the lines are not those that were priced.
    pub fn shares(self, lines: &[PricedLine]) -> Result<Vec<Minor>, MoneyError> {
        let net = |line: &PricedLine| u64::try_from(line.base.0 - line.off.0).unwrap_or(0);
        self.total.minor.split(&lines.iter().map(net).collect::<Vec<_>>())
    }
}
