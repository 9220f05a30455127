//! Commands: what the shell must do, or do again after a crash, as it follows from a state.

use crate::{
    Answer, ContractName, IdempotencyKey, Millis, Payload, Phase, SagaId, SignalId, StepInstance, StepKind, Verdict,
    entry::{Abort, Ask, Entry, Fact, Target},
    event::{Sender, Timer},
    state::{Life, Next, State, Status, StepState},
};
use std::sync::Arc;

/// Something outstanding. Equal commands are the same one: what is in hand already is not begun twice.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Ask a participant.
    Call(Call),
    /// Tell a saga, until its verdict is there.
    Tell {
        /// Whose step waits for the verdict.
        step: StepInstance,
        /// The signal's id.
        id: SignalId,
        /// Whom, and what it is called.
        target: Target,
        /// What is told.
        payload: Payload,
    },
    /// Give the timer's event back at that time, not before.
    Wake {
        /// Which.
        timer: Timer,
        /// When.
        at: Millis,
    },
}

/// A call to make, with all that a participant needs but the attempt's own time.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The step instance.
    pub step: StepInstance,
    /// The step's kind.
    pub kind: StepKind,
    /// The operation.
    pub contract: ContractName,
    /// What of it.
    pub phase: Phase,
    /// A pivot's attempt; for all else 0, since the shell counts.
    pub attempt: u32,
    /// Not before.
    pub not_before: Millis,
    /// The participant said it will report: ask after it in the pace of queries.
    pub pending: bool,
    /// The effect's key.
    pub key: IdempotencyKey,
    /// The try's request.
    pub request: Payload,
    /// The try's reply, with confirm and cancel, if there was one.
    pub reply: Option<Payload>,
    /// Until when a third party may carry it out.
    pub expires: Option<Millis>,
    /// On a query: fence the attempts so far.
    pub fence: bool,
}

/// What must be asked, or asked again after a crash. Call it after every [`apply`](crate::apply): what is there and not in hand is
/// to be begun, what is in hand and no longer there is to be left. The saga's deadline comes first, then at most one of each step, in
/// their order.
#[must_use]
pub fn outstanding(state: &State) -> Vec<Command> {
    let mut commands = Vec::new();
    if state.is_poisoned() {
        return commands;
    }
    if let (Life::Trying, Some(at), None) = (state.life, state.begin.deadline, &state.abort) {
        commands.push(Command::Wake { timer: Timer::Deadline, at });
    }
    for (step, at) in state.steps.iter().filter(|(_, at)| at.parked.is_none()) {
        step_commands(state, step, at, &mut commands);
    }
    commands
}

fn step_commands(state: &State, step: &StepInstance, at: &StepState, commands: &mut Vec<Command>) {
    match (&at.status, &at.ask) {
        (Status::Waiting(until), _) => {
            commands.push(Command::Wake { timer: Timer::Step(step.clone()), at: *until });
        }
        (_, Some(ask)) if at.effect.is_some() => effect_commands(state, step, at, ask, commands),
        (Status::Asked | Status::Confirming | Status::Undoing, Some(ask)) => match &ask.target {
            Target::Operation(contract) => {
                let phase = match at.status {
                    Status::Confirming => Phase::Confirm,
                    Status::Undoing => Phase::Cancel,
                    _ => Phase::Try,
                };
                commands.push(Command::Call(call(state, step, at, ask, contract, phase)));
            }
            Target::Signal { .. } => commands.push(Command::Tell {
                step: step.clone(),
                id: SignalId::of_step(state.saga(), step),
                target: ask.target.clone(),
                payload: ask.request.clone(),
            }),
            Target::Saga { .. } => {}
        },
        _ => {}
    }
}

fn effect_commands(state: &State, step: &StepInstance, at: &StepState, ask: &Ask, commands: &mut Vec<Command>) {
    let (Some(effect), Target::Operation(contract)) = (&at.effect, &ask.target) else { return };
    let (phase, not_before, fence) = match effect.next {
        Next::Nothing => return,
        Next::Attempt(when) => {
            commands.push(Command::Wake { timer: Timer::Step(step.clone()), at: when });
            return;
        }
        Next::Answer => (Phase::Try, Millis::default(), false),
        Next::Query { at, fence } => (Phase::Query, at, fence),
        Next::Close(at) => (Phase::Close, at, false),
    };
    let mut call = call(state, step, at, ask, contract, phase);
    if crate::canary::broken("new_key_for_the_retry") && effect.newest() > 1 {
        call.key = format!("{}/{}", call.key, effect.newest()).parse().unwrap_or(call.key);
    }
    commands.push(Command::Call(Call { attempt: effect.newest(), not_before, fence, ..call }));
}

