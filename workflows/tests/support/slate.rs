//! The clean slate: what a saga may have changed in all databases, figure by figure.

use super::world::World;
use serde_json::Value;
use std::collections::BTreeMap;
use tercet_shop::Ledger;

/// Figures that count messages and attempts: they differ by what went wrong on the way.
const NOISE: [&str; 7] = [
    "gateway.attempts",
    "gateway.callbacks",
    "gateway.copies",
    "payments.callbacks",
    "payments.copies",
    "channel.requests",
    "channel.behaviours.",
];

/// What changed, figure by figure; nothing where nothing did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Delta(BTreeMap<String, i64>);

impl Delta {
    pub(crate) fn between(before: &Ledger, after: &Ledger) -> Self {
        let (before, mut changes) = (figures(before), figures(after));
        for (path, figure) in before {
            *changes.entry(path).or_default() -= figure;
        }
        let is_noise = |path: &str| NOISE.iter().any(|noise| path.starts_with(noise));
        changes.retain(|path, change| *change != 0 && !is_noise(path));
        Self(changes)
    }

    /// Without the marks that a cancelled refund leaves on purpose: what the third party was asked, and that it was released.
    pub(crate) fn without_traces(mut self) -> Self {
        let traces = ["gateway.refunds.", "channel.refunds.", "payments.refunds.released"];
        self.0.retain(|path, _| !traces.iter().any(|trace| path.starts_with(trace)));
        self
    }

    /// By how much one figure has changed.
    pub(crate) fn of(&self, figure: &str) -> i64 {
        self.0.get(figure).copied().unwrap_or_default()
    }

    pub(crate) fn without(mut self, figure: &str) -> Self {
        self.0.remove(figure);
        self
    }

    /// What so many sagas change that each change this.
    pub(crate) fn times(&self, sagas: usize) -> Self {
        let sagas = i64::try_from(sagas).unwrap();
        Self(self.0.iter().map(|(path, change)| (path.clone(), change * sagas)).collect())
    }

    /// Both.
    pub(crate) fn plus(mut self, other: &Self) -> Self {
        for (path, change) in &other.0 {
            *self.0.entry(path.clone()).or_default() += change;
        }
        self.0.retain(|_, change| *change != 0);
        self
    }

    /// What a cancelled `refund` changes: the buyer was told.
    pub(crate) fn told_of_failure() -> Self {
        Self(BTreeMap::from([("notices.refund_failed".to_owned(), 1)]))
    }

    /// The figures themselves.
    pub(crate) fn into_figures(self) -> BTreeMap<String, i64> {
        self.0
    }

    /// Nothing.
    pub(crate) fn nothing() -> Self {
        Self::default()
    }
}

impl std::fmt::Display for Delta {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lines: Vec<_> = self.0.iter().map(|(path, change)| format!("{path} {change:+}")).collect();
        f.write_str(&lines.join("\n"))
    }
}

fn figures(ledger: &Ledger) -> BTreeMap<String, i64> {
    let mut figures = BTreeMap::new();
    flatten(String::new(), &serde_json::to_value(ledger).unwrap(), &mut figures);
    figures
}

fn flatten(path: String, value: &Value, into: &mut BTreeMap<String, i64>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                flatten(if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, value, into);
            }
        }
        Value::Number(number) => drop(into.insert(path, number.as_i64().unwrap())),
        Value::String(_) => drop(into.insert(path, 1)),
        other => panic!("a figure that is none: {path} = {other}"),
    }
}

impl World {
    /// What has changed since `before`. All equations hold, at each participant and between them; `holds` of what was held is held
    /// still.
    pub(crate) async fn slate(&self, before: &Ledger, holds: Holds) -> Delta {
        let after = self.ledger().await;
        let violations: Vec<_> = self.shop.violations().await.iter().map(ToString::to_string).collect();
        assert_eq!(violations, Vec::<String>::new());
        assert_eq!(after.mismatches(), Vec::<String>::new());
        if holds == Holds::None {
            assert_eq!(after.holds(), before.holds(), "something is held still");
        }
        Delta::between(before, &after)
    }
}

/// What may still be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// Nothing more than before.
    None,
    /// What a parked saga holds.
    Some,
}
