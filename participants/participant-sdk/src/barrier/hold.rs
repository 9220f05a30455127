//! Rows of tcc and compensable steps: `intent → tried → confirmed | cancelled`, `refused`, and `blocked` by a cancel that came first.

use super::nothing_to_say;
use serde::{Deserialize, Serialize};
use tercet_core::{Answer, Millis, Payload, Phase, Refusal, canary::broken};

/// Where a hold stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldState {
    /// Begun: pending, or a remote effect may be under way.
    Intent,
    /// The try is done.
    Tried,
    /// The confirm is done.
    Confirmed,
    /// The cancel is done, after a try that took effect.
    Cancelled,
    /// The try was refused, and will be for ever.
    Refused,
    /// A cancel came first: no try will ever take effect.
    Blocked,
}

impl HoldState {
    /// The state as text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::Tried => "tried",
            Self::Confirmed => "confirmed",
            Self::Cancelled => "cancelled",
            Self::Refused => "refused",
            Self::Blocked => "blocked",
        }
    }
}

/// What sort of operation a hold is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sort {
    /// A compensable: no confirm.
    pub compensable: bool,
    /// Its effect lies with a third party.
    pub remote: bool,
}

/// A tcc's or compensable's row, with each phase's stored answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Where it stands.
    pub state: HoldState,
    /// When it came to stand there.
    pub moved: Millis,
    /// When the saga was reported to have ended; only a compensable's row takes note.
    pub forgotten: Option<Millis>,
    /// A compensable's: it ends as `tried`, and may age there once the saga has ended.
    pub compensable: bool,
    /// Its effect lies with a third party: a cancel always runs.
    pub remote: bool,
    /// A cancel has begun: no remote call is started from now on.
    pub barred: bool,
    /// The try's answer.
    pub try_answer: Option<Answer>,
    /// The confirm's answer.
    pub confirm_answer: Option<Answer>,
    /// The cancel's answer.
    pub cancel_answer: Option<Answer>,
}

/// What to do with a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Say this; the row stays as it is.
    Say(Answer),
    /// Write this row and say that.
    Move(Hold, Answer),
    /// Run the phase's handler, and tell [`Hold::after`] what came of it.
    Run,
}

/// What came of a handler that is to be remembered. *Not now* and faults are not: they leave no trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done, with the reply.
    Done(Payload),
    /// A definite no.
    Refused(Refusal),
    /// Accepted, to be reported later.
    Pending(Payload),
}

impl Outcome {
    pub(crate) fn into_answer(self) -> Answer {
        match self {
            Self::Done(reply) => Answer::Done(reply),
            Self::Refused(refusal) => Answer::Refused(refusal),
            Self::Pending(note) => Answer::Pending(note),
        }
    }
}

impl Hold {
    /// The row of a step that has just begun.
    #[must_use]
    pub fn begun(sort: Sort, now: Millis) -> Self {
        Self {
            state: HoldState::Intent,
            moved: now,
            forgotten: None,
            compensable: sort.compensable,
            remote: sort.remote,
            barred: false,
            try_answer: None,
            confirm_answer: None,
            cancel_answer: None,
        }
    }

    /// What to do with a call of that phase, `row` being what was found under lock.
    #[must_use]
    pub fn plan(row: Option<&Self>, phase: Phase, sort: Sort, now: Millis) -> Plan {
        match phase {
            Phase::Try => Self::plan_try(row),
            Phase::Confirm if sort.compensable => {
                Plan::Say(Answer::refused("no_confirm", "a compensable has no confirm"))
            }
            Phase::Confirm => Self::plan_confirm(row),
            Phase::Cancel => Self::plan_cancel(row, sort, now),
            Phase::Query | Phase::Close => Plan::Say(Answer::retry(format!("this kind of operation has no {phase}"))),
            Phase::Forget => Plan::Say(nothing_to_say()),
        }
    }

    fn plan_try(row: Option<&Self>) -> Plan {
        let Some(row) = row else { return Plan::Run };
        match (row.state, &row.try_answer) {
            (HoldState::Intent, None) if !row.barred => Plan::Run,
            (HoldState::Cancelled, _) | (_, None) => {
                Plan::Say(Answer::refused("cancelled", "this step was cancelled before the try came"))
            }
            (_, Some(answer)) => Plan::Say(answer.clone()),
        }
    }

