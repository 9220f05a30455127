//! What is in hand: calls made, timed out, made again, in step with what is outstanding in durable entries.

use super::{
    active::{Active, Hand, HandKey},
    breaker::Ended,
    events::{Decided, PANICS_MAX},
    gates::{Pass, Waiter},
    message::{Heard, HeardWhat},
    tell,
    worker::{Agenda, Worker},
};
use crate::{
    store::{TimerChange, TimerRow},
    transport::CallError,
};
use std::time::Duration;
use tercet_core::{
    Answer, Answered, Call as WireCall, Command, Millis, PANICKED, Payload, Phase, Policy, SagaId, StepInstance, What,
    command::Call,
};

impl Worker {
    /// Brings a saga's hands in step with what is outstanding, once everything decided is durable; lets go of a saga that only
    /// waits.
    pub(super) fn reconcile(&mut self, saga: SagaId) {
        if !self.sagas.get(&saga).is_some_and(Active::is_durable) {
            return;
        }
        self.tell_watchers(saga);
        if !self.is_own(saga) {
            return;
        }
        let Some(active) = self.sagas.get_mut(&saga) else { return };
        let commands = &active.commands;
        for (_, hand) in active.hands.extract_if(.., |key, _| key.find(commands).is_none()) {
            self.agenda.remove(&hand.next);
        }
        let keyed = commands.iter().filter_map(|command| Some((HandKey::of(command)?, command)));
        let wanted = keyed.filter(|(key, _)| !active.hands.contains_key(key));
        let wanted: Vec<_> = wanted.map(|(key, command)| (key, command.clone())).collect();
        for (key, command) in wanted {
            self.take_in_hand(saga, &key, command);
        }
        if self.sagas.get(&saga).is_some_and(Active::only_waits) && !self.is_being_written(saga) {
            let active = self.sagas.remove(&saga);
            if active.as_ref().is_some_and(|active| active.state.life.is_ended()) {
                self.give_back(saga);
            }
            let hands = active.map(|active| active.hands).unwrap_or_default();
            hands.values().for_each(|hand| drop(self.agenda.remove(&hand.next)));
        }
    }

    fn is_being_written(&self, saga: SagaId) -> bool {
        self.drafts().any(|draft| draft.changes.contains_key(&saga))
    }

    fn take_in_hand(&mut self, saga: SagaId, key: &HandKey, command: Command) {
        let clock = self.now();
        let Some(active) = self.sagas.get_mut(&saga) else { return };
        let now = clock.max(active.state.at);
        if matches!(&command, Command::Call(call) if call.not_before > now) {
            return;
        }
        let kept = active.timers.get(&key.timer()).cloned();
        let made = kept.as_ref().map_or(0, |row| row.attempt).max(u32::from(active.recovered.remove(key)));
        let hand = Hand {
            number: 0,
            attempts: made,
            unsent: 0,
            next: (now, 0),
            out: false,
            rests: false,
            panics: 0,
            pass: None,
        };
        active.hands.insert(key.clone(), hand);
        match kept.filter(|row| row.attempt > 0 && row.due > now) {
            Some(row) => self.rest(saga, key, row.due, true),
            None => self.send(saga, key, command),
        }
    }

    fn rest(&mut self, saga: SagaId, key: &HandKey, until: Millis, is_kept: bool) {
        let number = self.number();
        let rests = is_kept && until >= self.now().plus(self.shared.settings.look_ahead);
        let next = self.plan(until, Agenda::Hand(saga, number));
        if let Some(hand) = self.hand_mut(saga, key) {
            hand.number = number;
            hand.next = next;
            hand.out = false;
            hand.rests = rests;
            hand.pass = None;
        }
    }

    fn hand_mut(&mut self, saga: SagaId, key: &HandKey) -> Option<&mut Hand> {
        self.sagas.get_mut(&saga)?.hands.get_mut(key)
    }

    fn command(&self, saga: SagaId, key: &HandKey) -> Option<&Command> {
        key.find(&self.sagas.get(&saga)?.commands)
    }

    fn policy(&self, saga: SagaId, step: &StepInstance) -> Policy {
        let node = self.sagas.get(&saga).and_then(|active| active.graph.node(step));
        node.map_or(Policy::DEFAULT, |node| *node.policy())
    }

