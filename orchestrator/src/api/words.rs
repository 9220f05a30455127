//! States and facts in plain words: what a person reads in a saga's page and history.

use super::view::{WaitView, moment};
use crate::store::TimerRow;
use std::sync::Arc;
use tercet_core::{
    Entry, Fact, Life, Millis, Phase, State, Status, StepInstance, StepState,
    entry::{Evidence, Target},
    state::Next,
};

/// A step's status in a word.
pub(super) const fn status(status: &Status) -> &'static str {
    match status {
        Status::Asked => "asked",
        Status::Waiting(_) => "waiting",
        Status::Done => "done",
        Status::Refused => "refused",
        Status::GaveUp => "gave up",
        Status::Missed => "missed",
        Status::Confirming => "confirming",
        Status::Confirmed => "confirmed",
        Status::Undoing => "undoing",
        Status::Undone => "undone",
        Status::Dropped => "dropped",
        Status::Unasked => "not asked",
    }
}

/// Where a saga stands.
pub(super) fn state(state: &State) -> String {
    let mut said = match (state.life, &state.abort) {
        (Life::Trying, None) => "trying: nothing is decided yet".to_owned(),
        (Life::Trying, Some(why)) => format!("to be cancelled once it is known what became of its pivot: {why}"),
        (Life::Confirming, _) => "confirming: it has decided to commit".to_owned(),
        (Life::Cancelling, Some(why)) => format!("cancelling: {why}"),
        (Life::Cancelled, Some(why)) => format!("cancelled: {why}"),
        (life, _) => life.as_str().to_owned(),
    };
    match state.parked().count() {
        0 => {}
        1 => said.push_str("; one step waits for a person"),
        parked => said.push_str(&format!("; {parked} steps wait for a person")),
    }
    said
}

/// What each step waits for that is not at its end.
pub(super) fn waits(state: &State, timers: &[TimerRow], entries: &[Entry]) -> Vec<WaitView> {
    let wait = |(step, at): (&StepInstance, &Arc<StepState>)| {
        let (why, wakes) = wait(step, at, timers, entries)?;
        Some(WaitView { step: step.clone(), why, wakes: wakes.map(moment) })
    };
    state.steps.iter().filter_map(wait).collect()
}

fn wait(
    step: &StepInstance, at: &StepState, timers: &[TimerRow], entries: &[Entry],
) -> Option<(String, Option<Millis>)> {
    if let Some(why) = &at.parked {
        return Some((format!("it waits for a person: {why}"), None));
    }
    let phase = match at.status {
        Status::Waiting(until) => {
            let why = at.signal.as_ref().map_or("it sleeps".to_owned(), |signal| format!("it waits for `{signal}`"));
            return Some((why, Some(until)));
        }
        Status::Asked => Phase::Try,
        Status::Confirming => Phase::Confirm,
        Status::Undoing => Phase::Cancel,
        _ => return None,
    };
    if let Some((_, note)) = &at.pending {
        let next = at.effect.as_ref().and_then(|effect| next_of(&effect.next));
        return Some((format!("it was accepted, and is to be reported: {note:?}"), next));
    }
    if let Some(effect) = &at.effect {
        let newest = effect.newest();
        return Some(match &effect.next {
            Next::Answer => (format!("attempt {newest} is out since {}", moment(at.asked)), None),
            Next::Attempt(due) => (format!("attempt {newest} was answered not now; the next one follows"), Some(*due)),
            Next::Query { at, .. } => ("nobody knows what became of it: it is queried".to_owned(), Some(*at)),
            Next::Close(due) => ("its key is being closed".to_owned(), Some(*due)),
            Next::Nothing => ("only a report or a person can say what became of it".to_owned(), None),
        });
    }
    let name = format!("call:{phase}:{step}");
    let retry = timers.iter().find(|timer| timer.name.0 == name);
    let asked = match phase {
        Phase::Confirm => "its confirm",
        Phase::Cancel => "its cancel",
        _ => "it",
    };
    Some(match retry.filter(|timer| timer.attempt > 0) {
        Some(timer) => {
            (format!("{asked} was asked {} times without a definite answer", timer.attempt), Some(timer.due))
        }
        None => {
            let since = since(entries, step, phase).unwrap_or(at.asked);
            (format!("{asked} was asked at {}, and has not answered", moment(since)), None)
        }
    })
}

