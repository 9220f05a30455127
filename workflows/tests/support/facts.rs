//! A journal's facts from an outcome on.

use tercet_core::{Entry, Fact};

/// The facts from the outcome of the pivot `step` on, by their kind and step; steps side by side end in any order.
pub(crate) fn from_outcome(entries: &[Entry], step: &str) -> Vec<String> {
    let facts: Vec<&Fact> = entries.iter().flat_map(|entry| &entry.facts).collect();
    let is_outcome = |fact: &&Fact| matches!(fact, Fact::Done { step: done, .. } if done.as_str() == step);
    let from = facts.iter().position(is_outcome).unwrap();
    let mut lines: Vec<String> = facts[from..]
        .iter()
        .map(|fact| match fact {
            Fact::Done { step, .. } => format!("done {step}"),
            Fact::Committed => "committed".to_owned(),
            Fact::Confirmed { step } => format!("confirmed {step}"),
            Fact::Asked { step, .. } => format!("asked {step}"),
            Fact::EndedConfirmed { .. } => "ended confirmed".to_owned(),
            other => format!("{other:?}"),
        })
        .collect();
    lines[2..].sort();
    lines
}
