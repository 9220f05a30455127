//! The facts of a journal entry in a few words, for timelines.

use crate::log::short;
use tercet_core::{Entry, Fact, Verdict, entry::Evidence};

/// An entry in a line.
pub(crate) fn words(entry: &Entry) -> String {
    entry.facts.iter().map(fact).collect::<Vec<_>>().join("; ")
}

fn fact(fact: &Fact) -> String {
    match fact {
        Fact::Started(begin) => format!("started {}", short(&begin.input)),
        Fact::Asked { step, .. } => format!("{step} asked"),
        Fact::Attempted { step, attempt } => format!("{step} asked, attempt {attempt}"),
        Fact::Done { step, .. } => format!("{step} done"),
        Fact::Refused { step, refusal, .. } => format!("{step} refused: {refusal}"),
        Fact::Pending { step, phase, .. } => format!("{step}'s {phase} is pending"),
        Fact::Unknown { step, why, .. } => format!("{step} is unknown: {why}"),
        Fact::NotNow { step, reason, .. } => format!("{step}: not now: {reason}"),
        Fact::Doubted { step, refusal, .. } => format!("{step} refused, which is doubted: {refusal}"),
        Fact::Queried { step, answer, .. } => format!("{step} queried: {answer}"),
        Fact::Closing { step, why, .. } => format!("{step} is being closed: {why}"),
        Fact::Fencing { step } => format!("{step} is being fenced"),
        Fact::Forced { step, .. } => format!("{step} marked not done by force"),
        Fact::Settled { step } => format!("{step} has proved not done"),
        Fact::GaveUp { step, why, .. } => format!("{step} given up: {why}"),
        Fact::Waiting { step, signal: Some(signal), .. } => format!("{step} waits for {signal}"),
        Fact::Waiting { step, signal: None, .. } => format!("{step} sleeps"),
        Fact::Took { step, .. } => format!("{step} took its signal"),
        Fact::Missed { step } => format!("{step} missed"),
        Fact::Branched { step, taken } => format!("{step} {}", if *taken { "taken" } else { "not taken" }),
        Fact::FannedOut { step, items } => format!("{step} fans out to {}", items.len()),
        Fact::Dropped { step } => format!("{step} dropped"),
        Fact::Received { name, .. } => format!("told {name}"),
        Fact::Judged { verdict: Verdict::Accepted, .. } => "the signal is accepted".to_owned(),
        Fact::Judged { verdict: Verdict::TooLate, .. } => "the signal is too late".to_owned(),
        Fact::AbortWanted { why } => format!("is to abort: {why}"),
        Fact::Committed => "COMMIT".to_owned(),
        Fact::Aborted { why } => format!("ABORT: {why}"),
        Fact::Confirmed { step } => format!("{step} confirmed"),
        Fact::Undoing { step, .. } => format!("{step} to be cancelled"),
        Fact::Undone { step } => format!("{step} cancelled"),
        Fact::Parked { step, why } => format!("{step} PARKED: {why}"),
        Fact::Resumed { step } => format!("{step} sent on"),
        Fact::Flagged { step, why } => format!("{step} asks for attention: {why}"),
        Fact::Contradicted { step, evidence: Evidence::Done(_), .. } => format!("{step} CONTRADICTED: it was done"),
        Fact::Contradicted { step, evidence: Evidence::NotDone(refusal), .. } => {
            format!("{step} CONTRADICTED: it was not done: {refusal}")
        }
        Fact::Operated { step, action, by, .. } => format!("{by} did {action:?} to {step}"),
        Fact::EndedConfirmed { .. } => "ended confirmed".to_owned(),
        Fact::EndedCancelled => "ended cancelled".to_owned(),
    }
}