fn call(state: &State, step: &StepInstance, at: &StepState, ask: &Ask, contract: &ContractName, phase: Phase) -> Call {
    let replies = matches!(phase, Phase::Confirm | Phase::Cancel) && at.replied;
    Call {
        step: step.clone(),
        kind: at.kind,
        contract: contract.clone(),
        phase,
        attempt: 0,
        not_before: Millis::default(),
        pending: at.pending.as_ref().is_some_and(|(of, _)| *of == phase),
        key: state.effect_key(step),
        request: ask.request.clone(),
        reply: replies.then(|| at.reply.clone()),
        expires: ask.expires,
        fence: false,
    }
}

/// What an entry brings to other sagas: written in the very transaction of the entry, so it is never outstanding.
#[derive(Clone, Debug, PartialEq)]
pub enum Delivery {
    /// Start a saga.
    Start {
        /// The step it stands at, or undoes; nothing when it takes back a contradicted effect by itself.
        parent: Option<Sender>,
        /// It undoes that step.
        undoes: bool,
        /// What to start.
        ask: Arc<Ask>,
    },
    /// Ask a running child to cancel; its end is the answer.
    CancelChild {
        /// The child: [`SagaId::of_child`].
        child: SagaId,
        /// Why.
        reason: String,
    },
    /// A signal's verdict, for the saga that waits for it.
    Judge {
        /// Who waits.
        to: Sender,
        /// The verdict.
        verdict: Verdict,
    },
    /// This saga's end, for its parent's step.
    Report {
        /// The parent's step.
        to: Sender,
        /// It answers the step's cancel, not its start.
        undoes: bool,
        /// Confirmed is done, cancelled is a no.
        answer: Answer,
    },
}

/// What `entry`, folded already into `state`, brings to other sagas.
#[must_use]
pub fn deliveries(state: &State, entry: &Entry) -> Vec<Delivery> {
    entry.facts.iter().filter_map(|fact| delivery(state, fact)).collect()
}

fn delivery(state: &State, fact: &Fact) -> Option<Delivery> {
    let here = |step: &StepInstance| Sender { saga: state.saga(), step: step.clone() };
    match fact {
        Fact::Asked { step, ask } if matches!(ask.target, Target::Saga { .. }) => {
            Some(Delivery::Start { parent: Some(here(step)), undoes: false, ask: ask.clone() })
        }
        Fact::Undoing { step, by: Some(ask) } => {
            Some(Delivery::Start { parent: Some(here(step)), undoes: true, ask: ask.clone() })
        }
        Fact::Undoing { step, by: None } => cancel_child(state, step),
        Fact::AbortWanted { .. } => {
            let pivot = state.steps.iter().find(|(_, at)| at.kind == StepKind::Child && at.status == Status::Asked);
            cancel_child(state, pivot?.0)
        }
        Fact::Contradicted { undo: Some(ask), .. } => {
            Some(Delivery::Start { parent: None, undoes: false, ask: ask.clone() })
        }
        Fact::Judged { id, verdict } => {
            Some(Delivery::Judge { to: state.signals.get(id)?.from.clone()?, verdict: *verdict })
        }
        Fact::EndedConfirmed { output } => report(state, Answer::Done(output.clone())),
        Fact::EndedCancelled => {
            let why = state.abort.as_ref().map_or_else(String::new, Abort::to_string);
            report(state, Answer::refused("cancelled", format!("the saga was cancelled: {why}")))
        }
        _ => None,
    }
}

fn cancel_child(state: &State, step: &StepInstance) -> Option<Delivery> {
    let ask = state.step(step)?.ask.as_ref()?;
    let reason = format!("its parent cancels: {}", state.abort.as_ref()?);
    let child = SagaId::of_child(state.saga(), step, false);
    matches!(ask.target, Target::Saga { .. }).then_some(Delivery::CancelChild { child, reason })
}

fn report(state: &State, answer: Answer) -> Option<Delivery> {
    let to = state.begin.parent.clone()?;
    Some(Delivery::Report { to, undoes: state.begin.undoes, answer })
}
