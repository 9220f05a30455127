//! Events: decided, written down, and delivered to other sagas in the same transaction.

use super::{
    EngineError,
    active::{Active, has_reached, timer_of},
    error::TOO_LATE,
    message::{Coming, Incoming, Message, Note, Reply, Snapshot, Until},
    starts::row_of,
    worker::Worker,
};
use crate::store::{AuditRow, InboxItem};
use std::panic::{AssertUnwindSafe, catch_unwind};
use tercet_core::{
    Action, Answer, Answered, Delivery, Entry, Event, Life, Operated, Phase, SagaId, Status, StepInstance, StepState,
    What, choices, decide, deliveries, needs_force, state::Effect,
};

/// Who cancels a child, in its journal: no person, so that nothing is audited.
const PARENT: &str = "its parent saga";

/// What came of deciding.
pub(super) enum Decided {
    /// An entry is in the next batch.
    Written,
    /// It agrees with what is so, or comes late, or twice.
    Nothing,
    /// It cannot happen: a bug of whoever sent it.
    Illegal(String),
    /// The decider panicked.
    Panicked,
}

/// Panics while handling one saga, or of a participant over one call, after which it waits for a person.
pub(super) const PANICS_MAX: u8 = 3;

impl Worker {
    pub(super) fn incoming(&mut self, incoming: Incoming) {
        let saga = incoming.saga;
        if !self.is_own(saga) {
            return self.elsewhere(saga, Message::Event(incoming));
        }
        if let Some(why) = self.quarantined.get(&saga) {
            let error = EngineError::Quarantined { saga, why: why.clone() };
            self.refuse(Message::Event(incoming), error);
        } else if self.sagas.contains_key(&saga) {
            self.happened(incoming);
            self.reconcile(saga);
        } else {
            self.want(saga, Some(Message::Event(incoming)));
        }
    }

    fn happened(&mut self, incoming: Incoming) {
        let Incoming { saga, what, inbox, reply } = incoming;
        let sender = sender_of(&what);
        let checked = match self.sagas.get(&saga) {
            Some(active) => self.what(active, what),
            None => return,
        };
        match checked {
            Ok(Some(what)) => {
                self.tell_again(saga, &what);
                let (hurried, audit) = (retried(&what), audit_of(saga, &what));
                match self.decide(saga, what) {
                    Decided::Written => {
                        hurried.into_iter().for_each(|step| self.hurry(saga, &step));
                        let at = self.now();
                        audit.into_iter().for_each(|audit| self.next.audit(AuditRow { at, ..audit }));
                    }
                    Decided::Nothing => {}
                    Decided::Illegal(why) => {
                        reply.map(|reply| reply.send(Err(EngineError::Bug(why))));
                        return self.next.take(saga, inbox);
                    }
                    // Not taken: it is looked at again, until the saga waits for a person.
                    Decided::Panicked => {
                        let bug = EngineError::Bug("deciding about it panicked: look at the log".to_owned());
                        reply.map(|reply| reply.send(Err(bug)));
                        return self.shared.taken(inbox.as_slice());
                    }
                }
            }
            Ok(None) => {}
            Err(error) => {
                if let Some(to) = sender {
                    let answer = Answer::refused(error.code(), error.to_string());
                    self.deliver(saga, vec![Delivery::Report { to, undoes: false, answer }]);
                }
                return match (inbox, reply) {
                    (Some(row), Some(reply)) => self.next.refuse(saga, row, reply, error),
                    (inbox, reply) => {
                        reply.map(|reply| reply.send(Err(error)));
                        self.next.take(saga, inbox);
                    }
                };
            }
        }
        self.next.take(saga, inbox);
        if let Some(reply) = reply {
            self.answer_when_durable(saga, reply);
        }
    }

    /// The event that comes of what came, or why there can be none.
    fn what(&self, active: &Active, coming: Coming) -> Result<Option<What>, EngineError> {
        let what = match coming {
            Coming::Begun => return Ok(None),
            Coming::Due(name) => return Ok(timer_of(&name).map(What::TimerFired)),
            Coming::Answer { step, phase, answer } => return answered(active, step, phase, answer).map(Some),
            Coming::Event(what) => what,
        };
        match &what {
            What::Signalled(signalled) => match active.graph.check_signal(&signalled.name, &signalled.payload) {
                Some(Ok(())) => {}
                Some(Err(why)) => return Err(EngineError::BadValue { what: signalled.name.clone(), why }),
                None => {
                    let definition = active.graph.name().to_string();
                    return Err(EngineError::UnknownSignal { definition, signal: signalled.name.clone() });
                }
            },
            What::CancelRequested { .. } => may_cancel(active)?,
            What::Operated(operated) => {
                let offered = choices(&active.graph, &active.state, &operated.step);
                if !offered.contains(&operated.action.choice()) {
                    return Err(EngineError::NotOffered { step: operated.step.clone(), choices: offered });
                }
                may_mark_done(active, operated)?;
            }
            _ => {}
        }
        Ok(Some(what))
    }

