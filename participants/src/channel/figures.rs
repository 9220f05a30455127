//! The channel's figures, and what must add up in them.

use super::{
    Channel, ChannelError,
    charge_rows::{ChargeState, charge},
    rows::{OVER_CHARGE, State, account, refund},
};
use crate::{
    equation::{Violation, must_equal},
    money::Minor,
};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde::Serialize;
use std::collections::BTreeMap;

impl Channel {
    /// The ledger's figures, by currency.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ledger(&self) -> Result<ChannelLedger, ChannelError> {
        let mut ledger = ChannelLedger::default();
        for row in account::Entity::find().all(&self.db).await? {
            let account::Model { currency, received, given_back, balance } = row;
            let figures =
                AccountLedger { received: Minor(received), given_back: Minor(given_back), balance: Minor(balance) };
            ledger.accounts.insert(currency, figures);
        }
        for row in charge::Entity::find().all(&self.db).await? {
            *ledger.charges.entry(row.state.as_str().to_owned()).or_default() += 1;
        }
        for row in refund::Entity::find().all(&self.db).await? {
            *ledger.refunds.entry(row.state.as_str().to_owned()).or_default() += 1;
            *ledger.behaviours.entry(row.behaviour).or_default() += 1;
            ledger.requests += row.attempts;
            ledger.over_charge += i64::from(row.code.as_deref() == Some(OVER_CHARGE));
        }
        Ok(ledger)
    }

    /// Money received less money given back is the balance, and both are the sums of what moved them.
    ///
    /// # Errors
    /// The equation that does not hold.
    pub async fn check_equation(&self) -> Result<(), Violation> {
        let tx = self.begin().await?;
        for row in account::Entity::find().all(&tx).await? {
            let name = |what: &str| format!("channel {}: {what}", row.currency);
            let charges = charge::Entity::find().filter(charge::Column::Currency.eq(&row.currency)).all(&tx).await?;
            let paid = charges.iter().filter(|c| c.state == ChargeState::Paid).map(|c| c.amount).sum();
            let refunds = refund::Entity::find()
                .filter(refund::Column::Currency.eq(&row.currency))
                .filter(refund::Column::State.eq(State::Succeeded))
                .all(&tx)
                .await?;
            let given_back = refunds.iter().map(|r| r.amount).sum();
            must_equal(name("balance = received - given back"), row.balance, row.received - row.given_back)?;
            must_equal(name("received = charges paid"), row.received, paid)?;
            must_equal(name("given back = refunds"), row.given_back, given_back)?;
            must_equal(name("given back = of charges"), row.given_back, charges.iter().map(|c| c.given_back).sum())?;
            let most = |c: &charge::Model| if c.state == ChargeState::Paid { c.amount } else { 0 };
            let over = charges.iter().filter(|c| c.given_back > most(c)).count();
            must_equal(name("charges given back beyond their amount"), i64::try_from(over).unwrap_or(i64::MAX), 0)?;
        }
        Ok(())
    }
}

/// The figures of one currency at the channel, in minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AccountLedger {
    /// From buyers.
    pub received: Minor,
    /// To buyers.
    pub given_back: Minor,
    /// What the merchant has there.
    pub balance: Minor,
}

/// The channel's ledger, summed up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ChannelLedger {
    /// By currency.
    pub accounts: BTreeMap<String, AccountLedger>,
    /// How many charges stand in which state.
    pub charges: BTreeMap<String, u64>,
    /// How many refunds stand in which state.
    pub refunds: BTreeMap<String, u64>,
    /// How many references met which behaviour.
    pub behaviours: BTreeMap<String, u64>,
    /// Requests to give money back, repeated ones counted.
    pub requests: i64,
    /// Refunds that were asked for beyond what was left of their charge: never, when the merchant's own ceiling holds.
    pub over_charge: i64,
}