    /// Makes a call, or tells a saga: one attempt. A call waits until its participant's gate lets it through.
    fn send(&mut self, saga: SagaId, key: &HandKey, command: Command) {
        if !self.stopping.is_empty() {
            return;
        }
        match command {
            Command::Call(call) => {
                let number = self.number();
                let Some(hand) = self.hand_mut(saga, key) else { return };
                (hand.number, hand.next, hand.out, hand.rests) = (number, (Millis::default(), 0), false, false);
                self.line_up(saga, number, &call);
            }
            Command::Tell { step, id, target, payload } => {
                let Some(heard) = self.attempt(saga, key, None) else { return };
                let tell = tell::Tell { from: saga, step, id, target, payload };
                self.shared.env.spawn(Box::pin(tell::tell(self.shared.clone(), tell, heard.1)));
            }
            Command::Wake { .. } => {}
        }
    }

    /// A call's turn has come.
    pub(super) fn go(&mut self, waiter: Waiter, pass: Pass) {
        let saga = waiter.saga;
        let hands = self.sagas.get(&saga).into_iter().flat_map(|active| &active.hands);
        let Some(key) = hands.into_iter().find(|(_, hand)| hand.number == waiter.hand).map(|(key, _)| key.clone())
        else {
            return;
        };
        if !self.stopping.is_empty() || !self.is_own(saga) {
            return;
        }
        let Some(Command::Call(call)) = self.command(saga, &key).cloned() else { return };
        let timeout = self.policy(saga, &key.step).timeout;
        let Some((attempts, heard)) = self.attempt(saga, &key, Some(pass)) else { return };
        self.call(wire(saga, call, attempts, heard.issued, timeout), heard);
    }

    /// One attempt more, under a number of its own: how many there were, and what will be heard of it.
    fn attempt(&mut self, saga: SagaId, key: &HandKey, pass: Option<Pass>) -> Option<(u32, Heard)> {
        let (clock, policy, number) = (self.now(), self.policy(saga, &key.step), self.number());
        let now = self.sagas.get(&saga).map_or(clock, |active| clock.max(active.state.at));
        let next = self.plan(clock.plus(policy.timeout), Agenda::Hand(saga, number));
        let hand = self.hand_mut(saga, key)?;
        hand.number = number;
        hand.attempts += 1;
        hand.next = next;
        hand.out = true;
        hand.rests = false;
        hand.pass = pass;
        let heard = Heard {
            saga,
            hand: number,
            step: key.step.clone(),
            phase: key.phase,
            attempt: key.attempt,
            issued: now,
            what: HeardWhat::Told,
        };
        Some((hand.attempts, heard))
    }

    fn call(&self, call: WireCall, heard: Heard) {
        let shared = self.shared.clone();
        let calling = shared.transport.call(call);
        self.shared.env.spawn(Box::pin(async move {
            let what = match calling.await {
                Ok(answer) => HeardWhat::Answer(answer),
                Err(error @ (CallError::NoResponder { .. } | CallError::Unsent(_))) => {
                    HeardWhat::NoResponder(error.to_string())
                }
                Err(CallError::Silent(why)) => HeardWhat::Silent(why),
            };
            shared.heard(Heard { what, ..heard });
        }));
    }

    /// An attempt's time is over, or it is time for the next one.
    pub(super) fn hand_due(&mut self, saga: SagaId, number: u64) {
        if !self.is_own(saga) {
            return;
        }
        let Some(active) = self.sagas.get(&saga) else { return };
        let Some((key, hand)) = active.hands.iter().find(|(_, hand)| hand.number == number) else { return };
        let (key, out) = (key.clone(), hand.out);
        if out {
            self.call_ended(saga, &key, &Ended::TimedOut);
            self.unanswered(saga, &key, "no answer in its time".to_owned());
        } else if let Some(command) = self.command(saga, &key).cloned() {
            self.send(saga, &key, command);
        }
        self.reconcile(saga);
    }

    /// What became of a call. An answer is evidence whether or not anybody still waits for it.
    pub(super) fn heard(&mut self, heard: Heard) {
        let saga = heard.saga;
        if !self.is_own(saga) {
            return;
        }
        let Some(active) = self.sagas.get(&saga) else {
            if matches!(heard.what, HeardWhat::Answer(_)) && !self.quarantined.contains_key(&saga) {
                self.want(saga, Some(super::message::Message::Heard(heard)));
            }
            return;
        };
        let hand = active.hands.iter().find(|(_, hand)| hand.number == heard.hand && hand.out);
        let key = hand.map(|(key, _)| key.clone());
        let unread = match &heard.what {
            HeardWhat::Answer(Answer::Done(reply)) => unreadable(active, &heard.step, heard.phase, reply),
            _ => None,
        };
        if let Some(key) = &key {
            let how = self.how_it_ended(saga, key, &heard.what, unread.as_ref());
            self.call_ended(saga, key, &how);
        }
        match (heard.what, key) {
            (HeardWhat::Answer(answer), key) => {
                let heard = Heard { what: HeardWhat::Told, ..heard };
                self.heard_answer(heard, answer, key, unread);
            }
            (HeardWhat::Told, Some(key)) => self.ask_after(saga, &key),
            (HeardWhat::Silent(why) | HeardWhat::Unknown(why), Some(key)) => self.unanswered(saga, &key, why),
            (HeardWhat::NoResponder(why), Some(key)) => self.unsent(saga, &key, &why),
            (_, None) => {}
        }
        self.reconcile(saga);
    }