    /// A signal that came before has its verdict repeated to the saga that asks again.
    fn tell_again(&mut self, saga: SagaId, what: &What) {
        let What::Signalled(signalled) = what else { return };
        let Some(active) = self.sagas.get(&saga) else { return };
        let (Some(verdict), Some(to)) = (active.state.verdict(&signalled.id), signalled.from.clone()) else { return };
        self.deliver(saga, vec![Delivery::Judge { to, verdict }]);
    }

    /// Decides and writes down.
    pub(super) fn decide(&mut self, saga: SagaId, what: What) -> Decided {
        let (at, jitter) = (self.now(), self.shared.env.random() as u16);
        let Some(active) = self.sagas.get_mut(&saga) else { return Decided::Nothing };
        let event = Event { at, jitter, what };
        let decided = catch_unwind(AssertUnwindSafe(|| decide(&active.graph, &active.state, event)));
        match decided {
            Ok(Ok(Some(entry))) => {
                self.append(saga, &entry);
                Decided::Written
            }
            Ok(Ok(None)) => Decided::Nothing,
            Ok(Err(illegal)) => {
                tracing::error!(saga.id = %saga, error = %illegal, "an event that cannot happen to this saga: ignored");
                Decided::Illegal(illegal.to_string())
            }
            Err(_) => self.panicked(saga),
        }
    }

    fn panicked(&mut self, saga: SagaId) -> Decided {
        let Some(active) = self.sagas.get_mut(&saga) else { return Decided::Nothing };
        active.panics += 1;
        let panics = active.panics;
        tracing::error!(saga.id = %saga, panics, "deciding about this saga panicked");
        if panics == PANICS_MAX {
            return self.decide(saga, What::Poisoned { why: "deciding about it panicked".to_owned() });
        }
        Decided::Panicked
    }

    /// Writes an entry into the next batch, with everything that follows from it.
    fn append(&mut self, saga: SagaId, entry: &Entry) {
        let Some(active) = self.sagas.get_mut(&saga) else { return };
        let row = match row_of(saga, active.state.seq + 1, entry) {
            Ok(row) => row,
            Err(error) => return tracing::error!(saga.id = %saga, %error, "failed to encode an entry"),
        };
        active.fold(entry);
        self.shared.meters.decided(active.graph.name(), entry);
        let timers = active.timer_changes();
        let projection = active.new_projection();
        let told = deliveries(&active.state, entry);
        self.reschedule(&timers);
        self.next.append(row, projection, timers);
        self.deliver(saga, told);
    }

    /// Puts into the next batch what an entry of `from` brings to other sagas.
    pub(super) fn deliver(&mut self, from: SagaId, told: Vec<Delivery>) {
        for delivery in told {
            let (saga, note) = match delivery {
                Delivery::Start { parent, undoes, ask } => {
                    self.start_from(from, parent, undoes, &ask);
                    continue;
                }
                Delivery::CancelChild { child, reason } => (child, Note::Cancel { by: PARENT.to_owned(), reason }),
                Delivery::Judge { to, verdict } => {
                    let Ok(verdict) = tercet_core::Payload::of(&verdict) else { continue };
                    let answer = Answer::Done(verdict);
                    (to.saga, Note::Answer { step: to.step, phase: Phase::Try, answer })
                }
                Delivery::Report { to, undoes, answer } => {
                    let phase = if undoes { Phase::Cancel } else { Phase::Try };
                    (to.saga, Note::Answer { step: to.step, phase, answer })
                }
            };
            let at = self.now();
            self.next.put(from, InboxItem { saga, at, message: note.to_bytes() });
        }
    }

    /// Answers with the saga as it is, once that is durable.
    fn answer_when_durable(&mut self, saga: SagaId, reply: Reply<Snapshot>) {
        self.watchers.entry(saga).or_default().push((Until::Now, reply));
    }

    pub(super) fn watch(&mut self, saga: SagaId, until: Until, reply: Reply<Snapshot>) {
        if !self.is_own(saga) {
            return self.elsewhere(saga, Message::Watch(saga, until, reply));
        }
        if let Some(why) = self.quarantined.get(&saga) {
            drop(reply.send(Err(EngineError::Quarantined { saga, why: why.clone() })));
        } else if self.sagas.contains_key(&saga) {
            self.watchers.entry(saga).or_default().push((until, reply));
            self.reconcile(saga);
        } else {
            self.want(saga, Some(Message::Watch(saga, until, reply)));
        }
    }

