//! Answers to steps whose repetition is safe: tcc, compensable, retriable, read, signal and child.

use super::{Deciding, Illegal};
use crate::{
    Answer, OnExhausted, OnRefused, Payload, Phase, Refusal, StepInstance, StepKind,
    canary::broken,
    entry::{Abort, Evidence, Fact, Parked},
    event::Answered,
    state::{Life, Status, StepState},
};

impl Deciding<'_> {
    pub(super) fn answered(&mut self, answered: Answered) -> Result<(), Illegal> {
        let at = self.asked(&answered.step)?;
        if at.effect.is_some() {
            return self.effect_answered(answered);
        }
        match answered.phase {
            Phase::Try if at.kind == StepKind::Child => self.child_ended(answered),
            Phase::Try => self.tried(answered),
            Phase::Confirm => self.confirmed(answered),
            Phase::Cancel => self.undone(answered),
            Phase::Query | Phase::Close | Phase::Forget => Err(no_such_answer(&answered)),
        }
    }

    fn tried(&mut self, answered: Answered) -> Result<(), Illegal> {
        let at = self.asked(&answered.step)?;
        let repeated = answered.attempts > 1 || at.pending.is_some();
        match (answered.answer.clone(), &at.status) {
            (Answer::Done(reply), Status::Asked) => self.fact(Fact::Done { step: answered.step, reply }),
            (Answer::Done(reply), Status::Refused) if !at.repeated => {
                self.contradicted(answered.step, Evidence::Done(reply));
            }
            (Answer::Refused(refusal), Status::Asked) => self.refused(answered.step, refusal, repeated),
            (Answer::Refused(refusal), Status::Done | Status::Confirming | Status::Confirmed) => {
                self.contradicted(answered.step, Evidence::NotDone(refusal));
            }
            (Answer::Pending(note), Status::Asked) => self.pending(answered.step, Phase::Try, note),
            (Answer::Done(_) | Answer::Refused(_) | Answer::Pending(_), _) => {}
            _ => return Err(no_such_answer(&answered)),
        }
        Ok(())
    }

    /// A definite no: before the decision it aborts the saga, unless its policy wants a person; after it there may be none.
    fn refused(&mut self, step: StepInstance, refusal: Refusal, repeated: bool) {
        let parks = self.graph.node(&step).is_some_and(|node| node.policy.on_refused == OnRefused::Park);
        if self.state.life != Life::Trying || parks {
            let why = Parked::Refused { phase: Phase::Try, refusal };
            return self.park(step, why);
        }
        self.fact(Fact::Refused { step: step.clone(), refusal: refusal.clone(), repeated });
        self.abort(Abort::Refused { step, refusal });
    }

    pub(super) fn park(&mut self, step: StepInstance, why: Parked) {
        if self.state.step(&step).is_none_or(|at| at.parked.as_ref() != Some(&why)) {
            self.fact(Fact::Parked { step, why });
        }
    }

    fn pending(&mut self, step: StepInstance, phase: Phase, note: Payload) {
        let said = self.state.step(&step).and_then(|at| at.pending.as_ref());
        if said.is_none_or(|(of, said)| *of != phase || *said != note) {
            self.fact(Fact::Pending { step, phase, note, next: None });
        }
    }

    fn confirmed(&mut self, answered: Answered) -> Result<(), Illegal> {
        let status = self.asked(&answered.step)?.status.clone();
        match (answered.answer.clone(), status) {
            (Answer::Done(_), Status::Confirming) => self.fact(Fact::Confirmed { step: answered.step }),
            (Answer::Refused(refusal), Status::Confirming) => {
                self.park(answered.step, Parked::Refused { phase: Phase::Confirm, refusal });
            }
            (Answer::Refused(refusal), Status::Confirmed) => {
                self.contradicted(answered.step, Evidence::NotDone(refusal));
            }
            (Answer::Pending(note), Status::Confirming) => self.pending(answered.step, Phase::Confirm, note),
            (Answer::Done(_) | Answer::Pending(_), Status::Confirmed) => {}
            (Answer::Done(_) | Answer::Refused(_) | Answer::Pending(_), _) => {
                return Err(Illegal::NotAsked { step: answered.step });
            }
            _ => return Err(no_such_answer(&answered)),
        }
        Ok(())
    }

    fn undone(&mut self, answered: Answered) -> Result<(), Illegal> {
        let status = self.asked(&answered.step)?.status.clone();
        match (answered.answer.clone(), status) {
            (Answer::Done(_), Status::Undoing) => self.fact(Fact::Undone { step: answered.step }),
            (Answer::Refused(refusal), Status::Undoing) => {
                self.park(answered.step, Parked::Refused { phase: Phase::Cancel, refusal });
            }
            (Answer::Pending(note), Status::Undoing) => self.pending(answered.step, Phase::Cancel, note),
            (Answer::Done(_) | Answer::Refused(_) | Answer::Pending(_), Status::Undone) => {}
            (Answer::Done(_) | Answer::Refused(_) | Answer::Pending(_), _) => {
                return Err(Illegal::NotAsked { step: answered.step });
            }
            _ => return Err(no_such_answer(&answered)),
        }
        Ok(())
    }

    /// A child's end: confirmed is done, cancelled is not done. One that was asked to cancel and confirmed first is undone.
    fn child_ended(&mut self, answered: Answered) -> Result<(), Illegal> {
        let at = self.asked(&answered.step)?;
        let cancelling = at.undo.is_none() && at.status == Status::Undoing;
        match (answered.answer, at.status.clone()) {
            (Answer::Done(reply), Status::Asked | Status::GaveUp | Status::Undoing) => {
                if at.replied {
                    return Ok(());
                }
                self.fact(Fact::Done { step: answered.step, reply });
            }
            (Answer::Refused(refusal), Status::Asked) => {
                let wanted = self.state.abort.clone();
                self.refused(answered.step, refusal, false);
                if let Some(why) = wanted {
                    self.abort(why);
                }
            }
            (Answer::Refused(_), Status::GaveUp) => self.fact(Fact::Undone { step: answered.step }),
            (Answer::Refused(_), Status::Undoing) if cancelling => self.fact(Fact::Undone { step: answered.step }),
            _ => {}
        }
        Ok(())
    }

    pub(super) fn exhausted(&mut self, step: StepInstance, attempts: u32, why: String) -> Result<(), Illegal> {
        let at = self.asked(&step)?;
        if at.effect.is_some() {
            return Err(Illegal::NoSuchAnswer { step, phase: Phase::Try, answer: "exhausted" });
        }
        if at.status != Status::Asked || at.parked.is_some() {
            return Ok(());
        }
        if self.state.life != Life::Trying {
            // A receiver that nobody knows is unknown, never too late. All else after the decision goes on for ever.
            if at.kind == StepKind::Signal {
                self.park(step, Parked::Exhausted { why });
            }
            return Ok(());
        }
        let policy = self.graph.node(&step).map(|node| node.policy.on_exhausted);
        if policy == Some(OnExhausted::Park) {
            self.park(step, Parked::Exhausted { why });
            return Ok(());
        }
        self.fact(Fact::GaveUp { step: step.clone(), attempts, why: why.clone() });
        self.abort(Abort::Exhausted { step, why });
        Ok(())
    }

    pub(super) fn struggling(
        &mut self, step: StepInstance, phase: Phase, attempts: u32, why: &str,
    ) -> Result<(), Illegal> {
        let at = self.asked(&step)?;
        if at.attention.is_none() && at.parked.is_none() && is_out(at, phase) {
            let why = format!("its {phase} has been asked {attempts} times: {why}");
            self.fact(Fact::Flagged { step, why });
        }
        Ok(())
    }

    /// What panics three times in a row would go on for ever: a person looks. A try before the decision has an end of its own.
    pub(super) fn panicked(&mut self, step: StepInstance, phase: Phase, why: String) -> Result<(), Illegal> {
        let at = self.asked(&step)?;
        let ends = self.state.life == Life::Trying && phase == Phase::Try;
        if at.effect.is_none() && at.parked.is_none() && is_out(at, phase) && !ends {
            self.park(step, Parked::Panicked { phase, why });
        }
        Ok(())
    }

    /// Evidence against what was decided, once in each direction. Done after not done starts what takes it back.
    pub(super) fn contradicted(&mut self, step: StepInstance, evidence: Evidence) {
        if broken("drop_late_evidence") || broken("close_without_asking") {
            return;
        }
        let Some(at) = self.state.step(&step) else { return };
        let (done, not_done) = at.contradicted;
        let (known, undo) = match &evidence {
            Evidence::Done(reply) => (done, self.taking_back(&step, at, reply)),
            Evidence::NotDone(_) => (not_done, None),
        };
        if !known {
            self.fact(Fact::Contradicted { step, evidence, undo });
        }
    }
}

fn is_out(at: &StepState, phase: Phase) -> bool {
    match phase {
        Phase::Confirm => at.status == Status::Confirming,
        Phase::Cancel => at.status == Status::Undoing,
        Phase::Try | Phase::Query | Phase::Close | Phase::Forget => at.status == Status::Asked,
    }
}

pub(super) fn no_such_answer(answered: &Answered) -> Illegal {
    Illegal::NoSuchAnswer { step: answered.step.clone(), phase: answered.phase, answer: answered.answer.as_str() }
}