    /// An answer is an answer, a refusal too. *Not now* is none, unless it says when, or speaks for a third party: an effect's.
    fn how_it_ended(&self, saga: SagaId, key: &HandKey, heard: &HeardWhat, unread: Option<&String>) -> Ended {
        if let Some(why) = unread {
            return Ended::Error(why.clone());
        }
        let Some(active) = self.sagas.get(&saga) else { return Ended::Answered };
        let is_effect = active.state.step(&key.step).is_some_and(|at| at.effect.is_some());
        match heard {
            HeardWhat::Answer(Answer::Retry { after: None, reason }) if !is_effect || key.phase != Phase::Try => {
                Ended::Error(reason.clone())
            }
            HeardWhat::Answer(_) | HeardWhat::Told => Ended::Answered,
            HeardWhat::Silent(why) | HeardWhat::Unknown(why) | HeardWhat::NoResponder(why) => Ended::Error(why.clone()),
        }
    }

    fn heard_answer(&mut self, heard: Heard, answer: Answer, key: Option<HandKey>, unread: Option<String>) {
        let saga = heard.saga;
        let Some(active) = self.sagas.get(&saga) else { return };
        let attempts = key.as_ref().and_then(|key| active.hands.get(key)).map_or(2, |hand| hand.attempts);
        let is_effect = active.state.step(&heard.step).is_some_and(|at| at.effect.is_some());
        if let Some(why) = unread {
            return key.into_iter().for_each(|key| self.unanswered(saga, &key, why.clone()));
        }
        match (&answer, is_effect, &key) {
            (Answer::Retry { after, reason }, false, Some(key)) => {
                return self.try_again(saga, key, *after, reason.clone());
            }
            (Answer::Expired, false, Some(key)) => {
                return self.unanswered(saga, key, "the attempt was too old to be sure".to_owned());
            }
            (Answer::Retry { .. } | Answer::Expired | Answer::Absent | Answer::Closed, false, _) => return,
            _ => {}
        }
        let pending = matches!(answer, Answer::Pending(_)) && !is_effect;
        let Heard { step, phase, attempt, issued, .. } = heard;
        self.decide(saga, What::Answered(Answered { step, phase, attempt, attempts, issued, answer }));
        if pending && let Some(key) = key {
            self.ask_after(saga, &key);
        }
    }

    /// It will be reported: asked after in the pace of queries, which spends no attempt.
    fn ask_after(&mut self, saga: SagaId, key: &HandKey) {
        let pace = self.policy(saga, &key.step).query_every;
        if let Some(hand) = self.hand_mut(saga, key) {
            hand.attempts = hand.attempts.min(1);
        }
        let is_long = pace >= self.shared.settings.look_ahead;
        self.ask_later(saga, key, pace, is_long);
    }

    /// A person does not want to wait for a step's next attempt.
    pub(super) fn hurry(&mut self, saga: SagaId, step: &StepInstance) {
        let Some(active) = self.sagas.get_mut(&saga) else { return };
        let mut cleared = Vec::new();
        for (key, hand) in active.hands.extract_if(.., |key, hand| key.step == *step && !hand.out) {
            self.agenda.remove(&hand.next);
            if active.timers.remove(&key.timer()).is_some() {
                cleared.push(TimerChange::Clear(saga, key.timer()));
            }
        }
        self.reschedule(&cleared);
        if !cleared.is_empty() {
            self.next.change(saga).timers.extend(cleared);
        }
    }