    /// Answers those who waited for what is there now.
    pub(super) fn tell_watchers(&mut self, saga: SagaId) {
        let (Some(active), Some(watchers)) = (self.sagas.get(&saga), self.watchers.get_mut(&saga)) else { return };
        if !watchers.iter().any(|(until, _)| has_reached(&active.state, until)) {
            return;
        }
        let watchers = self.watchers.remove(&saga).unwrap_or_default();
        let (reached, waiting): (Vec<_>, Vec<_>) =
            watchers.into_iter().partition(|(until, _)| has_reached(&active.state, until));
        if !reached.is_empty() {
            let snapshot = active.snapshot();
            reached.into_iter().for_each(|(_, reply)| drop(reply.send(Ok(snapshot.clone()))));
        }
        if !waiting.is_empty() {
            self.watchers.insert(saga, waiting);
        }
    }

    /// Forgets those who do not wait any more.
    pub(super) fn left(&mut self, saga: SagaId) {
        if let Some(watchers) = self.watchers.get_mut(&saga) {
            watchers.retain(|(_, reply)| !reply.is_closed());
            if watchers.is_empty() {
                self.watchers.remove(&saga);
            }
        }
    }
}

/// The saga that waits for a signal's verdict: it is told, too, when there can be none.
fn sender_of(what: &Coming) -> Option<tercet_core::Sender> {
    match what {
        Coming::Event(What::Signalled(signalled)) => signalled.from.clone(),
        _ => None,
    }
}

/// What is marked done has a reply that its step could have given, and nothing speaks against it, or it is believed by force. A
/// confirm and a cancel have no reply.
fn may_mark_done(active: &Active, operated: &Operated) -> Result<(), EngineError> {
    let Action::MarkDone { value, force } = &operated.action else { return Ok(()) };
    let step = operated.step.clone();
    if let Some(no) = needs_force(&active.state, &step).filter(|_| !force) {
        return Err(EngineError::NeedsForce { step, why: no.to_string() });
    }
    let is_phase_two = |at: &StepState| matches!(at.status, Status::Confirming | Status::Undoing | Status::Done);
    match active.graph.node(&step) {
        Some(node) if !active.state.step(&step).is_some_and(is_phase_two) => {
            node.check_reply(value).map_err(|why| EngineError::BadValue { what: step.to_string(), why })
        }
        _ => Ok(()),
    }
}

fn may_cancel(active: &Active) -> Result<(), EngineError> {
    let state = &active.state;
    let why = match state.life {
        Life::Trying if state.abort.is_none() => return Ok(()),
        Life::Trying => TOO_LATE[0],
        Life::Cancelling => TOO_LATE[1],
        Life::Confirming | Life::Confirmed => TOO_LATE[2],
        Life::Cancelled => TOO_LATE[3],
    };
    Err(EngineError::TooLate { saga: state.saga(), state: state.life.as_str(), why })
}

/// The step whose next attempt a person does not want to wait for.
fn retried(what: &What) -> Option<StepInstance> {
    match what {
        What::Operated(operated) if matches!(operated.action, Action::RetryNow) => Some(operated.step.clone()),
        _ => None,
    }
}

/// An answer that came by another way than its call's: the newest attempt's.
fn answered(active: &Active, step: StepInstance, phase: Phase, answer: Answer) -> Result<What, EngineError> {
    let bad = |why: String| EngineError::BadValue { what: step.to_string(), why };
    let Some(at) = active.state.step(&step) else { return Err(bad("the saga has not asked this step".to_owned())) };
    if let (Answer::Done(reply), Some(node)) = (&answer, active.graph.node(&step))
        && !matches!(phase, Phase::Confirm | Phase::Cancel)
    {
        node.check_reply(reply).map_err(bad)?;
    }
    let hand = active.hands.iter().find(|(key, _)| key.step == step && key.phase == phase);
    let attempt = at.effect.as_ref().map_or(0, Effect::newest);
    // Without a hand nobody here knows how often it was asked: more than once is the careful answer.
    let attempts = hand.map_or(2, |(_, hand)| hand.attempts);
    let issued = at.asked;
    // A completion speaks for the effect, whichever of its attempts it was about: its no is as final as a query's.
    let is_final_no = at.effect.is_some() && matches!(answer, Answer::Refused(_));
    let phase = if is_final_no { Phase::Query } else { phase };
    Ok(What::Answered(Answered { step, phase, attempt, attempts, issued, answer }))
}

fn audit_of(saga: SagaId, what: &What) -> Option<AuditRow> {
    let (actor, action, reason) = match what {
        What::CancelRequested { by, reason } if by != PARENT => (by, "cancel".to_owned(), reason),
        What::Operated(operated) => {
            let action = serde_json::to_string(&operated.action.choice()).unwrap_or_default();
            let action = format!("{} {}", action.trim_matches('"'), operated.step);
            (&operated.by, action, &operated.reason)
        }
        _ => return None,
    };
    let at = tercet_core::Millis::default();
    Some(AuditRow { saga, at, actor: actor.clone(), action, reason: reason.clone() })
}