/// When a step's confirm or cancel was asked for: a state keeps only when its try was.
fn since(entries: &[Entry], step: &StepInstance, phase: Phase) -> Option<Millis> {
    let asks = |fact: &Fact| match (phase, fact) {
        (Phase::Confirm, Fact::Committed) => true,
        (Phase::Cancel, Fact::Undoing { step: undone, .. }) => undone == step,
        _ => false,
    };
    entries.iter().rev().find(|entry| entry.facts.iter().any(asks)).map(|entry| entry.at)
}

fn next_of(next: &Next) -> Option<Millis> {
    match next {
        Next::Attempt(at) | Next::Query { at, .. } | Next::Close(at) => Some(*at),
        Next::Answer | Next::Nothing => None,
    }
}

fn then(next: Option<Millis>, what: &str) -> String {
    next.map_or_else(String::new, |at| format!("; {what} at {}", moment(at)))
}

/// A fact, as a line of a history.
pub(super) fn fact(fact: &Fact) -> String {
    match fact {
        Fact::Started(begin) => {
            format!("the saga began: {} version {} under the key `{}`", begin.definition, begin.version, begin.key)
        }
        Fact::Committed => "decided: commit".to_owned(),
        Fact::Aborted { why } => format!("decided: abort, because {why}"),
        Fact::AbortWanted { why } => format!("an abort is wanted, and waits for the pivot: {why}"),
        Fact::Received { id, name, .. } => format!("told `{name}` ({id})"),
        Fact::Judged { id, verdict } if verdict.is_too_late() => format!("the signal {id} came too late"),
        Fact::Judged { id, .. } => format!("the signal {id} was accepted"),
        Fact::EndedConfirmed { .. } => "the saga ended confirmed".to_owned(),
        Fact::EndedCancelled => "the saga ended cancelled".to_owned(),
        _ => step_fact(fact),
    }
}

fn step_fact(fact: &Fact) -> String {
    match fact {
        Fact::Asked { step, ask } => match &ask.target {
            Target::Operation(contract) => format!("`{step}` is asked: {contract}"),
            Target::Signal { signal, definition, key } => format!("`{step}` tells `{signal}` to {definition} `{key}`"),
            Target::Saga { definition, .. } => format!("`{step}` starts a saga of {definition}"),
        },
        Fact::Attempted { step, attempt } => format!("`{step}`: attempt {attempt} goes out"),
        Fact::Done { step, .. } => format!("`{step}` is done"),
        Fact::Refused { step, refusal, .. } => format!("`{step}` is not done: {refusal}"),
        Fact::Pending { step, note, next, .. } => {
            format!("`{step}` was accepted, and is to be reported: {note:?}{}", then(*next, "queried"))
        }
        Fact::GaveUp { step, attempts, why } => {
            format!("`{step}` was asked {attempts} times, and may have arrived: {why}")
        }
        Fact::Waiting { step, signal: Some(signal), until, .. } => {
            format!("`{step}` waits for `{signal}` until {}", moment(*until))
        }
        Fact::Waiting { step, until, .. } => format!("`{step}` sleeps until {}", moment(*until)),
        Fact::Took { step, signal } => format!("`{step}` took the signal {signal}"),
        Fact::Missed { step } => format!("`{step}` was waited for in vain"),
        Fact::Branched { step, taken: true } => format!("the branch `{step}` is taken"),
        Fact::Branched { step, .. } => format!("the branch `{step}` is not taken"),
        Fact::FannedOut { step, items } => format!("`{step}` fans out over {} items", items.len()),
        Fact::Dropped { step } => format!("`{step}` will not run"),
        Fact::Confirmed { step } => format!("`{step}` is confirmed"),
        Fact::Undoing { step, by: None } => format!("`{step}` is to be undone"),
        Fact::Undoing { step, .. } => format!("`{step}` is to be undone by a saga of its own"),
        Fact::Undone { step } => format!("`{step}` is undone"),
        Fact::Parked { step, why } => format!("`{step}` waits for a person: {why}"),
        Fact::Resumed { step } => format!("`{step}` goes on"),
        Fact::Flagged { step, why } => format!("a person should look at `{step}`: {why}"),
        Fact::Operated { step, action, by, reason } => {
            format!("{by} decided `{}` for `{step}`: {reason}", choice(*action))
        }
        _ => effect_fact(fact),
    }
}