    fn plan_confirm(row: Option<&Self>) -> Plan {
        let Some(row) = row else {
            return Plan::Say(Answer::refused("no_try", "there is no try to confirm"));
        };
        match (row.state, &row.confirm_answer) {
            (HoldState::Confirmed, _) if broken("confirm_without_barrier") => Plan::Run,
            (HoldState::Tried | HoldState::Confirmed, Some(answer)) => Plan::Say(answer.clone()),
            (HoldState::Tried, None) if row.is_cancelling() => {
                Plan::Say(Answer::refused("not_tried", "there is no try to confirm: this step is being cancelled"))
            }
            (HoldState::Tried, None) => Plan::Run,
            (HoldState::Intent, _) => Plan::Say(Answer::refused("no_try", "the try has not been done yet")),
            (state, _) => Plan::Say(Answer::refused(
                "not_tried",
                format!("there is no try to confirm: this step is {}", state.as_str()),
            )),
        }
    }

    fn plan_cancel(row: Option<&Self>, sort: Sort, now: Millis) -> Plan {
        let Some(row) = row else {
            if broken("forget_empty_cancels") {
                return Plan::Say(nothing_to_say());
            }
            return Self::begun(sort, now).blocked(now);
        };
        match (row.state, &row.cancel_answer) {
            (HoldState::Confirmed, _) => {
                Plan::Say(Answer::refused("confirmed", "this step was confirmed, and cannot be cancelled any more"))
            }
            (_, Some(answer)) => Plan::Say(answer.clone()),
            (HoldState::Tried, None) if row.confirm_answer.is_some() => Plan::Say(Answer::refused(
                "confirmed",
                "this step is being confirmed, and cannot be cancelled any more",
            )),
            (HoldState::Intent | HoldState::Tried, None) => Plan::Run,
            (HoldState::Refused, None) if row.remote => Plan::Run,
            (HoldState::Refused | HoldState::Blocked | HoldState::Cancelled, None) => row.clone().blocked(now),
        }
    }

    fn blocked(mut self, now: Millis) -> Plan {
        let answer = nothing_to_say();
        self.state = HoldState::Blocked;
        self.moved = now;
        self.cancel_answer = Some(answer.clone());
        Plan::Move(self, answer)
    }

    /// The row after the handler of `phase` came to `outcome`, and what to say; the row is `None` when nothing is to be kept: a
    /// refused confirm or cancel must never look done, and may be asked again once it is mended.
    #[must_use]
    pub fn after(mut self, phase: Phase, outcome: Outcome, now: Millis) -> (Option<Self>, Answer) {
        let done = matches!(outcome, Outcome::Done(_));
        let refused = matches!(outcome, Outcome::Refused(_));
        let answer = outcome.into_answer();
        if refused && (phase != Phase::Try || broken("forget_refusals")) {
            return (None, answer);
        }
        let state = match phase {
            Phase::Try if refused => HoldState::Refused,
            Phase::Try if done => HoldState::Tried,
            Phase::Confirm if done => HoldState::Confirmed,
            Phase::Cancel if done => HoldState::Cancelled,
            _ => self.state,
        };
        let slot = match phase {
            Phase::Confirm => &mut self.confirm_answer,
            Phase::Cancel => &mut self.cancel_answer,
            _ => &mut self.try_answer,
        };
        *slot = Some(answer.clone());
        if self.state != state {
            self.state = state;
            self.moved = now;
        }
        (Some(self), answer)
    }

    /// Whether a completion of `phase` still finds what it completes: a pending answer.
    #[must_use]
    pub fn awaits(&self, phase: Phase) -> bool {
        let (state, slot) = match phase {
            Phase::Confirm => (HoldState::Tried, &self.confirm_answer),
            Phase::Cancel => return matches!(self.cancel_answer, Some(Answer::Pending(_))),
            _ => (HoldState::Intent, &self.try_answer),
        };
        self.state == state && !self.is_cancelling() && matches!(slot, Some(Answer::Pending(_)))
    }

    /// A cancel has begun: what is reported of the try or confirm comes too late.
    fn is_cancelling(&self) -> bool {
        self.barred || self.cancel_answer.is_some()
    }

    /// See [`super::Row::ages_from`].
    #[must_use]
    pub fn ages_from(&self) -> Option<Millis> {
        match self.state {
            HoldState::Intent => None,
            HoldState::Tried => self.forgotten,
            HoldState::Confirmed | HoldState::Cancelled | HoldState::Refused | HoldState::Blocked => Some(self.moved),
        }
    }

    /// See [`super::Row::forgotten`].
    #[must_use]
    pub fn forgotten(&self, now: Millis) -> Option<Self> {
        let takes_note = self.compensable && self.forgotten.is_none();
        takes_note.then(|| Self { forgotten: Some(now), ..self.clone() })
    }
}
