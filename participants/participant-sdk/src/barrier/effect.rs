//! Rows of pivot and external steps: an effect at a third party, whose outcome may be unknown for a long time.
//!
//! Unknown is never taken for no: as long as one attempt was handed on and is unanswered, no execute is answered `refused`. An
//! attempt is handed on at most once, and none starts after the row was marked for closing or fenced.

use crate::outcome::{Closing, Found, Handed, Settled};
use serde::{Deserialize, Serialize};
use tercet_core::{Answer, Call, Millis, Payload, Refusal, canary::broken};

/// How far the clocks of orchestrator, participant and third party may differ when an expiry is judged.
pub use tercet_core::policy::EXPIRY_MARGIN;

/// Where an effect stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectState {
    /// Not settled: nothing was handed on, or an attempt is unanswered.
    Intent,
    /// Refused, and no attempt is unanswered. A later attempt may be handed on.
    Refused,
    /// The key is unusable, and nothing was done under it.
    Closed,
    /// Done, with this reply. Final.
    Done(Payload),
}

impl EffectState {
    /// The state as text.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::Refused => "refused",
            Self::Closed => "closed",
            Self::Done(_) => "done",
        }
    }
}

/// An attempt that was handed on and is unanswered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Out {
    /// Which.
    pub attempt: u32,
    /// Its call may still be under way until then; `None` once it has returned.
    pub until: Option<Millis>,
    /// What a copy of it is told, while it is pending.
    pub note: Payload,
}

/// The refusal that attempts up to one are answered with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedUpTo {
    /// The last attempt it answers.
    pub attempt: u32,
    /// The refusal.
    pub refusal: Refusal,
}

/// A pivot's or external's row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// Where it stands.
    pub state: EffectState,
    /// When it came to stand there.
    pub moved: Millis,
    /// The newest attempt that was handed on; 0: none.
    pub newest: u32,
    /// Attempts handed on and unanswered.
    pub out: Vec<Out>,
    /// An attempt that was answered did, or may have, reached the third party.
    pub reached: bool,
    /// The last refusal.
    pub refused: Option<RefusedUpTo>,
    /// Attempts up to this one that were not handed on never will be.
    pub fence: u32,
    /// A close was asked for: no call starts under this key any more.
    pub closing: bool,
    /// Until when the third party may still carry out what was handed on, where the contract says so.
    pub expires: Option<Millis>,
}

/// What to do with an execute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Execute {
    /// Say this; the row stays as it is.
    Say(Answer),
    /// Commit this row, then hand the attempt on, then ask [`Effect::after_execute`].
    HandOn(Effect),
}

/// What to do with a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// Say this; the row stays as it is.
    Say(Answer),
    /// Commit this row, if there is one, then ask the third party, then [`Effect::after_query`].
    Ask(Option<Effect>),
}

/// What to do with a close.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Close {
    /// Say this; the row stays as it is.
    Say(Answer),
    /// Commit this row, tell the recorder that it is closed, and say so.
    Closed(Effect),
    /// Commit this row, then ask the third party, then [`Effect::after_close`].
    Ask(Effect),
}

/// What follows from what a third party said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Learnt {
    /// The row to write.
    pub row: Option<Effect>,
    /// What the recorder hears: the change, if it is one.
    pub settled: Option<Settled<Payload>>,
    /// What to say.
    pub answer: Answer,
}

fn pending() -> Answer {
    Answer::Pending(Payload::null())
}

impl Effect {
    /// A row of which nothing is known yet.
    #[must_use]
    pub fn new(now: Millis) -> Self {
        Self {
            state: EffectState::Intent,
            moved: now,
            newest: 0,
            out: Vec::new(),
            reached: false,
            refused: None,
            fence: 0,
            closing: false,
            expires: None,
        }
    }

    fn done(&self) -> Option<Answer> {
        match &self.state {
            EffectState::Done(reply) => Some(Answer::Done(reply.clone())),
            _ => None,
        }
    }

    fn is_under_way(&self, now: Millis) -> bool {
        self.out.iter().any(|out| out.until.is_some_and(|until| now <= until))
    }

    fn refusal_of(&self, attempt: u32) -> Option<Answer> {
        self.refused.as_ref().filter(|refused| attempt <= refused.attempt).map(|r| Answer::Refused(r.refusal.clone()))
    }

    /// What to do with the execute `call`.
    #[must_use]
    pub fn plan_execute(row: Option<&Self>, call: &Call, now: Millis) -> Execute {
        let mut row = row.cloned().unwrap_or_else(|| Self::new(now));
        if let Some(answer) = row.no_call(call, now) {
            return Execute::Say(answer);
        }
        let out = Out { attempt: call.attempt, until: Some(now.plus(call.timeout)), note: Payload::null() };
        row.out.push(out);
        row.newest = call.attempt;
        row.expires = row.expires.max(call.expires);
        row.state = EffectState::Intent;
        row.moved = now;
        Execute::HandOn(row)
    }