fn effect_fact(fact: &Fact) -> String {
    match fact {
        Fact::Unknown { step, why, next } => {
            format!("nobody knows what became of `{step}`: {why}{}", then(*next, "queried"))
        }
        Fact::NotNow { step, attempt, reason, next } => {
            format!("`{step}`: attempt {attempt} was answered not now: {reason}{}", then(*next, "the next"))
        }
        Fact::Doubted { step, attempt, refusal, next } => format!(
            "`{step}`: attempt {attempt} was refused while another is unanswered: {refusal}{}",
            then(*next, "queried")
        ),
        Fact::Queried { step, answer, next } => format!("`{step}` was queried: {answer}{}", then(*next, "again")),
        Fact::Closing { step, why, next } => {
            format!("the key of `{step}` is being closed: {why}{}", then(*next, "asked"))
        }
        Fact::Fencing { step } => format!("the attempts of `{step}` are being fenced, before *not done* is believed"),
        Fact::Forced { step, next } => {
            format!("`{step}` is held as not done without proof{}", then(*next, "queried"))
        }
        Fact::Settled { step } => format!("`{step}` has proved not done"),
        Fact::Contradicted { step, evidence, undo } => {
            let evidence = match evidence {
                Evidence::Done(_) => "done, though held as not done".to_owned(),
                Evidence::NotDone(refusal) => format!("not done ({refusal}), though held as done"),
            };
            let undo = if undo.is_some() { "; a saga takes it back" } else { "" };
            format!("evidence contradicts what was decided of `{step}`: {evidence}{undo}")
        }
        other => format!("{other:?}"),
    }
}

/// A choice as the API names it.
pub(super) const fn choice(choice: tercet_core::Choice) -> &'static str {
    match choice {
        tercet_core::Choice::QueryNow => "query_now",
        tercet_core::Choice::RetryNow => "retry_now",
        tercet_core::Choice::Close => "close",
        tercet_core::Choice::MarkDone => "mark_done",
        tercet_core::Choice::MarkNotDone => "mark_not_done",
        tercet_core::Choice::Cancel => "cancel",
    }
}

#[cfg(test)]
mod tests {
    use super::since;
    use tercet_core::{Entry, Fact, Millis, Phase, StepInstance};

    #[test]
    fn a_cancel_and_a_confirm_have_times_of_their_own() {
        let [seat, room]: [StepInstance; 2] = ["seat", "room"].map(|name| name.parse().unwrap());
        let entry = |at: i64, fact: Fact| Entry { v: 0, at: Millis(at), facts: vec![fact] };
        let undoing = |step: &StepInstance| Fact::Undoing { step: step.clone(), by: None };
        let undone =
            [entry(1, undoing(&room)), entry(2, undoing(&seat)), entry(3, Fact::Undone { step: seat.clone() })];
        assert_eq!(since(&undone, &seat, Phase::Cancel), Some(Millis(2)));
        assert_eq!(since(&undone, &room, Phase::Cancel), Some(Millis(1)));
        assert_eq!(since(&undone, &seat, Phase::Confirm), None);
        assert_eq!(since(&[entry(7, Fact::Committed)], &seat, Phase::Confirm), Some(Millis(7)));
        assert_eq!(since(&[entry(7, Fact::Committed)], &seat, Phase::Try), None, "a try's time is in the state");
    }
}
