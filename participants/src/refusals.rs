//! The refusals that more than one participant gives, worded in one place: every figure and state is in the text.

use crate::money::{Currency, Money, MoneyError};
use tercet_core::Refusal;

impl From<MoneyError> for Refusal {
    fn from(error: MoneyError) -> Self {
        Self::new("bad_amount", error.to_string())
    }
}

/// An amount must be above zero and within what is left.
pub(crate) fn within(asked: Money, left: Money) -> Result<(), Refusal> {
    if asked.currency != left.currency {
        return Err(MoneyError::Currencies { left: asked.currency, right: left.currency }.into());
    }
    if asked.minor.0 <= 0 {
        return Err(Refusal::new("bad_amount", format!("{asked} cannot be refunded, {left} is left")));
    }
    if asked.minor > left.minor {
        return Err(Refusal::new("above_left", format!("{asked} is more than the {left} that is left")));
    }
    Ok(())
}

/// Money that has moved is more than none, and of the payment's currency.
pub(crate) fn real(moved: Money, currency: Currency) -> Result<(), Refusal> {
    if moved.currency != currency {
        return Err(MoneyError::Currencies { left: moved.currency, right: currency }.into());
    }
    if moved.minor.0 <= 0 {
        return Err(Refusal::new("bad_amount", format!("{moved} is no money that could have moved")));
    }
    Ok(())
}

/// A second hold under one refund's id.
pub(crate) fn duplicate(refund: &crate::ids::RefundId) -> Refusal {
    Refusal::new("duplicate", format!("the refund {refund} is or was held already"))
}

/// Something that is not there.
pub(crate) fn missing(code: &str, what: impl std::fmt::Display) -> Refusal {
    Refusal::new(code, format!("there is no {what}"))
}