    /// The answer to an execute for which no call is made, if it is one.
    fn no_call(&self, call: &Call, now: Millis) -> Option<Answer> {
        if let Some(done) = self.done() {
            return Some(done);
        }
        if let Some(out) = self.out.iter().find(|out| out.attempt == call.attempt) {
            return Some(Answer::Pending(out.note.clone()));
        }
        let no = if let Some(refused) = self.refusal_of(call.attempt) {
            refused
        } else if self.closing {
            Answer::refused("closed", "this effect was closed: no call is made under its key any more")
        } else if call.attempt <= self.fence {
            Answer::refused("fenced", "this attempt came after a person had ruled it out")
        } else if call.attempt <= self.newest {
            Answer::retry("this attempt is over: nothing was sent, and nothing ever will be")
        } else if call.expires.is_some_and(|expires| expires <= now) {
            Answer::retry("this attempt's lifetime had passed when it came; it was not handed on")
        } else {
            return None;
        };
        Some(if self.out.is_empty() || broken("any_refusal_aborts") { no } else { pending() })
    }

    /// The row after its preparation refused `attempt` before anything was sent; `row` is the one before the attempt was added.
    #[must_use]
    pub fn not_prepared(row: Option<&Self>, attempt: u32, refusal: Refusal, now: Millis) -> (Self, Answer) {
        let mut row = row.cloned().unwrap_or_else(|| Self::new(now));
        let answer = if row.out.is_empty() { Answer::Refused(refusal.clone()) } else { pending() };
        row.refuse(attempt, refusal, now);
        (row, answer)
    }

    fn refuse(&mut self, attempt: u32, refusal: Refusal, now: Millis) {
        let up_to = self.refused.as_ref().map_or(attempt, |refused| refused.attempt.max(attempt));
        self.refused = Some(RefusedUpTo { attempt: up_to, refusal });
        if self.out.is_empty() && self.state == EffectState::Intent {
            self.state = EffectState::Refused;
        }
        self.moved = now;
    }

    fn settle_done(mut self, reply: Payload, now: Millis) -> Learnt {
        if let Some(answer) = self.done() {
            return Learnt { row: None, settled: None, answer };
        }
        self.state = EffectState::Done(reply.clone());
        self.moved = now;
        self.reached = true;
        self.out.clear();
        Learnt { row: Some(self), settled: Some(Settled::Done(reply.clone())), answer: Answer::Done(reply) }
    }

    /// What follows when the call of `attempt` has returned; `self` is the row as it is by now.
    #[must_use]
    pub fn after_execute(mut self, attempt: u32, handed: Handed<Payload>, now: Millis) -> Learnt {
        if let Some(answer) = self.done() {
            return Learnt { row: None, settled: None, answer };
        }
        let place = self.out.iter().position(|out| out.attempt == attempt);
        match handed {
            Handed::Done(reply) => self.settle_done(reply, now),
            Handed::Refused(refusal) => {
                self.forget_out(place);
                self.reached = true;
                self.after_refusal(attempt, refusal, now)
            }
            Handed::NotSent { after, reason } => {
                self.forget_out(place);
                if self.out.is_empty() && self.refused.is_some() && self.state == EffectState::Intent {
                    self.state = EffectState::Refused;
                    self.moved = now;
                }
                Learnt { row: Some(self), settled: None, answer: Answer::Retry { after, reason } }
            }
            Handed::Pending(note) => self.after_no_word(place, note, true),
            Handed::Unknown { .. } => self.after_no_word(place, Payload::null(), false),
        }
    }

    fn forget_out(&mut self, place: Option<usize>) {
        if let Some(place) = place {
            self.out.remove(place);
        }
    }

    fn after_refusal(mut self, attempt: u32, refusal: Refusal, now: Millis) -> Learnt {
        let is_news = self.state == EffectState::Intent;
        self.refuse(attempt, refusal.clone(), now);
        if self.out.is_empty() || broken("any_refusal_aborts") {
            let settled = is_news.then(|| Settled::Refused(refusal.clone()));
            Learnt { row: Some(self), settled, answer: Answer::Refused(refusal) }
        } else {
            Learnt { row: Some(self), settled: None, answer: pending() }
        }
    }

    fn after_no_word(mut self, place: Option<usize>, note: Payload, accepted: bool) -> Learnt {
        self.reached = true;
        let out = place.and_then(|place| self.out.get_mut(place));
        let is_news = accepted && out.is_some();
        if let Some(out) = out {
            out.until = None;
            out.note = note.clone();
        }
        let settled = is_news.then(|| Settled::Pending(note.clone()));
        Learnt { row: Some(self), settled, answer: Answer::Pending(note) }
    }

    /// What to do with a query.
    #[must_use]
    pub fn plan_query(row: Option<&Self>, call: &Call, now: Millis) -> Query {
        if let Some(answer) = row.and_then(Self::done) {
            return Query::Say(answer);
        }
        if !call.fence {
            return Query::Ask(None);
        }
        let mut row = row.cloned().unwrap_or_else(|| Self::new(now));
        row.fence = row.fence.max(call.attempt);
        Query::Ask(Some(row))
    }

