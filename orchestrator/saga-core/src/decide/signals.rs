//! Signals: receipt, taking, and the verdict, which the receiving saga's journal alone decides.

use super::Deciding;
use crate::{
    SignalId, StepInstance, StepKind, Verdict,
    canary::broken,
    definition::{NodeId, Part},
    entry::Fact,
    event::Signalled,
    state::{Life, Status},
};

impl Deciding<'_> {
    pub(super) fn signalled(&mut self, signalled: Signalled) {
        let Signalled { id, name, payload, from } = signalled;
        if self.state.signals.contains_key(&id) && !broken("forget_verdicts") {
            return;
        }
        self.fact(Fact::Received { id: id.clone(), name: name.clone(), payload, from });
        if broken("accept_on_receipt") {
            self.fact(Fact::Judged { id: id.clone(), verdict: Verdict::Accepted });
        }
        if self.state.life.is_ended() {
            return self.fact(Fact::Judged { id, verdict: Verdict::TooLate });
        }
        if let Some(step) = self.open_wait(&name) {
            self.taking(step, id).into_iter().for_each(|fact| self.fact(fact));
        }
    }

    fn open_wait(&self, name: &str) -> Option<StepInstance> {
        let open = |at: &crate::state::StepState| {
            matches!(at.status, Status::Waiting(_)) && at.signal.as_deref() == Some(name)
        };
        self.state.steps.iter().find(|(_, at)| open(at)).map(|(step, _)| step.clone())
    }

    /// The signal of that name that came first among those no wait has taken and no verdict has ended.
    pub(super) fn oldest_untaken(&self, name: &str) -> Option<SignalId> {
        let untaken = self
            .state
            .signals
            .iter()
            .filter(|(_, signal)| signal.name == name && signal.taken_by.is_none() && signal.verdict.is_none());
        untaken.min_by_key(|(_, signal)| signal.order).map(|(id, _)| id.clone())
    }

    /// The decision to commit accepts what was taken before it.
    pub(super) fn judge_taken(&mut self) {
        self.judge(Verdict::Accepted, |signal| signal.taken_by.is_some());
    }

    /// What no wait can take any more is too late; so is what was taken by a saga that then aborted.
    pub(super) fn judge_hopeless(&mut self) {
        if self.state.signals.values().all(|signal| signal.verdict.is_some()) {
            return;
        }
        match self.state.life {
            Life::Trying => {}
            Life::Confirming if broken("accept_two_payments") => self.judge(Verdict::Accepted, |_| true),
            Life::Confirming => self.judge_taken(),
            Life::Cancelling | Life::Cancelled if broken("abort_answers_no_signal") => return,
            Life::Cancelling => self.judge(Verdict::TooLate, |signal| signal.taken_by.is_some()),
            Life::Confirmed | Life::Cancelled => return self.judge(Verdict::TooLate, |_| true),
        }
        let mut places = std::collections::BTreeMap::<String, Option<usize>>::new();
        let mut untaken: Vec<_> = self.state.signals.iter().filter(|(_, s)| s.taken_by.is_none()).collect();
        untaken.sort_by_key(|(_, signal)| signal.order);
        let mut hopeless = Vec::new();
        for (id, signal) in untaken.into_iter().filter(|(_, signal)| signal.verdict.is_none()) {
            let left = places.entry(signal.name.clone()).or_insert_with(|| self.places(&signal.name));
            match left {
                Some(0) => hopeless.push(id.clone()),
                Some(places) => *places -= 1,
                None => {}
            }
        }
        for id in hopeless {
            self.fact(Fact::Judged { id, verdict: Verdict::TooLate });
        }
    }

    fn judge(&mut self, verdict: Verdict, which: fn(&crate::state::SignalState) -> bool) {
        let open = self.state.signals.iter().filter(|(_, signal)| signal.verdict.is_none() && which(signal));
        for id in open.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.fact(Fact::Judged { id, verdict });
        }
    }

    /// How many waits may yet take a signal of that name; `None` while a fan-out leaves that open.
    fn places(&self, name: &str) -> Option<usize> {
        let life = self.state.life;
        let possible = |part: Part| match part {
            Part::Trying => life == Life::Trying,
            Part::Confirmed => matches!(life, Life::Trying | Life::Confirming),
            Part::Cancelled => matches!(life, Life::Trying | Life::Cancelling),
        };
        let mut places = 0;
        for (id, node) in (0..).zip(&self.graph.nodes) {
            if node.kind != StepKind::Wait || node.contract.as_deref() != Some(name) || !possible(node.part) {
                continue;
            }
            let chain = &self.graph.plan.chains[id as usize];
            if chain.iter().any(|&scope| self.graph.at(scope).kind == StepKind::ForEach) {
                return None;
            }
            places += usize::from(self.may_wait(id, chain));
        }
        Some(places)
    }

    fn may_wait(&self, id: NodeId, chain: &[NodeId]) -> bool {
        let shut = |&scope: &NodeId| {
            let at = self.state.step(&self.graph.at(scope).plain);
            at.is_some_and(|at| at.status == Status::Dropped || (at.status == Status::Done && !at.taken))
        };
        let at = self.state.step(&self.graph.at(id).plain);
        !chain.iter().any(shut) && at.is_none_or(|at| matches!(at.status, Status::Waiting(_)))
    }
}
