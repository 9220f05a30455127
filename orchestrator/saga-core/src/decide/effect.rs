//! The pivot and the external: effects that nobody can take back, and that are never repeated in the dark.
//!
//! Every rule here is one of DESIGN's "The pivot: money that may have moved"; the traces to disaster without each are tests.

use super::{Deciding, Illegal, answers::no_such_answer};
use crate::{
    Answer, Millis, OnExhausted, OnRefused, Payload, Phase, Refusal, StepInstance, StepKind,
    definition::Node,
    entry::{Abort, Evidence, Fact, Parked, Queried},
    event::Answered,
    policy::EXPIRY_MARGIN,
    state::{Effect, Heard, Life, Next, Status, StepState},
};

impl Deciding<'_> {
    pub(super) fn effect_answered(&mut self, answered: Answered) -> Result<(), Illegal> {
        match (answered.phase, answered.answer.clone()) {
            (Phase::Try | Phase::Query | Phase::Close, Answer::Done(reply)) => self.effect_done(answered.step, reply),
            (Phase::Try, Answer::Refused(refusal)) => self.execute_refused(answered, refusal),
            (Phase::Query, Answer::Refused(refusal)) => self.not_done(answered.step, refusal),
            (Phase::Try, Answer::Retry { after, reason }) => self.not_now(&answered, after, reason),
            (Phase::Try, Answer::Pending(note)) => self.effect_pending(answered.step, note),
            (Phase::Try, Answer::Expired) => {
                let why = "the attempt was too old to be sure".to_owned();
                return self.silent(&answered.step, Phase::Try, answered.attempt, why);
            }
            (Phase::Query, Answer::Absent) => self.absent(answered),
            (Phase::Query, Answer::Closed) => self.fenced(answered),
            (Phase::Query, Answer::Pending(_)) => self.queried(&answered, Queried::Pending),
            (Phase::Query, Answer::Retry { reason, .. }) => self.queried(&answered, Queried::Silent(reason)),
            (Phase::Close, Answer::Closed) => {
                self.not_done(answered.step, Refusal::new("closed", "the third party closed it: nothing was done"));
            }
            (Phase::Close, Answer::Retry { reason, .. }) => self.not_closed(&answered.step, reason),
            (Phase::Close, Answer::Refused(refusal)) => self.not_closed(&answered.step, refusal.to_string()),
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
            (Phase::Query, Next::Query { .. }) => self.query_decided_nothing(step, Queried::Silent(why)),
            (Phase::Close, Next::Close(_)) => self.not_closed(step, why),
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
        let unanswered =
            |other: &crate::state::Attempt| other.number != answered.attempt && other.heard == Heard::Nothing;
        if !effect.attempts.iter().any(unanswered) {
            return self.not_done(answered.step, refusal);
        }
        let known = effect.attempts.iter().any(|a| a.number == answered.attempt && a.heard == Heard::Refused);
        if !known {
            let (step, attempt) = (answered.step, answered.attempt);
            let next = self.next_query(&step);
            self.fact(Fact::Doubted { step: step.clone(), attempt, refusal: refusal.clone(), next });
            if next.is_none() {
                self.effect_exhausted(&step, refusal.to_string());
            }
        }
    }

    fn late_no(&mut self, step: StepInstance, refusal: Refusal) {
        let Some(at) = self.state.step(&step) else { return };
        let forced = at.effect.as_ref().is_some_and(|effect| effect.forced);
        match at.status {
            Status::Done => self.contradicted(step, Evidence::NotDone(refusal)),
            Status::Refused if forced => self.fact(Fact::Settled { step }),
            _ => {}
        }
    }

    /// The third party's definite no.
    fn not_done(&mut self, step: StepInstance, refusal: Refusal) {
        if self.undecided(&step).is_none() {
            return self.late_no(step, refusal);
        }
        let policy = self.node(&step).map(|node| node.policy.on_refused);
        if self.state.life != Life::Trying || policy == Some(OnRefused::Park) {
            return self.park(step, Parked::Refused { phase: Phase::Try, refusal });
        }
        self.fact(Fact::Refused { step: step.clone(), refusal: refusal.clone(), repeated: false });
        self.abort(Abort::Refused { step, refusal });
    }

    /// *Not now*: nothing happened, and the same key is tried again later.
    fn not_now(&mut self, answered: &Answered, after: Option<std::time::Duration>, reason: String) {
        let step = answered.step.clone();
        let Some((at, effect)) = self.undecided(&step) else { return };
        let heard = effect.attempts.iter().find(|a| a.number == answered.attempt).map(|a| a.heard);
        if heard != Some(Heard::Nothing) {
            return;
        }
        let others_out = effect.attempts.iter().any(|a| a.number != answered.attempt && a.heard == Heard::Nothing);
        let (closing, parked, made) = (effect.closing, at.parked.is_some(), effect.newest());
        let retry = self.node(&step).map(|node| node.policy.retry);
        let exhausted = retry.is_none_or(|retry| retry.is_exhausted(made));
        let rests = others_out || closing || parked || exhausted || self.state.abort.is_some();
        let delay = retry.map(|retry| retry.delay(made, self.jitter)).max(after).unwrap_or_default();
        let next = (!rests).then(|| self.at.plus(delay));
        self.fact(Fact::NotNow { step: step.clone(), attempt: answered.attempt, reason: reason.clone(), next });
        if others_out || parked {
            return;
        }
        if self.state.abort.is_some() && self.is_pivot(&step) {
            self.not_done(step, Refusal::new("not_now", reason));
        } else if exhausted && !closing {
            self.effect_exhausted(&step, reason);
        }
    }

    fn is_pivot(&self, step: &StepInstance) -> bool {
        self.node(step).is_some_and(|node| node.kind == StepKind::Pivot)
    }

    fn effect_pending(&mut self, step: StepInstance, note: Payload) {
        let Some((at, effect)) = self.undecided(&step) else { return };
        let said = at.pending.as_ref().is_some_and(|(_, said)| *said == note);
        let waits = matches!(effect.next, Next::Query { .. } | Next::Close(_) | Next::Nothing);
        if at.parked.is_some() || effect.closing || (said && waits) {
            return;
        }
        let next = self.next_query(&step);
        self.fact(Fact::Pending { step, phase: Phase::Try, note, next });
    }

    /// A query's answer counts while it is the one that was asked: a late copy says nothing about later attempts.
    fn is_current(&self, answered: &Answered) -> bool {
        let Some(effect) = self.state.step(&answered.step).and_then(|at| at.effect.as_ref()) else { return false };
        answered.attempt == effect.newest() && matches!(effect.next, Next::Query { .. })
    }

    fn queried(&mut self, answered: &Answered, answer: Queried) {
        if self.is_current(answered) {
            self.query_decided_nothing(&answered.step, answer);
        }
    }

    fn query_decided_nothing(&mut self, step: &StepInstance, answer: Queried) {
        let Some(effect) = self.state.step(step).and_then(|at| at.effect.as_ref()) else { return };
        let fence = matches!(effect.next, Next::Query { fence: true, .. });
        let limit = self.node(step).map_or(0, |node| node.policy.query_limit);
        let exhausted = !effect.forced && effect.queries + 1 >= limit;
        let next = if fence || exhausted { None } else { self.next_query(step) };
        let why = format!("{answer:?}");
        self.fact(Fact::Queried { step: step.clone(), answer, next });
        if fence {
            self.park(step.clone(), Parked::NotFenced);
        } else if exhausted {
            self.effect_exhausted(step, format!("queried {limit} times, at last: {why}"));
        }
    }

    /// *Absent* is never a reason to abort: an attempt may still be on its way. It allows executing again, under the same key.
    fn absent(&mut self, answered: Answered) {
        let Some((at, effect)) = self.undecided(&answered.step) else {
            return self.queried(&answered, Queried::Absent);
        };
        if !self.is_current(&answered) {
            return;
        }
        let expires = at.ask.as_ref().and_then(|ask| ask.expires);
        let fence = matches!(effect.next, Next::Query { fence: true, .. });
        if expires.is_some_and(|expires| answered.issued >= expires.plus(EXPIRY_MARGIN)) {
            let no = Refusal::new("expired", "its lifetime at the third party is over, and nothing is known of it");
            return self.not_done(answered.step, no);
        }
        if fence && !effect.is_out() {
            return self.fenced(answered);
        }
        let newest = effect.newest();
        let retry = self.node(&answered.step).map(|node| node.policy.retry);
        let holds = fence
            || effect.closing
            || effect.forced
            || self.state.abort.is_some()
            || expires.is_some_and(|expires| self.at >= expires)
            || retry.is_none_or(|retry| retry.is_exhausted(newest));
        if holds {
            return self.query_decided_nothing(&answered.step, Queried::Absent);
        }
        let step = answered.step;
        self.fact(Fact::Queried { step: step.clone(), answer: Queried::Absent, next: None });
        self.fact(Fact::Attempted { step, attempt: newest + 1 });
    }

    /// A fencing query found that nothing was handed on, and nothing will be.
    fn fenced(&mut self, answered: Answered) {
        let no = Refusal::new("marked_not_done", "a person marked it not done, and a query fenced every attempt");
        self.not_done(answered.step, no);
    }

    fn not_closed(&mut self, step: &StepInstance, why: String) {
        let Some((_, effect)) = self.undecided(step) else { return };
        let Next::Close(_) = effect.next else { return };
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
        if node.closes && trying && !effect.closing {
            self.fact(Fact::Closing { step: step.clone(), why, next: Some(self.at) });
        } else if !effect.is_out() && trying && node.policy.on_exhausted == OnExhausted::Abort {
            let refusal = Refusal::new("exhausted", why.clone());
            self.fact(Fact::Refused { step: step.clone(), refusal, repeated: false });
            self.abort(Abort::Exhausted { step: step.clone(), why });
        } else {
            self.park(step.clone(), Parked::Exhausted { why });
        }
    }
}