    /// What follows from what a third party knows; `row` is the row as it is by now.
    ///
    /// *Absent* in answer to a query that fences means, beyond that the third party knows nothing, that no attempt which was
    /// handed on is unanswered: then, and only then, a person may mark the step not done.
    #[must_use]
    pub fn after_query(row: Option<&Self>, call: &Call, found: Found<Payload>, now: Millis) -> Learnt {
        let this = row.cloned().unwrap_or_else(|| Self::new(now));
        if let Some(answer) = this.done() {
            return Learnt { row: None, settled: None, answer };
        }
        let nothing = |answer| Learnt { row: None, settled: None, answer };
        match found {
            Found::Done(reply) => this.settle_done(reply, now),
            Found::Refused(refusal) => this.after_final(call.attempt, refusal, now),
            Found::Pending(note) => nothing(Answer::Pending(note)),
            Found::Unknown { .. } => nothing(pending()),
            Found::Absent if this.has_expired(call, now) => {
                let refusal =
                    Refusal::new("expired", "its lifetime has passed, and the third party knows nothing of it");
                this.after_final(call.attempt, refusal, now)
            }
            Found::Absent if this.state == EffectState::Closed => {
                nothing(Answer::refused("closed", "this effect was closed, and nothing was done under its key"))
            }
            Found::Absent if call.fence && !this.out.is_empty() => nothing(pending()),
            Found::Absent => nothing(Answer::Absent),
        }
    }

    /// After the expiry that went out with the attempts, and a margin for clocks.
    fn has_expired(&self, call: &Call, now: Millis) -> bool {
        let expires = self.expires.max(call.expires);
        !self.is_under_way(now) && expires.is_some_and(|expires| now > expires.plus(EXPIRY_MARGIN))
    }

    /// A failure that the third party has recorded for good. Only the owner of a call that is under way may settle it.
    fn after_final(mut self, attempt: u32, refusal: Refusal, now: Millis) -> Learnt {
        if self.is_under_way(now) {
            return Learnt { row: None, settled: None, answer: pending() };
        }
        let answer = Answer::Refused(refusal.clone());
        let is_known = self.refused.as_ref().is_some_and(|refused| refused.attempt >= attempt);
        if self.state == EffectState::Closed || (self.state == EffectState::Refused && is_known) {
            return Learnt { row: None, settled: None, answer };
        }
        let is_news = self.state == EffectState::Intent;
        self.out.clear();
        self.refuse(attempt.max(self.newest), refusal.clone(), now);
        Learnt { row: Some(self), settled: is_news.then_some(Settled::Refused(refusal)), answer }
    }

    /// What follows from a third party's report that nobody asked for: a verified callback. `None`: it settles nothing now.
    #[must_use]
    pub fn after_report(self, found: Found<Payload>, now: Millis) -> Option<Learnt> {
        let learnt = match found {
            Found::Done(reply) => self.settle_done(reply, now),
            Found::Refused(_) if self.done().is_some() => return None,
            Found::Refused(refusal) => {
                let newest = self.newest;
                self.after_final(newest, refusal, now)
            }
            Found::Absent | Found::Pending(_) | Found::Unknown { .. } => return None,
        };
        learnt.row.is_some().then_some(learnt)
    }

    /// What to do with a close; `closes`: the third party can.
    #[must_use]
    pub fn plan_close(row: Option<&Self>, closes: bool, now: Millis) -> Close {
        let mut row = row.cloned().unwrap_or_else(|| Self::new(now));
        if let Some(answer) = row.done() {
            return Close::Say(answer);
        }
        if row.state == EffectState::Closed {
            return Close::Say(Answer::Closed);
        }
        if row.out.is_empty() && !row.reached {
            row.close(now);
            return Close::Closed(row);
        }
        if !closes {
            return Close::Say(Answer::retry("this contract's third party closes nothing"));
        }
        row.closing = true;
        Close::Ask(row)
    }

    fn close(&mut self, now: Millis) {
        self.closing = true;
        self.state = EffectState::Closed;
        self.moved = now;
        self.out.clear();
    }

    /// What follows from a third party's word on a close; `self` is the row as it is by now.
    #[must_use]
    pub fn after_close(mut self, call: &Call, closing: Closing<Payload>, now: Millis) -> Learnt {
        if let Some(answer) = self.done() {
            return Learnt { row: None, settled: None, answer };
        }
        let again = |reason: String| Learnt { row: None, settled: None, answer: Answer::retry(reason) };
        match closing {
            Closing::Done(reply) => self.settle_done(reply, now),
            Closing::Absent if !self.has_expired(call, now) => {
                again("the third party knows nothing of it yet; what was sent may still arrive".into())
            }
            Closing::Closed | Closing::Absent => {
                self.close(now);
                Learnt { row: Some(self), settled: Some(Settled::Closed), answer: Answer::Closed }
            }
            Closing::Unknown { reason } => again(reason),
        }
    }

    /// See [`super::Row::ages_from`].
    #[must_use]
    pub fn ages_from(&self) -> Option<Millis> {
        (self.state != EffectState::Intent && self.out.is_empty()).then_some(self.moved)
    }
}