    /// No usable answer: an effect's next move is the core's, all else is asked again; what is no longer outstanding, though that
    /// may not be durable yet, is left.
    fn unanswered(&mut self, saga: SagaId, key: &HandKey, why: String) {
        let Some(active) = self.sagas.get(&saga) else { return };
        if self.command(saga, key).is_none() {
            return;
        }
        if active.state.step(&key.step).is_some_and(|at| at.effect.is_some()) {
            if let Some(next) = self.hand_mut(saga, key).map(|hand| {
                hand.out = false;
                hand.next
            }) {
                self.agenda.remove(&next);
            }
            let HandKey { step, phase, attempt, .. } = key.clone();
            let decided = self.decide(saga, What::Silent { step, phase, attempt, why });
            if !matches!(decided, Decided::Written) {
                self.ask_later(saga, key, Duration::from_secs(60), false);
            }
            return;
        }
        self.try_again(saga, key, None, why);
    }

    /// Asks again after the policy's wait, or says that it is enough.
    fn try_again(&mut self, saga: SagaId, key: &HandKey, after: Option<Duration>, why: String) {
        let policy = self.policy(saga, &key.step);
        let Some(attempts) = self.hand_mut(saga, key).map(|hand| hand.attempts) else { return };
        let jitter = self.shared.env.random() as u16;
        let (step, phase) = (key.step.clone(), key.phase);
        if phase == Phase::Try && policy.retry.is_exhausted(attempts) {
            let exhausted = What::Exhausted { step: step.clone(), attempts, why: why.clone() };
            if matches!(self.decide(saga, exhausted), Decided::Written) {
                return;
            }
        }
        if self.has_panicked_thrice(saga, key, &why) {
            let panicked = What::Panicked { step: step.clone(), phase, why: why.clone() };
            if matches!(self.decide(saga, panicked), Decided::Written) {
                return;
            }
        }
        if attempts >= policy.attention_after {
            self.decide(saga, What::Struggling { step, phase, attempts, why });
        }
        let wait = policy.retry.delay(attempts, jitter).max(after.unwrap_or_default());
        self.ask_later(saga, key, wait, true);
    }

    fn has_panicked_thrice(&mut self, saga: SagaId, key: &HandKey, why: &str) -> bool {
        let Some(hand) = self.hand_mut(saga, key) else { return false };
        hand.panics = if why.starts_with(PANICKED) { hand.panics.saturating_add(1) } else { 0 };
        hand.panics >= PANICS_MAX
    }

    /// Nothing was sent, so no attempt was spent: again after the policy's wait.
    fn unsent(&mut self, saga: SagaId, key: &HandKey, why: &str) {
        let policy = self.policy(saga, &key.step);
        let jitter = self.shared.env.random() as u16;
        let Some(hand) = self.hand_mut(saga, key) else { return };
        hand.attempts = hand.attempts.saturating_sub(1);
        hand.unsent += 1;
        let unsent = hand.unsent;
        if unsent == policy.attention_after {
            let (step, phase, why) = (key.step.clone(), key.phase, why.to_owned());
            tracing::warn!(saga.id = %saga, step = %step, error = %why, "failed to reach a participant");
            self.decide(saga, What::Struggling { step, phase, attempts: unsent, why });
        }
        self.ask_later(saga, key, policy.retry.delay(unsent, jitter), false);
    }

    /// Rests a hand. The attempts made are kept in a durable timer, so that a crash resets no count; a long rest is, too, so that
    /// its saga need not stay in memory.
    fn ask_later(&mut self, saga: SagaId, key: &HandKey, wait: Duration, is_kept: bool) {
        let due = self.now().plus(wait);
        if self.command(saga, key).is_none() {
            return;
        }
        let Some(hand) = self.hand_mut(saga, key) else { return };
        let (next, attempt) = (hand.next, hand.attempts);
        self.agenda.remove(&next);
        self.rest(saga, key, due, is_kept);
        if is_kept {
            let row = TimerRow { saga, name: key.timer(), due, attempt };
            if let Some(active) = self.sagas.get_mut(&saga) {
                active.timers.insert(row.name.clone(), row.clone());
            }
            self.next.change(saga).timers.push(TimerChange::Set(row));
        }
    }
}

/// Why a reply is not what its step replies; a confirm's and a cancel's is not looked at.
fn unreadable(active: &Active, step: &StepInstance, phase: Phase, reply: &Payload) -> Option<String> {
    let node = active.graph.node(step).filter(|_| !matches!(phase, Phase::Confirm | Phase::Cancel))?;
    node.check_reply(reply).err().map(|why| format!("its reply cannot be read: {why}"))
}

fn wire(saga: SagaId, call: Call, attempts: u32, issued: Millis, timeout: Duration) -> WireCall {
    let attempt = if call.attempt > 0 { call.attempt } else { attempts };
    let Call { step, key, contract, phase, expires, fence, request, reply, .. } = call;
    WireCall { saga, step, key, contract, phase, attempt, issued, timeout, expires, fence, request, reply }
}
