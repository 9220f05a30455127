//! The pivot and the external: effects that nobody can take back, and that are never repeated in the dark.
//!
//! Every rule here is one of DESIGN's "The pivot: money that may have moved"; the traces to disaster without each are tests.

use super::{Deciding, Illegal, answers::no_such_answer};
use crate::{
    Answer, Millis, OnExhausted, OnRefused, Payload, Phase, Refusal, StepInstance,
    canary::broken,
    definition::Node,
    entry::{Abort, Evidence, Fact, Parked, Queried},
    event::Answered,
    policy::EXPIRY_MARGIN,
    state::{Effect, Heard, Life, Next, Status, StepState},
};
use std::time::Duration;

impl Deciding<'_> {
    pub(super) fn effect_answered(&mut self, answered: Answered) -> Result<(), Illegal> {
        match (answered.phase, answered.answer.clone()) {
            (Phase::Try | Phase::Query | Phase::Close, Answer::Done(reply)) => self.effect_done(answered.step, reply),
            (Phase::Try, Answer::Refused(refusal)) => self.execute_refused(answered, refusal),
            (Phase::Query, Answer::Refused(refusal)) => self.not_done(answered.step, refusal),
            (Phase::Try, Answer::Retry { after, reason }) => self.not_now(&answered, after, reason),
            (Phase::Try, Answer::Pending(note)) => self.effect_pending(answered, note),
            (Phase::Try, Answer::Expired) => {
                let why = "the attempt was too old to be sure".to_owned();
                return self.silent(&answered.step, Phase::Try, answered.attempt, why);
            }
            (Phase::Query, Answer::Absent) => self.absent(answered),
            (Phase::Query, Answer::Pending(_)) => self.queried(&answered, Queried::Pending),
            (Phase::Query, Answer::Retry { reason, .. }) => self.queried(&answered, Queried::Silent(reason)),
            (Phase::Close, Answer::Closed) => {
                self.not_done(answered.step, Refusal::new("closed", "the third party closed it: nothing was done"));
            }
            (Phase::Close, Answer::Retry { reason, .. }) => self.not_closed(&answered, reason),
            (Phase::Close, Answer::Refused(refusal)) => self.not_closed(&answered, refusal.to_string()),
            // What a call is never answered with cannot be read, and what cannot be read is unknown.
            (Phase::Try | Phase::Query | Phase::Close, answer) => {
                let why = format!("it was answered `{}`", answer.as_str());
                return self.silent(&answered.step, answered.phase, answered.attempt, why);
            }
            _ => return Err(no_such_answer(&answered)),
        }
        Ok(())
    }

    /// No usable answer in its time.
    pub(super) fn silent(
        &mut self, step: &StepInstance, phase: Phase, attempt: u32, why: String,
    ) -> Result<(), Illegal> {
        let at = self.asked(step)?;
        let Some(effect) = &at.effect else { return Err(Illegal::NotAsked { step: step.clone() }) };
        if attempt != effect.newest() {
            return Ok(());
        }
        match (phase, effect.next) {
            (Phase::Try, Next::Answer) => self.unknown(step, why),
            (Phase::Query, Next::Query { at, .. }) if self.at >= at => {
                self.query_decided_nothing(step, Queried::Silent(why));
            }
            (Phase::Close, Next::Close(at)) if self.at >= at => self.close_again(step, why),
            _ => {}
        }
        Ok(())
    }

    fn unknown(&mut self, step: &StepInstance, why: String) {
        let next = self.next_query(step);
        self.fact(Fact::Unknown { step: step.clone(), why: why.clone(), next });
        if next.is_none() {
            self.effect_exhausted(step, why);
        }
    }

    fn node(&self, step: &StepInstance) -> Option<&Node> {
        self.graph.node(step)
    }

    fn next_query(&self, step: &StepInstance) -> Option<Millis> {
        let node = self.node(step).filter(|node| node.queries)?;
        Some(self.at.plus(node.policy.query_every))
    }

    /// The step is undecided: no outcome is written yet.
    fn undecided(&self, step: &StepInstance) -> Option<(&StepState, &Effect)> {
        let at = self.state.step(step).filter(|at| at.status == Status::Asked)?;
        Some((at, at.effect.as_ref()?))
    }

    fn effect_done(&mut self, step: StepInstance, reply: Payload) {
        match self.state.step(&step).map(|at| at.status.clone()) {
            Some(Status::Asked) => self.fact(Fact::Done { step, reply }),
            Some(Status::Refused | Status::Dropped) => self.contradicted(step, Evidence::Done(reply)),
            _ => {}
        }
    }

    /// A refusal in answer to an execute is *not done* only if no other attempt is unanswered.
    fn execute_refused(&mut self, answered: Answered, refusal: Refusal) {
        let Some((_, effect)) = self.undecided(&answered.step) else {
            return self.late_no(answered.step, refusal);
        };
        let (attempt, next) = (answered.attempt, effect.next);
        if !effect.is_out_beside(attempt) || broken("any_refusal_aborts") {
            return self.not_done(answered.step, refusal);
        }
        if effect.heard_of(attempt) == Some(Heard::Refused) {
            return;
        }
        // A query, a fence or a close that is planned already stands: it is what will tell.
        let step = answered.step;
        let unplanned = matches!(next, Next::Answer | Next::Attempt(_));
        let next = if unplanned { self.next_query(&step) } else { None };
        self.fact(Fact::Doubted { step: step.clone(), attempt, refusal: refusal.clone(), next });
        if unplanned && next.is_none() {
            self.effect_exhausted(&step, refusal.to_string());
        }
    }

    fn late_no(&mut self, step: StepInstance, refusal: Refusal) {
        let Some(at) = self.state.step(&step) else { return };
        let forced = at.effect.as_ref().is_some_and(|effect| effect.forced);
        match at.status {
            Status::Done => self.contradicted(step, Evidence::NotDone(refusal)),
            Status::Refused | Status::Dropped if forced => self.fact(Fact::Settled { step }),
            _ => {}
        }
    }

    /// The third party's definite no. A person who waits for it, to mark the step not done, is not asked once more.
    pub(super) fn not_done(&mut self, step: StepInstance, refusal: Refusal) {
        let Some((_, effect)) = self.undecided(&step) else { return self.late_no(step, refusal) };
        let is_marked = matches!(effect.next, Next::Query { fence: true, .. });
        let policy = self.node(&step).map(|node| node.policy.on_refused);
        if !is_marked && (self.state.life != Life::Trying || policy == Some(OnRefused::Park)) {
            return self.park(step, Parked::Refused { phase: Phase::Try, refusal });
        }
        let why = Abort::Refused { step: step.clone(), refusal: refusal.clone() };
        self.ends_not_done(step, refusal, why);
    }

    /// Not done: before the decision the saga aborts, after it what depends on the step will not run.
    pub(super) fn ends_not_done(&mut self, step: StepInstance, refusal: Refusal, why: Abort) {
        if self.state.life != Life::Trying {
            return self.fact(Fact::Dropped { step });
        }
        self.fact(Fact::Refused { step, refusal, repeated: false });
        self.abort(why);
    }

    /// *Not now*: of this attempt nothing happened. The same key is tried again later, if nothing else is out under it.
    fn not_now(&mut self, answered: &Answered, after: Option<Duration>, reason: String) {
        let (step, attempt) = (answered.step.clone(), answered.attempt);
        let Some((at, effect)) = self.undecided(&step) else { return };
        if effect.heard_of(attempt) != Some(Heard::Nothing) {
            return;
        }
        let only = !effect.is_out_beside(attempt);
        let refused = effect.attempts.iter().any(|made| made.heard == Heard::Refused);
        let (held, made) = (effect.closing || at.parked.is_some(), effect.newest());
        let unplanned = attempt == made && effect.next == Next::Answer;
        let is_over = at.ask.as_ref().and_then(|ask| ask.expires).is_some_and(|expires| self.at >= expires);
        let retry = self.node(&step).map(|node| node.policy.retry);
        let next = match retry {
            Some(retry) if only && !(refused || held || is_over || self.is_abort_wanted()) => {
                let delay = retry.delay(made, self.jitter).max(after.unwrap_or_default());
                (!retry.is_exhausted(made)).then(|| self.at.plus(delay))
            }
            _ => None,
        };
        self.fact(Fact::NotNow { step: step.clone(), attempt, reason: reason.clone(), next });
        if only && !refused && self.is_abort_wanted() {
            let why = Abort::Refused { step: step.clone(), refusal: Refusal::new("not_now", reason.clone()) };
            self.ends_not_done(step, Refusal::new("not_now", reason), why);
            return;
        }
        match (held || next.is_some(), only && !refused) {
            (true, _) => {}
            (_, true) if is_over => self.not_done(step, expired()),
            (_, true) => self.effect_exhausted(&step, reason),
            (_, false) if unplanned => self.unknown(&step, reason),
            (_, false) => {}
        }
    }

    /// An attempt that has said *not now* or *no* already says nothing new with a late *pending*.
    fn effect_pending(&mut self, answered: Answered, note: Payload) {
        let step = answered.step;
        let Some((at, effect)) = self.undecided(&step) else { return };
        let said = at.pending.as_ref().is_some_and(|(_, said)| *said == note);
        let waits = !matches!(effect.next, Next::Answer | Next::Attempt(_));
        let fences = matches!(effect.next, Next::Query { fence: true, .. });
        let is_heard = effect.heard_of(answered.attempt) != Some(Heard::Nothing);
        if at.parked.is_some() || effect.closing || fences || is_heard || (said && waits) {
            return;
        }
        let next = self.next_query(&step);
        self.fact(Fact::Pending { step, phase: Phase::Try, note, next });
    }

    /// A query's answer counts while it is the one that was asked: a late copy of an earlier one says nothing.
    fn is_current(&self, answered: &Answered) -> bool {
        let Some(effect) = self.state.step(&answered.step).and_then(|at| at.effect.as_ref()) else { return false };
        answered.attempt == effect.newest() && matches!(effect.next, Next::Query { at, .. } if answered.issued >= at)
    }

    fn queried(&mut self, answered: &Answered, answer: Queried) {
        if self.is_current(answered) {
            self.query_decided_nothing(&answered.step, answer);
        }
    }

    fn query_decided_nothing(&mut self, step: &StepInstance, answer: Queried) {
        let Some(at) = self.state.step(step) else { return };
        let Some(effect) = &at.effect else { return };
        let fence = matches!(effect.next, Next::Query { fence: true, .. });
        let closing = effect.closing && at.status == Status::Asked;
        let (limit, closes) = self.node(step).map_or((0, false), |node| (node.policy.query_limit, node.closes));
        // After a lifetime *absent* is final: where nothing can be closed, that is worth waiting for, and no person is called before.
        let expires = at.ask.as_ref().and_then(|ask| ask.expires).filter(|_| !closes);
        let lives = expires.is_some_and(|expires| self.at <= expires.plus(EXPIRY_MARGIN));
        let exhausted = !effect.forced && !lives && effect.queries + 1 >= limit;
        let next = if fence || closing || exhausted { None } else { self.next_query(step) };
        let why = answer.to_string();
        self.fact(Fact::Queried { step: step.clone(), answer, next });
        if fence {
            self.park(step.clone(), Parked::NotFenced);
        } else if closing {
            self.close_again(step, why);
        } else if exhausted {
            self.effect_exhausted(step, format!("queried {limit} times; at last: {why}"));
        }
    }

    /// *Absent* is never a reason to abort: an attempt may still be on its way. It allows executing again, under the same key.
    /// There are two exceptions: a lifetime that is over, and a fence, which lets no attempt through any more.
    fn absent(&mut self, answered: Answered) {
        if !self.is_current(&answered) {
            return;
        }
        let step = answered.step;
        if broken("absent_aborts") {
            return self.not_done(step, expired());
        }
        let expires = self.state.step(&step).and_then(|at| at.ask.as_ref()?.expires);
        if expires.is_some_and(|expires| answered.issued >= expires.plus(EXPIRY_MARGIN)) {
            return self.not_done(step, expired());
        }
        let Some((_, effect)) = self.undecided(&step) else {
            return self.query_decided_nothing(&step, Queried::Absent);
        };
        if matches!(effect.next, Next::Query { fence: true, .. }) {
            let no = Refusal::new("marked_not_done", "a person marked it not done, and a query fenced every attempt");
            return self.not_done(step, no);
        }
        let newest = effect.newest();
        let retry = self.node(&step).map(|node| node.policy.retry);
        let holds = effect.closing
            || self.is_abort_wanted()
            || expires.is_some_and(|expires| self.at >= expires)
            || retry.is_none_or(|retry| retry.is_exhausted(newest));
        if holds {
            return self.query_decided_nothing(&step, Queried::Absent);
        }
        self.fact(Fact::Queried { step: step.clone(), answer: Queried::Absent, next: None });
        self.fact(Fact::Attempted { step, attempt: newest + 1 });
    }

    fn not_closed(&mut self, answered: &Answered, why: String) {
        let Some((_, effect)) = self.undecided(&answered.step) else { return };
        if matches!(effect.next, Next::Close(at) if answered.issued >= at) {
            self.close_again(&answered.step, why);
        }
    }

    fn close_again(&mut self, step: &StepInstance, why: String) {
        let Some((_, effect)) = self.undecided(step) else { return };
        let Some(policy) = self.node(step).map(|node| node.policy) else { return };
        if effect.closes > policy.query_limit {
            return self.park(step.clone(), Parked::Exhausted { why: format!("it could not be closed: {why}") });
        }
        let delay = policy.retry.delay(effect.closes, self.jitter);
        self.fact(Fact::Closing { step: step.clone(), why, next: Some(self.at.plus(delay)) });
    }

    /// As often as allowed without a definite answer: it is closed where that can be, aborted where nothing can have been done, else
    /// a person decides.
    fn effect_exhausted(&mut self, step: &StepInstance, why: String) {
        let Some((_, effect)) = self.undecided(step) else { return };
        let Some(node) = self.node(step) else { return };
        let trying = self.state.life == Life::Trying;
        if broken("exhausted_polling_aborts") {
            return self.not_done(step.clone(), Refusal::new("exhausted", why));
        }
        if node.closes && trying && !effect.closing {
            self.fact(Fact::Closing { step: step.clone(), why, next: Some(self.at) });
        } else if !effect.is_out() && trying && node.policy.on_exhausted == OnExhausted::Abort {
            let refusal = Refusal::new("exhausted", why.clone());
            self.ends_not_done(step.clone(), refusal, Abort::Exhausted { step: step.clone(), why });
        } else {
            self.park(step.clone(), Parked::Exhausted { why });
        }
    }
}

fn expired() -> Refusal {
    Refusal::new("expired", "its lifetime at the third party is over, and nothing is known of it")
}
