//! What became of the demo's sagas, and the ledgers: read from the participants' own databases and the channel's.

use super::DemoError;
use crate::refund::Refunded;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};
use tercet::{
    Engine,
    store::{Filter, SagaRow, SagaStatus},
};
use tercet_shop::{Ledger, Shop, money::Money, orders::Placed, payments::Charged};

/// How many sagas are where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sagas {
    /// Ended, all of it done.
    pub confirmed: u64,
    /// Ended: nothing is left of them.
    pub cancelled: u64,
    /// In front of a person.
    pub parked: u64,
    /// Undecided.
    #[serde(skip)]
    pub trying: u64,
    /// Decided to commit.
    #[serde(skip)]
    pub confirming: u64,
    /// Decided to abort.
    #[serde(skip)]
    pub cancelling: u64,
    /// Neither ended nor parked.
    #[serde(skip)]
    pub under_way: u64,
}

/// How the sagas of one definition ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ends {
    /// Ended, all of it done.
    pub confirmed: u64,
    /// Ended: nothing is left of them.
    pub cancelled: u64,
    /// In front of a person.
    pub parked: u64,
}

/// The demo's end.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// How many sagas ended how.
    pub sagas: Sagas,
    /// The same for each definition.
    pub by_definition: BTreeMap<String, Ends>,
    /// The figures of every database.
    pub ledger: Ledger,
    /// What does not add up: nothing.
    pub violations: Vec<String>,
    /// The orchestrator's database.
    pub database: PathBuf,
    /// Why sagas were cancelled, and how often.
    #[serde(skip)]
    pub cancelled_for: BTreeMap<String, u64>,
    /// Sagas that are parked, and why.
    #[serde(skip)]
    pub parked_for: Vec<(SagaRow, String)>,
}

impl Report {
    pub(super) async fn read(engine: &Engine, shop: &Shop, database: &Path) -> Result<Self, DemoError> {
        let ledger = shop.ledger().await?;
        let counts = engine.counts().await?;
        let (sagas, by_definition) = (Sagas::of(&counts), Sagas::by_definition(&counts));
        let mut told = Told::default();
        for row in all(engine, SagaStatus::Confirmed).await? {
            let output = row.projection.output.as_deref().unwrap_or_default();
            told.hear(row.definition.as_str(), row.parent.is_some(), output)?;
        }
        let violations = told.violations(shop, &ledger, sagas.parked).await;
        let cancelled_for = reasons(engine).await?;
        let parked_for = parked(engine).await?;
        let database = database.to_owned();
        Ok(Self { sagas, by_definition, ledger, violations, database, cancelled_for, parked_for })
    }
}

/// What confirmed sagas say of money, by currency: their outputs.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Came in: payments.
    charged: BTreeMap<String, i64>,
    /// Of it, for orders that took it.
    ordered: BTreeMap<String, i64>,
    /// Went back.
    refunded: BTreeMap<String, i64>,
    /// Of it, a payment that no order took.
    in_vain: BTreeMap<String, i64>,
}

impl Told {
    /// Adds what a confirmed saga says: its output, as JSON.
    ///
    /// # Errors
    /// When the output is none of its definition's.
    pub fn hear(&mut self, definition: &str, is_child: bool, output: &str) -> Result<(), DemoError> {
        match definition {
            "payment" => add(&mut self.charged, read::<Charged>(output)?.amount),
            "create_order" => add(&mut self.ordered, read::<Placed>(output)?.amount),
            "refund" => add(&mut self.refunded, read::<Refunded>(output)?.amount),
            "refund_money" => {
                let amount = read::<Refunded>(output)?.amount;
                add(&mut self.refunded, amount);
                // By hand it is given back out of a payment that an order took.
                if is_child {
                    add(&mut self.in_vain, amount);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// All that does not add up: in each party's own database, between them, and against what the sagas say. Ask while nothing runs.
    pub async fn violations(&self, shop: &Shop, ledger: &Ledger, parked: u64) -> Vec<String> {
        let mut violations: Vec<String> = shop.violations().await.iter().map(ToString::to_string).collect();
        violations.extend(ledger.mismatches());
        violations.extend(self.against(ledger, parked));
        if parked == 0 && ledger.holds() > 0 {
            violations.push(format!("{} holds are left, and no saga is parked", ledger.holds()));
        }
        if ledger.holds() < parked {
            violations.push(format!("{parked} sagas are parked, but only {} hold anything", ledger.holds()));
        }
        violations
    }

    /// Nobody is told "refunded" unless the money has moved, no money has moved that nobody knows of, and each payment has paid for
    /// an order or gone back.
    fn against(&self, ledger: &Ledger, parked: u64) -> Vec<String> {
        let mut wrong = Vec::new();
        for (currency, account) in &ledger.channel.accounts {
            let of = |figures: &BTreeMap<String, i64>| figures.get(currency).copied().unwrap_or(0);
            let (moved, told) = (account.given_back.0, of(&self.refunded));
            if told > moved || (told < moved && parked == 0) {
                wrong.push(format!("{currency}: confirmed sagas say {told} went back, the channel says {moved}"));
            }
            let (charged, ordered, in_vain) = (of(&self.charged), of(&self.ordered), of(&self.in_vain));
            if charged != ordered + in_vain {
                wrong.push(format!("{currency}: {charged} paid, {ordered} for orders and {in_vain} back again"));
            }
        }
        wrong
    }
}

fn read<T: serde::de::DeserializeOwned>(output: &str) -> Result<T, DemoError> {
    serde_json::from_str(output).map_err(|e| DemoError::Bug(e.to_string()))
}

fn add(figures: &mut BTreeMap<String, i64>, amount: Money) {
    *figures.entry(amount.currency.as_str().to_owned()).or_default() += amount.minor.0;
}

async fn all(engine: &Engine, status: SagaStatus) -> Result<Vec<SagaRow>, DemoError> {
    const PAGE: u32 = 500;
    let (mut rows, mut before) = (Vec::new(), None);
    loop {
        let filter = Filter { status: Some(status), ..Filter::default() };
        let page = engine.store().list(filter, before, PAGE).await?;
        let Some(last) = page.last() else { return Ok(rows) };
        before = Some(last.id);
        rows.extend(page);
    }
}

async fn reasons(engine: &Engine) -> Result<BTreeMap<String, u64>, DemoError> {
    let mut reasons = BTreeMap::new();
    for row in all(engine, SagaStatus::Cancelled).await? {
        let why = row.projection.output.unwrap_or_default();
        // Without the figures, so that alike reasons count together.
        let alike: String = why.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }).collect();
        *reasons.entry(alike.replace("####", "#").replace("##", "#").replace("##", "#")).or_default() += 1;
    }
    Ok(reasons)
}

async fn parked(engine: &Engine) -> Result<Vec<(SagaRow, String)>, DemoError> {
    const MOST: u32 = 1_000;
    let filter = Filter { parked: Some(true), ..Filter::default() };
    let mut parked = Vec::new();
    for row in engine.store().list(filter, None, MOST).await? {
        let shown = engine.show(row.id).await?;
        let state = shown.state.iter().flat_map(|state| state.parked());
        let why: Vec<String> = state.map(|(step, why)| format!("`{step}`: {why}")).collect();
        let why = if why.is_empty() { shown.unreadable.unwrap_or_default() } else { why.join("; ") };
        parked.push((row, why));
    }
    Ok(parked)
}
